//! DescribeGroups, ListGroups and the count of groups by state.

use std::sync::Arc;

use super::{
    AnyGroup, DescribedGroup, DescribedMember, ListRequest, ListedGroup, Machine, StateCounts,
    group::{Group, Member},
};
use crate::model::{GroupId, GroupState, group::CONSUMER_PROTOCOL_TYPE};

impl Machine {
    /// Groups of the consumer protocol are not known here, as in Kafka: ConsumerGroupDescribe is for them.
    pub(super) fn describe(&self, group_ids: Vec<GroupId>) -> Vec<DescribedGroup> {
        let describe = |group_id: GroupId| match self.groups.get(&group_id) {
            Some(AnyGroup::Classic(group)) => group.describe(),
            Some(AnyGroup::Consumer(_)) => DescribedGroup { is_consumer: true, ..DescribedGroup::dead(group_id) },
            None => DescribedGroup::dead(group_id),
        };
        group_ids.into_iter().map(describe).collect()
    }

    pub(super) fn list(&self, request: &ListRequest) -> Vec<ListedGroup> {
        let listed = self.groups.values().map(AnyGroup::listed);
        listed.filter(|group| request.wants(group.group_type, group.state)).collect()
    }

    pub(super) fn count_states(&self) -> StateCounts {
        let mut counts = StateCounts::default();
        for group in self.groups.values() {
            match group {
                AnyGroup::Classic(group) => counts.count(group.state),
                AnyGroup::Consumer(group) => counts.count_consumer(group.state()),
            }
            counts.members += group.members() as u64;
        }
        counts
    }
}

impl AnyGroup {
    fn listed(&self) -> ListedGroup {
        match self {
            Self::Classic(group) => ListedGroup {
                group_id: Arc::clone(&group.id),
                protocol_type: group.protocol_type.clone(),
                state: group.state.as_str(),
                group_type: "classic",
            },
            Self::Consumer(group) => ListedGroup {
                group_id: Arc::clone(&group.id),
                protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
                state: group.state().as_str(),
                group_type: "consumer",
            },
        }
    }
}

impl Group {
    fn describe(&self) -> DescribedGroup {
        let protocol = self.protocol.as_deref().filter(|_| self.state == GroupState::Stable);
        let member = |member: &Member| DescribedMember {
            metadata: if protocol.is_some() { member.metadata(protocol) } else { Default::default() },
            ..DescribedMember::from(&*member.meta)
        };
        DescribedGroup {
            group_id: Arc::clone(&self.id),
            state: self.state,
            protocol_type: self.protocol_type.clone(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: self.members.values().map(member).collect(),
            is_consumer: false,
        }
    }
}
