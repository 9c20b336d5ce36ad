//! A filer that fails again and again is left alone for a moment: its callers hear at once, and it can recover.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::error::FilerError;
use crate::clock::Clock;

/// Counts failures in a row. After [`FAILURES`] of them one call in [`REST`] goes through until one succeeds.
pub(super) struct Breaker {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    failures: u32,
    reason: String,
    /// When the next call may try; none while the circuit is closed.
    rests_until: Option<Duration>,
}

impl Breaker {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), clock }
    }

    /// Whether a call may be made.
    pub(super) fn admit(&self) -> Result<(), FilerError> {
        let mut state = self.state.lock();
        let Some(rests_until) = state.rests_until else { return Ok(()) };
        let now = self.clock.monotonic();
        if now < rests_until {
            return Err(FilerError::Resting(state.reason.clone()));
        }
        // This one tries; the others wait for what comes of it.
        state.rests_until = Some(now + REST);
        Ok(())
    }

    pub(super) fn succeeded(&self) {
        let mut state = self.state.lock();
        if state.rests_until.is_some() {
            tracing::info!("the filer answers again");
        }
        *state = State::default();
    }

    pub(super) fn failed(&self, error: &FilerError) {
        if matches!(error, FilerError::Resting(_)) {
            return;
        }
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            if state.rests_until.is_none() {
                tracing::error!(%error, failures = state.failures, "the filer fails; it is asked once in a while only");
            }
            state.reason = error.to_string();
            state.rests_until = Some(self.clock.monotonic() + REST);
        }
    }

    pub(super) fn health(&self) -> Result<(), FilerError> {
        let state = self.state.lock();
        match state.rests_until {
            Some(_) => Err(FilerError::Resting(state.reason.clone())),
            None => Ok(()),
        }
    }
}

const FAILURES: u32 = 8;
const REST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MockClock;

    #[test]
    fn after_failures_in_a_row_one_call_in_a_while_goes_through() {
        let clock = MockClock::at(1_000);
        let breaker = Breaker::new(Arc::new(clock.clone()));
        let error = FilerError::Unreachable("refused".to_owned());
        for _ in 1..FAILURES {
            breaker.admit().unwrap();
            breaker.failed(&error);
        }
        breaker.health().unwrap();
        breaker.failed(&error);
        assert!(breaker.admit().is_err() && breaker.health().is_err());
        clock.advance(REST);
        breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "only one tries");
        breaker.succeeded();
        breaker.admit().unwrap();
        breaker.health().unwrap();
    }
}
