//! Appending a batch.

use std::{io::IoSlice, sync::Arc};

use bytes::Bytes;
use parking_lot::MutexGuard;

use super::{
    checkpoint::{Checkpoint, Point},
    config::LogConfig,
    error::AppendError,
    files::{LEADER_EPOCHS, PARTITION_METADATA, partition_metadata},
    flush::DurableTicket,
    partition::{Appended, PartitionLog, State, Status},
    segment::{IndexMark, Segment},
    validate::{ValidBatch, validate},
};
use crate::{
    config::Durability,
    model::batch::{BatchHeader, NO_TIMESTAMP, TimestampType},
    storage::StorageError,
};

impl PartitionLog {
    /// Checks `batch` and writes it, offsets assigned, at the end of the log, in the caller's thread. Whoever answers
    /// acks=all waits with [`wait_durable`](Self::wait_durable) then.
    pub fn append(&self, batch: Bytes, leader_epoch: i32) -> Result<Appended, AppendError> {
        let config = self.config.load();
        let now_ms = self.context.clock.wall_ms();
        let batch = validate(&batch, &config, now_ms)?;
        self.check_open()?;
        let appending = self.appending.lock();
        let (result, mut state) = self.append_alone(&config, &batch, leader_epoch, now_ms);
        let needs_flush = self.needs_flush(&state) && !std::mem::replace(&mut state.is_flushing, true);
        drop(state);
        drop(appending);
        if needs_flush {
            self.submit_flush();
        }
        if self.context.durability == Durability::Os && result.as_ref().is_ok_and(|appended| !appended.is_duplicate) {
            self.waiters.wake_all();
        }
        result
    }

