//! ConsumerGroupHeartbeat of members that join or stay (`GroupMetadataManager.consumerGroupHeartbeat`).
//!
//! Where this is kinder than Kafka 4.1: a member that joins with epoch 0 although the group knows it, because it was fenced or
//! an answer was lost, is let in again at once (KAFKA-19233); there it is fenced, or its instance id refused, until its old
//! session has run out.

use std::{collections::HashSet, sync::Arc};

use super::super::{
    ConsumerGroupState, ConsumerHeartbeatReply, ConsumerHeartbeatRequest, Cx, GroupError, Notice, Refusal,
    group::{GROUP_BYTES_MAX, MEMBER_BYTES_MAX},
};
use super::{
    Assignor, ConsumerGroup,
    reconcile::reconcile,
    said_bytes,
    subscription::{self, Expressions},
};
use crate::model::{ConsumerGroupMetadata, ConsumerMember, MemberState, Partitions, TopicId, Topics};

/// A member before a request changes it.
pub(super) struct Present {
    /// As the group knows it, or the static member whose place it takes; none for one that is new.
    pub known: Option<Arc<ConsumerMember>>,
    /// What the request changes: a copy of that, or a new one.
    pub member: ConsumerMember,
    /// The static member whose place it takes.
    pub replaces: Option<Arc<str>>,
}

impl ConsumerGroup {
    /// Takes a heartbeat with an epoch from 0 on.
    pub fn heartbeat(
        &mut self,
        member_id: Arc<str>,
        request: ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        cx: &mut Cx<'_>,
    ) -> Result<ConsumerHeartbeatReply, Refusal> {
        if self.data.members.len() >= cx.config.consumer.size_max && self.member(&member_id).is_none() {
            let message = format!(
                "The consumer group has reached its maximum capacity of {} members.",
                cx.config.consumer.size_max
            );
            return Err(Refusal::new(GroupError::GroupMaxSizeReached, message));
        }
        if let Some(reply) = self.settled(&member_id, &request, topics.version(), cx) {
            return Ok(reply);
        }
        let mut present = match request.group_instance_id.clone() {
            None => self.dynamic_member(&member_id, &request)?,
            Some(instance_id) => self.static_member_of(&member_id, &instance_id, &request)?,
        };
        present.member = updated(present.member, &request)?;
        let is_full = request.member_epoch == 0 || request.is_full();
        let owned = request.owned.as_ref();
        let known = present.known.clone();
        self.advance(&member_id, present, owned, topics, cx)?;
        self.schedule_session(&member_id, cx);
        let Some((_, member)) = self.member(&member_id) else { return Err(self.unknown_member(&member_id)) };
        let tells_assignment = is_full || known.is_none_or(|known| known.assigned != member.assigned);
        Ok(ConsumerHeartbeatReply {
            member_id,
            member_epoch: member.epoch,
            heartbeat_interval_ms: cx.config.consumer.heartbeat_interval_ms_of(&self.id),
            assignment: tells_assignment.then(|| member.assigned.clone()),
        })
    }

    /// The answer to a heartbeat that says nothing new of a member that is where it shall be. Nearly all are like this: nothing
    /// is copied for them but an assignment that the member asks for.
    fn settled(
        &mut self,
        member_id: &Arc<str>,
        request: &ConsumerHeartbeatRequest,
        topics_version: u64,
        cx: &mut Cx<'_>,
    ) -> Option<ConsumerHeartbeatReply> {
        let is_settled = self.topics_version == Some(topics_version) && self.data.assignment_epoch == self.epoch;
        let (_, member) = self.member(member_id).filter(|_| is_settled)?;
        let is_at_target = member.is_reconciled_to(self.epoch) && request.member_epoch == member.epoch;
        if !is_at_target || !says_nothing_new(member, request) {
            return None;
        }
        let reply = ConsumerHeartbeatReply {
            member_id: Arc::clone(member_id),
            member_epoch: member.epoch,
            heartbeat_interval_ms: cx.config.consumer.heartbeat_interval_ms_of(&self.id),
            assignment: request.is_full().then(|| member.assigned.clone()),
        };
        self.schedule_session(member_id, cx);
        Some(reply)
    }

