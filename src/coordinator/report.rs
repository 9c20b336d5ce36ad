//! Logs: what groups do at debug, what is rare at info.

use tracing::{debug, info};

use super::{Counters, Notice};
use crate::model::{CoordinatorRecord, TopicPartition};

/// Logs and counts what happened to a group.
pub(super) fn notice(shard: u16, counters: &Counters, notice: &Notice) {
    match notice {
        Notice::RebalanceStarted { group, generation, reason } => {
            debug!(shard, group = %group, generation, reason, "rebalance starts");
        }
        Notice::RebalanceCompleted { group, generation, members } => {
            Counters::add(&counters.rebalances_completed, 1);
            debug!(shard, group = %group, generation, members, "rebalance completed");
        }
        Notice::TargetAssigned { group, epoch, members } => {
            Counters::add(&counters.rebalances_completed, 1);
            debug!(shard, group = %group, epoch, members, "target assigned");
        }
        Notice::ProtocolChanged { group, to } => info!(shard, group = %group, to, "group changes its protocol"),
        Notice::MemberRemoved { group, member, reason } => {
            Counters::add(&counters.members_removed, 1);
            debug!(shard, group = %group, member = %member, reason, "member removed");
        }
        Notice::OffsetsExpired { group, offsets } => {
            Counters::add(&counters.offsets_expired, *offsets);
            debug!(shard, group = %group, offsets, "offsets expired");
        }
        Notice::GroupDeleted { group, reason } => {
            Counters::add(&counters.groups_deleted, 1);
            info!(shard, group = %group, reason, "group deleted");
        }
    }
}

/// Logs a change that is about to be stored.
pub(super) fn record(shard: u16, record: &CoordinatorRecord) {
    match record {
        CoordinatorRecord::Offset { group, partition, value: Some(value) } => {
            let TopicPartition { topic, partition } = partition;
            debug!(shard, group = %group, topic = %topic, partition, offset = value.offset, "offset committed");
        }
        CoordinatorRecord::Offset { group, partition, value: None } => {
            let TopicPartition { topic, partition } = partition;
            debug!(shard, group = %group, topic = %topic, partition, "offset deleted");
        }
        CoordinatorRecord::Group { group, value } => {
            let (state, generation, members) = match value {
                Some(value) => {
                    let consumers = value.consumer.as_ref().map_or(0, |consumer| consumer.members.len());
                    (value.state.as_str(), value.generation, value.members.len() + consumers)
                }
                None => ("Dead", -1, 0),
            };
            debug!(shard, group = %group, state, generation, members, "group state changes");
        }
    }
}
