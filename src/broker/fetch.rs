//! Fetch: reads what is there, and waits when that is not enough.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use tracing::debug;

use crate::{
    config::FetchPastEnd,
    log::{Isolation, PartitionLog, ReadError, VisibleEnd, Waiter},
    model::{TopicId, TopicName},
};

use super::{
    Broker, PartitionError,
    list_offsets::{EpochError, check_leader_epoch},
};

/// A topic as a request names it: by id from Produce v13, Fetch v13 on, else by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicRef {
    Name(TopicName),
    Id(TopicId),
}

/// One partition of a fetch.
#[derive(Clone, Debug)]
pub struct FetchPartition {
    pub topic: TopicRef,
    pub partition: i32,
    pub fetch_offset: i64,
    /// -1 when the client gave none.
    pub leader_epoch: i32,
    /// `max.partition.fetch.bytes`
    pub bytes_max: usize,
}

/// A whole fetch.
pub struct FetchQuery {
    pub partitions: Vec<FetchPartition>,
    pub bytes_min: usize,
    pub bytes_max: usize,
    pub wait_max: Duration,
    pub isolation: Isolation,
}

/// Why a partition of a fetch has an error.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What a partition of a fetch gets; offsets are -1 with an error.
#[derive(Debug)]
pub struct FetchedPartition {
    pub error: Option<FetchError>,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub records: Bytes,
}

/// What all partitions of a fetch gave.
struct Fetched {
    partitions: Vec<FetchedPartition>,
    /// Bytes that count for `bytes_min`: of a partition that has more than was read its whole limit, as in Kafka,
    /// which cuts the last batch where it reaches the limit.
    ready: usize,
}

/// What readers saw of a log before a fetch read it.
struct Mark {
    log: Weak<PartitionLog>,
    end: VisibleEnd,
}

impl Broker {
    /// Answers, in the order of the query's partitions, as soon as `bytes_min` bytes are there, a partition cannot be
    /// read, or `wait_max` is over. Unknown partitions do not end the wait for the others.
    pub async fn fetch(self: &Arc<Self>, query: FetchQuery) -> Vec<(FetchPartition, FetchedPartition)> {
        let query = Arc::new(query);
        let deadline = tokio::time::Instant::now() + query.wait_max;
        let mut is_over = query.wait_max.is_zero();
        let mut stopping = self.stopping.subscribe();
        let fetched = self.read_all(&query).await;
        // One that becomes unknown later ends the wait.
        let unknown = count_unknown(&fetched.partitions);
        if is_over || is_enough(&query, &fetched, unknown) {
            return self.finish(&query, fetched);
        }
        drop(fetched);
        let waiter = Waiter::new();
        // Registered first, read again after: an append between the two must not be slept through.
        self.register(&query, &waiter);
        loop {
            // Taken before the read: what comes between the two is counted twice rather than not at all.
            let marks = self.marks(&query);
            let fetched = self.read_all(&query).await;
            if is_over || is_enough(&query, &fetched, unknown) {
                return self.finish(&query, fetched);
            }
            let ready = fetched.ready;
            drop(fetched);
            while !is_over {
                tokio::select! {
                    () = waiter.wait() => {}
                    _ = stopping.wait_for(|stop| *stop) => is_over = true,
                    () = tokio::time::sleep_until(deadline) => is_over = true,
                }
                if self.is_worth_a_read(&query, &marks, ready) {
                    break;
                }
            }
        }
    }

    fn finish(&self, query: &FetchQuery, fetched: Fetched) -> Vec<(FetchPartition, FetchedPartition)> {
        self.count_fetched(&fetched.partitions);
        pair(query, fetched.partitions)
    }

    /// Where each partition's visible part ends; none for one that cannot be had.
    fn marks(&self, query: &FetchQuery) -> Vec<Option<Mark>> {
        let mark = |log: Arc<PartitionLog>| Mark { log: Arc::downgrade(&log), end: log.visible_end() };
        let logs = query.partitions.iter().map(|asked| self.partition(&asked.topic, asked.partition));
        logs.map(|log| log.ok().map(mark)).collect()
    }

    /// Whether `bytes_min` bytes, or an error, may be there since `marks`, when `ready` bytes were there then. Looks at
    /// positions only, as every append wakes every fetch that waits for its partition.
    fn is_worth_a_read(&self, query: &FetchQuery, marks: &[Option<Mark>], ready: usize) -> bool {
        let mut ready = ready as u64;
        for (asked, mark) in query.partitions.iter().zip(marks) {
            match (self.partition(&asked.topic, asked.partition), mark) {
                (Err(_), None) => {}
                (Ok(log), Some(mark)) if std::ptr::eq(mark.log.as_ptr(), Arc::as_ptr(&log)) => {
                    let Some(bytes) = log.seen_since(&mark.end) else { return true };
                    ready = ready.saturating_add(bytes);
                }
                _ => return true,
            }
        }
        ready >= query.bytes_min.min(query.bytes_max) as u64
    }

    /// Small reads of the tail are done in place; larger ones may touch the disk and leave the async threads.
    async fn read_all(self: &Arc<Self>, query: &Arc<FetchQuery>) -> Fetched {
        if !self.is_heavy(query) {
            return self.read_in_order(query);
        }
        let broker = Arc::clone(self);
        let owned = Arc::clone(query);
        match tokio::task::spawn_blocking(move || broker.read_in_order(&owned)).await {
            Ok(fetched) => fetched,
            Err(_) => self.read_in_order(query),
        }
    }

