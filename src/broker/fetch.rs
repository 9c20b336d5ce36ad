//! Fetch: reads what is there, and waits when that is not enough.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::debug;

use crate::{
    config::FetchPastEnd,
    log::{Isolation, PartitionLog, ReadError, Waiter},
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

impl Broker {
    /// Answers, in the order of the query's partitions, as soon as `bytes_min` bytes are there, a partition has an
    /// error, or `wait_max` is over.
    pub async fn fetch(self: &Arc<Self>, query: FetchQuery) -> Vec<(FetchPartition, FetchedPartition)> {
        let query = Arc::new(query);
        let deadline = tokio::time::Instant::now() + query.wait_max;
        let mut stopping = self.stopping.subscribe();
        let waiter = Waiter::new();
        let mut registered = false;
        loop {
            let fetched = self.read_all(&query).await;
            if query.wait_max.is_zero() || is_enough(&query, &fetched) || tokio::time::Instant::now() >= deadline {
                self.count_fetched(&fetched);
                return pair(&query, fetched);
            }
            if !registered {
                // Registered first, read again after: an append between the two must not be slept through.
                self.register(&query, &waiter);
                registered = true;
                continue;
            }
            tokio::select! {
                () = waiter.wait() => {}
                _ = stopping.wait_for(|stop| *stop) => return pair(&query, fetched),
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Small reads of the tail are done in place; larger ones may touch the disk and leave the async threads.
    async fn read_all(self: &Arc<Self>, query: &Arc<FetchQuery>) -> Vec<FetchedPartition> {
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

    fn read_in_order(&self, query: &FetchQuery) -> Vec<FetchedPartition> {
        let mut room = query.bytes_max;
        let mut any = false;
        query
            .partitions
            .iter()
            .map(|partition| {
                // KIP-74: the first batch is returned even if it is larger than every limit, so that a
                // consumer always gets on.
                let fetched = self.read_one(partition, partition.bytes_max.min(room), !any, query.isolation);
                match fetched {
                    Ok(fetched) => {
                        any |= !fetched.records.is_empty();
                        room = room.saturating_sub(fetched.records.len());
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
            .collect()
    }

    fn read_one(
        &self,
        partition: &FetchPartition,
        bytes_max: usize,
        min_one_batch: bool,
        isolation: Isolation,
    ) -> Result<FetchedPartition, FetchError> {
        let log = self.partition(&partition.topic, partition.partition)?;
        check_leader_epoch(partition.leader_epoch)?;
        match log.read(partition.fetch_offset, bytes_max, min_one_batch, isolation) {
            Ok(read) => Ok(FetchedPartition {
                error: None,
                high_watermark: read.high_watermark,
                last_stable_offset: read.last_stable_offset,
                log_start_offset: read.log_start_offset,
                records: read.records,
            }),
            Err(ReadError::BeyondEnd { .. }) if self.settings.fetch.past_end == FetchPastEnd::Empty => {
                Ok(nothing(&log))
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

fn is_enough(query: &FetchQuery, fetched: &[FetchedPartition]) -> bool {
    let bytes: usize = fetched.iter().map(|partition| partition.records.len()).sum();
    query.partitions.is_empty()
        || bytes >= query.bytes_min
        || bytes >= query.bytes_max
        || fetched.iter().any(|partition| partition.error.is_some())
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
