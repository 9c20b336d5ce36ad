//! The logs that wait for a flush, and the few threads that serve them.
//!
//! Large flushes sync their segments, several at a time: eight files in turn take 1.8 ms here, eight threads 0.43 ms. Small
//! ones are gathered, and all that wait become durable with one sync (`SegmentStore::sync_tails`).
//!
//! Every log in the queue, or in a worker's hands, has `is_flushing`. A worker that panics fails what it was about to flush
//! and goes on: nobody else would ever flush it again.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};

use super::{context::LogContext, files::log_name, flush::TailFlush, partition::PartitionLog};
use crate::storage::{SegmentStore, StorageError, segment::Tail};

/// See the module.
#[derive(Default)]
pub(super) struct FlushQueue {
    inner: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<PartitionLog>>,
    /// Logs whose flush needs a thread for itself.
    large: VecDeque<Arc<PartitionLog>>,
    workers: usize,
    /// A worker has taken all that waited; what comes meanwhile is for its next round.
    is_gathering: bool,
}

/// Puts `log` in the queue. Flushes here where there is no runtime, as in a tool.
pub(super) fn submit(context: &Arc<LogContext>, log: Arc<PartitionLog>) {
    let mut queue = context.flushes.inner.lock();
    queue.waiting.push_back(log);
    // Whoever gathers looks again.
    if !queue.is_gathering {
        hire(context, queue, 1);
    }
}

/// Sets up to `wanted` more workers to work, as many as there may be.
fn hire(context: &Arc<LogContext>, mut queue: MutexGuard<'_, Queue>, wanted: usize) {
    let hired = wanted.min(WORKERS_MAX.saturating_sub(queue.workers));
    queue.workers += hired;
    drop(queue);
    for _ in 0..hired {
        let context = Arc::clone(context);
        match context.runtime.clone() {
            Some(runtime) => drop(runtime.spawn_blocking(move || work(&context))),
            None => work(&context),
        }
    }
}

fn work(context: &Arc<LogContext>) {
    loop {
        let mut queue = context.flushes.inner.lock();
        if !queue.is_gathering && !queue.waiting.is_empty() {
            queue.is_gathering = true;
            let logs = std::mem::take(&mut queue.waiting);
            drop(queue);
            gather(context, logs);
        } else if let Some(log) = queue.large.pop_front() {
            drop(queue);
            if flush_alone(&log) {
                context.flushes.inner.lock().waiting.push_back(log);
            }
        } else {
            queue.workers -= 1;
            return;
        }
    }
}

/// Whether more is to be flushed.
fn flush_alone(log: &PartitionLog) -> bool {
    catch_unwind(AssertUnwindSafe(|| log.flush_once())).unwrap_or_else(|_| {
        log.flush_panicked();
        false
    })
}

/// Flushes what is small in one go, and leaves the rest to other workers.
fn gather(context: &Arc<LogContext>, logs: VecDeque<Arc<PartitionLog>>) {
    let mut round = Round { unplanned: logs, ..Round::default() };
    if catch_unwind(AssertUnwindSafe(|| round.run(context))).is_err() {
        let small = round.small.drain(..).map(|(log, _)| log);
        round.unplanned.drain(..).chain(small).for_each(|log| log.flush_panicked());
    }
    let mut queue = context.flushes.inner.lock();
    queue.large.append(&mut round.large);
    queue.waiting.append(&mut round.again);
    queue.is_gathering = false;
    // This worker goes on gathering when something waits: what is large must not wait until nothing does.
    let helpers = if queue.waiting.is_empty() { 0 } else { queue.large.len() };
    hire(context, queue, helpers);
}

/// Each log of a gathering is in one of these, at any moment.
#[derive(Default)]
struct Round {
    unplanned: VecDeque<Arc<PartitionLog>>,
    small: VecDeque<(Arc<PartitionLog>, TailFlush)>,
    large: VecDeque<Arc<PartitionLog>>,
    /// Those that have more to flush.
    again: VecDeque<Arc<PartitionLog>>,
}

impl Round {
    fn run(&mut self, context: &Arc<LogContext>) {
        while let Some(tail) = self.unplanned.front().map(|log| log.plan_tail()) {
            let Some(log) = self.unplanned.pop_front() else { break };
            match tail {
                Some(tail) => self.small.push_back((log, tail)),
                None => self.large.push_back(log),
            }
        }
        let mut queue = context.flushes.inner.lock();
        // This worker is one of them when it has nothing else to do.
        let helpers = self.large.len().saturating_sub(usize::from(self.small.is_empty()));
        queue.large.append(&mut self.large);
        hire(context, queue, helpers);
        while !self.small.is_empty() {
            self.flush_tails();
        }
    }

    /// Makes as many as may share a sync durable.
    fn flush_tails(&mut self) {
        let results = self.sync_tails();
        for result in results {
            let Some((log, tail)) = self.small.front() else { break };
            let is_more = log.tail_flushed(tail, result);
            if let Some((log, _)) = self.small.pop_front().filter(|_| is_more) {
                self.again.push_back(log);
            }
        }
    }

