//! What the coordinator counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorStats {
    /// Rebalances that ended with an assignment.
    pub rebalances_completed: u64,
    /// Members that were removed for any reason.
    pub members_removed: u64,
    /// Offsets committed, each partition for itself.
    pub offsets_committed: u64,
    pub offsets_expired: u64,
    pub groups_deleted: u64,
    /// Appends that failed, each followed by a rebuild of its shard.
    pub appends_failed: u64,
}

/// The same, shared by all shards.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub rebalances_completed: AtomicU64,
    pub members_removed: AtomicU64,
    pub offsets_committed: AtomicU64,
    pub offsets_expired: AtomicU64,
    pub groups_deleted: AtomicU64,
    pub appends_failed: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, by: usize) {
        counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> CoordinatorStats {
        CoordinatorStats {
            rebalances_completed: self.rebalances_completed.load(Ordering::Relaxed),
            members_removed: self.members_removed.load(Ordering::Relaxed),
            offsets_committed: self.offsets_committed.load(Ordering::Relaxed),
            offsets_expired: self.offsets_expired.load(Ordering::Relaxed),
            groups_deleted: self.groups_deleted.load(Ordering::Relaxed),
            appends_failed: self.appends_failed.load(Ordering::Relaxed),
        }
    }
}
