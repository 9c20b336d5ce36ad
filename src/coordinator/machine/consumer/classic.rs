//! Members that speak the classic protocol in a group of the consumer protocol, while consumers are moved from the one to the
//! other a few at a time (KIP-848; `GroupMetadataManager.classicGroupJoinToConsumerGroup` and its neighbours).
//!
//! Such a member is told to rejoin (REBALANCE_IN_PROGRESS) for each step that others make with a heartbeat; what the coordinator
//! assigns comes to it with SyncGroup as if a leader had assigned it.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use super::super::{
    Cx, GroupError, HeartbeatRequest, JoinError, JoinReply, JoinRequest, LeavingMember, LeftMember, SyncReply,
    SyncRequest,
    consumer_protocol::{Subscription, encode_assignment},
    group::{group_bytes_allow, stored_protocols},
};
use super::{
    ConsumerGroup,
    heartbeat::{Present, fenced_instance},
};
use crate::model::{
    ClassicMember, ConsumerMember, MemberState, Partitions, TopicId, TopicName, Topics, group::CONSUMER_PROTOCOL_TYPE,
};

impl ConsumerGroup {
    /// Takes a JoinGroup, which is answered at once.
    pub fn join_classic(
        &mut self,
        request: JoinRequest,
        uuid: Uuid,
        topics: &dyn Topics,
        cx: &mut Cx<'_>,
    ) -> Result<JoinReply, JoinError> {
        let refuse = |error| JoinError::new(error, &request.member_id);
        let is_new = request.member_id.is_empty();
        if self.data.members.len() >= cx.config.consumer.size_max && self.member(&request.member_id).is_none() {
            return Err(JoinError::anonymous(GroupError::GroupMaxSizeReached));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(refuse(GroupError::InconsistentGroupProtocol));
        }
        if !group_bytes_allow(&request.client_id, &request.protocols) {
            return Err(refuse(GroupError::GroupMaxSizeReached));
        }
        let member_id = if is_new { Arc::from(uuid.to_string()) } else { Arc::clone(&request.member_id) };
        if is_new && request.requires_known_member_id && request.group_instance_id.is_none() {
            return Err(JoinError::new(GroupError::MemberIdRequired, &member_id));
        }
        let first = request.protocols.first().and_then(|(_, metadata)| Subscription::parse(metadata));
        let Some(subscription) = first else { return Err(refuse(GroupError::InconsistentGroupProtocol)) };
        let mut present = self.classic_member(&member_id, &request)?;
        present.member = ConsumerMember {
            group_instance_id: request.group_instance_id.clone(),
            rack_id: subscription.rack_id.clone().or(present.member.rack_id),
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            topics: subscription.topics.iter().map(|name| TopicName::from(name.as_str())).collect(),
            regex: String::new(),
            classic: Some(ClassicMember {
                session_timeout_ms: request.session_timeout_ms,
                protocols: stored_protocols(request.protocols),
            }),
            ..present.member
        };
        let owned: Partitions = named_partitions(&subscription.owned, topics).collect();
        let advanced = self.advance(&member_id, present, Some(&owned), topics, cx);
        advanced.map_err(|refusal| JoinError::new(refusal.error, &member_id))?;
        let Some((_, member)) = self.member(&member_id) else {
            return Err(JoinError::new(GroupError::UnknownMemberId, &member_id));
        };
        let (generation, protocol) = (member.epoch, first_protocol(member).to_owned());
        self.schedule_session(&member_id, cx);
        self.schedule_progress(&member_id, request.rebalance_timeout_ms, cx);
        Ok(JoinReply {
            generation,
            protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
            protocol: Some(protocol),
            leader: Arc::from(""),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        })
    }