    fn sync_tails(&self) -> Vec<Result<(), StorageError>> {
        let Some((first, _)) = self.small.front() else { return Vec::new() };
        let small = || self.small.iter().take(TAILS_MAX);
        let names: Vec<_> = small().map(|(_, tail)| log_name(tail.segment.base_offset)).collect();
        let tails: Vec<_> = small()
            .zip(&names)
            .map(|((log, tail), name)| Tail {
                partition: &log.partition,
                name,
                file: &tail.segment.file,
                from: tail.from,
                to: tail.to(),
            })
            .collect();
        sync_tails(&*first.store, &tails)
    }
}

/// One result a tail. When they cannot be made durable together, as on a full disk, which has no room to write anything
/// twice, each file is synced by itself: what is wrong with one must not cost the others their records. One whose sync
/// failed refuses another.
fn sync_tails(store: &dyn SegmentStore, tails: &[Tail<'_>]) -> Vec<Result<(), StorageError>> {
    match store.sync_tails(tails) {
        Ok(()) => vec![Ok(()); tails.len()],
        Err(error) => {
            tracing::warn!(%error, logs = tails.len(), "logs could not be synced together; trying each by itself");
            tails.iter().map(|tail| tail.file.sync()).collect()
        }
    }
}

const WORKERS_MAX: usize = 8;
/// Flushed with one sync: bounds the memory for it, 32 KiB a log.
const TAILS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use std::{io::IoSlice, sync::atomic::Ordering, time::Duration};

    use super::*;
    use crate::{
        config::Durability,
        log::{
            LogError,
            tests::{
                faulty::{Faults, FaultyStore},
                support::{Bench, batch_of},
            },
        },
        model::TopicPartition,
        storage::{OpenMode, disk::DiskSegments, memory::MemorySegments},
    };

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_file_that_cannot_be_synced_costs_the_others_nothing() {
        let partition = TopicPartition::new("t", 0);
        let store =
            || FaultyStore { inner: Arc::new(MemorySegments::new(1 << 20)), faults: Arc::new(Faults::default()) };
        let (sound, broken) = (store(), store());
        broken.faults.syncs.store(true, Ordering::SeqCst);
        let file = |store: &FaultyStore| {
            let file = store.open(&partition, "0.log", OpenMode::Create).unwrap();
            file.append(&[IoSlice::new(b"records")]).unwrap();
            file
        };
        let files = [file(&sound), file(&broken), file(&sound)];
        let tail = |file| Tail { partition: &partition, name: "0.log", file, from: 0, to: 7 };
        let tails: Vec<_> = files.iter().map(tail).collect();
        let results = sync_tails(&sound, &tails);
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn a_file_is_synced_by_itself_when_nothing_can_be_noted_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskSegments::open(directory.path(), Durability::Sync, 64).unwrap();
        std::fs::remove_dir_all(directory.path().join("redo")).unwrap();
        let partition = TopicPartition::new("t", 0);
        let file = store.open(&partition, "0.log", OpenMode::Create).unwrap();
        file.append(&[IoSlice::new(b"bytes")]).unwrap();
        let tail = Tail { partition: &partition, name: "0.log", file: &file, from: 0, to: 5 };
        store.sync_tails(&[tail]).unwrap_err();
        assert!(sync_tails(&store, &[tail]).iter().all(Result::is_ok));
    }

    /// More panics than there are workers: each gives its place back.
    #[tokio::test]
    async fn a_flush_that_panics_fails_what_it_was_to_flush_and_nothing_else() {
        let faults = Arc::new(Faults::default());
        let inner = Arc::new(MemorySegments::new(1 << 20));
        let bench = Bench::over(Arc::new(FaultyStore { inner, faults: Arc::clone(&faults) }));
        let log = bench.open();
        let small = || batch_of(1, 10);
        let large = || batch_of(1, 40_000);
        for round in 0..=2 * WORKERS_MAX {
            for batch in [small(), large()] {
                let kept = log.append(small(), 0).unwrap();
                log.wait_durable(kept.ticket).await.unwrap();
                faults.panics.store(true, Ordering::SeqCst);
                let lost = log.append(batch, 0).unwrap();
                let outcome = tokio::time::timeout(PATIENCE, log.wait_durable(lost.ticket)).await;
                let error = outcome.expect("an answer").unwrap_err();
                assert!(matches!(error, LogError::Storage { .. }), "round {round}: {error}");
                faults.panics.store(false, Ordering::SeqCst);
                bench.clock.advance(Duration::from_secs(2));
                log.append(small(), 0).unwrap_err();
                while log.trouble().is_some() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                assert_eq!(log.offsets().log_end, kept.last_offset + 1);
            }
        }
        log.close().unwrap();
    }
}
