//! A group of the consumer protocol (KIP-848, `org.apache.kafka.coordinator.group.modern.consumer.ConsumerGroup`).
//!
//! ```text
//! a member comes, goes or subscribes anew, a topic changes ──▶ the group's epoch is raised
//! epoch ahead of the assignment ──▶ an assignor gives each member its target   (assignor)
//! member not at its target ──▶ its next heartbeats bring it there              (reconcile)
//! ```
//!
//! All of it is durable, and one record holds the whole group: see docs/decisions/0010. Of a member only its timers are
//! soft.

mod assignor;
mod classic;
mod describe;
mod heartbeat;
mod leave;
mod migration;
mod offsets;
mod reconcile;
mod subscription;

pub use assignor::Assignor;
pub(super) use migration::upgraded;

use std::{collections::HashMap, sync::Arc};

use super::{
    Cx,
    group::millis,
    timers::{Entry, Timer, TimerKey, Timers},
};
use crate::model::{ConsumerGroupMetadata, ConsumerMember, CoordinatorRecord, GroupId, GroupMetadata, MemberState};

/// A group and all that is known of it.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    pub id: GroupId,
    /// 0 until the first member joins.
    pub epoch: i32,
    pub data: ConsumerGroupMetadata,
    /// A record of the group was written.
    pub stored: bool,
    /// There are, or were, offsets of the group.
    pub has_offsets: bool,
    /// Member id by instance id.
    static_members: HashMap<Arc<str>, Arc<str>>,
    timers: HashMap<Arc<str>, MemberTimers>,
    /// The version of the topics that `data` was last compared with.
    topics_version: Option<u64>,
}

/// The deadlines of a member.
#[derive(Debug, Default)]
struct MemberTimers {
    session: Timer,
    /// When the member must have gone the next step: given partitions back, or, if it speaks the classic protocol, joined or
    /// synced again.
    progress: Timer,
}

impl ConsumerGroup {
    pub fn new(id: GroupId) -> Self {
        Self {
            id,
            epoch: 0,
            data: ConsumerGroupMetadata::default(),
            stored: false,
            has_offsets: false,
            static_members: HashMap::new(),
            timers: HashMap::new(),
            topics_version: None,
        }
    }

    /// The same for a group that was a classic one before: what is stored of it is there already.
    pub fn in_place_of(self, stored: bool, has_offsets: bool) -> Self {
        Self { stored, has_offsets, ..self }
    }

    /// Takes over a stored state, at a restart as in the moment when it is written.
    pub fn replay(&mut self, epoch: i32, data: &ConsumerGroupMetadata, timers: &mut Timers) {
        self.stored = true;
        self.epoch = epoch;
        self.data = data.clone();
        self.static_members.clear();
        for (member_id, member) in &self.data.members {
            if let Some(instance_id) = &member.group_instance_id {
                self.static_members.insert(Arc::clone(instance_id), Arc::clone(member_id));
            }
        }
        let members = &self.data.members;
        self.timers.retain(|member_id, of_member| {
            let stays = members.contains_key(member_id);
            if !stays {
                of_member.cancel(timers);
            }
            stays
        });
    }

    /// Writes a new state of the group and applies it.
    fn persist(&mut self, epoch: i32, data: ConsumerGroupMetadata, cx: &mut Cx<'_>) {
        self.replay(epoch, &data, cx.timers);
        let value = GroupMetadata::of_consumers(&self.id, epoch, data, cx.now.wall_ms);
        cx.out.records.push(CoordinatorRecord::Group { group: Arc::clone(&self.id), value: Some(value) });
    }

    pub fn is_empty(&self) -> bool {
        self.data.members.is_empty()
    }

    /// Starts the clocks of a restored group.
    pub fn resume(&mut self, cx: &mut Cx<'_>) {
        let members: Vec<_> =
            self.data.members.iter().map(|(id, member)| (Arc::clone(id), Arc::clone(member))).collect();
        for (member_id, member) in members {
            self.schedule_session(&member_id, cx);
            if member.classic.is_none() && member.state == MemberState::UnrevokedPartitions {
                self.schedule_progress(&member_id, member.rebalance_timeout_ms, cx);
            }
        }
    }