    /// Refuses at once when writes are refused: a repair holds the other locks for as long as the disk takes.
    fn check_open(&self) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        let error = match &state.status {
            Status::Open => return Ok(()),
            Status::Failed { reason, .. } => AppendError::Storage(reason.clone()),
            Status::Closed => AppendError::Closed,
        };
        let needs_repair = self.needs_flush(&state) && !std::mem::replace(&mut state.is_flushing, true);
        drop(state);
        if needs_repair {
            self.submit_flush();
        }
        Err(error)
    }

    /// Appends as the only one who does. The state is unlocked while the batch is written.
    fn append_alone(
        &self,
        config: &LogConfig,
        batch: &ValidBatch<'_>,
        leader_epoch: i32,
        now_ms: i64,
    ) -> (Result<Appended, AppendError>, MutexGuard<'_, State>) {
        let mut state = self.state.lock();
        let (header, active) = match self.prepare(&mut state, config, batch, leader_epoch, now_ms) {
            Ok(Prepared::Write(header, active)) => (header, active),
            Ok(Prepared::Duplicate(appended)) => return (Ok(appended), state),
            Err(error) => return (Err(error), state),
        };
        drop(state);
        let encoded = header.encode();
        let written = active.file.append(&[IoSlice::new(&encoded), IoSlice::new(&batch.payload)]);
        let mut state = self.state.lock();
        let result = match (written, &state.status) {
            // A sync failed meanwhile: what was written is cut off.
            (_, Status::Failed { reason, .. }) => Err(AppendError::Storage(reason.clone())),
            (Err(error), Status::Open) => Err(self.append_failed(&mut state, error)),
            (Err(_), Status::Closed) => Err(AppendError::Closed),
            // Whoever closes the log waits for this append and makes it durable.
            (Ok(position), Status::Open | Status::Closed) => {
                self.commit(&mut state, config, &header, &active, position);
                Ok(Appended {
                    base_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    log_append_time_ms: batch.log_append_time_ms,
                    log_start_offset: state.log_start,
                    is_duplicate: false,
                    ticket: DurableTicket { offset: header.next_offset(), generation: state.generation },
                })
            }
        };
        (result, state)
    }

    /// Assigns offsets and finds the segment; changes nothing that a failed write would have to undo.
    fn prepare(
        &self,
        state: &mut State,
        config: &LogConfig,
        batch: &ValidBatch<'_>,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Prepared, AppendError> {
        match &state.status {
            Status::Open => {}
            Status::Failed { reason, .. } => return Err(AppendError::Storage(reason.clone())),
            Status::Closed => return Err(AppendError::Closed),
        }
        let mut header = batch.header;
        if let Some(earlier) = state.producers.check(&header)? {
            return Ok(Prepared::Duplicate(Appended {
                base_offset: earlier.base_offset,
                last_offset: earlier.last_offset,
                log_append_time_ms: match config.timestamp_type {
                    TimestampType::CreateTime => NO_TIMESTAMP,
                    TimestampType::LogAppendTime => earlier.timestamp_ms,
                },
                log_start_offset: state.log_start,
                is_duplicate: true,
                ticket: DurableTicket { offset: earlier.last_offset + 1, generation: state.generation },
            }));
        }
        header.base_offset = state.end.offset;
        // Epochs never go back, whatever a directory that was copied here says.
        let leader_epoch = state.epochs.latest().map_or(leader_epoch, |latest| latest.max(leader_epoch));
        header.partition_leader_epoch = leader_epoch;
        if header.base_offset.checked_add(i64::from(header.record_count)).is_none() {
            return Err(AppendError::OffsetsExhausted);
        }
        let active = self.active_for(state, config, &header, now_ms).map_err(AppendError::Storage)?;
        if state.epochs.assign(leader_epoch, header.base_offset) {
            state.directory_dirty = true;
            let epochs = state.epochs.encode();
            if let Err(error) = self.store.write_whole(&self.partition, LEADER_EPOCHS, epochs.as_bytes(), false) {
                // A restart that misses the entry finds the epoch in the batches' headers.
                tracing::warn!(partition = %self.partition, %error, "the leader epoch was not noted");
            }
        }
        Ok(Prepared::Write(header, active))
    }

    fn commit(&self, state: &mut State, config: &LogConfig, header: &BatchHeader, active: &Segment, position: u64) {
        active.note(header, position, config.index_interval_bytes);
        active.spans.lock().note_written(header, position, self.context.clock.monotonic());
        if active.is_index_flush_due()
            && let Err(error) = active.flush_indexes(&*self.store, &self.partition)
        {
            // The entries stay in memory, and a restart finds them again in the records.
            tracing::warn!(partition = %self.partition, %error, "index entries were not written");
        }
        state.producers.note(header);
        state.end = Point {
            offset: header.next_offset(),
            segment: active.base_offset,
            position: position + header.size_bytes() as u64,
        };
        if self.context.durability == Durability::Os {
            state.high_watermark = state.end;
        }
    }

    /// The segment that takes the batch: the active one, or a new one when there is none or it is time to roll.
    fn active_for(
        &self,
        state: &mut State,
        config: &LogConfig,
        header: &BatchHeader,
        now_ms: i64,
    ) -> Result<Arc<Segment>, StorageError> {
        match state.segments.last() {
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

    /// Ends the active segment and begins the next at the log end. The caller is the only one who appends.
    pub(super) fn roll(&self, state: &mut State, now_ms: i64) -> Result<Arc<Segment>, StorageError> {
        if let Some(active) = state.segments.last() {
            active.finish_indexes(&*self.store, &self.partition)?;
            active.file.seal();
        }
        state.forget_old_spans(self.context.clock.monotonic());
        let segment = self.start_segment(state, now_ms)?;
        state.rolled = Some(Box::new(Checkpoint {
            point: state.end,
            index: IndexMark::EMPTY,
            producers: state.producers.clone(),
        }));
        Ok(segment)
    }

    fn start_segment(&self, state: &mut State, now_ms: i64) -> Result<Arc<Segment>, StorageError> {
        let base_offset = state.end.offset;
        let segment = Segment::create(&*self.store, &self.partition, base_offset)?;
        state.segments.push(Arc::clone(&segment));
        state.end = Point { offset: base_offset, segment: base_offset, position: 0 };
        if state.high_watermark.offset == base_offset {
            state.high_watermark = state.end;
        }
        state.active_since_ms = now_ms;
        state.directory_dirty = true;
        Ok(segment)
    }

    /// The file is as it was before, unless the store says that it could not bring that about.
    fn append_failed(&self, state: &mut State, error: StorageError) -> AppendError {
        if !matches!(error, StorageError::Full(_)) {
            tracing::error!(
                partition = %self.partition, %error, "an append failed, writes are refused until the log is repaired"
            );
            state.status = Status::Failed { keep: state.end, reason: error.clone(), tried_at: None };
        }
        AppendError::Storage(error)
    }
}

/// What is left to do for a batch.
enum Prepared {
    Write(BatchHeader, Arc<Segment>),
    Duplicate(Appended),
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
        || waited_ms > config.roll_ms()
        || is_beyond
        || active.index_bytes() + INDEX_ENTRY_BYTES > u64::from(config.segment_index_bytes)
}

/// Positions have 31 bits in Kafka's index.
const SEGMENT_BYTES_MAX: u32 = i32::MAX as u32;
const INDEX_ENTRY_BYTES: u64 = 12;
