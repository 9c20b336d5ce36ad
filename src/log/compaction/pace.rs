//! How hard the cleaner works: a little, then a pause, so that it costs clients nothing that they would notice.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::CompactError;
use crate::clock::Clock;

/// Tells a pass when to pause, and when to stop.
pub struct Pace {
    clock: Arc<dyn Clock>,
    stop: Arc<StopFlag>,
    /// `log.cleaner.io.max.bytes.per.second`
    bytes_per_second: f64,
    idle_factor: u32,
    slice_bytes_max: u64,
    slice_since: Duration,
    slice_bytes: u64,
}

impl Pace {
    /// Rests three times as long as it works, and longer where `bytes_per_second`, of reads and writes together, asks
    /// for it.
    pub fn new(clock: Arc<dyn Clock>, stop: Arc<StopFlag>, bytes_per_second: f64) -> Self {
        let slice_since = clock.monotonic();
        Self {
            clock,
            stop,
            bytes_per_second,
            idle_factor: 3,
            slice_bytes_max: SLICE_BYTES,
            slice_since,
            slice_bytes: 0,
        }
    }

    /// Never rests: for tests.
    #[cfg(test)]
    pub(in crate::log) fn full(clock: Arc<dyn Clock>) -> Self {
        Self { idle_factor: 0, ..Self::new(clock, Arc::default(), f64::MAX) }
    }

    /// Looks at the clock and the flag after so many bytes: for tests.
    #[cfg(test)]
    pub(in crate::log) fn every_bytes(mut self, bytes: u64) -> Self {
        self.slice_bytes_max = bytes;
        self
    }

    /// Begins anew: what went before was no work.
    pub(super) fn start(&mut self) {
        self.slice_since = self.clock.monotonic();
        self.slice_bytes = 0;
    }

    /// Counts bytes read or written and pauses when it is time to. An error once the work is not wanted any more.
    pub(super) fn spend(&mut self, bytes: u64, is_wanted: impl Fn() -> bool) -> Result<(), CompactError> {
        self.slice_bytes = self.slice_bytes.saturating_add(bytes);
        let worked = self.clock.monotonic().saturating_sub(self.slice_since);
        if worked < SLICE && self.slice_bytes < self.slice_bytes_max {
            return Ok(());
        }
        let allowed = self.slice_bytes as f64 / self.bytes_per_second.max(1.0);
        let allowed = Duration::try_from_secs_f64(allowed).unwrap_or(Duration::MAX);
        let mut rest = (worked * self.idle_factor).min(REST_MAX).max(allowed.saturating_sub(worked));
        loop {
            let step = rest.min(LOOK_AFTER);
            if self.stop.wait(step) || !is_wanted() {
                return Err(CompactError::Stopped);
            }
            rest = rest.saturating_sub(step);
            if rest.is_zero() {
                break;
            }
        }
        self.start();
        Ok(())
    }
}

/// Ends the cleaner's work from another thread.
#[derive(Debug, Default)]
pub struct StopFlag {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl StopFlag {
    pub fn set(&self) {
        *self.is_set.lock() = true;
        self.changed.notify_all();
    }

    /// Waits for at most `timeout`; whether the flag is set.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut is_set = self.is_set.lock();
        if !*is_set && !timeout.is_zero() {
            self.changed.wait_for(&mut is_set, timeout);
        }
        *is_set
    }
}

/// Work between two pauses.
const SLICE: Duration = Duration::from_millis(4);
const SLICE_BYTES: u64 = 1 << 20;
/// A sync that took long is no reason to rest for ever.
const REST_MAX: Duration = Duration::from_millis(500);
/// How often a pause looks whether the work is still wanted.
const LOOK_AFTER: Duration = Duration::from_millis(50);
