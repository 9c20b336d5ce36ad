//! Fetch: reads what is there, and waits when that is not enough.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::debug;

use crate::{
    config::FetchPastEnd,
    log::{Isolation, PartitionLog, ReadError, VisibleEnd, Waiter},
    model::{Records, TopicId, TopicName},
};

use super::{
    Broker, PartitionError,
    list_offsets::{ReadPartitionError, check_leader_epoch},
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

/// What a partition of a fetch gets; offsets are -1 with an error.
#[derive(Debug)]
pub struct FetchedPartition {
    pub error: Option<ReadPartitionError>,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub records: Records,
}

/// What all partitions of a fetch gave.
struct Fetched {
    partitions: Vec<FetchedPartition>,
    /// Bytes that count for `bytes_min`: of a partition that has more than was read its whole limit, as in Kafka,
    /// which cuts the last batch where it reaches the limit.
    ready: usize,
    /// A partition was left out because reading it takes long.
    is_partial: bool,
}

/// What readers see of a partition besides what was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    More,
    /// Nothing was read, as that takes long.
    Unread,
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

    /// What needs little or nothing of the disk is done in place; the rest leaves the async threads.
    async fn read_all(self: &Arc<Self>, query: &Arc<FetchQuery>) -> Fetched {
        let fetched = self.read_in_order(query, INLINE_READ_BYTES_MAX);
        if !fetched.is_partial {
            return fetched;
        }
        let (broker, query) = (Arc::clone(self), Arc::clone(query));
        let read = tokio::task::spawn_blocking(move || broker.read_in_order(&query, usize::MAX));
        read.await.unwrap_or(fetched)
    }

    /// Reads `effort_bytes` bytes from the disk at most.
    fn read_in_order(&self, query: &FetchQuery, mut effort_bytes: usize) -> Fetched {
        let mut room = query.bytes_max;
        let mut any = false;
        let mut all = Fetched { partitions: Vec::with_capacity(query.partitions.len()), ready: 0, is_partial: false };
        for partition in &query.partitions {
            let limit = partition.bytes_max.min(room);
            // KIP-74: the first batch is returned even if it is larger than every limit, so that a consumer always
            // gets on.
            let fetched = match self.read_one(partition, limit, !any, query.isolation, &mut effort_bytes) {
                Ok((fetched, rest)) => {
                    let bytes = fetched.records.len();
                    any |= bytes > 0;
                    room = room.saturating_sub(bytes);
                    all.is_partial |= rest == Rest::Unread;
                    // Without any records an early answer would only bring the same fetch again.
                    let is_more = rest == Rest::More && any;
                    all.ready = all.ready.saturating_add(if is_more { bytes.max(limit) } else { bytes });
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
                        records: Records::default(),
                    }
                }
            };
            all.partitions.push(fetched);
        }
        all
    }

    /// What one partition gives, and what it has besides.
    fn read_one(
        &self,
        partition: &FetchPartition,
        bytes_max: usize,
        min_one_batch: bool,
        isolation: Isolation,
        effort_bytes: &mut usize,
    ) -> Result<(FetchedPartition, Rest), ReadPartitionError> {
        let log = self.partition(&partition.topic, partition.partition)?;
        check_leader_epoch(partition.leader_epoch)?;
        match log.try_read(partition.fetch_offset, bytes_max, min_one_batch, isolation, effort_bytes) {
            Ok(Some(read)) => {
                let rest = if read.next_offset < read.high_watermark { Rest::More } else { Rest::Nothing };
                let fetched = FetchedPartition {
                    error: None,
                    high_watermark: read.high_watermark,
                    last_stable_offset: read.last_stable_offset,
                    log_start_offset: read.log_start_offset,
                    records: read.records,
                };
                Ok((fetched, rest))
            }
            Ok(None) => Ok((nothing(&log), Rest::Unread)),
            Err(ReadError::BeyondEnd { .. }) if self.settings.fetch.past_end == FetchPastEnd::Empty => {
                Ok((nothing(&log), Rest::Nothing))
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
                    Some(ReadPartitionError::Read(ReadError::BeyondEnd { .. } | ReadError::BelowStart { .. }))
                )
            })
            .count();
        self.metrics.fetch_out_of_range.inc_by(out_of_range as u64);
    }
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
        Some(ReadPartitionError::Partition(PartitionError::UnknownTopicOrPartition | PartitionError::UnknownTopicId))
    )
}

fn nothing(log: &PartitionLog) -> FetchedPartition {
    let offsets = log.offsets();
    FetchedPartition {
        error: None,
        high_watermark: offsets.high_watermark,
        last_stable_offset: offsets.last_stable,
        log_start_offset: offsets.log_start,
        records: Records::default(),
    }
}

/// Up to this many bytes a read costs less than handing it to another thread.
const INLINE_READ_BYTES_MAX: usize = 128 * 1024;
