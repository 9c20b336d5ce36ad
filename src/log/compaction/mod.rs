//! Compaction: of each key only the latest record stays (`Cleaner`, `LogCleaner`, KIP-534).
//!
//! A pass first reads the dirty part of a log and notes the last offset of every key, then copies the segments from the
//! first on without what is out of date, several small ones into one, and puts each copy in the place of its originals. Offsets
//! stay what they were. Nothing is locked while files are read or written but against two passes at once; what readers,
//! writers and retention do meanwhile is looked at when a copy is put in place.

mod filter;
mod keys;
mod output;
mod pace;
mod pass;
mod plan;
mod point;
mod replace;
mod swap;

use std::{sync::Arc, time::Duration};

pub use pace::{Pace, StopFlag};
pub(super) use point::CleanerPoint;
pub(super) use swap::{CLEANED, MANIFEST, recover as finish_swap};

use super::{
    config::LogConfig,
    files::CLEANER_POINT,
    partition::{PartitionLog, Status},
    segment::Segment,
};
use crate::{model::batch::BatchHeader, storage::StorageError};
use plan::{Extent, Plan};

/// A log that is worth a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleanable {
    /// Share of its bytes that were never cleaned; the largest is cleaned first.
    pub dirty_ratio: f64,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactStats {
    /// In both readings, of the dirty part and of everything.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub segments_before: usize,
    pub segments_after: usize,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Records before this offset are clean.
    pub clean_until: i64,
    pub elapsed: Duration,
}

/// Why a pass ended early. What it had put in place by then stays.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompactError {
    /// The log was closed or deleted, is not to be compacted any more, lost segments to retention meanwhile, or the process
    /// stops.
    #[error("the pass was stopped")]
    Stopped,
    /// The log is left alone from now on.
    #[error("segment {base_offset} is damaged at {position}: {reason}")]
    Damaged { base_offset: i64, position: u64, reason: String },
    /// It is tried again later.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What compaction knows of a log between passes; locked during one.
#[derive(Debug, Default)]
pub(super) struct Cleaning {
    /// None before the stored one was read.
    point: Option<CleanerPoint>,
    is_uncleanable: bool,
    /// On the monotonic clock; after an error of the storage.
    not_before: Duration,
}

/// Segments that a pass may touch: sealed, visible to readers, and before the point from which a restart reads.
struct Sealed {
    segments: Vec<Arc<Segment>>,
    /// Where the segment behind the last one begins.
    end: i64,
    log_start: i64,
    log_end: i64,
}

impl Sealed {
    fn next_base(&self, index: usize) -> i64 {
        self.segments.get(index + 1).map_or(self.end, |next| next.base_offset)
    }
}

impl PartitionLog {
    /// Whether a pass is worth its while now. Blocks for the disk, briefly.
    pub fn cleanable(&self, now_ms: i64) -> Result<Option<Cleanable>, CompactError> {
        let config = self.config.load_full();
        // Somebody else has it: then it is being cleaned, closed or deleted.
        let Some(mut cleaning) = self.cleaning.try_lock().filter(|_| config.compact) else { return Ok(None) };
        if cleaning.is_uncleanable || self.context.clock.monotonic() < cleaning.not_before {
            return Ok(None);
        }
        self.roll_overdue(&config, now_ms)?;
        let sealed = self.sealed();
        let Some(plan) = self.plan_pass(&mut cleaning, &config, &sealed, now_ms)? else { return Ok(None) };
        let is_dirty = plan.dirty_ratio > config.min_cleanable_dirty_ratio;
        let is_due = is_dirty || self.is_overdue(&config, &sealed, &plan, now_ms)?;
        Ok(is_due.then_some(Cleanable { dirty_ratio: plan.dirty_ratio }))
    }

    /// Whether the log is left alone because of damage.
    pub fn is_uncleanable(&self) -> bool {
        self.cleaning.try_lock().is_some_and(|cleaning| cleaning.is_uncleanable)
    }

    fn sealed(&self) -> Sealed {
        let state = self.state.lock();
        let mut segments = state.segments.to_vec();
        let active = segments.pop();
        Sealed {
            end: active.map_or(state.log_start, |active| active.base_offset),
            segments,
            log_start: state.log_start,
            log_end: state.end.offset,
        }
    }

