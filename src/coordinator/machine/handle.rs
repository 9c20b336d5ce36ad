//! What each request comes to, for groups of either protocol.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    AnyGroup, Assignor, CommitRequest, ConsumerHeartbeatReply, ConsumerHeartbeatRequest, Cx, DeleteOffsetsRequest,
    DescribedConsumerGroup, Entry, GroupError, HeartbeatRequest, JoinError, JoinReply, JoinRequest, LeaveRequest,
    LeavingMember, LeftMember, Machine, Notice, Now, Output, PartitionResults, Refusal, Reply, Request, SyncRequest,
    TimerKey, Token, consumer, consumer::ConsumerGroup, group::Group, join,
};
use crate::model::{CoordinatorRecord, GroupId, GroupState, OffsetMetadata, TopicPartition, Topics};

impl Machine {
    pub(super) fn request(&mut self, token: Token, request: Request, now: Now, out: &mut Output) {
        let reply = match request {
            Request::Join(request, uuid, topics) => match self.join(request, uuid, &*topics, token, now, out) {
                Some(joined) => Reply::Join(joined),
                None => return,
            },
            Request::Sync(request) => return self.sync(request, token, now, out),
            Request::Heartbeat(request) => Reply::Heartbeat(self.heartbeat(&request, now, out)),
            Request::Leave(request) => Reply::Leave(self.leave(request, now, out)),
            Request::Commit(request) => Reply::Commit(self.commit(request, now, out)),
            Request::DeleteOffsets(request) => Reply::DeleteOffsets(self.delete_offsets(request, now, out)),
            Request::ConsumerHeartbeat(request, uuid, topics) => {
                Reply::ConsumerHeartbeat(self.consumer_heartbeat(*request, uuid, &*topics, now, out))
            }
            Request::DescribeConsumer(group_ids, topics) => {
                let describe = |group_id: &GroupId| self.describe_consumer(group_id, &*topics);
                Reply::DescribeConsumer(Ok(group_ids.iter().map(describe).collect()))
            }
            Request::Describe(group_ids) => Reply::Describe(Ok(self.describe(group_ids))),
            Request::List(request) => Reply::List(Ok(self.list(&request))),
            Request::DeleteGroup(group_id, offsets) => {
                Reply::DeleteGroup(self.delete_group(&group_id, offsets, now, out))
            }
            Request::CountStates => Reply::CountStates(Ok(self.count_states())),
        };
        out.replies.push((token, reply));
    }

    /// None when the answer has come, or comes later.
    fn join(
        &mut self,
        request: JoinRequest,
        uuid: Uuid,
        topics: &dyn Topics,
        token: Token,
        now: Now,
        out: &mut Output,
    ) -> Option<Result<JoinReply, JoinError>> {
        let group_id = Arc::clone(&request.group_id);
        let (min_ms, max_ms) = (self.config.session_timeout_min_ms, self.config.session_timeout_max_ms);
        let refuse = |error| Some(Err(JoinError::new(error, &request.member_id)));
        if group_id.is_empty() {
            return refuse(GroupError::InvalidGroupId);
        }
        if !join::session_timeout_in_range(request.session_timeout_ms, min_ms, max_ms) {
            return refuse(GroupError::InvalidSessionTimeout);
        }
        match self.groups.get_mut(&group_id) {
            Some(AnyGroup::Consumer(group)) if !group.is_empty() => {
                let replaces_modern = group.has_modern_instance(request.group_instance_id.as_deref());
                let joined =
                    self.with_consumer(&group_id, now, out, |group, cx| group.join_classic(request, uuid, topics, cx));
                // A static member took the place of perhaps the last one of the consumer protocol.
                if replaces_modern && matches!(joined, Some(Ok(_))) {
                    self.downgrade(&group_id, &[], now, out);
                }
                return joined;
            }
            // Nothing is stored yet: should the gateway end now, the group is an empty one of the other protocol again.
            Some(any @ AnyGroup::Consumer(_)) if join::can_found_group(&request.protocol_type, &request.protocols) => {
                let (stored, has_offsets) = (any.is_stored(), any.has_offsets());
                let group = Group::new(Arc::clone(&group_id), now.wall_ms);
                *any = AnyGroup::classic(group.in_place_of(stored, has_offsets));
            }
            Some(AnyGroup::Consumer(_)) => return refuse(GroupError::InconsistentGroupProtocol),
            Some(AnyGroup::Classic(_)) => {}
            None if !request.member_id.is_empty() => return refuse(GroupError::UnknownMemberId),
            None if !join::can_found_group(&request.protocol_type, &request.protocols) => {
                return refuse(GroupError::InconsistentGroupProtocol);
            }
            None => {
                let group = AnyGroup::classic(Group::new(Arc::clone(&group_id), now.wall_ms));
                self.groups.insert(Arc::clone(&group_id), group);
            }
        }
        self.with_classic(&group_id, now, out, |group, cx| group.join(request, uuid, token, cx));
        None
    }

