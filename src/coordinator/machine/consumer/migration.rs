//! A classic group becomes one of the consumer protocol when its first member with that joins, and becomes classic again when
//! the last one goes (`group.consumer.migration.policy`).

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::super::{
    Config, ConsumerGroupState, GroupError, Refusal,
    consumer_protocol::{Assignment, Subscription},
    group::Group,
};
use super::{ConsumerGroup, classic::named_partitions};
use crate::model::{
    ClassicMember, ConsumerGroupMetadata, ConsumerMember, GroupMetadata, GroupState, MemberMetadata, Partitions,
    TopicId, TopicName, TopicShape, Topics,
    group::{Base64Bytes, CONSUMER_PROTOCOL_TYPE},
};

/// The epoch and state of the group as one of the consumer protocol; its members go on in their generation with what their
/// leader gave them. Refused when that cannot be: another protocol type, too many members, or metadata that is no consumer's.
pub(in super::super) fn upgraded(
    group: &Group,
    topics: &dyn Topics,
    config: &Config,
) -> Result<(i32, ConsumerGroupMetadata), Refusal> {
    let why = if !config.consumer.migration.upgrades {
        "the online upgrade is disabled"
    } else if !group.uses_consumer_protocol() {
        "the group does not use the consumer embedded protocol"
    } else if group.members.len() > config.consumer.size_max {
        "the group size exceeds the consumer group maximum size"
    } else {
        match consumers(group, topics) {
            Ok(data) => return Ok((group.generation, data)),
            Err(why) => why,
        }
    };
    let message = format!("Cannot upgrade classic group {} to consumer group because {why}.", group.id);
    Err(Refusal::new(GroupError::GroupIdNotFound, message))
}

fn consumers(group: &Group, topics: &dyn Topics) -> Result<ConsumerGroupMetadata, &'static str> {
    let mut data = ConsumerGroupMetadata { assignment_epoch: group.generation, ..ConsumerGroupMetadata::default() };
    let mut said = Vec::with_capacity(group.members.len());
    for (member_id, member) in &group.members {
        // Before its first generation a group has not chosen a protocol.
        let protocol = group.protocol.as_ref().or(member.meta.protocols.first().map(|(name, _)| name));
        let subscription = Subscription::parse(&member.metadata(protocol.map(String::as_str)));
        let assignment = Assignment::parse(&member.meta.assignment.0);
        let (Some(subscription), Some(assignment)) = (subscription, assignment) else {
            return Err("the embedded consumer protocol is malformed");
        };
        if assignment.has_user_data {
            return Err(
                "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default \
                        assignor before re-attempting the upgrade",
            );
        }
        said.push((member_id, member, subscription, assignment));
    }
    let mut held: HashSet<(TopicId, i32)> = HashSet::new();
    let mut assigned: Vec<Partitions> = Vec::with_capacity(said.len());
    for (.., assignment) in &said {
        assigned.push(named_partitions(&assignment.partitions, topics).filter(|one| held.insert(*one)).collect());
    }
    for (assigned, (.., subscription, _)) in assigned.iter_mut().zip(&said) {
        // In a rebalance the assignment is taken back already, and a cooperative member goes on with what it owned.
        let owned = named_partitions(&subscription.owned, topics).filter(|one| held.insert(*one));
        owned.for_each(|(topic, partition)| assigned.insert(topic, partition));
    }
    for (assigned, (member_id, member, subscription, _)) in assigned.into_iter().zip(said) {
        let meta = &member.meta;
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
    Ok(data)
}

fn existing(data: &ConsumerGroupMetadata, topics: &dyn Topics) -> BTreeMap<TopicName, TopicShape> {
    let names = data.members.values().flat_map(|member| &member.topics);
    names.filter_map(|name| topics.shape(name).map(|shape| (Arc::clone(name), shape))).collect()
}

impl ConsumerGroup {
    /// Whether an instance id is that of a member of the consumer protocol.
    pub fn has_modern_instance(&self, instance_id: Option<&str>) -> bool {
        let holder = instance_id.and_then(|instance_id| self.static_member(instance_id));
        holder.is_some_and(|(_, holder)| holder.classic.is_none())
    }

    /// The group as a classic one, if without `leaving` there are only members of the classic protocol, and any.
    pub fn downgraded(&self, leaving: &[Arc<str>], now_wall_ms: i64, config: &Config) -> Option<GroupMetadata> {
        let stays = |(member_id, _): &(&Arc<str>, &Arc<ConsumerMember>)| !leaving.contains(member_id);
        let members: Vec<_> = self.data.members.iter().filter(stays).collect();
        let all_classic = !members.is_empty() && members.iter().all(|(_, member)| member.classic.is_some());
        // Who is the last to go was classic as well: the group has been without others for a while, by its policy.
        let was_mixed = leaving.is_empty() || self.data.members.values().any(|member| member.classic.is_none());
        // Nobody may take for its own what another still uses.
        let is_settled = leaving.is_empty() && self.state() == ConsumerGroupState::Stable;
        if !all_classic || !was_mixed || !config.consumer.migration.downgrades || members.len() > config.size_max {
            return None;
        }
        let classic: Vec<_> =
            members.iter().filter_map(|(id, member)| self.classic_metadata(id, member)).map(Arc::new).collect();
        let mut downgraded = GroupMetadata {
            group_id: Arc::clone(&self.id),
            protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
            protocol: None,
            generation: self.epoch,
            leader: classic.first().map(|member| Arc::clone(&member.member_id)),
            state: if is_settled { GroupState::Stable } else { GroupState::PreparingRebalance },
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
