//! Reading batches.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    checkpoint::Point,
    error::ReadError,
    partition::{PartitionLog, Status},
    scan::{Expected, Scanner, Step, is_displaced},
    segment::Segment,
    spans::{Growing, Span},
};
use crate::{
    model::{
        Chunk, Records,
        batch::{BatchHeader, batches},
    },
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
    pub records: Records,
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

/// What a read of one segment found.
enum Found {
    /// Batches, and the offset behind them.
    Records(Records, i64),
    /// The offset lies behind the last batch.
    Nothing,
    /// Nothing without reading more from the disk than the caller wants.
    TooMuch,
}

/// Batches that were read and found good.
#[derive(Default)]
struct Piece {
    bytes: Bytes,
    /// What follows them is damaged.
    is_damaged: bool,
}

/// How far a read has come in a segment.
#[derive(Clone, Copy)]
struct Walk {
    /// The next offset that is wanted.
    offset: i64,
    position: u64,
    /// The batch at `position` must begin with `offset`, but for a gap that compaction left.
    is_exact: bool,
    growing: Option<Growing>,
}

impl Walk {
    fn behind(span: &Span) -> Self {
        let growing = Some(Growing::new(span.next, span.end));
        Self { offset: span.next, position: span.end, is_exact: true, growing }
    }

    /// Passes a good batch, with which a span may end.
    fn step(&mut self, header: &BatchHeader) -> Option<Span> {
        self.offset = header.next_offset();
        self.is_exact = true;
        let from = self.position;
        self.position += header.size_bytes() as u64;
        self.growing.get_or_insert_with(|| Growing::new(header.base_offset, from)).add(header)
    }
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
        loop {
            let mut effort_bytes = usize::MAX;
            if let Some(read) = self.try_read(from, bytes_max, min_one_batch, isolation, &mut effort_bytes)? {
                return Ok(read);
            }
        }
    }

    /// The same with as little as `effort_bytes` bytes read to check them; what is read is taken off. None when that is not
    /// enough to begin with.
    pub fn try_read(
        &self,
        from: i64,
        bytes_max: usize,
        min_one_batch: bool,
        isolation: Isolation,
        effort_bytes: &mut usize,
    ) -> Result<Option<ReadResult>, ReadError> {
        let _in_use = self.in_use.read();
        let mut at = from;
        // Retention may delete a segment between the look at the list and the read: then look again.
        let mut attempts = 0;
        loop {
            let view = match self.view(from, at, isolation)? {
                Ok(view) => view,
                Err(empty) => return Ok(Some(empty)),
            };
            match self.read_segment(&view, at, bytes_max, min_one_batch, effort_bytes) {
                Ok(Found::Records(records, next_offset)) => {
                    return Ok(Some(ReadResult { records, next_offset, ..view.offsets }));
                }
                Ok(Found::Nothing) => match view.next_base {
                    // Compaction leaves gaps: the offset may be behind the last batch of its segment.
                    Some(next_base) => at = next_base,
                    None => return Ok(Some(view.offsets)),
                },
                Ok(Found::TooMuch) => return Ok(None),
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
            records: Records::default(),
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

    /// Batches of one segment and the offset behind them. What was checked a moment ago is not read at all.
    fn read_segment(
        &self,
        view: &View,
        at: i64,
        bytes_max: usize,
        min_one_batch: bool,
        effort_bytes: &mut usize,
    ) -> Result<Found, ReadError> {
        let segment = &view.segment;
        if bytes_max == 0 && !min_one_batch {
            return Ok(Found::Records(Records::default(), at));
        }
        let hint = self.hints.lock().find(view.replacements, segment.base_offset, at);
        let position = match hint {
            Some(position) => position,
            // Indexes that were not read yet may have to be built from all of the segment.
            None if !segment.is_indexed() && (*effort_bytes as u64) < segment.file.size_bytes() => {
                return Ok(Found::TooMuch);
            }
            None => match self.locate(segment, view.limit, view.upper, at)? {
                Some((_, position)) => position,
                None => return Ok(Found::Nothing),
            },
        };
        if position >= view.limit {
            return Ok(Found::Nothing);
        }
        let now = self.context.clock.monotonic();
        let bytes_max = bytes_max.min(READ_BYTES_MAX);
        let mut walk = Walk { offset: at, position, is_exact: hint.is_some(), growing: None };
        let mut records = Records::default();
        while walk.position < view.limit {
            let room = bytes_max.saturating_sub(records.len());
            let known = segment.spans.lock().find(walk.offset, view.limit, now);
            if let Some(span) = known {
                if span.len() <= room {
                    records.push(self.span_chunk(view, &span)?);
                    walk = Walk::behind(&span);
                    continue;
                }
                if !records.is_empty() {
                    break;
                }
            }
            let available = usize::try_from(view.limit - walk.position).unwrap_or(usize::MAX);
            let wanted = room.min(available).min(PIECE_BYTES);
            let Some(effort_left) = effort_bytes.checked_sub(wanted) else {
                if records.is_empty() {
                    return Ok(Found::TooMuch);
                }
                break;
            };
            *effort_bytes = effort_left;
            let must_have = min_one_batch && records.is_empty();
            let Some(piece) = self.piece(view, &mut walk, wanted, room, must_have, now)? else { break };
            if piece.bytes.is_empty() {
                // Where reading can go on is looked for in all that follows.
                return match (*effort_bytes as u64) < view.limit - walk.position {
                    true => Ok(Found::TooMuch),
                    false => Err(self.corrupt(view, walk.offset, walk.position)),
                };
            }
            let is_last = piece.is_damaged || (piece.bytes.len() < wanted && wanted < PIECE_BYTES);
            records.push(self.piece_chunk(view, &walk, piece.bytes)?);
            if is_last {
                break;
            }
        }
        if !records.is_empty() {
            let next = Point { offset: walk.offset, segment: segment.base_offset, position: walk.position };
            self.hints.lock().put(view.replacements, hint.map(|_| at), next);
        }
        Ok(Found::Records(records, walk.offset))
    }

    /// Reads and checks the batches where `walk` is, and moves it behind them: about `wanted` bytes, more for a batch that
    /// is larger and has `room`, or has to be had anyway. None when there is nothing to give; an empty
    /// piece when the batch that has to be had is damaged.
    fn piece(
        &self,
        view: &View,
        walk: &mut Walk,
        wanted: usize,
        room: usize,
        min_one_batch: bool,
        now: Duration,
    ) -> Result<Option<Piece>, ReadError> {
        let before = *walk;
        let piece = self.whole_batches(view, walk, wanted, now)?;
        if !piece.bytes.is_empty() {
            return Ok(Some(piece));
        }
        if room == 0 && !min_one_batch {
            return Ok(None);
        }
        // The first batch is larger than what was read, or no batch at all.
        *walk = before;
        let file = &view.segment.file;
        let first = file.read(walk.position, BatchHeader::SIZE).map_err(ReadError::Storage)?;
        let size_bytes = BatchHeader::parse(&first).ok().map(|header| header.size_bytes());
        if size_bytes.is_some_and(|size_bytes| size_bytes > room && !min_one_batch) {
            return Ok(None);
        }
        let whole = match size_bytes {
            Some(size_bytes) if walk.position + size_bytes as u64 <= view.limit => {
                self.whole_batches(view, walk, size_bytes, now)?
            }
            _ => Piece::default(),
        };
        if whole.bytes.is_empty() {
            *walk = before;
        }
        // The next read begins with a damaged one when this one has something.
        Ok(Some(whole).filter(|whole| min_one_batch || !whole.bytes.is_empty()))
    }

    fn span_chunk(&self, view: &View, span: &Span) -> Result<Chunk, ReadError> {
        match view.segment.file.range(span.position, span.len())? {
            Some(range) => Ok(Chunk::File(range)),
            None => Ok(Chunk::Heap(view.segment.file.read(span.position, span.len())?)),
        }
    }

    /// Large pieces leave from the file, so that a slow consumer holds no memory.
    fn piece_chunk(&self, view: &View, behind: &Walk, bytes: Bytes) -> Result<Chunk, ReadError> {
        if bytes.len() < RANGE_BYTES_MIN {
            return Ok(Chunk::Heap(bytes));
        }
        let position = behind.position - bytes.len() as u64;
        Ok(view.segment.file.range(position, bytes.len())?.map_or(Chunk::Heap(bytes), Chunk::File))
    }

    /// Reads `length` bytes and keeps what is whole and good of them. A flipped bit is never served: neither in what the
    /// checksum covers, nor in the base offset and the leader epoch before it.
    fn whole_batches(&self, view: &View, walk: &mut Walk, length: usize, now: Duration) -> Result<Piece, ReadError> {
        let file = &*view.segment.file;
        let position = walk.position;
        let mut bytes = file.read(position, length).map_err(ReadError::Storage)?;
        let mut spans = Vec::new();
        let mut is_damaged = false;
        for batch in batches(&bytes) {
            let Some(batch) = batch.ok().filter(|batch| batch.header.last_offset() >= walk.offset) else {
                is_damaged = true;
                break;
            };
            let header = &batch.header;
            let is_epoch_right = view.epoch.is_none_or(|epoch| header.partition_leader_epoch == epoch);
            // Without a hint the walk that found the first batch has looked at its offset.
            let is_offset_right = if walk.is_exact && header.base_offset > walk.offset {
                let behind = position + (batch.start + batch.bytes.len()) as u64;
                !is_displaced(file, header, behind, view.limit, view.upper)?
            } else {
                !walk.is_exact || header.base_offset == walk.offset
            };
            if !is_epoch_right || !is_offset_right || !batch.is_intact() {
                is_damaged = true;
                break;
            }
            spans.extend(walk.step(header));
        }
        if !spans.is_empty() {
            let mut known = view.segment.spans.lock();
            spans.into_iter().for_each(|span| known.insert(span, now));
        }
        bytes.truncate(usize::try_from(walk.position - position).unwrap_or(usize::MAX));
        Ok(Piece { bytes, is_damaged })
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
/// Read and checked at a time.
const PIECE_BYTES: usize = 1 << 20;
/// From here on it costs less to send from the file than to copy.
const RANGE_BYTES_MIN: usize = 16 << 10;
