//! The group coordinator without its surroundings: an event and a time go in, records and replies come out.
//!
//! ```text
//! Event ──▶ Machine::step ──▶ Output { records, replies, notices }
//! records ──▶ storage ──▶ Machine::restore      (a restart takes the path of a live request)
//! ```
//!
//! Durable state changes by records alone, which are applied in the step that makes them, so that the next event sees
//! them. The caller stores them before it lets the replies out, and rebuilds the machine when it could not.
//! There are two kinds of group: classic ones ([`group::Group`]) and those of the consumer protocol
//! ([`consumer::ConsumerGroup`]).

mod consumer;
mod consumer_protocol;
mod describe;
mod group;
mod handle;
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

pub use consumer::Assignor;
pub use reply::*;
pub use request::*;

use self::{
    consumer::ConsumerGroup,
    group::Group,
    timers::{Entry, TimerKey, Timers},
};
use crate::model::{ConsumerMember, CoordinatorRecord, GroupId, GroupMetadata, GroupState, MemberMetadata};

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
    pub consumer: ConsumerConfig,
}

/// The settings of groups of the consumer protocol: `group.consumer.*`.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub session_timeout_ms: u64,
    /// What members are told.
    pub heartbeat_interval_ms: i32,
    /// Members of a group at most.
    pub size_max: usize,
    /// What members may choose from; the first is the default.
    pub assignors: Vec<Assignor>,
    pub migration: Migration,
    /// What groups have of their own, whether they exist or not.
    pub of_groups: HashMap<GroupId, GroupOverrides>,
}

/// What a group of the consumer protocol has instead of the settings for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    pub session_timeout_ms: Option<u64>,
    pub heartbeat_interval_ms: Option<i32>,
}

impl ConsumerConfig {
    /// Replaces what a group has of its own.
    pub fn configure(&mut self, group: GroupId, overrides: GroupOverrides) {
        if overrides == GroupOverrides::default() {
            self.of_groups.remove(&group);
        } else {
            self.of_groups.insert(group, overrides);
        }
    }

    fn session_timeout_ms_of(&self, group: &str) -> u64 {
        self.overrides(group).session_timeout_ms.unwrap_or(self.session_timeout_ms)
    }

    fn heartbeat_interval_ms_of(&self, group: &str) -> i32 {
        self.overrides(group).heartbeat_interval_ms.unwrap_or(self.heartbeat_interval_ms)
    }

    fn overrides(&self, group: &str) -> GroupOverrides {
        // Mostly there are none.
        if self.of_groups.is_empty() {
            return GroupOverrides::default();
        }
        self.of_groups.get(group).copied().unwrap_or_default()
    }
}

/// Which groups with members may change their protocol (`group.consumer.migration.policy`); empty ones always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// From classic to consumer.
    pub upgrades: bool,
    /// Back.
    pub downgrades: bool,
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
    RebalanceStarted {
        group: GroupId,
        generation: i32,
        reason: &'static str,
    },
    RebalanceCompleted {
        group: GroupId,
        generation: i32,
        members: usize,
    },
    /// Members of the consumer protocol were given their targets.
    TargetAssigned {
        group: GroupId,
        epoch: i32,
        members: usize,
    },
    ProtocolChanged {
        group: GroupId,
        to: &'static str,
    },
    MemberRemoved {
        group: GroupId,
        member: Arc<str>,
        reason: &'static str,
    },
    OffsetsExpired {
        group: GroupId,
        offsets: usize,
    },
    GroupDeleted {
        group: GroupId,
        reason: &'static str,
    },
}

/// All groups of one shard.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    groups: HashMap<GroupId, AnyGroup>,
    timers: Timers,
}