    /// Puts a member in its new form into the group: raises the epoch if that or the topics ask for it, assigns if the epoch is
    /// ahead, and takes the member a step towards its target. Writes a record if any of it changed anything.
    pub(super) fn advance(
        &mut self,
        member_id: &Arc<str>,
        present: Present,
        owned: Option<&Partitions>,
        topics: &dyn Topics,
        cx: &mut Cx<'_>,
    ) -> Result<(), Refusal> {
        let Present { known, member, replaces } = present;
        let topics_version = topics.version();
        let is_settled = self.topics_version == Some(topics_version) && self.data.assignment_epoch == self.epoch;
        if is_settled && replaces.is_none() && known.as_deref() == Some(&member) {
            // Whoever waits, for others or for itself to give something back, asks again and again.
            let after = reconciled(&self.data, member_id, owned);
            if after.is_none_or(|after| after == member) {
                return Ok(());
            }
        }
        // Who joins and wants nothing makes nobody wait.
        let subscribes_anew = match &known {
            Some(known) => known.topics != member.topics || known.regex != member.regex,
            None => !member.topics.is_empty() || !member.regex.is_empty(),
        };
        let was_stable = known.is_some() && self.state() == ConsumerGroupState::Stable;
        let mut data = self.data.clone();
        if let Some(replaced) = &replaces {
            data.members.remove(replaced);
        }
        data.members.insert(Arc::clone(member_id), Arc::new(member));
        self.check_room(&data, member_id)?;
        let mut epoch = self.epoch;
        if epoch == 0 || subscribes_anew || self.topics_version != Some(topics_version) {
            let subscribed = Expressions::of(&data.members).subscribed(&data.members, topics);
            if epoch == 0 || subscribes_anew || subscribed != data.topics {
                epoch = next_epoch(epoch)?;
                data.topics = subscribed;
            }
        }
        if epoch != self.epoch {
            let (group, generation) = (Arc::clone(&self.id), epoch);
            let reason = "subscriptions or topics changed";
            cx.out.notices.push(Notice::RebalanceStarted { group, generation, reason });
        }
        if epoch > data.assignment_epoch {
            Assignor::preferred(&data.members, &cx.config.consumer.assignors).assign(&mut data);
            data.assignment_epoch = epoch;
            let (group, members) = (Arc::clone(&self.id), data.members.len());
            cx.out.notices.push(Notice::TargetAssigned { group, epoch, members });
        }
        if let Some(after) = reconciled(&data, member_id, owned) {
            data.members.insert(Arc::clone(member_id), Arc::new(after));
        }
        let after = data.members.get(member_id).map(Arc::clone).unwrap_or_default();
        self.topics_version = Some(topics_version);
        if data != self.data || epoch != self.epoch {
            self.persist(epoch, data, cx);
            if !was_stable && self.state() == ConsumerGroupState::Stable {
                let (group, members) = (Arc::clone(&self.id), self.data.members.len());
                cx.out.notices.push(Notice::RebalanceCompleted { group, generation: epoch, members });
            }
        }
        if after.classic.is_none() {
            match after.state {
                MemberState::UnrevokedPartitions => {
                    let is_same_step =
                        known.is_some_and(|known| known.state == after.state && known.epoch == after.epoch);
                    if !is_same_step {
                        self.schedule_progress(member_id, after.rebalance_timeout_ms, cx);
                    }
                }
                MemberState::Stable | MemberState::UnreleasedPartitions => self.cancel_progress(member_id, cx),
            }
        }
        Ok(())
    }

