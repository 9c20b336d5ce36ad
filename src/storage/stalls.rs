//! Whether writes have to wait for the disk.
//!
//! A write to the page cache takes microseconds, and is done on the thread of whoever asks for it. When the kernel holds
//! writers back until the disk has caught up, or the disk stumbles, it takes as long as that does; then it is better done
//! where nobody else has to wait for it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Clock;

/// Notices writes that stall.
#[derive(Debug, Default)]
pub struct Stalls {
    /// Of the monotonic clock, in microseconds.
    slow_until: AtomicU64,
}

impl Stalls {
    /// Whether a write has stalled lately.
    pub fn is_slow(&self, clock: &dyn Clock) -> bool {
        micros(clock.monotonic()) < self.slow_until.load(Ordering::Relaxed)
    }

    /// Does `write` and looks how long it takes.
    pub fn watch<T>(&self, clock: &dyn Clock, write: impl FnOnce() -> T) -> T {
        let began = clock.monotonic();
        let outcome = write();
        let ended = clock.monotonic();
        if ended.saturating_sub(began) >= STALL {
            self.slow_until.store(micros(ended.saturating_add(RECOVERY)), Ordering::Relaxed);
        }
        outcome
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A write that takes so long has waited for the disk.
pub const STALL: Duration = Duration::from_millis(10);
/// How long the disk is held to be slow after a stall.
const RECOVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MockClock;

    #[test]
    fn a_stall_is_remembered_for_a_while() {
        let clock = MockClock::at(1_000);
        let stalls = Stalls::default();
        let write = |takes| stalls.watch(&clock, || clock.advance(takes));
        write(STALL - Duration::from_millis(1));
        assert!(!stalls.is_slow(&clock));
        write(STALL);
        assert!(stalls.is_slow(&clock));
        clock.advance(RECOVERY - Duration::from_millis(1));
        assert!(stalls.is_slow(&clock));
        clock.advance(Duration::from_millis(1));
        assert!(!stalls.is_slow(&clock));
    }
}
