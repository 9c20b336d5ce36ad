//! Deadlines of members and groups: postponing one costs no more than a store.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::GroupId;

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimerKey {
    /// The session of a member, or of an id that was given out and not yet used.
    Session { group: GroupId, member: Arc<str> },
    /// The end of the join phase.
    Join { group: GroupId },
    /// The end of the sync phase.
    Sync { group: GroupId },
    /// The end of the time that a member of the consumer protocol has for its next step of a rebalance.
    Progress { group: GroupId, member: Arc<str> },
}

impl TimerKey {
    pub(super) fn group(&self) -> &GroupId {
        match self {
            Self::Session { group, .. }
            | Self::Join { group }
            | Self::Sync { group }
            | Self::Progress { group, .. } => group,
        }
    }
}

/// One deadline, kept by whom it concerns. While heartbeats come in, the queue's entry stays where it is and is
/// moved only when its time has come: ten thousand members cost a queue operation a session, not one a heartbeat.
#[derive(Debug, Default)]
pub(super) struct Timer {
    deadline_ms: u64,
    entry: Option<Entry>,
}

impl Timer {
    pub(super) fn is_set(&self) -> bool {
        self.entry.is_some()
    }
}

/// The queue of all deadlines of a shard.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeMap<Entry, TimerKey>,
    next: u64,
}

/// An entry taken from the queue: to be handed to [`Timers::is_due`] with the timer that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    at_ms: u64,
    sequence: u64,
}

impl Timers {
    /// Sets or moves `timer` to `deadline_ms`.
    pub(super) fn set(&mut self, timer: &mut Timer, deadline_ms: u64, key: impl FnOnce() -> TimerKey) {
        timer.deadline_ms = deadline_ms;
        if let Some(entry) = timer.entry {
            if entry.at_ms <= deadline_ms {
                return;
            }
            self.queue.remove(&entry);
        }
        timer.entry = Some(self.insert(deadline_ms, key()));
    }

    pub(super) fn cancel(&mut self, timer: &mut Timer) {
        if let Some(entry) = timer.entry.take() {
            self.queue.remove(&entry);
        }
    }

    /// When the machine next wants to be called; no promise that anything is due then.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.queue.keys().next().map(|entry| entry.at_ms)
    }

    /// Takes the first entry that is not after `now_ms`.
    pub(super) fn pop(&mut self, now_ms: u64) -> Option<(Entry, TimerKey)> {
        let first = self.queue.first_entry()?;
        if first.key().at_ms > now_ms { None } else { Some(first.remove_entry()) }
    }

    /// Whether the timer of a popped `entry` has really run out; if it was postponed, it is queued again.
    pub(super) fn is_due(&mut self, timer: &mut Timer, entry: Entry, key: TimerKey, now_ms: u64) -> bool {
        if timer.entry != Some(entry) {
            return false;
        }
        timer.entry = None;
        if timer.deadline_ms <= now_ms {
            return true;
        }
        timer.entry = Some(self.insert(timer.deadline_ms, key));
        false
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    fn insert(&mut self, at_ms: u64, key: TimerKey) -> Entry {
        let entry = Entry { at_ms, sequence: self.next };
        self.next = self.next.wrapping_add(1);
        self.queue.insert(entry, key);
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TimerKey {
        TimerKey::Join { group: Arc::from("g") }
    }

    #[test]
    fn a_postponed_timer_is_queued_again_when_its_old_time_comes() {
        let (mut timers, mut timer) = (Timers::default(), Timer::default());
        timers.set(&mut timer, 10, key);
        timers.set(&mut timer, 30, key);
        assert_eq!(timers.next_ms(), Some(10));
        let (entry, name) = timers.pop(10).unwrap();
        assert!(!timers.is_due(&mut timer, entry, name, 10));
        assert_eq!(timers.next_ms(), Some(30));
        assert!(timers.pop(29).is_none());
        let (entry, name) = timers.pop(30).unwrap();
        assert!(timers.is_due(&mut timer, entry, name, 30));
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn a_timer_that_moves_forward_leaves_nothing_behind() {
        let (mut timers, mut timer) = (Timers::default(), Timer::default());
        timers.set(&mut timer, 300, key);
        timers.set(&mut timer, 10, key);
        assert_eq!((timers.next_ms(), timers.len()), (Some(10), 1));
        timers.cancel(&mut timer);
        assert_eq!(timers.len(), 0);
    }
}
