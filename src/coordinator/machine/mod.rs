//! The group coordinator without its surroundings: an event and a time go in, records and replies come out.
//!
//! ```text
//! Event ──▶ Machine::step ──▶ Output { records, replies, notices }
//! records ──▶ storage ──▶ Machine::restore      (a restart takes the path of a live request)
//! ```
//!
//! Durable state changes by records alone, which are applied in the step that makes them, so that the next event sees
//! them. The caller stores them before it lets the replies out, and rebuilds the machine when it could not.
//! Groups of the consumer protocol (KIP-848) become a second kind beside [`group::Group`].

mod describe;
mod group;
mod join;
mod membership;
mod offsets;
mod reply;
mod request;
mod subscription;
mod sync;
mod timers;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

pub use reply::*;
pub use request::*;

use self::{
    group::Group,
    timers::{Entry, TimerKey, Timers},
};
use crate::model::{
    CoordinatorRecord, GroupId, GroupMetadata, GroupState, MemberMetadata, OffsetMetadata, TopicPartition,
};

/// The settings that decide what happens in a group.
#[derive(Clone, Debug)]
pub struct Config {
    pub session_timeout_min_ms: u64,
    pub session_timeout_max_ms: u64,
    pub initial_rebalance_delay_ms: u64,
    /// Members of a group at most.
    pub size_max: usize,
    /// Length of an offset's metadata at most, in UTF-16 units.
    pub offset_metadata_max: usize,
    pub offsets_retention_ms: i64,
}

/// What an event led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// To be stored, all or none, before the replies go out.
    pub records: Vec<CoordinatorRecord>,
    /// Answers to this event's request and to earlier ones that waited.
    pub replies: Vec<(Token, Reply)>,
    /// For logs and metrics.
    pub notices: Vec<Notice>,
}

/// Something happened that no reply tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    RebalanceStarted { group: GroupId, generation: i32, reason: &'static str },
    RebalanceCompleted { group: GroupId, generation: i32, members: usize },
    MemberRemoved { group: GroupId, member: Arc<str>, reason: &'static str },
    OffsetsExpired { group: GroupId, offsets: usize },
    GroupDeleted { group: GroupId, reason: &'static str },
}

/// All groups of one shard.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    groups: HashMap<GroupId, Group>,
    timers: Timers,
}

/// What a step works with beside the group.
struct Cx<'a> {
    config: &'a Config,
    timers: &'a mut Timers,
    out: &'a mut Output,
    now: Now,
}

/// About how much a record is to store: what clients decide of its size, and something for the rest.
pub(super) fn record_bytes(record: &CoordinatorRecord) -> usize {
    let bytes = match record {
        CoordinatorRecord::Group { value: Some(value), .. } => value.members.iter().map(member_bytes).sum(),
        CoordinatorRecord::Offset { group, partition, value } => {
            group.len() + partition.topic.len() + value.as_ref().map_or(0, |value| value.metadata.len())
        }
        CoordinatorRecord::Group { group, value: None } => group.len(),
    };
    bytes + RECORD_OVERHEAD_BYTES
}

fn member_bytes(member: &MemberMetadata) -> usize {
    group::said_bytes(member) + member.assignment.0.len()
}

/// Records of one append, about: a timer's round ends and a batch is stored when they pass it. With the largest group
/// on top, base64 and escapes included, an append stays below the 256 MiB of a journal frame.
pub(super) const RECORDS_BYTES_MAX: usize = 16 << 20;

const RECORD_OVERHEAD_BYTES: usize = 128;

impl Machine {
    /// Builds the machine from what is stored: the last record of each group, and every group that has offsets. Members
    /// have their whole session before them, in the generation that they were in.
    pub fn restore(config: Config, stored: Vec<GroupMetadata>, with_offsets: Vec<GroupId>, now: Now) -> Self {
        let mut machine = Self { config, groups: HashMap::new(), timers: Timers::default() };
        for value in &stored {
            machine.replay(
                &CoordinatorRecord::Group { group: Arc::clone(&value.group_id), value: Some(value.clone()) },
                now,
            );
        }
        for group_id in with_offsets {
            let new = || Group::new(Arc::clone(&group_id), now.wall_ms);
            machine.groups.entry(Arc::clone(&group_id)).or_insert_with(new).has_offsets = true;
        }
        machine.resume(now);
        machine
    }

