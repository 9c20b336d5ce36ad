//! The thread that compacts logs, one at a time, the dirtiest first (`LogCleaner.CleanerThread`).

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::runtime::Handle;
use tracing::{debug, error, info, warn};

use super::Broker;
use crate::log::{CompactError, CompactStats, Pace, PartitionLog, StopFlag};

/// The running cleaner.
pub struct LogCleaner {
    stop: Arc<StopFlag>,
    thread: JoinHandle<()>,
}

impl LogCleaner {
    /// Starts the thread; none where `log.cleaner.enable` is off. Called within the runtime, which the thread borrows for
    /// flushes.
    pub fn start(broker: Arc<Broker>) -> io::Result<Option<Self>> {
        if !broker.settings.log.cleaner.is_enabled {
            return Ok(None);
        }
        let stop = Arc::new(StopFlag::default());
        let flag = Arc::clone(&stop);
        let runtime = Handle::current();
        let thread = std::thread::Builder::new().name("log-cleaner".to_owned()).spawn(move || {
            let _entered = runtime.enter();
            // On Linux this is the thread's own: whatever serves clients comes first.
            if let Err(error) = rustix::process::nice(NICEST) {
                debug!(%error, "the log cleaner runs at the usual priority");
            }
            broker.clean_until(&flag);
        })?;
        Ok(Some(Self { stop, thread }))
    }

    /// Ends the thread, and the pass that it is in.
    pub async fn stop(self) {
        self.stop.set();
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            error!("the log cleaner failed");
        }
    }
}

impl Broker {
    fn clean_until(&self, stop: &Arc<StopFlag>) {
        let settings = &self.settings.log.cleaner;
        let mut pace = Pace::new(Arc::clone(&self.clock), Arc::clone(stop), settings.io_bytes_per_second);
        while !stop.wait(settings.backoff.max(BACKOFF_MIN)) {
            while self.clean_dirtiest(&mut pace) {}
        }
    }

    /// Compacts the dirtiest log of those that are due; whether there was one and it went well.
    fn clean_dirtiest(&self, pace: &mut Pace) -> bool {
        let now_ms = self.clock.wall_ms();
        let logs = self.logs.all();
        let mut dirtiest: Option<(f64, &Arc<PartitionLog>)> = None;
        for log in &logs {
            match log.cleanable(now_ms) {
                Ok(Some(found)) if dirtiest.is_none_or(|(ratio, _)| found.dirty_ratio > ratio) => {
                    dirtiest = Some((found.dirty_ratio, log));
                }
                Ok(_) => {}
                Err(error) => warn!(partition = %log.partition(), %error, "cannot tell what is to be compacted"),
            }
        }
        let metrics = &self.metrics.cleaner;
        metrics.max_dirty_percent.set(dirtiest.map_or(0, |(ratio, _)| (ratio * 100.0) as i64));
        let Some((_, log)) = dirtiest else {
            metrics.uncleanable_partitions.set(count_uncleanable(&logs));
            return false;
        };
        let result = log.compact(self.settings.log.cleaner.dedupe_buffer_bytes, pace);
        metrics.uncleanable_partitions.set(count_uncleanable(&logs));
        match result {
            Ok(Some(stats)) => {
                self.report_pass(log, &stats);
                true
            }
            Ok(None) | Err(CompactError::Stopped) => false,
            Err(error @ CompactError::Damaged { .. }) => {
                error!(partition = %log.partition(), %error, "the partition is not compacted any more");
                true
            }
            Err(CompactError::Storage(error)) => {
                warn!(partition = %log.partition(), %error, "compaction failed; it is tried again in a while");
                true
            }
        }
    }

    fn report_pass(&self, log: &PartitionLog, stats: &CompactStats) {
        self.metrics.cleaner.observe_pass(
            stats.bytes_read,
            stats.bytes_written,
            stats.elapsed.as_secs_f64(),
            self.clock.wall_ms(),
        );
        info!(
            partition = %log.partition(),
            bytes_before = stats.bytes_before,
            bytes_after = stats.bytes_after,
            segments_before = stats.segments_before,
            segments_after = stats.segments_after,
            clean_until = stats.clean_until,
            elapsed_ms = stats.elapsed.as_millis(),
            "compacted a partition"
        );
    }
}

fn count_uncleanable(logs: &[Arc<PartitionLog>]) -> i64 {
    i64::try_from(logs.iter().filter(|log| log.is_uncleanable()).count()).unwrap_or(i64::MAX)
}

/// The lowest priority there is.
const NICEST: i32 = 19;
/// Looking for something to do costs a little itself.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