    /// Whether what a member says now can be stored beside what the others say; one that says no more than before always can.
    fn check_room(&self, data: &ConsumerGroupMetadata, member_id: &str) -> Result<(), Refusal> {
        let said_by = |data: &ConsumerGroupMetadata| {
            data.members.get(member_id).map_or(0, |member| said_bytes(member_id, member))
        };
        let said = said_by(data);
        if said <= said_by(&self.data) {
            return Ok(());
        }
        let all: usize = data.members.iter().map(|(member_id, member)| said_bytes(member_id, member)).sum();
        if said <= MEMBER_BYTES_MAX && all <= GROUP_BYTES_MAX {
            return Ok(());
        }
        let message = "The members of the group say more than can be stored together.";
        Err(Refusal::new(GroupError::GroupMaxSizeReached, message))
    }

    fn dynamic_member(&self, member_id: &str, request: &ConsumerHeartbeatRequest) -> Result<Present, Refusal> {
        match self.member(member_id) {
            Some((_, known)) if request.member_epoch == 0 => Ok(Present::rejoining(known, None)),
            Some((_, known)) => {
                check_epoch(known, request)?;
                Ok(Present::known(known))
            }
            None if request.member_epoch == 0 => Ok(Present::new()),
            None => Err(self.unknown_member(member_id)),
        }
    }

    fn static_member_of(
        &self,
        member_id: &Arc<str>,
        instance_id: &Arc<str>,
        request: &ConsumerHeartbeatRequest,
    ) -> Result<Present, Refusal> {
        let Some((holder_id, holder)) = self.static_member(instance_id) else {
            if request.member_epoch == 0 {
                return Ok(Present::new());
            }
            return Err(Refusal::new(GroupError::UnknownMemberId, format!("Instance id {instance_id} is unknown.")));
        };
        let is_same = holder_id == member_id;
        if request.member_epoch == 0 {
            let is_released = holder.epoch == LEFT_FOR_A_WHILE || holder.classic.is_some();
            if !is_same && !is_released {
                let message = format!(
                    "Static member {member_id} with instance id {instance_id} cannot join the group because the instance id is \
                     owned by {holder_id} member."
                );
                return Err(Refusal::new(GroupError::UnreleasedInstanceId, message));
            }
            return Ok(Present::rejoining(holder, (!is_same).then(|| Arc::clone(holder_id))));
        }
        if !is_same {
            return Err(fenced_instance(member_id, instance_id, holder_id));
        }
        check_epoch(holder, request)?;
        Ok(Present::known(holder))
    }

    pub(super) fn unknown_member(&self, member_id: &str) -> Refusal {
        let message = format!("Member {member_id} is not a member of group {}.", self.id);
        Refusal::new(GroupError::UnknownMemberId, message)
    }
}

impl Present {
    pub(super) fn new() -> Self {
        Self { known: None, member: ConsumerMember::default(), replaces: None }
    }

    pub(super) fn known(member: &Arc<ConsumerMember>) -> Self {
        Self { known: Some(Arc::clone(member)), member: ConsumerMember::clone(member), replaces: None }
    }

    /// A member that begins anew and uses nothing; what was assigned to it stays its own.
    pub(super) fn rejoining(member: &Arc<ConsumerMember>, replaces: Option<Arc<str>>) -> Self {
        let anew = ConsumerMember {
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            revoking: Partitions::default(),
            ..ConsumerMember::clone(member)
        };
        Self { known: Some(Arc::clone(member)), member: anew, replaces }
    }
}

/// The member as far as it gets towards its target; none when it is there.
fn reconciled(data: &ConsumerGroupMetadata, member_id: &str, owned: Option<&Partitions>) -> Option<ConsumerMember> {
    let member = data.members.get(member_id).filter(|member| !member.is_reconciled_to(data.assignment_epoch))?;
    let is_wanted = |(topic, partition): &(TopicId, i32)| !member.assigned.contains(*topic, *partition);
    let wanted: HashSet<_> = member.target.iter().filter(is_wanted).collect();
    let mut held = HashSet::new();
    if !wanted.is_empty() {
        let others = data.members.iter().filter(|(id, _)| id.as_ref() != member_id);
        held.extend(others.flat_map(|(_, other)| other.held()).filter(|partition| wanted.contains(partition)));
    }
    let is_free = |topic, partition| !held.contains(&(topic, partition));
    Some(reconcile(member, data.assignment_epoch, owned, is_free))
}

