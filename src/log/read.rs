//! Reading batches.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    checkpoint::Point,
    error::ReadError,
    partition::{PartitionLog, Status},
    scan::{Expected, Scanner, Step, is_displaced},
    segment::Segment,
};
use crate::{
    model::batch::{BatchHeader, batches},
    storage::StorageError,
};

/// How far a consumer sees (`isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// Batches and the offsets at the time of the read.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// Whole batches, beginning with the one that holds the offset asked for; empty when there is nothing to see yet.
    pub records: Bytes,
    /// Where to read on.
    pub next_offset: i64,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub log_end_offset: i64,
}

/// Places where reads ended: the next fetch of a consumer begins there, and needs no index.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// Counts the times that segments were replaced: a position in a file that was replaced is none in its successor.
    replacements: u64,
    points: [Point; 8],
    oldest: usize,
}

impl Hints {
    fn find(&self, replacements: u64, segment: i64, offset: i64) -> Option<u64> {
        if self.replacements != replacements {
            return None;
        }
        let is_it = |point: &&Point| point.segment == segment && point.offset == offset;
        self.points.iter().find(is_it).map(|point| point.position)
    }

    /// Remembers `next`, in place of the hint that was used when there was one.
    fn put(&mut self, replacements: u64, used: Option<i64>, next: Point) {
        if self.replacements > replacements {
            return;
        }
        if self.replacements < replacements {
            *self = Self { replacements, ..Self::default() };
        }
        let is_used = |point: &Point| Some(point.offset) == used && point.segment == next.segment;
        let slot = self.points.iter().position(is_used).unwrap_or_else(|| {
            self.oldest = (self.oldest + 1) % self.points.len();
            self.oldest
        });
        if let Some(point) = self.points.get_mut(slot) {
            *point = next;
        }
    }
}

/// The part of a segment that may be read, and the offsets with it.
struct View {
    segment: Arc<Segment>,
    limit: u64,
    /// Of the time at which the segment was in the list.
    replacements: u64,
    /// Where the next segment begins.
    upper: Option<i64>,
    /// The same, when it is below the high watermark.
    next_base: Option<i64>,
    /// The epoch of every batch, where there was only one.
    epoch: Option<i32>,
    offsets: ReadResult,
}