    fn is_heavy(&self, query: &FetchQuery) -> bool {
        let mut ready = 0_u64;
        for partition in &query.partitions {
            if let Ok(log) = self.partition(&partition.topic, partition.partition) {
                ready = ready.saturating_add(estimate(&log, partition.fetch_offset));
            }
        }
        ready > INLINE_READ_BYTES_MAX
    }

    fn read_in_order(&self, query: &FetchQuery) -> Fetched {
        let mut room = query.bytes_max;
        let mut any = false;
        let mut ready = 0_usize;
        let partitions = query
            .partitions
            .iter()
            .map(|partition| {
                let limit = partition.bytes_max.min(room);
                // KIP-74: the first batch is returned even if it is larger than every limit, so that a
                // consumer always gets on.
                match self.read_one(partition, limit, !any, query.isolation) {
                    Ok((fetched, has_more)) => {
                        let bytes = fetched.records.len();
                        any |= bytes > 0;
                        room = room.saturating_sub(bytes);
                        // Without any records an early answer would only bring the same fetch again.
                        ready = ready.saturating_add(if has_more && any { bytes.max(limit) } else { bytes });
                        fetched
                    }
                    Err(error) => {
                        debug!(topic = ?partition.topic, partition = partition.partition,
                            offset = partition.fetch_offset, %error, "fetch refused");
                        FetchedPartition {
                            error: Some(error),
                            high_watermark: -1,
                            last_stable_offset: -1,
                            log_start_offset: -1,
                            records: Bytes::new(),
                        }
                    }
                }
            })
            .collect();
        Fetched { partitions, ready }
    }

    /// What one partition gives, and whether readers see more of it than that.
    fn read_one(
        &self,
        partition: &FetchPartition,
        bytes_max: usize,
        min_one_batch: bool,
        isolation: Isolation,
    ) -> Result<(FetchedPartition, bool), FetchError> {
        let log = self.partition(&partition.topic, partition.partition)?;
        check_leader_epoch(partition.leader_epoch)?;
        match log.read(partition.fetch_offset, bytes_max, min_one_batch, isolation) {
            Ok(read) => {
                let has_more = read.next_offset < read.high_watermark;
                let fetched = FetchedPartition {
                    error: None,
                    high_watermark: read.high_watermark,
                    last_stable_offset: read.last_stable_offset,
                    log_start_offset: read.log_start_offset,
                    records: read.records,
                };
                Ok((fetched, has_more))
            }
            Err(ReadError::BeyondEnd { .. }) if self.settings.fetch.past_end == FetchPastEnd::Empty => {
                Ok((nothing(&log), false))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn register(&self, query: &FetchQuery, waiter: &Arc<Waiter>) {
        for partition in &query.partitions {
            if let Ok(log) = self.partition(&partition.topic, partition.partition) {
                log.register(waiter);
            }
        }
    }

    fn count_fetched(&self, fetched: &[FetchedPartition]) {
        let bytes: usize = fetched.iter().map(|partition| partition.records.len()).sum();
        self.metrics.fetched_bytes.inc_by(bytes as u64);
        let out_of_range = fetched
            .iter()
            .filter(|partition| {
                matches!(
                    partition.error,
                    Some(FetchError::Read(ReadError::BeyondEnd { .. } | ReadError::BelowStart { .. }))
                )
            })
            .count();
        self.metrics.fetch_out_of_range.inc_by(out_of_range as u64);
    }
}

/// About how many bytes there are to read from `offset` on, by the average size of a record of this log.
fn estimate(log: &PartitionLog, offset: i64) -> u64 {
    let offsets = log.offsets();
    let records = u64::try_from(offsets.high_watermark.saturating_sub(offset)).unwrap_or(0);
    let stored = u64::try_from(offsets.log_end.saturating_sub(offsets.log_start)).unwrap_or(0).max(1);
    records.saturating_mul(log.size_bytes() / stored)
}

fn pair(query: &FetchQuery, fetched: Vec<FetchedPartition>) -> Vec<(FetchPartition, FetchedPartition)> {
    query.partitions.iter().cloned().zip(fetched).collect()
}

/// Whether a fetch is answered at once (`ReplicaManager.fetchMessages`, `DelayedFetch.tryComplete`); `unknown` of its
/// partitions were so from the beginning.
fn is_enough(query: &FetchQuery, fetched: &Fetched, unknown: usize) -> bool {
    let is_unreadable = |partition: &FetchedPartition| partition.error.is_some() && !is_unknown(partition);
    fetched.ready >= query.bytes_min.min(query.bytes_max)
        || unknown >= query.partitions.len()
        || count_unknown(&fetched.partitions) > unknown
        || fetched.partitions.iter().any(is_unreadable)
}

fn count_unknown(fetched: &[FetchedPartition]) -> usize {
    fetched.iter().filter(|partition| is_unknown(partition)).count()
}

/// Kafka leaves these out of the read.
fn is_unknown(partition: &FetchedPartition) -> bool {
    matches!(
        partition.error,
        Some(FetchError::Partition(PartitionError::UnknownTopicOrPartition | PartitionError::UnknownTopicId))
    )
}

fn nothing(log: &PartitionLog) -> FetchedPartition {
    let offsets = log.offsets();
    FetchedPartition {
        error: None,
        high_watermark: offsets.high_watermark,
        last_stable_offset: offsets.last_stable,
        log_start_offset: offsets.log_start,
        records: Bytes::new(),
    }
}

/// Up to this many bytes a read costs less than handing it to another thread.
const INLINE_READ_BYTES_MAX: u64 = 128 * 1024;