    /// Handles one event. The time may not go back from one event to the next.
    pub fn step(&mut self, event: Event, now: Now) -> Output {
        let mut out = Output::default();
        match event {
            Event::Request(token, request) => self.request(token, request, now, &mut out),
            Event::Timers => self.run_timers(now, &mut out),
            Event::ForgetOffsets(group_id, partitions) => {
                self.with_group(&group_id, now, &mut out, |group, cx| group.forget_offsets(partitions, cx));
            }
            Event::ExpireOffsets(group_id, offsets) => self.expire_offsets(&group_id, offsets, now, &mut out),
        }
        out
    }

    /// When [`Event::Timers`] is next needed, on the monotonic clock.
    pub fn next_timer_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// Every group, in no order.
    pub fn group_ids(&self) -> impl Iterator<Item = &GroupId> {
        self.groups.keys()
    }

    /// Whether [`Event::ExpireOffsets`] could do anything to the group.
    pub fn may_expire(&self, group_id: &str) -> bool {
        self.groups.get(group_id).is_some_and(Group::may_expire_offsets)
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The durable state as the machine has it, of groups that are not in a join phase.
    #[cfg(test)]
    pub(crate) fn durable(&self) -> std::collections::BTreeMap<GroupId, GroupMetadata> {
        let durable =
            self.groups.values().filter(|group| group.stored && group.state != GroupState::PreparingRebalance);
        durable.map(|group| (Arc::clone(&group.id), group.metadata())).collect()
    }

    fn request(&mut self, token: Token, request: Request, now: Now, out: &mut Output) {
        let reply = match request {
            Request::Join(request, uuid) => return self.join(request, uuid, token, now, out),
            Request::Sync(request) => {
                let group_id = Arc::clone(&request.group_id);
                if self.with_group(&group_id, now, out, |group, cx| group.sync(request, token, cx)).is_some() {
                    return;
                }
                let known = if group_id.is_empty() { GroupError::InvalidGroupId } else { GroupError::UnknownMemberId };
                Reply::Sync(Err(known))
            }
            Request::Heartbeat(request) => Reply::Heartbeat(self.heartbeat(&request, now, out)),
            Request::Leave(request) => Reply::Leave(self.leave(request, now, out)),
            Request::Commit(request) => Reply::Commit(self.commit(request, now, out)),
            Request::DeleteOffsets(request) => Reply::DeleteOffsets(self.delete_offsets(request, now, out)),
            Request::Describe(group_ids) => Reply::Describe(Ok(self.describe(group_ids))),
            Request::List(request) => Reply::List(Ok(self.list(&request))),
            Request::DeleteGroup(group_id, offsets) => {
                Reply::DeleteGroup(self.delete_group(&group_id, offsets, now, out))
            }
            Request::CountStates => Reply::CountStates(Ok(self.count_states())),
        };
        out.replies.push((token, reply));
    }

    fn join(&mut self, request: JoinRequest, uuid: Uuid, token: Token, now: Now, out: &mut Output) {
        let group_id = Arc::clone(&request.group_id);
        let Config { session_timeout_min_ms: min_ms, session_timeout_max_ms: max_ms, .. } = self.config;
        let refused = if group_id.is_empty() {
            Some(GroupError::InvalidGroupId)
        } else if !join::session_timeout_in_range(request.session_timeout_ms, min_ms, max_ms) {
            Some(GroupError::InvalidSessionTimeout)
        } else if self.groups.contains_key(&group_id) {
            None
        } else if !request.member_id.is_empty() {
            Some(GroupError::UnknownMemberId)
        } else if !join::can_found_group(&request.protocol_type, &request.protocols) {
            Some(GroupError::InconsistentGroupProtocol)
        } else {
            self.groups.insert(Arc::clone(&group_id), Group::new(Arc::clone(&group_id), now.wall_ms));
            None
        };
        match refused {
            Some(error) => out.replies.push((token, Reply::Join(Err(JoinError::new(error, &request.member_id))))),
            None => {
                self.with_group(&group_id, now, out, |group, cx| group.join(request, uuid, token, cx));
            }
        }
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now, out: &mut Output) -> Result<(), GroupError> {
        require_group_id(&request.group_id)?;
        let beat = self.with_group(&request.group_id, now, out, |group, cx| group.heartbeat(request, cx));
        beat.unwrap_or(Err(GroupError::UnknownMemberId))
    }

    fn leave(&mut self, request: LeaveRequest, now: Now, out: &mut Output) -> Result<Vec<LeftMember>, GroupError> {
        require_group_id(&request.group_id)?;
        if !self.groups.contains_key(&request.group_id) {
            let unknown = |LeavingMember { member_id, group_instance_id }| {
                let result = Err(GroupError::UnknownMemberId);
                LeftMember { member_id, group_instance_id, result }
            };
            return Ok(request.members.into_iter().map(unknown).collect());
        }
        let left = self.with_group(&request.group_id, now, out, |group, cx| group.leave(request.members, cx));
        Ok(left.unwrap_or_default())
    }

    fn commit(&mut self, request: CommitRequest, now: Now, out: &mut Output) -> Result<PartitionResults, GroupError> {
        let group_id = Arc::clone(&request.group_id);
        if !self.groups.contains_key(&group_id) {
            if request.generation >= 0 {
                return Err(GroupError::GroupIdNotFound);
            }
            // A group of a consumer that assigns its partitions itself: it exists by its offsets.
            self.groups.insert(Arc::clone(&group_id), Group::new(Arc::clone(&group_id), now.wall_ms));
        }
        let committed = self.with_group(&group_id, now, out, |group, cx| group.commit(request, cx));
        committed.unwrap_or(Err(GroupError::GroupIdNotFound))
    }

    fn delete_offsets(
        &mut self,
        request: DeleteOffsetsRequest,
        now: Now,
        out: &mut Output,
    ) -> Result<PartitionResults, GroupError> {
        require_group_id(&request.group_id)?;
        let group_id = Arc::clone(&request.group_id);
        let deleted = self.with_group(&group_id, now, out, |group, cx| group.delete_offsets(request.partitions, cx));
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
        if group.state != GroupState::Empty {
            return Err(GroupError::NonEmptyGroup);
        }
        self.with_group(group_id, now, out, |group, cx| group.forget_offsets(offsets, cx));
        self.remove_group(group_id, "deleted on request", now, out);
        Ok(())
    }

    fn expire_offsets(
        &mut self,
        group_id: &GroupId,
        offsets: Vec<(TopicPartition, OffsetMetadata)>,
        now: Now,
        out: &mut Output,
    ) {
        let before = out.records.len();
        let expired = self.with_group(group_id, now, out, |group, cx| {
            let none_left = group.expire_offsets(offsets, cx);
            none_left && group.state == GroupState::Empty && group.pending_join.is_empty()
        });
        let count = out.records.len() - before;
        if count > 0 {
            out.notices.push(Notice::OffsetsExpired { group: Arc::clone(group_id), offsets: count });
        }
        if expired == Some(true) {
            self.remove_group(group_id, "empty and without offsets", now, out);
        }
    }

    /// Removes a group that has nothing left, with a record if it was ever stored.
    fn remove_group(&mut self, group_id: &GroupId, reason: &'static str, now: Now, out: &mut Output) {
        if self.groups.get(group_id).is_some_and(|group| group.stored) {
            let record = CoordinatorRecord::Group { group: Arc::clone(group_id), value: None };
            self.replay(&record, now);
            out.records.push(record);
        } else {
            self.drop_group(group_id);
        }
        out.notices.push(Notice::GroupDeleted { group: Arc::clone(group_id), reason });
    }

    /// Runs what is due; what would make the records too large for one append stays due.
    fn run_timers(&mut self, now: Now, out: &mut Output) {
        let (mut measured, mut bytes) = (0, 0);
        while bytes < RECORDS_BYTES_MAX
            && let Some((entry, key)) = self.timers.pop(now.monotonic_ms)
        {
            let group_id = match &key {
                TimerKey::Session { group, .. } | TimerKey::Join { group } | TimerKey::Sync { group } => {
                    Arc::clone(group)
                }
            };
            self.with_group(&group_id, now, out, |group, cx| group.on_timer(entry, key, cx));
            bytes += out.records.iter().skip(measured).map(record_bytes).sum::<usize>();
            measured = out.records.len();
        }
    }

    /// Runs `work` on a group, and forgets the group if nothing is left of it.
    fn with_group<T>(
        &mut self,
        group_id: &GroupId,
        now: Now,
        out: &mut Output,
        work: impl FnOnce(&mut Group, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(group_id)?;
        let mut cx = Cx { config: &self.config, timers: &mut self.timers, out, now };
        let done = work(group, &mut cx);
        let is_only_a_name = group.state == GroupState::Empty && !group.stored && !group.has_offsets;
        if is_only_a_name && group.pending_join.is_empty() {
            self.drop_group(group_id);
        }
        Some(done)
    }

    /// Applies a record.
    fn replay(&mut self, record: &CoordinatorRecord, now: Now) {
        match record {
            CoordinatorRecord::Group { group, value: Some(value) } => {
                let new = || Group::new(Arc::clone(group), now.wall_ms);
                self.groups.entry(Arc::clone(group)).or_insert_with(new).replay(value, &mut self.timers);
            }
            CoordinatorRecord::Group { group, value: None } => self.drop_group(group),
            CoordinatorRecord::Offset { .. } => {}
        }
    }

    fn drop_group(&mut self, group_id: &GroupId) {
        if let Some(mut group) = self.groups.remove(group_id) {
            group.cancel_timers(&mut self.timers);
        }
    }

    /// Starts the clocks of restored groups.
    fn resume(&mut self, now: Now) {
        let mut out = Output::default();
        for group in self.groups.values_mut() {
            group.resume(&mut Cx { config: &self.config, timers: &mut self.timers, out: &mut out, now });
        }
    }
}

impl Group {
    fn on_timer(&mut self, entry: Entry, key: TimerKey, cx: &mut Cx<'_>) {
        let timer = match &key {
            TimerKey::Session { member, .. } => match self.pending_join.get_mut(member) {
                Some(timer) => Some(timer),
                None => self.members.get_mut(member).map(|member| &mut member.session),
            },
            TimerKey::Join { .. } => Some(&mut self.join_timer),
            TimerKey::Sync { .. } => Some(&mut self.sync_timer),
        };
        if !timer.is_some_and(|timer| cx.timers.is_due(timer, entry, key.clone(), cx.now.monotonic_ms)) {
            return;
        }
        match key {
            TimerKey::Session { member, .. } => self.expire_session(&member, cx),
            TimerKey::Join { .. } => self.on_join_timer(cx),
            TimerKey::Sync { .. } => self.on_sync_timer(cx),
        }
    }

    fn resume(&mut self, cx: &mut Cx<'_>) {
        let member_ids: Vec<_> = self.members.keys().cloned().collect();
        member_ids.iter().for_each(|member_id| self.schedule_session(member_id, cx));
        if self.state == GroupState::CompletingRebalance {
            self.pending_sync = member_ids.into_iter().collect();
            self.schedule_sync_timer(cx);
        }
        if self.members.len() > cx.config.size_max {
            self.prepare_rebalance("the group is larger than it may be by now", cx);
        }
    }
}

impl Cx<'_> {
    fn reply(&mut self, token: Token, reply: Reply) {
        self.out.replies.push((token, reply));
    }

    fn member_removed(&mut self, group: &GroupId, member: &Arc<str>, reason: &'static str) {
        let (group, member) = (Arc::clone(group), Arc::clone(member));
        self.out.notices.push(Notice::MemberRemoved { group, member, reason });
    }
}

/// The APIs of group membership do not take the empty group id, those of offsets do.
fn require_group_id(group_id: &str) -> Result<(), GroupError> {
    if group_id.is_empty() { Err(GroupError::InvalidGroupId) } else { Ok(()) }
}