    fn sync(&mut self, request: SyncRequest, token: Token, now: Now, out: &mut Output) {
        let group_id = Arc::clone(&request.group_id);
        let result = match self.groups.get(&group_id) {
            Some(AnyGroup::Classic(_)) => {
                self.with_classic(&group_id, now, out, |group, cx| group.sync(request, token, cx));
                return;
            }
            Some(AnyGroup::Consumer(_)) => {
                let synced = self.with_consumer(&group_id, now, out, |group, cx| group.sync_classic(&request, cx));
                synced.unwrap_or(Err(GroupError::UnknownMemberId))
            }
            None if group_id.is_empty() => Err(GroupError::InvalidGroupId),
            None => Err(GroupError::UnknownMemberId),
        };
        out.replies.push((token, Reply::Sync(result)));
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now, out: &mut Output) -> Result<(), GroupError> {
        require_group_id(&request.group_id)?;
        let beat = match self.groups.get(&request.group_id) {
            Some(AnyGroup::Consumer(_)) => {
                self.with_consumer(&request.group_id, now, out, |group, cx| group.heartbeat_classic(request, cx))
            }
            _ => self.with_classic(&request.group_id, now, out, |group, cx| group.heartbeat(request, cx)),
        };
        beat.unwrap_or(Err(GroupError::UnknownMemberId))
    }

    fn leave(&mut self, request: LeaveRequest, now: Now, out: &mut Output) -> Result<Vec<LeftMember>, GroupError> {
        require_group_id(&request.group_id)?;
        match self.groups.get(&request.group_id) {
            Some(AnyGroup::Classic(_)) => {
                let left = self.with_classic(&request.group_id, now, out, |group, cx| group.leave(request.members, cx));
                Ok(left.unwrap_or_default())
            }
            Some(AnyGroup::Consumer(group)) => {
                let (left, leaving) = group.leave_classic(request.members);
                self.remove_members(&request.group_id, &leaving, "left", now, out);
                Ok(left)
            }
            None => {
                let unknown = |LeavingMember { member_id, group_instance_id }| {
                    let result = Err(GroupError::UnknownMemberId);
                    LeftMember { member_id, group_instance_id, result }
                };
                Ok(request.members.into_iter().map(unknown).collect())
            }
        }
    }

    fn consumer_heartbeat(
        &mut self,
        request: ConsumerHeartbeatRequest,
        uuid: Uuid,
        topics: &dyn Topics,
        now: Now,
        out: &mut Output,
    ) -> Result<ConsumerHeartbeatReply, Refusal> {
        self.validate(&request)?;
        let group_id = Arc::clone(&request.group_id);
        if request.member_epoch < 0 {
            let left = self.with_consumer(&group_id, now, out, |group, cx| group.leave(&request, cx));
            let (reply, leaving) = left.unwrap_or_else(|| Err(self.not_a_consumer_group(&group_id, "Group")))?;
            self.remove_members(&group_id, leaving.as_slice(), "left", now, out);
            return Ok(reply);
        }
        // Only members of version 0 come without an id.
        let member_id =
            if request.member_id.is_empty() { Arc::from(uuid.to_string()) } else { Arc::clone(&request.member_id) };
        if request.member_epoch == 0 && !matches!(self.groups.get(&group_id), Some(AnyGroup::Consumer(_))) {
            return self.found_consumer_group(member_id, request, topics, now, out);
        }
        let beat = self.with_consumer(&group_id, now, out, |group, cx| group.heartbeat(member_id, request, topics, cx));
        beat.unwrap_or_else(|| Err(self.not_a_consumer_group(&group_id, "Consumer group")))
    }

    fn validate(&self, request: &ConsumerHeartbeatRequest) -> Result<(), Refusal> {
        request.validate()?;
        let supported = &self.config.consumer.assignors;
        let is_supported = |name: &String| supported.iter().any(|assignor| assignor.name() == name);
        match &request.assignor {
            Some(name) if !is_supported(name) => {
                let names: Vec<_> = supported.iter().copied().map(Assignor::name).collect();
                let message =
                    format!("ServerAssignor {name} is not supported. Supported assignors: {}.", names.join(", "));
                Err(Refusal::new(GroupError::UnsupportedAssignor, message))
            }
            _ => Ok(()),
        }
    }