    /// Takes a SyncGroup: the answer is what the coordinator assigned.
    pub fn sync_classic(&mut self, request: &SyncRequest, cx: &mut Cx<'_>) -> Result<SyncReply, GroupError> {
        let (member_id, member) =
            self.validate_classic(&request.member_id, request.group_instance_id.as_deref(), request.generation)?;
        let protocol = first_protocol(&member);
        let differs = |named: &Option<String>, has: &str| named.as_ref().is_some_and(|named| named != has);
        if differs(&request.protocol_type, CONSUMER_PROTOCOL_TYPE) || differs(&request.protocol, protocol) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        // Whoever gives partitions back has joined for it already, and is told to join again when that is done.
        if self.epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
            self.schedule_progress_if_absent(&member_id, member.rebalance_timeout_ms, cx);
            return Err(GroupError::RebalanceInProgress);
        }
        self.cancel_progress(&member_id, cx);
        self.schedule_session(&member_id, cx);
        Ok(SyncReply {
            protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
            protocol: Some(protocol.to_owned()),
            assignment: self.encoded(&member, &member.assigned),
        })
    }

    /// Takes a Heartbeat, which tells the member to rejoin when there is a step to make.
    pub fn heartbeat_classic(&mut self, request: &HeartbeatRequest, cx: &mut Cx<'_>) -> Result<(), GroupError> {
        let (member_id, member) =
            self.validate_classic(&request.member_id, request.group_instance_id.as_deref(), request.generation)?;
        self.schedule_session(&member_id, cx);
        let can_go_on = match member.state {
            _ if member.epoch < self.epoch => true,
            MemberState::Stable => false,
            MemberState::UnrevokedPartitions => true,
            MemberState::UnreleasedPartitions => !self.waits_for_others(&member_id, &member),
        };
        if !can_go_on {
            return Ok(());
        }
        self.schedule_progress_if_absent(&member_id, member.rebalance_timeout_ms, cx);
        Err(GroupError::RebalanceInProgress)
    }

    /// Looks who of those that a LeaveGroup names can go, whichever protocol they speak; the caller removes them.
    pub fn leave_classic(&self, members: Vec<LeavingMember>) -> (Vec<LeftMember>, Vec<Arc<str>>) {
        let mut leaving = BTreeSet::new();
        let mut leave = |LeavingMember { member_id, group_instance_id }| {
            let result = match self.leaving(&member_id, group_instance_id.as_deref()) {
                Ok(found) => {
                    leaving.insert(found);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            LeftMember { member_id, group_instance_id, result }
        };
        let left = members.into_iter().map(&mut leave).collect();
        (left, leaving.into_iter().collect())
    }

    /// A member's partitions as SyncGroup tells them, in the version of the member's own metadata.
    pub(super) fn encoded(&self, member: &ConsumerMember, partitions: &Partitions) -> Bytes {
        let metadata = member.classic.as_ref().and_then(|classic| classic.protocols.first());
        let version =
            metadata.and_then(|(_, metadata)| Subscription::parse(&metadata.0)).map_or(0, |said| said.version);
        let names = self.data.topics.iter().map(|(name, shape)| (shape.id, name));
        let names: std::collections::HashMap<_, _> = names.collect();
        let named = partitions.by_topic().filter_map(|(id, of)| names.get(&id).map(|name| (name.as_ref(), of)));
        encode_assignment(version, named)
    }

    /// `ConsumerGroup.supportsClassicProtocols`: one of the protocols must be every classic member's.
    fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        let classic: Vec<_> = self.data.members.values().filter_map(|member| member.classic.as_ref()).collect();
        let is_common =
            |name: &str| classic.iter().all(|member| member.protocols.iter().any(|(known, _)| known == name));
        protocol_type == CONSUMER_PROTOCOL_TYPE && protocols.iter().any(|(name, _)| is_common(name))
    }

    fn classic_member(&self, member_id: &Arc<str>, request: &JoinRequest) -> Result<Present, JoinError> {
        let Some(instance_id) = &request.group_instance_id else {
            return Ok(self.member(member_id).map_or_else(Present::new, |(_, known)| Present::known(known)));
        };
        let holder = self.static_member(instance_id);
        match holder {
            None if request.member_id.is_empty() => Ok(Present::new()),
            None => Err(JoinError::new(GroupError::UnknownMemberId, member_id)),
            Some((holder_id, holder)) if request.member_id.is_empty() => {
                Ok(Present::rejoining(holder, Some(Arc::clone(holder_id))))
            }
            Some((holder_id, holder)) if holder_id == member_id => Ok(Present::known(holder)),
            Some(_) => Err(JoinError::new(GroupError::FencedInstanceId, member_id)),
        }
    }

    /// The member that a SyncGroup or Heartbeat is of, if it may send them.
    fn validate_classic(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(Arc<str>, Arc<ConsumerMember>), GroupError> {
        let (known_id, member) = match instance_id {
            None => self.member(member_id).ok_or(GroupError::UnknownMemberId)?,
            Some(instance_id) => self.static_member(instance_id).ok_or(GroupError::UnknownMemberId)?,
        };
        if known_id.as_ref() != member_id {
            return Err(GroupError::FencedInstanceId);
        }
        if member.classic.is_none() {
            return Err(GroupError::UnknownMemberId);
        }
        if member.epoch != generation {
            return Err(GroupError::IllegalGeneration);
        }
        Ok((Arc::clone(known_id), Arc::clone(member)))
    }

    fn leaving(&self, member_id: &str, instance_id: Option<&str>) -> Result<Arc<str>, GroupError> {
        let known_id = match instance_id {
            None => self.member(member_id).ok_or(GroupError::UnknownMemberId)?.0,
            Some(instance_id) => {
                let (holder_id, _) = self.static_member(instance_id).ok_or(GroupError::UnknownMemberId)?;
                // An administrator names the instance alone.
                if !member_id.is_empty() && holder_id.as_ref() != member_id {
                    return Err(fenced_instance(member_id, instance_id, holder_id).error);
                }
                holder_id
            }
        };
        Ok(Arc::clone(known_id))
    }

    /// Whether other members still have partitions of the member's target.
    fn waits_for_others(&self, member_id: &str, member: &ConsumerMember) -> bool {
        let others = self.data.members.iter().filter(|(id, _)| id.as_ref() != member_id);
        let awaited = |(topic, partition)| {
            member.target.contains(topic, partition) && !member.assigned.contains(topic, partition)
        };
        others.flat_map(|(_, other)| other.held()).any(awaited)
    }
}

/// The protocol that a classic member named first: the coordinator assigns in its place.
fn first_protocol(member: &ConsumerMember) -> &str {
    member.classic.as_ref().and_then(|classic| classic.protocols.first()).map_or("", |(name, _)| name)
}

/// Partitions by the ids of their topics; those of topics that are gone are left out.
pub(super) fn named_partitions(
    named: &[(String, Vec<i32>)],
    topics: &dyn Topics,
) -> impl Iterator<Item = (TopicId, i32)> {
    let of_topic = |(name, partitions): &(String, Vec<i32>)| {
        let id = topics.shape(name).map(|shape| shape.id);
        id.into_iter().flat_map(|id| partitions.iter().map(move |partition| (id, *partition))).collect::<Vec<_>>()
    };
    named.iter().flat_map(of_topic)
}
