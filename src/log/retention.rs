//! Deleting what is old, too much, or was asked to be deleted.

use std::sync::Arc;

use super::{
    error::LogError,
    files::snapshot_name,
    partition::{PartitionLog, State, Status},
    segment::Segment,
};
use crate::storage::StorageError;

impl PartitionLog {
    /// Whether the log start may move to `before` (-1: the high watermark), and where it would be then. The caller
    /// makes that durable before it calls [`delete_records`](Self::delete_records).
    pub fn check_delete_records(&self, before: i64) -> Result<i64, LogError> {
        let state = self.state.lock();
        let high_watermark = state.high_watermark.offset;
        let offset = if before == HIGH_WATERMARK { high_watermark } else { before };
        if offset < 0 || offset > high_watermark {
            return Err(LogError::OffsetOutOfRange {
                partition: self.partition.clone(),
                offset: before,
                log_start: state.log_start,
                high_watermark,
            });
        }
        Ok(offset.max(state.log_start))
    }

    /// Moves the log start to `before` (-1: the high watermark) and answers where it is then; whole segments below
    /// it are deleted. Blocks for the disk.
    pub fn delete_records(&self, before: i64) -> Result<i64, LogError> {
        let _in_use = self.in_use.read();
        let offset = self.check_delete_records(before)?;
        let _replacing = self.replacing.lock();
        let mut state = self.state.lock();
        if matches!(state.status, Status::Closed) {
            return Err(LogError::Closed(self.partition.clone()));
        }
        state.log_start = state.log_start.max(offset);
        let log_start = state.log_start;
        let doomed = self.below_start(&mut state);
        drop(state);
        self.waiters.wake_all();
        self.delete_segments(&doomed)?;
        Ok(log_start)
    }

    /// Deletes segments that are older or more than the topic's configs allow, or lie below the log start, and forgets
    /// idle producers. Answers the bytes freed. Blocks for the disk.
    pub fn apply_retention(&self, now_ms: i64) -> Result<u64, LogError> {
        let storage = |source| LogError::Storage { partition: self.partition.clone(), source };
        let _in_use = self.in_use.read();
        if matches!(self.state.lock().status, Status::Closed) {
            return Ok(0);
        }
        let config = self.config.load_full();
        let replacing = self.replacing.lock();
        // Largest timestamps of sealed segments come from their indexes: read them without the log's lock.
        let segments = self.state.lock().segments.to_vec();
        let mut doomed_count = 0;
        if config.delete {
            doomed_count = self.expired(&segments, config.retention_ms, now_ms).map_err(storage)?;
            doomed_count = doomed_count.max(oversized(&segments, config.retention_bytes));
        }
        let last_doomed = doomed_count.checked_sub(1).and_then(|last| segments.get(last)).map(|last| last.base_offset);
        let appending = self.appending.lock();
        let mut state = self.state.lock();
        if !matches!(state.status, Status::Open) {
            return Ok(0);
        }
        state.producers.expire(now_ms, self.context.producer_expiration_ms);
        state.forget_old_spans(self.context.clock.monotonic());
        let mut doomed = self.below_start(&mut state);
        while let Some(first) = state.segments.first() {
            if last_doomed.is_none_or(|last| first.base_offset > last) {
                break;
            }
            let next_base = match state.segments.get(1) {
                Some(next) => next.base_offset,
                None if first.file.size_bytes() == 0 || state.high_watermark.offset < state.end.offset => break,
                None => {
                    self.roll(&mut state, now_ms).map_err(storage)?;
                    state.end.offset
                }
            };
            // What is not yet durable is not old.
            if next_base > state.high_watermark.offset {
                break;
            }
            doomed.push(state.segments.change().remove(0));
            state.log_start = state.log_start.max(next_base);
        }
        let log_start = state.log_start;
        state.epochs.truncate_start(log_start);
        let needs_flush = self.needs_flush(&state) && !std::mem::replace(&mut state.is_flushing, true);
        drop(state);
        drop(appending);
        let freed = doomed.iter().map(|segment| segment.file.size_bytes()).sum();
        if !doomed.is_empty() {
            self.waiters.wake_all();
            tracing::info!(
                partition = %self.partition, segments = doomed.len(), bytes = freed, log_start,
                "deleted records by retention"
            );
        }
        let deleted = self.delete_segments(&doomed);
        // A flush that fails repairs the log, which takes this lock.
        drop(replacing);
        if needs_flush {
            self.submit_flush();
        }
        deleted.map(|()| freed)
    }

    /// How many segments from the first on have only records that are older than `retention_ms`.
    fn expired(
        &self,
        segments: &[Arc<Segment>],
        retention_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<usize, StorageError> {
        let Some(retention_ms) = retention_ms else { return Ok(0) };
        let mut expired = 0;
        for (index, segment) in segments.iter().enumerate() {
            let (max_timestamp_ms, _) = segment.max_timestamp(&*self.store, &self.partition)?;
            // Without a timestamp, as when compaction left no records, a segment is as old as what follows it. Kafka takes
            // the file's time.
            if max_timestamp_ms < 0 {
                continue;
            }
            if now_ms.saturating_sub(max_timestamp_ms) <= retention_ms {
                break;
            }
            expired = index + 1;
        }
        Ok(expired)
    }

    /// Takes the segments that lie wholly below the log start out of the list.
    fn below_start(&self, state: &mut State) -> Vec<Arc<Segment>> {
        let log_start = state.log_start;
        let keep_from = state.segments.partition_point(|segment| segment.base_offset <= log_start).saturating_sub(1);
        match keep_from {
            0 => Vec::new(),
            _ => state.segments.change().drain(..keep_from).collect(),
        }
    }

    fn delete_segments(&self, doomed: &[Arc<Segment>]) -> Result<(), LogError> {
        let storage = |source| LogError::Storage { partition: self.partition.clone(), source };
        for segment in doomed {
            segment.delete(&*self.store, &self.partition).map_err(storage)?;
            self.store.delete(&self.partition, &snapshot_name(segment.base_offset)).map_err(storage)?;
        }
        Ok(())
    }
}

/// How many segments from the first on can go so that at least `retention_bytes` stay.
fn oversized(segments: &[Arc<Segment>], retention_bytes: Option<u64>) -> usize {
    let Some(retention_bytes) = retention_bytes else { return 0 };
    let total: u64 = segments.iter().map(|segment| segment.file.size_bytes()).sum();
    let mut excess = total.saturating_sub(retention_bytes);
    let mut count = 0;
    for segment in segments {
        let size_bytes = segment.file.size_bytes();
        if size_bytes == 0 || size_bytes > excess {
            break;
        }
        excess -= size_bytes;
        count += 1;
    }
    count
}

const HIGH_WATERMARK: i64 = -1;