    /// A member joins a group that is not one of the consumer protocol yet: it becomes one if the member is taken, and stays
    /// what it is if not.
    fn found_consumer_group(
        &mut self,
        member_id: Arc<str>,
        request: ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        now: Now,
        out: &mut Output,
    ) -> Result<ConsumerHeartbeatReply, Refusal> {
        let group_id = Arc::clone(&request.group_id);
        let mut founded = ConsumerGroup::new(Arc::clone(&group_id));
        let mut is_upgrade = false;
        if let Some(AnyGroup::Classic(group)) = self.groups.get(&group_id) {
            founded = founded.in_place_of(group.stored, group.has_offsets);
            is_upgrade = group.state != GroupState::Empty;
            if is_upgrade {
                let (epoch, data) = consumer::upgraded(group, topics, &self.config)?;
                founded.replay(epoch, &data, &mut self.timers);
            }
        }
        let mut cx = Cx { config: &self.config, timers: &mut self.timers, out, now };
        let reply = founded.heartbeat(member_id, request, topics, &mut cx)?;
        founded.resume(&mut cx);
        self.with_classic(&group_id, now, out, |group, cx| group.interrupt(cx));
        self.drop_group(&group_id);
        if is_upgrade {
            out.notices.push(Notice::ProtocolChanged { group: Arc::clone(&group_id), to: "consumer" });
        }
        self.groups.insert(group_id, AnyGroup::consumer(founded));
        Ok(reply)
    }

    /// Removes members of a group of the consumer protocol, which may leave a classic group.
    fn remove_members(
        &mut self,
        group_id: &GroupId,
        member_ids: &[Arc<str>],
        reason: &'static str,
        now: Now,
        out: &mut Output,
    ) {
        if member_ids.is_empty() {
            return;
        }
        if !self.downgrade(group_id, member_ids, now, out) {
            self.with_consumer(group_id, now, out, |group, cx| group.remove_members(member_ids, reason, cx));
        }
        for member_id in member_ids {
            let (group, member) = (Arc::clone(group_id), Arc::clone(member_id));
            out.notices.push(Notice::MemberRemoved { group, member, reason });
        }
    }

    /// Makes the group a classic one if without `leaving` it has only members of that protocol.
    fn downgrade(&mut self, group_id: &GroupId, leaving: &[Arc<str>], now: Now, out: &mut Output) -> bool {
        let Some(AnyGroup::Consumer(group)) = self.groups.get(group_id) else { return false };
        let Some(value) = group.downgraded(leaving, now.wall_ms, &self.config) else { return false };
        let group = Arc::clone(group_id);
        let record = CoordinatorRecord::Group { group: Arc::clone(&group), value: Some(value) };
        self.replay(&record, now);
        out.records.push(record);
        self.with_classic(&group, now, out, |group, cx| group.resume(cx));
        out.notices.push(Notice::ProtocolChanged { group, to: "classic" });
        true
    }

    /// Kafka names what does not exist differently from API to API.
    fn not_a_consumer_group(&self, group_id: &GroupId, name: &str) -> Refusal {
        let message = match self.groups.get(group_id) {
            Some(_) => format!("Group {group_id} is not a consumer group."),
            None => format!("{name} {group_id} not found."),
        };
        Refusal::new(GroupError::GroupIdNotFound, message)
    }

    fn describe_consumer(&self, group_id: &GroupId, topics: &dyn Topics) -> Result<DescribedConsumerGroup, Refusal> {
        match self.groups.get(group_id) {
            Some(AnyGroup::Consumer(group)) => Ok(group.describe(topics, &self.config)),
            None if group_id.is_empty() => Err(Refusal::new(GroupError::InvalidGroupId, "")),
            Some(AnyGroup::Classic(_)) | None => Err(self.not_a_consumer_group(group_id, "Group")),
        }
    }

    fn commit(&mut self, request: CommitRequest, now: Now, out: &mut Output) -> Result<PartitionResults, GroupError> {
        let group_id = Arc::clone(&request.group_id);
        if let Some(AnyGroup::Consumer(_)) = self.groups.get(&group_id) {
            let committed = self.with_consumer(&group_id, now, out, |group, cx| group.commit(request, cx));
            return committed.unwrap_or(Err(GroupError::GroupIdNotFound));
        }
        if !self.groups.contains_key(&group_id) {
            if request.generation >= 0 {
                return Err(GroupError::GroupIdNotFound);
            }
            // A group of a consumer that assigns its partitions itself: it exists by its offsets.
            let group = AnyGroup::classic(Group::new(Arc::clone(&group_id), now.wall_ms));
            self.groups.insert(Arc::clone(&group_id), group);
        }
        let committed = self.with_classic(&group_id, now, out, |group, cx| group.commit(request, cx));
        committed.unwrap_or(Err(GroupError::GroupIdNotFound))
    }

