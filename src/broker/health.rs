//! Whether storage takes writes and has all of its records, for health checks and metrics.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tracing::error;

use crate::{log::AppendError, model::TopicPartition};

use super::Broker;

/// The latest append that storage refused and that was not made good by a later one to the same partition.
#[derive(Default)]
pub(super) struct Refusal {
    is_there: AtomicBool,
    latest: Mutex<Option<(Duration, TopicPartition, String)>>,
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
        let (at, partition, why) = self.refusal.latest.lock().clone()?;
        (self.clock.monotonic().saturating_sub(at) < REFUSAL_SHOWN).then(|| format!("{partition}: {why}"))
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
        self.metrics.redo_log_damages.set(i64::try_from(self.logs.damages()).unwrap_or(i64::MAX));
    }

    /// Remembers whether storage took an append.
    pub(super) fn note_append(&self, partition: &TopicPartition, error: Option<&AppendError>) {
        match error {
            Some(AppendError::Storage(why)) => {
                self.metrics.appends_refused.inc();
                let refusal = (self.clock.monotonic(), partition.clone(), why.to_string());
                *self.refusal.latest.lock() = Some(refusal);
                self.refusal.is_there.store(true, Ordering::Relaxed);
            }
            None if self.refusal.is_there.load(Ordering::Relaxed) => {
                let mut latest = self.refusal.latest.lock();
                if latest.take_if(|(_, refused, _)| refused == partition).is_some() {
                    self.refusal.is_there.store(false, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

/// A client tries again sooner: within a second, as they ship. Longer would be said of storage that works again.
const REFUSAL_SHOWN: Duration = Duration::from_secs(3);