impl PartitionLog {
    /// Reads about `bytes_max` bytes of whole batches from the one that holds `from` on; with `min_one_batch` at least that
    /// one however large it is. Blocks for the disk.
    pub fn read(
        &self,
        from: i64,
        bytes_max: usize,
        min_one_batch: bool,
        isolation: Isolation,
    ) -> Result<ReadResult, ReadError> {
        let mut at = from;
        // Retention may delete a segment between the look at the list and the read: then look again.
        let mut attempts = 0;
        loop {
            let view = match self.view(from, at, isolation)? {
                Ok(view) => view,
                Err(empty) => return Ok(empty),
            };
            match self.read_segment(&view, at, bytes_max, min_one_batch) {
                Ok(Some((records, next_offset))) => return Ok(ReadResult { records, next_offset, ..view.offsets }),
                Ok(None) => match view.next_base {
                    // Compaction leaves gaps: the offset may be behind the last batch of its segment.
                    Some(next_base) => at = next_base,
                    None => return Ok(view.offsets),
                },
                Err(ReadError::Storage(_)) if attempts < ATTEMPTS_MAX && self.is_gone(&view.segment) => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The segment in which `at` lies; the answer itself when there is nothing to read.
    fn view(&self, from: i64, at: i64, _isolation: Isolation) -> Result<Result<View, ReadResult>, ReadError> {
        let state = self.state.lock();
        if matches!(state.status, Status::Closed) {
            return Err(ReadError::Closed);
        }
        if from < state.log_start {
            return Err(ReadError::BelowStart { offset: from, log_start: state.log_start });
        }
        if from > state.end.offset {
            return Err(ReadError::BeyondEnd { offset: from, log_end: state.end.offset });
        }
        let offsets = ReadResult {
            records: Bytes::new(),
            next_offset: at,
            high_watermark: state.high_watermark.offset,
            last_stable_offset: state.high_watermark.offset,
            log_start_offset: state.log_start,
            log_end_offset: state.end.offset,
        };
        let index = state.segment_at(at);
        let Some(segment) = state.segments.get(index).filter(|_| at < state.high_watermark.offset) else {
            return Ok(Err(offsets));
        };
        let limit = match state.high_watermark.segment {
            last if segment.base_offset < last => segment.file.size_bytes(),
            last if segment.base_offset == last => state.high_watermark.position,
            _ => 0,
        };
        let upper = state.segments.get(index + 1).map(|next| next.base_offset);
        let next_base = upper.filter(|base| *base < state.high_watermark.offset && *base > at);
        let epoch = state.epochs.only();
        Ok(Ok(View {
            segment: Arc::clone(segment),
            limit,
            replacements: state.replacements,
            upper,
            next_base,
            epoch,
            offsets,
        }))
    }

    /// Batches of one segment and the offset behind them; none when `at` lies behind its last batch.
    fn read_segment(
        &self,
        view: &View,
        at: i64,
        bytes_max: usize,
        min_one_batch: bool,
    ) -> Result<Option<(Bytes, i64)>, ReadError> {
        let segment = &view.segment;
        let hint = self.hints.lock().find(view.replacements, segment.base_offset, at);
        let position = match hint {
            Some(position) => position,
            None => match self.locate(segment, view.limit, view.upper, at)? {
                Some((_, position)) => position,
                None => return Ok(None),
            },
        };
        let floor = hint.map(|_| at);
        let available = usize::try_from(view.limit.saturating_sub(position)).unwrap_or(usize::MAX);
        if available == 0 {
            return Ok(None);
        }
        let wanted = bytes_max.min(READ_BYTES_MAX).min(available);
        let mut records = self.whole_batches(view, at, floor, position, wanted)?;
        if records.0.is_empty() && min_one_batch {
            let first = segment.file.read(position, BatchHeader::SIZE).map_err(ReadError::Storage)?;
            let Ok(header) = BatchHeader::parse(&first) else {
                return Err(self.corrupt(view, at, position));
            };
            records = self.whole_batches(view, at, floor, position, header.size_bytes().min(available))?;
            if records.0.is_empty() {
                return Err(self.corrupt(view, at, position));
            }
        }
        let (bytes, next_offset) = records;
        if !bytes.is_empty() {
            let next =
                Point { offset: next_offset, segment: segment.base_offset, position: position + bytes.len() as u64 };
            self.hints.lock().put(view.replacements, floor, next);
        }
        Ok(Some((bytes, next_offset)))
    }

    /// Reads `length` bytes and keeps what is whole and good of them. A flipped bit is never served: neither in what the
    /// checksum covers, nor in the base offset and the leader epoch before it.
    fn whole_batches(
        &self,
        view: &View,
        at: i64,
        floor: Option<i64>,
        position: u64,
        length: usize,
    ) -> Result<(Bytes, i64), ReadError> {
        let mut bytes = view.segment.file.read(position, length).map_err(ReadError::Storage)?;
        let mut good = 0;
        let mut next_offset = at;
        // Without a hint the walk that found the first batch has looked at its offset.
        let mut floor = floor;
        for batch in batches(&bytes) {
            let Some(batch) = batch.ok().filter(|batch| batch.header.last_offset() >= next_offset) else {
                return self.good_part(view, at, position, bytes, good, next_offset);
            };
            let header = &batch.header;
            let is_epoch_right = view.epoch.is_none_or(|epoch| header.partition_leader_epoch == epoch);
            let is_offset_right = match floor {
                Some(floor) if header.base_offset > floor => {
                    let behind = position + (batch.start + batch.bytes.len()) as u64;
                    !is_displaced(&*view.segment.file, header, behind, view.limit, view.upper)?
                }
                Some(floor) => header.base_offset == floor,
                None => true,
            };
            if !is_epoch_right || !is_offset_right || !batch.is_intact() {
                return self.good_part(view, at, position, bytes, good, next_offset);
            }
            good += batch.bytes.len();
            next_offset = header.next_offset();
            floor = Some(next_offset);
        }
        bytes.truncate(good);
        Ok((bytes, next_offset))
    }

    /// What precedes a damaged batch; the error when nothing does.
    fn good_part(
        &self,
        view: &View,
        at: i64,
        position: u64,
        mut bytes: Bytes,
        good: usize,
        next_offset: i64,
    ) -> Result<(Bytes, i64), ReadError> {
        if good == 0 {
            return Err(self.corrupt(view, at, position));
        }
        bytes.truncate(good);
        Ok((bytes, next_offset))
    }

    /// The first batch whose last offset is not below `offset`, and where it begins.
    pub(super) fn locate(
        &self,
        segment: &Segment,
        limit: u64,
        upper: Option<i64>,
        offset: i64,
    ) -> Result<Option<(BatchHeader, u64)>, ReadError> {
        let mut scanner = segment.scan_from(&*self.store, &self.partition, offset, limit, upper)?;
        let mut damaged = false;
        let mut step = scanner.step()?;
        loop {
            match step {
                Step::Batch { header, .. } if header.last_offset() < offset => damaged = false,
                Step::Batch { header, .. } if damaged && header.base_offset > offset => {
                    return Err(ReadError::Corrupt { offset, next_offset: header.base_offset });
                }
                // The header is all that was looked at, and what it says of the last offset may be what is damaged.
                Step::Batch { header, position } if scanner.confirm()? => return Ok(Some((header, position))),
                Step::Batch { .. } => {
                    step = scanner.step_past()?;
                    continue;
                }
                Step::Damage { from, to } => {
                    self.report_damage(segment, from, to);
                    damaged = true;
                }
                Step::End { position } if position < limit.min(segment.file.size_bytes()) => {
                    return Err(ReadError::Corrupt { offset, next_offset: upper.unwrap_or(offset.saturating_add(1)) });
                }
                Step::End { .. } => return Ok(None),
            }
            step = scanner.step()?;
        }
    }

    /// The error for a damaged batch at `position`, with the offset at which reading can go on.
    fn corrupt(&self, view: &View, offset: i64, position: u64) -> ReadError {
        let expected = Expected { first: offset.saturating_add(1), upper: Some(view.offsets.high_watermark) };
        let mut scanner = Scanner::verifying(&*view.segment.file, position..view.limit, expected);
        let mut step = scanner.step_past();
        let next_offset = loop {
            match step {
                Ok(Step::Batch { header, .. }) => break header.base_offset,
                Ok(Step::Damage { from, to }) => self.report_damage(&view.segment, from, to),
                Ok(Step::End { .. }) => break view.next_base.unwrap_or(view.offsets.high_watermark),
                Err(error) => return ReadError::Storage(error),
            }
            step = scanner.step();
        };
        ReadError::Corrupt { offset, next_offset }
    }

    fn report_damage(&self, segment: &Segment, from: u64, to: u64) {
        tracing::error!(
            partition = %self.partition, segment = segment.base_offset, from, to,
            "damaged bytes in a segment are not served"
        );
    }

    pub(super) fn is_gone(&self, segment: &Arc<Segment>) -> bool {
        !self.state.lock().segments.iter().any(|present| Arc::ptr_eq(present, segment))
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

const ATTEMPTS_MAX: u32 = 3;
/// Bound of one read, whatever a client asks for; a single batch may be larger.
const READ_BYTES_MAX: usize = 64 << 20;
