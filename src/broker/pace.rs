//! Whether writes have to wait for the disk.
//!
//! A write to the page cache takes microseconds, and is done on the thread of its connection. When the kernel holds writers
//! back until the disk has caught up, or the disk stumbles, it takes as long as that does; the other connections of the
//! thread must not wait with it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::task::block_in_place;

use crate::clock::Clock;

/// Notices stalls.
#[derive(Default)]
pub(super) struct Pace {
    /// Of the monotonic clock, in microseconds.
    slow_until: AtomicU64,
}

impl Pace {
    /// Does `write` in place while the disk keeps up; otherwise the thread is given to others meanwhile.
    pub fn write<T>(&self, clock: &dyn Clock, write: impl FnOnce() -> T) -> T {
        let began = clock.monotonic();
        let outcome = if self.is_slow(began) { block_in_place(write) } else { write() };
        let ended = clock.monotonic();
        if ended.saturating_sub(began) >= STALL {
            self.slow_until.store(micros(ended.saturating_add(RECOVERY)), Ordering::Relaxed);
        }
        outcome
    }

    fn is_slow(&self, now: Duration) -> bool {
        micros(now) < self.slow_until.load(Ordering::Relaxed)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A write that takes so long has waited for the disk.
const STALL: Duration = Duration::from_millis(10);
/// How long the disk is held to be slow after a stall.
const RECOVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MockClock;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_stall_is_remembered_for_a_while() {
        let clock = MockClock::at(1_000);
        let pace = Pace::default();
        let write = |takes| pace.write(&clock, || clock.advance(takes));
        let is_slow = || pace.is_slow(clock.monotonic());
        write(STALL - Duration::from_millis(1));
        assert!(!is_slow());
        write(STALL);
        assert!(is_slow());
        clock.advance(RECOVERY - Duration::from_millis(1));
        assert!(is_slow());
        clock.advance(Duration::from_millis(1));
        assert!(!is_slow());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_write_to_a_slow_disk_leaves_its_thread_to_others() {
        let clock = MockClock::at(1_000);
        let pace = Pace::default();
        pace.write(&clock, || clock.advance(STALL));
        let writer = tokio::spawn(async move {
            let (other, heard) = std::sync::mpsc::channel();
            tokio::spawn(async move { other.send(()) });
            pace.write(&clock, || heard.recv_timeout(Duration::from_secs(10)))
        });
        assert_eq!(writer.await.unwrap(), Ok(()));
    }
}