    fn delete_offsets(
        &mut self,
        request: DeleteOffsetsRequest,
        now: Now,
        out: &mut Output,
    ) -> Result<PartitionResults, GroupError> {
        require_group_id(&request.group_id)?;
        let DeleteOffsetsRequest { group_id, partitions } = request;
        if let Some(AnyGroup::Consumer(_)) = self.groups.get(&group_id) {
            let deleted = self.with_consumer(&group_id, now, out, |group, cx| group.delete_offsets(partitions, cx));
            return Ok(deleted.unwrap_or_default());
        }
        let deleted = self.with_classic(&group_id, now, out, |group, cx| group.delete_offsets(partitions, cx));
        deleted.unwrap_or(Err(GroupError::GroupIdNotFound))
    }

    fn delete_group(
        &mut self,
        group_id: &GroupId,
        offsets: Vec<TopicPartition>,
        now: Now,
        out: &mut Output,
    ) -> Result<(), GroupError> {
        let group = self.groups.get(group_id).ok_or(GroupError::GroupIdNotFound)?;
        if !group.is_empty() {
            return Err(GroupError::NonEmptyGroup);
        }
        self.forget_offsets(group_id, offsets, now, out);
        self.remove_group(group_id, "deleted on request", now, out);
        Ok(())
    }

    pub(super) fn forget_offsets(
        &mut self,
        group_id: &GroupId,
        partitions: Vec<TopicPartition>,
        now: Now,
        out: &mut Output,
    ) {
        if let Some(AnyGroup::Consumer(_)) = self.groups.get(group_id) {
            self.with_consumer(group_id, now, out, |group, cx| group.forget_offsets(partitions, cx));
        } else {
            self.with_classic(group_id, now, out, |group, cx| group.forget_offsets(partitions, cx));
        }
    }

    pub(super) fn expire_offsets(
        &mut self,
        group_id: &GroupId,
        offsets: Vec<(TopicPartition, OffsetMetadata)>,
        now: Now,
        out: &mut Output,
    ) {
        let before = out.records.len();
        let nothing_left = if let Some(AnyGroup::Consumer(_)) = self.groups.get(group_id) {
            self.with_consumer(group_id, now, out, |group, cx| group.expire_offsets(offsets, cx) && group.is_empty())
        } else {
            self.with_classic(group_id, now, out, |group, cx| {
                let none_left = group.expire_offsets(offsets, cx);
                none_left && group.state == GroupState::Empty && group.pending_join.is_empty()
            })
        };
        let count = out.records.len() - before;
        if count > 0 {
            out.notices.push(Notice::OffsetsExpired { group: Arc::clone(group_id), offsets: count });
        }
        if nothing_left == Some(true) {
            self.remove_group(group_id, "empty and without offsets", now, out);
        }
    }

    /// Removes a group that has nothing left, with a record if it was ever stored.
    fn remove_group(&mut self, group_id: &GroupId, reason: &'static str, now: Now, out: &mut Output) {
        if self.groups.get(group_id).is_some_and(AnyGroup::is_stored) {
            let record = CoordinatorRecord::Group { group: Arc::clone(group_id), value: None };
            self.replay(&record, now);
            out.records.push(record);
        } else {
            self.drop_group(group_id);
        }
        out.notices.push(Notice::GroupDeleted { group: Arc::clone(group_id), reason });
    }

    pub(super) fn on_timer(&mut self, entry: Entry, key: TimerKey, now: Now, out: &mut Output) {
        let group_id = Arc::clone(key.group());
        if let Some(AnyGroup::Consumer(_)) = self.groups.get(&group_id) {
            let due = self.with_consumer(&group_id, now, out, |group, cx| group.on_timer(entry, key, cx)).flatten();
            if let Some((member_id, reason)) = due {
                self.remove_members(&group_id, &[member_id], reason, now, out);
            }
        } else {
            self.with_classic(&group_id, now, out, |group, cx| group.on_timer(entry, key, cx));
        }
    }
}

/// The APIs of group membership do not take the empty group id, those of offsets do.
fn require_group_id(group_id: &str) -> Result<(), GroupError> {
    if group_id.is_empty() { Err(GroupError::InvalidGroupId) } else { Ok(()) }
}
