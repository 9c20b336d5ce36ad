//! Whether storage takes writes and has all of its records, for health checks and metrics.

use std::time::Duration;

use parking_lot::Mutex;
use tracing::error;

use crate::log::AppendError;

use super::{Broker, ProduceError};

/// The latest append that storage refused, and when.
#[derive(Default)]
pub(super) struct Refusal {
    latest: Mutex<Option<(Duration, String)>>,
}

impl Broker {
    /// Why storage takes no writes at the moment; none when it does. A full disk shows while producers try.
    pub fn storage_trouble(&self) -> Option<String> {
        if let Err(error) = self.state.health() {
            return Some(error.to_string());
        }
        if let Some(trouble) = self.logs.trouble() {
            return Some(trouble);
        }
        let (at, why) = self.refusal.latest.lock().clone()?;
        (self.clock.monotonic().saturating_sub(at) < REFUSAL_SHOWN).then_some(why)
    }

    /// Looks for segments that are missing in the middle of a log, and tells of each once; blocks for the disk.
    pub fn check_logs(&self) {
        let mut missing = 0;
        for log in self.logs.all() {
            match log.holes() {
                Ok(holes) => {
                    for hole in holes {
                        missing += hole.end() - hole.start() + 1;
                        error!(
                            partition = %log.partition(), first_offset = hole.start(), last_offset = hole.end(),
                            "records are missing: a segment file is gone"
                        );
                    }
                }
                Err(error) => error!(partition = %log.partition(), %error, "cannot look for missing records"),
            }
        }
        self.metrics.missing_records.set(missing);
    }

    /// Remembers that storage refused an append.
    pub(super) fn note_refusal(&self, error: &ProduceError) {
        if let ProduceError::Append(AppendError::Storage(why)) = error {
            self.metrics.appends_refused.inc();
            *self.refusal.latest.lock() = Some((self.clock.monotonic(), why.to_string()));
        }
    }
}

const REFUSAL_SHOWN: Duration = Duration::from_secs(10);
