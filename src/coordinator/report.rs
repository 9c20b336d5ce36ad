//! Logs and metrics: what groups do at debug, what is rare at info.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tracing::{Level, debug, enabled, info};

use super::{CommitRequest, Counters, Notice, PartitionResults};
use crate::{
    clock::Clock,
    metrics::GroupMetrics,
    model::{CoordinatorRecord, GroupId, GroupState, TopicPartition},
};

/// Tells what becomes of one shard's groups.
pub(super) struct Reporter {
    shard: u16,
    counters: Arc<Counters>,
    metrics: GroupMetrics,
    clock: Arc<dyn Clock>,
    /// Groups in a rebalance: the step that they are in, and since when.
    rebalancing: HashMap<GroupId, (&'static str, Duration)>,
}

/// Of a commit, what its log lines need when it has been decided.
pub(super) struct AskedCommit(CommitRequest);

impl AskedCommit {
    /// None when nobody wants to read it.
    pub fn of(request: &CommitRequest) -> Option<Self> {
        enabled!(Level::DEBUG).then(|| Self(request.clone()))
    }
}

impl Reporter {
    pub fn new(shard: u16, counters: Arc<Counters>, metrics: GroupMetrics, clock: Arc<dyn Clock>) -> Self {
        Self { shard, counters, metrics, clock, rebalancing: HashMap::new() }
    }

    /// Something that happened to a group.
    pub fn notice(&mut self, notice: &Notice) {
        let shard = self.shard;
        match notice {
            Notice::RebalanceStarted { group, generation, reason } => {
                self.metrics.rebalance_started(reason);
                self.rebalancing.insert(Arc::clone(group), (JOIN, self.clock.monotonic()));
                debug!(shard, group = %group, generation, reason, "rebalance starts");
            }
            Notice::RebalanceCompleted { group, generation, members } => {
                Counters::add(&self.counters.rebalances_completed, 1);
                self.end_step(group);
                debug!(shard, group = %group, generation, members, "rebalance completed");
            }
            Notice::TargetAssigned { group, epoch, members } => {
                debug!(shard, group = %group, epoch, members, "target assigned");
            }
            Notice::ProtocolChanged { group, to } => info!(shard, group = %group, to, "group changes its protocol"),
            Notice::MemberRemoved { group, member, reason } => {
                Counters::add(&self.counters.members_removed, 1);
                debug!(shard, group = %group, member = %member, reason, "member removed");
            }
            Notice::OffsetsExpired { group, offsets } => {
                Counters::add(&self.counters.offsets_expired, *offsets);
                debug!(shard, group = %group, offsets, "offsets expired");
            }
            Notice::GroupDeleted { group, reason } => {
                Counters::add(&self.counters.groups_deleted, 1);
                self.rebalancing.remove(group);
                info!(shard, group = %group, reason, "group deleted");
            }
        }
    }

    /// A change that is about to be stored. Commits are told by [`committed`](Self::committed).
    pub fn record(&mut self, record: &CoordinatorRecord) {
        let shard = self.shard;
        match record {
            CoordinatorRecord::Offset { value: Some(_), .. } => {}
            CoordinatorRecord::Offset { group, partition, value: None } => {
                let TopicPartition { topic, partition } = partition;
                debug!(shard, group = %group, topic = %topic, partition, "offset deleted");
            }
            CoordinatorRecord::Group { group, value } => {
                let (state, generation, members) = match value {
                    Some(value) => {
                        let consumers = value.consumer.as_ref().map_or(0, |consumer| consumer.members.len());
                        (value.state, value.generation, value.members.len() + consumers)
                    }
                    None => (GroupState::Dead, -1, 0),
                };
                match state {
                    // All have joined: a generation is stored when its join phase ends.
                    GroupState::CompletingRebalance => {
                        self.end_step(group);
                        self.rebalancing.insert(Arc::clone(group), (SYNC, self.clock.monotonic()));
                    }
                    GroupState::Empty | GroupState::Dead => _ = self.rebalancing.remove(group),
                    GroupState::PreparingRebalance | GroupState::Stable => {}
                }
                let state = state.as_str();
                debug!(shard, group = %group, state, generation, members, "group state changes");
            }
        }
    }

    /// A commit whose offsets are about to be stored, but for those that were refused.
    pub fn committed(&self, asked: &AskedCommit, results: &PartitionResults) {
        let AskedCommit(CommitRequest { group_id, member_id, generation, partitions, .. }) = asked;
        for (commit, (_, result)) in partitions.iter().zip(results) {
            let TopicPartition { topic, partition } = &commit.partition;
            let error = result.err().map(tracing::field::display);
            debug!(
                shard = self.shard, group = %group_id, topic = %topic, partition, offset = commit.offset,
                member = %member_id, generation, error, "offset committed"
            );
        }
    }

    /// The shard begins anew: nothing is known of what was under way.
    pub fn forget_rebalances(&mut self) {
        self.rebalancing.clear();
    }

    fn end_step(&mut self, group: &GroupId) {
        if let Some((step, since)) = self.rebalancing.remove(group) {
            self.metrics.step_ended(step, self.clock.monotonic().saturating_sub(since).as_secs_f64());
        }
    }
}

const JOIN: &str = "join";
const SYNC: &str = "sync";
