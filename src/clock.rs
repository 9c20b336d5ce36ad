//! Wall clock, monotonic clock and randomness behind one trait, so that tests own time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

/// Source of time and randomness for everything below the composition root.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch: what Kafka writes into records.
    fn wall_ms(&self) -> i64;

    /// Time since an arbitrary start; never goes back. For timeouts and latencies.
    fn monotonic(&self) -> Duration;

    /// A random (version 4) UUID: topic ids, member ids.
    fn uuid(&self) -> Uuid;

    /// A random number below `bound` (0 when `bound` is 0).
    fn random_below(&self, bound: u32) -> u32;
}

/// What [`Clock::monotonic`] says, in milliseconds.
pub fn monotonic_ms(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn wall_ms(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn random_below(&self, bound: u32) -> u32 {
        if bound == 0 { 0 } else { fastrand::u32(..bound) }
    }
}

/// A clock that moves only when told to; ids count up from 1.
#[derive(Clone, Debug, Default)]
pub struct MockClock {
    now_ms: Arc<AtomicI64>,
    next_id: Arc<AtomicU64>,
}

impl MockClock {
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms: Arc::new(AtomicI64::new(now_ms)), next_id: Arc::default() }
    }

    pub fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for MockClock {
    fn wall_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.wall_ms()).unwrap_or_default())
    }

    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.next_id.fetch_add(1, Ordering::SeqCst)) + 1)
    }

    fn random_below(&self, bound: u32) -> u32 {
        if bound == 0 { 0 } else { (self.next_id.fetch_add(1, Ordering::SeqCst) % u64::from(bound)) as u32 }
    }
}
