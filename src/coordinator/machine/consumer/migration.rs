//! A classic group becomes one of the consumer protocol when its first member with that joins, and becomes classic again when
//! the last one goes (`group.consumer.migration.policy`).

use std::{collections::BTreeMap, sync::Arc};

use super::super::{
    Config,
    consumer_protocol::{Subscription, parse_assignment},
    group::Group,
};
use super::{ConsumerGroup, PROTOCOL_TYPE};
use crate::model::{
    ClassicMember, ConsumerGroupMetadata, ConsumerMember, GroupMetadata, GroupState, MemberMetadata, Partitions,
    TopicName, TopicShape, Topics, group::Base64Bytes,
};

/// The group as one of the consumer protocol; its members go on in their generation with what their leader gave them. None
/// when that cannot be: another protocol type, too many members, or metadata that is not a consumer's.
pub(in super::super) fn upgraded(
    group: &Group,
    topics: &dyn Topics,
    config: &Config,
) -> Option<(i32, ConsumerGroupMetadata)> {
    let is_allowed = config.consumer.migration.upgrades && group.uses_consumer_protocol();
    if !is_allowed || group.members.len() > config.consumer.size_max {
        return None;
    }
    let mut data = ConsumerGroupMetadata { assignment_epoch: group.generation, ..ConsumerGroupMetadata::default() };
    for (member_id, member) in &group.members {
        let meta = &member.meta;
        // Before its first generation a group has not chosen a protocol.
        let protocol = group.protocol.as_ref().or(meta.protocols.first().map(|(name, _)| name));
        let subscription = Subscription::parse(&member.metadata(protocol.map(String::as_str)))?;
        let assigned = parse_assignment(&meta.assignment.0)?;
        let assigned: Partitions = assigned
            .iter()
            .filter_map(|(name, partitions)| topics.shape(name).map(|shape| (shape.id, partitions)))
            .flat_map(|(id, partitions)| partitions.iter().map(move |partition| (id, *partition)))
            .collect();
        let member = ConsumerMember {
            group_instance_id: meta.group_instance_id.clone(),
            rack_id: subscription.rack_id.clone(),
            client_id: meta.client_id.clone(),
            client_host: meta.client_host.clone(),
            rebalance_timeout_ms: meta.rebalance_timeout_ms,
            topics: subscription.topics.iter().map(|name| TopicName::from(name.as_str())).collect(),
            epoch: group.generation,
            previous_epoch: group.generation,
            target: assigned.clone(),
            assigned,
            classic: Some(ClassicMember {
                session_timeout_ms: meta.session_timeout_ms,
                protocols: meta.protocols.clone(),
            }),
            ..ConsumerMember::default()
        };
        data.members.insert(Arc::clone(member_id), Arc::new(member));
    }
    data.topics = existing(&data, topics);
    Some((group.generation, data))
}

fn existing(data: &ConsumerGroupMetadata, topics: &dyn Topics) -> BTreeMap<TopicName, TopicShape> {
    let names = data.members.values().flat_map(|member| &member.topics);
    names.filter_map(|name| topics.shape(name).map(|shape| (Arc::clone(name), shape))).collect()
}

impl ConsumerGroup {
    /// The group without those that leave as a classic one, if only members of the classic protocol are left, and any. The epoch
    /// stays, so that these can commit and are told to rejoin, and the state says that they must: what the others had is theirs.
    pub fn downgraded(&self, leaving: &[Arc<str>], now_wall_ms: i64, config: &Config) -> Option<GroupMetadata> {
        let staying = || self.data.members.iter().filter(|(member_id, _)| !leaving.contains(member_id));
        let classic: Vec<_> = staying().filter_map(|(id, member)| self.classic_metadata(id, member)).collect();
        let all_classic = !classic.is_empty() && classic.len() == staying().count();
        if !all_classic || !config.consumer.migration.downgrades || classic.len() > config.size_max {
            return None;
        }
        let mut downgraded = GroupMetadata {
            group_id: Arc::clone(&self.id),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocol: None,
            generation: self.epoch,
            leader: classic.first().map(|member| Arc::clone(&member.member_id)),
            state: if leaving.is_empty() { GroupState::Stable } else { GroupState::PreparingRebalance },
            state_timestamp_ms: now_wall_ms,
            members: classic,
            consumer: None,
        };
        downgraded.protocol = Group::selected_protocol(&downgraded);
        Some(downgraded)
    }

    fn classic_metadata(&self, member_id: &Arc<str>, member: &ConsumerMember) -> Option<MemberMetadata> {
        let classic = member.classic.as_ref()?;
        Some(MemberMetadata {
            member_id: Arc::clone(member_id),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout_ms: classic.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            protocols: classic.protocols.clone(),
            assignment: Base64Bytes(self.encoded(member, &member.target)),
        })
    }
}
