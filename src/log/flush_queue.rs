//! The logs that wait for a flush, and the few threads that serve them.
//!
//! Large flushes sync their segments, several at a time: eight files in turn take 1.8 ms here, eight threads 0.43 ms. Small
//! ones are gathered, and all that wait become durable with one sync (`SegmentStore::sync_tails`).

use std::{collections::VecDeque, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

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
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || work(&context))),
            Err(_) => work(&context),
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
            if log.flush_once() {
                context.flushes.inner.lock().waiting.push_back(log);
            }
        } else {
            queue.workers -= 1;
            return;
        }
    }
}

/// Flushes what is small in one go, and leaves the rest to other workers.
fn gather(context: &Arc<LogContext>, logs: VecDeque<Arc<PartitionLog>>) {
    let mut small = Vec::new();
    let mut large = VecDeque::new();
    for log in logs {
        match log.plan_tail() {
            Some(tail) => small.push((log, tail)),
            None => large.push_back(log),
        }
    }
    let mut queue = context.flushes.inner.lock();
    // This worker is one of them when it has nothing else to do.
    let helpers = large.len().saturating_sub(usize::from(small.is_empty()));
    queue.large.append(&mut large);
    hire(context, queue, helpers);
    let mut again = Vec::new();
    while !small.is_empty() {
        let rest = small.split_off(small.len().min(TAILS_MAX));
        again.extend(flush_tails(std::mem::replace(&mut small, rest)));
    }
    let mut queue = context.flushes.inner.lock();
    queue.waiting.extend(again);
    queue.is_gathering = false;
    // This worker goes on gathering when something waits: what is large must not wait until nothing does.
    let helpers = if queue.waiting.is_empty() { 0 } else { queue.large.len() };
    hire(context, queue, helpers);
}

/// Answers the logs that have more to flush.
fn flush_tails(small: Vec<(Arc<PartitionLog>, TailFlush)>) -> Vec<Arc<PartitionLog>> {
    let names: Vec<_> = small.iter().map(|(_, tail)| log_name(tail.segment.base_offset)).collect();
    let tails: Vec<_> = small
        .iter()
        .zip(&names)
        .map(|((log, tail), name)| Tail {
            partition: &log.partition,
            name,
            file: &tail.segment.file,
            from: tail.from,
            to: tail.to(),
        })
        .collect();
    let Some((first, _)) = small.first() else { return Vec::new() };
    let results = sync_tails(&*first.store, &tails);
    let flushed = small.into_iter().zip(results);
    flushed.filter_map(|((log, tail), result)| log.tail_flushed(&tail, result).then_some(log)).collect()
}

/// One result a tail. When they cannot be made durable together each file is synced by itself: what is wrong with one must not
/// cost the others their records. One whose sync failed refuses another.
fn sync_tails(store: &dyn SegmentStore, tails: &[Tail<'_>]) -> Vec<Result<(), StorageError>> {
    match store.sync_tails(tails) {
        Err(error) if tails.len() > 1 => {
            tracing::warn!(%error, logs = tails.len(), "logs could not be synced together; trying each by itself");
            tails.iter().map(|tail| tail.file.sync()).collect()
        }
        result => vec![result; tails.len()],
    }
}

const WORKERS_MAX: usize = 8;
/// Flushed with one sync: bounds the memory for it, 32 KiB a log.
const TAILS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use std::{io::IoSlice, sync::atomic::Ordering};

    use super::*;
    use crate::{
        log::tests::faulty::{Faults, FaultyStore},
        model::TopicPartition,
        storage::{OpenMode, memory::MemorySegments},
    };

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
}