    /// What there is to clean at all; none when nothing is (`LogCleanerManager.cleanableOffsets`).
    fn plan_pass(
        &self,
        cleaning: &mut Cleaning,
        config: &LogConfig,
        sealed: &Sealed,
        now_ms: i64,
    ) -> Result<Option<Plan>, StorageError> {
        let point = match cleaning.point {
            Some(point) => point,
            None => {
                let stored = self.store.read_whole(&self.partition, CLEANER_POINT)?;
                *cleaning.point.insert(stored.and_then(|text| CleanerPoint::parse(&text)).unwrap_or_default())
            }
        };
        // A point behind the end is of records that were lost since: nothing is known to be clean.
        let first_dirty = if point.first_dirty > sealed.log_end { 0 } else { point.first_dirty };
        let first_dirty = first_dirty.max(sealed.log_start);
        let mut bound = self.state.lock().high_watermark.offset;
        if config.min_compaction_lag_ms > 0 {
            for (index, segment) in sealed.segments.iter().enumerate() {
                if sealed.next_base(index) <= first_dirty {
                    continue;
                }
                let (max_timestamp_ms, _) = segment.max_timestamp(&*self.store, &self.partition)?;
                if max_timestamp_ms > now_ms.saturating_sub(config.min_compaction_lag_ms) {
                    bound = bound.min(segment.base_offset);
                    break;
                }
            }
        }
        let extents: Vec<_> = (0..sealed.segments.len()).filter_map(|index| extent(sealed, index)).collect();
        Ok(Plan::of(&extents, first_dirty, bound))
    }

    /// Whether something dirty has waited for longer than `max.compaction.lag.ms`, the dirty ratio or not
    /// (`LogCleanerManager.maxCompactionDelay`).
    fn is_overdue(&self, config: &LogConfig, sealed: &Sealed, plan: &Plan, now_ms: i64) -> Result<bool, StorageError> {
        if config.max_compaction_lag_ms == i64::MAX {
            return Ok(false);
        }
        let until_ms = now_ms.saturating_sub(config.max_compaction_lag_ms);
        for (index, segment) in sealed.segments.iter().enumerate() {
            if sealed.next_base(index) <= plan.first_dirty || segment.base_offset >= plan.bound {
                continue;
            }
            let first = BatchHeader::parse(&segment.file.read(0, BatchHeader::SIZE)?);
            if first.is_ok_and(|header| header.max_timestamp_ms > 0 && header.max_timestamp_ms < until_ms) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the active segment when its first record has waited for longer than `max.compaction.lag.ms`: it would never
    /// be cleaned in a topic that nobody writes to.
    fn roll_overdue(&self, config: &LogConfig, now_ms: i64) -> Result<(), StorageError> {
        let is_overdue = |segment: &Segment| {
            let first_ms = segment.first_timestamp_ms();
            first_ms > 0
                && segment.file.size_bytes() > 0
                && now_ms.saturating_sub(first_ms) > config.max_compaction_lag_ms
        };
        if config.max_compaction_lag_ms == i64::MAX || !self.active().is_some_and(|active| is_overdue(&active)) {
            return Ok(());
        }
        let appending = self.appending.lock();
        let mut state = self.state.lock();
        let is_open = matches!(state.status, Status::Open);
        if is_open && state.segments.last().is_some_and(|active| is_overdue(active)) {
            self.roll(&mut state, now_ms)?;
        }
        let needs_flush = self.needs_flush(&state) && !std::mem::replace(&mut state.is_flushing, true);
        drop(state);
        drop(appending);
        if needs_flush {
            self.submit_flush();
        }
        Ok(())
    }

    fn active(&self) -> Option<Arc<Segment>> {
        self.state.lock().segments.last().cloned()
    }
}

/// Without the index's size, which only grouping asks for.
fn extent(sealed: &Sealed, index: usize) -> Option<Extent> {
    let segment = sealed.segments.get(index)?;
    Some(Extent {
        base_offset: segment.base_offset,
        next_base: sealed.next_base(index),
        size_bytes: segment.file.size_bytes(),
        index_bytes: 0,
    })
}
