//! DescribeGroups, ListGroups and the count of groups by state.

use std::sync::Arc;

use super::{
    DescribedGroup, DescribedMember, ListRequest, ListedGroup, Machine, StateCounts,
    group::{Group, Member},
};
use crate::model::{GroupId, GroupState};

impl Machine {
    pub(super) fn describe(&self, group_ids: Vec<GroupId>) -> Vec<DescribedGroup> {
        let describe = |group_id: GroupId| match self.groups.get(&group_id) {
            Some(group) => group.describe(),
            None => DescribedGroup::dead(group_id),
        };
        group_ids.into_iter().map(describe).collect()
    }

    pub(super) fn list(&self, request: &ListRequest) -> Vec<ListedGroup> {
        if !request.wants_classic() {
            return Vec::new();
        }
        let wanted = self.groups.values().filter(|group| request.wants(group.state));
        let listed = |group: &Group| ListedGroup {
            group_id: Arc::clone(&group.id),
            protocol_type: group.protocol_type.clone(),
            state: group.state,
        };
        wanted.map(listed).collect()
    }

    pub(super) fn count_states(&self) -> StateCounts {
        let mut counts = StateCounts::default();
        for group in self.groups.values() {
            counts.count(group.state);
            counts.members += group.members.len() as u64;
        }
        counts
    }
}

impl Group {
    fn describe(&self) -> DescribedGroup {
        let protocol = self.protocol.as_deref().filter(|_| self.state == GroupState::Stable);
        let member = |member: &Member| DescribedMember {
            metadata: if protocol.is_some() { member.metadata(protocol) } else { Default::default() },
            ..DescribedMember::from(&member.meta)
        };
        DescribedGroup {
            group_id: Arc::clone(&self.id),
            state: self.state,
            protocol_type: self.protocol_type.clone(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: self.members.values().map(member).collect(),
        }
    }
}