/// A group of either protocol.
#[derive(Debug)]
enum AnyGroup {
    // Boxed, because a map keeps room for as many groups again.
    Classic(Box<Group>),
    Consumer(Box<ConsumerGroup>),
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
        CoordinatorRecord::Group { value: Some(value), .. } => {
            let consumers = value.consumer.iter().flat_map(|consumer| consumer.members.iter());
            value.members.iter().map(|member| member_bytes(member)).chain(consumers.map(consumer_bytes)).sum()
        }
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

fn consumer_bytes((member_id, member): (&Arc<str>, &Arc<ConsumerMember>)) -> usize {
    consumer::said_bytes(member_id, member) + PARTITION_BYTES * (member.held().count() + member.target.len())
}

/// Records of one append, about: a timer's round ends and a batch is stored when they pass it. With the largest group
/// on top, base64 and escapes included, an append stays below the 256 MiB of a journal frame.
pub(super) const RECORDS_BYTES_MAX: usize = 16 << 20;

const RECORD_OVERHEAD_BYTES: usize = 128;
const PARTITION_BYTES: usize = 8;

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
            let new = || AnyGroup::classic(Group::new(Arc::clone(&group_id), now.wall_ms));
            machine.groups.entry(Arc::clone(&group_id)).or_insert_with(new).set_has_offsets();
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
            Event::ForgetOffsets(group_id, partitions) => self.forget_offsets(&group_id, partitions, now, &mut out),
            Event::ExpireOffsets(group_id, offsets) => self.expire_offsets(&group_id, offsets, now, &mut out),
        }
        out
    }

    /// Gives a group settings of its own, which its members have from their next heartbeats on.
    pub fn configure(&mut self, group: GroupId, overrides: GroupOverrides) {
        self.config.consumer.configure(group, overrides);
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
        self.groups.get(group_id).is_some_and(AnyGroup::may_expire_offsets)
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Checks who asks for a group's offsets; a classic group lets anybody.
    pub fn validate_fetch(&self, request: &FetchOffsetsRequest) -> Result<(), GroupError> {
        match self.groups.get(&request.group_id) {
            Some(AnyGroup::Consumer(group)) => group.validate_fetch(&request.member),
            Some(AnyGroup::Classic(_)) | None => Ok(()),
        }
    }

    /// The durable state as the machine has it, of groups that are not in a join phase.
    #[cfg(test)]
    pub(crate) fn durable(&self) -> std::collections::BTreeMap<GroupId, GroupMetadata> {
        let durable = |group: &AnyGroup| match group {
            AnyGroup::Classic(group) if group.stored && group.state != GroupState::PreparingRebalance => {
                Some((Arc::clone(&group.id), group.metadata()))
            }
            AnyGroup::Classic(_) => None,
            AnyGroup::Consumer(group) => group.stored.then(|| {
                (Arc::clone(&group.id), GroupMetadata::of_consumers(&group.id, group.epoch, group.data.clone(), 0))
            }),
        };
        self.groups.values().filter_map(durable).collect()
    }

    /// Runs what is due; what would make the records too large for one append stays due.
    fn run_timers(&mut self, now: Now, out: &mut Output) {
        let (mut measured, mut bytes) = (0, 0);
        while bytes < RECORDS_BYTES_MAX
            && let Some((entry, key)) = self.timers.pop(now.monotonic_ms)
        {
            self.on_timer(entry, key, now, out);
            bytes += out.records.iter().skip(measured).map(record_bytes).sum::<usize>();
            measured = out.records.len();
        }
    }

    /// Runs `work` on a classic group, and forgets the group if nothing is left of it. None when there is no such group.
    fn with_classic<T>(
        &mut self,
        group_id: &GroupId,
        now: Now,
        out: &mut Output,
        work: impl FnOnce(&mut Group, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let Some(AnyGroup::Classic(group)) = self.groups.get_mut(group_id) else { return None };
        let done = work(group, &mut Cx { config: &self.config, timers: &mut self.timers, out, now });
        let is_only_a_name = group.state == GroupState::Empty && !group.stored && !group.has_offsets;
        if is_only_a_name && group.pending_join.is_empty() {
            self.drop_group(group_id);
        }
        Some(done)
    }

    /// The same for a group of the consumer protocol.
    fn with_consumer<T>(
        &mut self,
        group_id: &GroupId,
        now: Now,
        out: &mut Output,
        work: impl FnOnce(&mut ConsumerGroup, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let Some(AnyGroup::Consumer(group)) = self.groups.get_mut(group_id) else { return None };
        let done = work(group, &mut Cx { config: &self.config, timers: &mut self.timers, out, now });
        if !group.stored && !group.has_offsets {
            self.drop_group(group_id);
        }
        Some(done)
    }

    /// Applies a record. One of another protocol than the group's makes a new group under its name.
    fn replay(&mut self, record: &CoordinatorRecord, now: Now) {
        let (group_id, value) = match record {
            CoordinatorRecord::Group { group, value: Some(value) } => (group, value),
            CoordinatorRecord::Group { group, value: None } => return self.drop_group(group),
            CoordinatorRecord::Offset { .. } => return,
        };
        let known = self.groups.get(group_id);
        let has_offsets = known.is_some_and(AnyGroup::has_offsets);
        if known.is_none_or(|group| group.is_consumer() != value.consumer.is_some()) {
            self.drop_group(group_id);
            let id = Arc::clone(group_id);
            let new = match value.consumer {
                None => AnyGroup::classic(Group::new(id, now.wall_ms).in_place_of(true, has_offsets)),
                Some(_) => AnyGroup::consumer(ConsumerGroup::new(id).in_place_of(true, has_offsets)),
            };
            self.groups.insert(Arc::clone(group_id), new);
        }
        match (self.groups.get_mut(group_id), &value.consumer) {
            (Some(AnyGroup::Classic(group)), _) => group.replay(value, &mut self.timers),
            (Some(AnyGroup::Consumer(group)), Some(data)) => group.replay(value.generation, data, &mut self.timers),
            (Some(AnyGroup::Consumer(_)) | None, _) => {}
        }
    }

    fn drop_group(&mut self, group_id: &GroupId) {
        match self.groups.remove(group_id) {
            Some(AnyGroup::Classic(mut group)) => group.cancel_timers(&mut self.timers),
            Some(AnyGroup::Consumer(mut group)) => group.cancel_timers(&mut self.timers),
            None => {}
        }
    }

    /// Starts the clocks of restored groups.
    fn resume(&mut self, now: Now) {
        let mut out = Output::default();
        for group in self.groups.values_mut() {
            let mut cx = Cx { config: &self.config, timers: &mut self.timers, out: &mut out, now };
            match group {
                AnyGroup::Classic(group) => group.resume(&mut cx),
                AnyGroup::Consumer(group) => group.resume(&mut cx),
            }
        }
    }
}

impl AnyGroup {
    fn classic(group: Group) -> Self {
        Self::Classic(Box::new(group))
    }

    fn consumer(group: ConsumerGroup) -> Self {
        Self::Consumer(Box::new(group))
    }

    fn is_consumer(&self) -> bool {
        matches!(self, Self::Consumer(_))
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.state == GroupState::Empty,
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// How many members.
    fn members(&self) -> usize {
        match self {
            Self::Classic(group) => group.members.len(),
            Self::Consumer(group) => group.data.members.len(),
        }
    }

    /// A record of the group was written.
    fn is_stored(&self) -> bool {
        match self {
            Self::Classic(group) => group.stored,
            Self::Consumer(group) => group.stored,
        }
    }

    fn has_offsets(&self) -> bool {
        match self {
            Self::Classic(group) => group.has_offsets,
            Self::Consumer(group) => group.has_offsets,
        }
    }

    fn set_has_offsets(&mut self) {
        match self {
            Self::Classic(group) => group.has_offsets = true,
            Self::Consumer(group) => group.has_offsets = true,
        }
    }

    fn may_expire_offsets(&self) -> bool {
        match self {
            Self::Classic(group) => group.may_expire_offsets(),
            Self::Consumer(_) => true,
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
            TimerKey::Progress { .. } => None,
        };
        if !timer.is_some_and(|timer| cx.timers.is_due(timer, entry, key.clone(), cx.now.monotonic_ms)) {
            return;
        }
        match key {
            TimerKey::Session { member, .. } => self.expire_session(&member, cx),
            TimerKey::Join { .. } => self.on_join_timer(cx),
            TimerKey::Sync { .. } => self.on_sync_timer(cx),
            TimerKey::Progress { .. } => {}
        }
    }

    fn resume(&mut self, cx: &mut Cx<'_>) {
        self.members.values_mut().for_each(|member| member.begin_session(&self.id, cx));
        if self.state == GroupState::CompletingRebalance {
            self.pending_sync = self.members.keys().cloned().collect();
            self.schedule_sync_timer(cx);
        }
        if std::mem::take(&mut self.is_rebalance_due) {
            self.prepare_rebalance("the group is classic again", cx);
        } else if self.members.len() > cx.config.size_max {
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