    pub fn on_timer(&mut self, entry: Entry, key: TimerKey, cx: &mut Cx<'_>) -> Option<(Arc<str>, &'static str)> {
        let (TimerKey::Session { member, .. } | TimerKey::Progress { member, .. }) = &key else { return None };
        let member_id = Arc::clone(member);
        let of_member = self.timers.get_mut(&member_id)?;
        let (timer, reason) = match &key {
            TimerKey::Session { .. } => (&mut of_member.session, "session expired"),
            _ => (&mut of_member.progress, "did not take part in the rebalance in time"),
        };
        cx.timers.is_due(timer, entry, key, cx.now.monotonic_ms).then_some((member_id, reason))
    }

    /// Gives a member its whole session again.
    fn schedule_session(&mut self, member_id: &Arc<str>, cx: &mut Cx<'_>) {
        let classic = self.data.members.get(member_id).and_then(|member| member.classic.as_ref());
        let timeout_ms = match classic {
            Some(classic) => millis(classic.session_timeout_ms),
            None => cx.config.consumer.session_timeout_ms_of(&self.id),
        };
        let key = || TimerKey::Session { group: Arc::clone(&self.id), member: Arc::clone(member_id) };
        let timer = &mut self.timers.entry(Arc::clone(member_id)).or_default().session;
        cx.timers.set(timer, cx.now.monotonic_ms.saturating_add(timeout_ms), key);
    }

    fn schedule_progress(&mut self, member_id: &Arc<str>, timeout_ms: i32, cx: &mut Cx<'_>) {
        let key = || TimerKey::Progress { group: Arc::clone(&self.id), member: Arc::clone(member_id) };
        let timer = &mut self.timers.entry(Arc::clone(member_id)).or_default().progress;
        cx.timers.set(timer, cx.now.monotonic_ms.saturating_add(millis(timeout_ms)), key);
    }

    fn schedule_progress_if_absent(&mut self, member_id: &Arc<str>, timeout_ms: i32, cx: &mut Cx<'_>) {
        if !self.timers.get(member_id).is_some_and(|of_member| of_member.progress.is_set()) {
            self.schedule_progress(member_id, timeout_ms, cx);
        }
    }

    fn cancel_progress(&mut self, member_id: &str, cx: &mut Cx<'_>) {
        if let Some(of_member) = self.timers.get_mut(member_id) {
            cx.timers.cancel(&mut of_member.progress);
        }
    }

    /// Ends every timer of a group that goes.
    pub fn cancel_timers(&mut self, timers: &mut Timers) {
        self.timers.values_mut().for_each(|of_member| of_member.cancel(timers));
    }

    /// A member, with the id under which the group knows it.
    fn member(&self, member_id: &str) -> Option<(&Arc<str>, &Arc<ConsumerMember>)> {
        self.data.members.get_key_value(member_id)
    }

    fn static_member(&self, instance_id: &str) -> Option<(&Arc<str>, &Arc<ConsumerMember>)> {
        self.member(self.static_members.get(instance_id)?)
    }
}

impl MemberTimers {
    fn cancel(&mut self, timers: &mut Timers) {
        timers.cancel(&mut self.session);
        timers.cancel(&mut self.progress);
    }
}

/// How much of a stored member is its own words.
pub(super) fn said_bytes(member_id: &str, member: &ConsumerMember) -> usize {
    let instance_bytes = member.group_instance_id.as_ref().map_or(0, |instance_id| instance_id.len());
    let rack_bytes = member.rack_id.as_ref().map_or(0, String::len);
    let names = member_id.len() + 2 * (member.client_id.len() + instance_bytes) + member.client_host.len() + rack_bytes;
    let topics = member.topics.iter().map(|topic| topic.len() + TOPIC_OVERHEAD_BYTES).sum::<usize>();
    let classic = member.classic.iter().flat_map(|classic| &classic.protocols);
    let classic = classic.map(|(name, metadata)| name.len() + metadata.0.len()).sum::<usize>();
    names + member.regex.len() + topics + classic + MEMBER_OVERHEAD_BYTES
}

const MEMBER_OVERHEAD_BYTES: usize = 128;
const TOPIC_OVERHEAD_BYTES: usize = 16;