/// Whether a heartbeat leaves a member of the consumer protocol as it is.
fn says_nothing_new(member: &ConsumerMember, request: &ConsumerHeartbeatRequest) -> bool {
    fn is_same<T: PartialEq>(said: Option<&T>, known: &T) -> bool {
        said.is_none_or(|said| said == known)
    }
    member.classic.is_none()
        && (request.group_instance_id.is_none() || request.group_instance_id == member.group_instance_id)
        && (request.rack_id.is_none() || request.rack_id == member.rack_id)
        && request.client_id == member.client_id
        && request.client_host == member.client_host
        && is_same(request.rebalance_timeout_ms.as_ref(), &member.rebalance_timeout_ms)
        && is_same(request.topics.as_ref(), &member.topics)
        && is_same(request.regex.as_ref(), &member.regex)
        && (request.assignor.is_none() || request.assignor == member.assignor)
}

/// The member as the request has it: what it does not say stays.
fn updated(member: ConsumerMember, request: &ConsumerHeartbeatRequest) -> Result<ConsumerMember, Refusal> {
    let regex = match &request.regex {
        Some(regex) if *regex != member.regex && !regex.is_empty() => {
            subscription::validate(regex).map_err(|error| {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                let message = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}.");
                Refusal::new(GroupError::InvalidRegularExpression, message)
            })?;
            regex.clone()
        }
        Some(regex) => regex.clone(),
        None => member.regex.clone(),
    };
    Ok(ConsumerMember {
        group_instance_id: request.group_instance_id.clone().or(member.group_instance_id),
        rack_id: request.rack_id.clone().or(member.rack_id),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        rebalance_timeout_ms: request.rebalance_timeout_ms.unwrap_or(member.rebalance_timeout_ms),
        topics: request.topics.clone().unwrap_or(member.topics),
        regex,
        assignor: request.assignor.clone().or(member.assignor),
        classic: None,
        ..member
    })
}

/// `GroupMetadataManager.throwIfConsumerGroupMemberEpochIsInvalid`: the epoch before is as good when the answer with the
/// present one may have been lost.
fn check_epoch(member: &ConsumerMember, request: &ConsumerHeartbeatRequest) -> Result<(), Refusal> {
    let (received, known) = (request.member_epoch, member.epoch);
    let owns_only_assigned = || request.owned.as_ref().is_some_and(|owned| owned.is_subset(&member.assigned));
    let than = match received.cmp(&known) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less if received == member.previous_epoch && owns_only_assigned() => return Ok(()),
        std::cmp::Ordering::Less => "smaller",
        std::cmp::Ordering::Greater => "greater",
    };
    let message = format!(
        "The consumer group member has a {than} member epoch ({received}) than the one known by the group coordinator \
         ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refusal::new(GroupError::FencedMemberEpoch, message))
}

pub(super) fn fenced_instance(member_id: &str, instance_id: &str, holder_id: &str) -> Refusal {
    let message = format!("Static member {member_id} with instance id {instance_id} was fenced by member {holder_id}.");
    Refusal::new(GroupError::FencedInstanceId, message)
}

/// Epochs do not wrap: after two thousand million rebalances a group is at its end.
pub(super) fn next_epoch(epoch: i32) -> Result<i32, Refusal> {
    epoch
        .checked_add(1)
        .ok_or_else(|| Refusal::new(GroupError::CoordinatorNotAvailable, "The group's epochs are used up."))
}

/// The epoch of a static member that has left and means to come back (`LEAVE_GROUP_STATIC_MEMBER_EPOCH`).
pub(super) const LEFT_FOR_A_WHILE: i32 = -2;
