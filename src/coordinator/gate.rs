//! When a read of offsets need not stand in a shard's mailbox.
//!
//! A read must see every change that was answered before it, and those that were asked for before it on its connection.
//! Storage shows the former. As long as a shard has no change to make, neither waiting nor under way, there are none of
//! the latter, and storage alone can answer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Shared by a shard and those who ask it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    changes: AtomicUsize,
    is_open: AtomicBool,
}

/// A change of offsets that was asked for and not answered yet.
pub(super) struct Change(Arc<Gate>);

impl Gate {
    /// Whether storage shows all that a read should see now.
    pub fn lets_reads_pass(&self) -> bool {
        self.is_open.load(Ordering::Acquire) && self.changes.load(Ordering::Acquire) == 0
    }

    /// Whether the shard serves: not while it must be rebuilt, and not when it has ended.
    pub fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Release);
    }

    /// Reads go to the mailbox until what is returned was dropped.
    pub fn announce_change(self: &Arc<Self>) -> Change {
        self.changes.fetch_add(1, Ordering::AcqRel);
        Change(Arc::clone(self))
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.0.changes.fetch_sub(1, Ordering::AcqRel);
    }
}
