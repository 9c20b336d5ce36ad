//! Appending a batch.

use std::{io::IoSlice, sync::Arc};

use bytes::Bytes;

use super::{
    checkpoint::{Checkpoint, Point},
    config::LogConfig,
    error::AppendError,
    files::{LEADER_EPOCHS, PARTITION_METADATA, partition_metadata},
    flush::DurableTicket,
    partition::{Appended, PartitionLog, State, Status},
    segment::Segment,
    validate::{ValidBatch, validate},
};
use crate::{
    config::Durability,
    model::batch::{BatchHeader, NO_TIMESTAMP},
    storage::StorageError,
};

impl PartitionLog {
    /// Checks `batch` and writes it, offsets assigned, at the end of the log, in the caller's thread. Whoever answers
    /// acks=all waits with [`wait_durable`](Self::wait_durable) then.
    pub fn append(&self, batch: Bytes, leader_epoch: i32) -> Result<Appended, AppendError> {
        let config = self.config.load();
        let now_ms = self.context.clock.wall_ms();
        let batch = validate(&batch, &config, now_ms)?;
        let mut state = self.state.lock();
        let result = self.append_locked(&mut state, &config, &batch, leader_epoch, now_ms);
        let is_news = matches!(&result, Ok(appended) if !appended.is_duplicate);
        let needs_flush = self.needs_flush(&state) && !std::mem::replace(&mut state.is_flushing, true);
        drop(state);
        if needs_flush {
            self.submit_flush();
        }
        if is_news && self.context.durability == Durability::Os {
            self.waiters.wake_all();
        }
        result
    }

    fn append_locked(
        &self,
        state: &mut State,
        config: &LogConfig,
        batch: &ValidBatch<'_>,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        match &state.status {
            Status::Open => {}
            Status::Failed { reason, .. } => return Err(AppendError::Storage(reason.clone())),
            Status::Closed => return Err(AppendError::Closed),
        }
        let mut header = batch.header;
        if let Some(earlier) = state.producers.check(&header)? {
            return Ok(Appended {
                base_offset: earlier.base_offset,
                last_offset: earlier.last_offset,
                log_append_time_ms: batch.log_append_time_ms,
                log_start_offset: state.log_start,
                is_duplicate: true,
                ticket: DurableTicket { offset: earlier.last_offset + 1, generation: state.generation },
            });
        }
        let base_offset = state.log_end;
        let next_offset =
            base_offset.checked_add(i64::from(header.record_count)).ok_or(AppendError::OffsetsExhausted)?;
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch;
        let active = self.active_for(state, config, &header, now_ms).map_err(AppendError::Storage)?;
        if state.epochs.assign(leader_epoch, base_offset) {
            let epochs = state.epochs.encode();
            self.store
                .write_whole(&self.partition, LEADER_EPOCHS, epochs.as_bytes(), false)
                .map_err(AppendError::Storage)?;
        }
        let encoded = header.encode();
        let parts = [IoSlice::new(&encoded), IoSlice::new(batch.payload)];
        let position = active.file.append(&parts).map_err(|error| self.append_failed(state, error))?;
        active.note(&header, position, config.index_interval_bytes);
        if active.is_index_flush_due()
            && let Err(error) = active.flush_indexes(&*self.store, &self.partition)
        {
            // The entries stay in memory, and a restart finds them again in the records.
            tracing::warn!(partition = %self.partition, %error, "index entries were not written");
        }
        state.producers.note(&header);
        state.log_end = next_offset;
        if self.context.durability == Durability::Os {
            state.high_watermark = state.end();
        }
        Ok(Appended {
            base_offset,
            last_offset: next_offset - 1,
            log_append_time_ms: batch.log_append_time_ms,
            log_start_offset: state.log_start,
            is_duplicate: false,
            ticket: DurableTicket { offset: next_offset, generation: state.generation },
        })
    }

    /// The segment that takes the batch: the active one, or a new one when there is none or it is time to roll.
    fn active_for(
        &self,
        state: &mut State,
        config: &LogConfig,
        header: &BatchHeader,
        now_ms: i64,
    ) -> Result<Arc<Segment>, StorageError> {
        match state.active() {
            Some(active) if !is_roll_due(active, config, header, now_ms, state.active_since_ms) => {
                Ok(Arc::clone(active))
            }
            Some(_) => self.roll(state, now_ms),
            None => {
                let metadata = partition_metadata(self.topic_id);
                self.store.write_whole(&self.partition, PARTITION_METADATA, metadata.as_bytes(), false)?;
                self.start_segment(state, now_ms)
            }
        }
    }

    /// Ends the active segment and begins the next at the log end.
    pub(super) fn roll(&self, state: &mut State, now_ms: i64) -> Result<Arc<Segment>, StorageError> {
        if let Some(active) = state.active() {
            active.finish_indexes(&*self.store, &self.partition)?;
            active.file.seal();
        }
        let segment = self.start_segment(state, now_ms)?;
        let point = Point { offset: state.log_end, segment: state.log_end, position: 0 };
        state.rolled = Some(Box::new(Checkpoint {
            point,
            index: super::segment::IndexMark::EMPTY,
            producers: state.producers.clone(),
        }));
        Ok(segment)
    }

    fn start_segment(&self, state: &mut State, now_ms: i64) -> Result<Arc<Segment>, StorageError> {
        let segment = Segment::create(&*self.store, &self.partition, state.log_end)?;
        state.segments.push(Arc::clone(&segment));
        state.active_since_ms = now_ms;
        state.directory_dirty = true;
        Ok(segment)
    }

    /// The file is as it was before, unless the store says that it could not bring that about.
    fn append_failed(&self, state: &mut State, error: StorageError) -> AppendError {
        if !matches!(error, StorageError::Full(_)) {
            tracing::error!(partition = %self.partition, %error, "an append failed, writes are refused until it is repaired");
            let keep = state.end();
            state.status = Status::Failed { keep, reason: error.clone(), tried_at: self.context.clock.monotonic() };
        }
        AppendError::Storage(error)
    }
}

/// `LogSegment.shouldRoll`
fn is_roll_due(active: &Segment, config: &LogConfig, header: &BatchHeader, now_ms: i64, active_since_ms: i64) -> bool {
    let size_bytes = active.file.size_bytes();
    if size_bytes == 0 {
        return false;
    }
    let is_full = size_bytes + header.size_bytes() as u64 > u64::from(config.segment_bytes.min(SEGMENT_BYTES_MAX));
    let waited_ms = match active.first_timestamp_ms() {
        first if first != NO_TIMESTAMP && header.max_timestamp_ms != NO_TIMESTAMP => {
            header.max_timestamp_ms.saturating_sub(first)
        }
        _ => now_ms.saturating_sub(active_since_ms),
    };
    let is_beyond = header.last_offset().saturating_sub(active.base_offset) > i64::from(i32::MAX);
    is_full
        || waited_ms > config.segment_ms
        || is_beyond
        || active.index_bytes() + INDEX_ENTRY_BYTES > u64::from(config.segment_index_bytes)
}

/// Positions have 31 bits in Kafka's index.
const SEGMENT_BYTES_MAX: u32 = i32::MAX as u32;
const INDEX_ENTRY_BYTES: u64 = 12;
