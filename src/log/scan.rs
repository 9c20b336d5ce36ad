//! Walks the batches in a segment file and finds its way past damage.

use std::ops::Range;

use crate::{
    model::batch::{BatchHeader, checksum},
    storage::{StorageError, segment::SegmentFile},
};

/// One step of a walk.
#[derive(Debug)]
pub(super) enum Step {
    /// A whole batch; its checksum was compared when the scanner verifies.
    Batch { header: BatchHeader, position: u64 },
    /// Bytes that are no batch, with a good batch behind them.
    Damage { from: u64, to: u64 },
    /// No batch begins at or behind `position`; what is there, if anything, is a torn tail.
    End { position: u64 },
}

/// Which offsets a walk should meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Of the first batch.
    pub(super) first: i64,
    /// Where the next segment begins, of the last segment none.
    pub(super) upper: Option<i64>,
}

/// Reads a segment from one position to another.
pub(super) struct Scanner<'a> {
    file: &'a dyn SegmentFile,
    position: u64,
    end: u64,
    /// Where the next segment begins, of the last segment none.
    upper_offset: Option<i64>,
    expected_offset: i64,
    /// Whether a batch with `expected_offset` should come next, and not only one that is not below it.
    is_exact: bool,
    verify: bool,
    /// The batch before `position`, while nobody has compared its checksum.
    unverified: Option<(BatchHeader, u64)>,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Scanner<'a> {
    /// Compares checksums: for recovery. The batch at `from` begins with `expected_offset`.
    pub(super) fn verifying(file: &'a dyn SegmentFile, range: Range<u64>, offsets: Expected) -> Self {
        Self::new(file, range, offsets, true, VERIFY_CHUNK_BYTES)
    }

    /// Reads headers only: to find a batch. The batch at `from` begins with `expected_offset`.
    pub(super) fn headers(file: &'a dyn SegmentFile, range: Range<u64>, offsets: Expected) -> Self {
        Self::new(file, range, offsets, false, HEADER_CHUNK_BYTES)
    }

    fn new(file: &'a dyn SegmentFile, range: Range<u64>, offsets: Expected, verify: bool, chunk_bytes: usize) -> Self {
        Self {
            file,
            position: range.start,
            end: range.end.min(file.size_bytes()),
            upper_offset: offsets.upper,
            expected_offset: offsets.first,
            is_exact: true,
            verify,
            unverified: None,
            chunk_bytes,
            buffer: Vec::new(),
            buffer_at: 0,
        }
    }

    pub(super) fn step(&mut self) -> Result<Step, StorageError> {
        let position = self.position;
        let found = self.batch_at(position, self.verify)?;
        let is_next = found.is_some_and(|header| !self.is_exact || header.base_offset == self.expected_offset);
        if !is_next
            && position < self.end
            && let Some(from) = self.unverified_culprit()?
        {
            // A length that lies leads astray: the damage is where the walk has been already.
            self.position = from;
            return self.step_past();
        }
        let Some(header) = found else { return self.step_past() };
        let behind = position + header.size_bytes() as u64;
        if !is_next && is_displaced(self.file, &header, behind, self.end, self.upper_offset)? {
            self.position = behind;
            self.is_exact = false;
            self.unverified = None;
            return Ok(Step::Damage { from: position, to: behind });
        }
        self.position = behind;
        self.expected_offset = header.next_offset();
        self.is_exact = true;
        self.unverified = (!self.verify).then_some((header, position));
        Ok(Step::Batch { header, position })
    }

    /// Compares the checksum of the batch that the last step gave; on a difference the walk goes back to take it for
    /// damaged.
    pub(super) fn confirm(&mut self) -> Result<bool, StorageError> {
        match self.unverified_culprit()? {
            None => Ok(true),
            Some(position) => {
                self.position = position;
                Ok(false)
            }
        }
    }

    /// Takes what lies at the present position for damaged.
    pub(super) fn step_past(&mut self) -> Result<Step, StorageError> {
        let from = self.position;
        self.unverified = None;
        if from >= self.end {
            return Ok(Step::End { position: from });
        }
        Ok(match self.next_good(from)? {
            Some(to) => {
                self.position = to;
                self.is_exact = false;
                Step::Damage { from, to }
            }
            None => Step::End { position: from },
        })
    }

    /// Where the last batch begins, when its checksum is wrong.
    fn unverified_culprit(&mut self) -> Result<Option<u64>, StorageError> {
        let Some((header, position)) = self.unverified.take() else { return Ok(None) };
        if checksum(self.bytes(position, header.size_bytes())?) == Some(header.crc) {
            return Ok(None);
        }
        self.expected_offset = header.base_offset;
        Ok(Some(position))
    }

    /// The batch at `position`, when its header is plausible there and, with `verify`, its checksum right.
    fn batch_at(&mut self, position: u64, verify: bool) -> Result<Option<BatchHeader>, StorageError> {
        let Ok(header) = BatchHeader::parse(self.bytes(position, BatchHeader::SIZE)?) else { return Ok(None) };
        let size = header.size_bytes();
        if !self.is_plausible(&header) || position + size as u64 > self.end {
            return Ok(None);
        }
        if verify && checksum(self.bytes(position, size)?) != Some(header.crc) {
            return Ok(None);
        }
        Ok(Some(header))
    }

    /// Offsets never go back. They may leave gaps (compaction), but not leap: base offsets lie outside the checksum, and a
    /// flipped bit in one must not pass.
    fn is_plausible(&self, header: &BatchHeader) -> bool {
        let gap = header.base_offset.checked_sub(self.expected_offset);
        let is_below = self.upper_offset.is_none_or(|upper| header.last_offset() < upper);
        header.last_offset_delta >= 0 && gap.is_some_and(|gap| (0..=GAP_MAX).contains(&gap)) && is_below
    }

    /// Where the first good batch behind `from` begins.
    fn next_good(&mut self, from: u64) -> Result<Option<u64>, StorageError> {
        // Most likely the damage is inside a batch whose length is still right.
        if let Ok(header) = BatchHeader::parse(self.bytes(from, BatchHeader::SIZE)?) {
            let behind = from + header.size_bytes() as u64;
            let follows = |next: BatchHeader| next.base_offset == header.next_offset();
            if behind < self.end && self.batch_at(behind, true)?.is_some_and(follows) {
                return Ok(Some(behind));
            }
        }
        let mut at = from + 1;
        while at + BatchHeader::SIZE as u64 <= self.end {
            let length = SEARCH_CHUNK_BYTES.min(usize::try_from(self.end - at).unwrap_or(usize::MAX));
            let chunk = self.file.read(at, length)?;
            if chunk.len() < BatchHeader::SIZE {
                return Ok(None);
            }
            for (index, window) in chunk.windows(BatchHeader::SIZE).enumerate() {
                let is_candidate = BatchHeader::parse(window).is_ok_and(|header| self.is_plausible(&header));
                let position = at + index as u64;
                if is_candidate && self.batch_at(position, true)?.is_some() {
                    return Ok(Some(position));
                }
            }
            at += (chunk.len() - BatchHeader::SIZE + 1) as u64;
        }
        Ok(None)
    }

    /// `length` bytes at `position`, fewer at the end.
    pub(super) fn bytes(&mut self, position: u64, length: usize) -> Result<&[u8], StorageError> {
        let length = length.min(usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX));
        let is_inside =
            position >= self.buffer_at && position + length as u64 <= self.buffer_at + self.buffer.len() as u64;
        if !is_inside {
            let ahead = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
            self.file.read_into(position, self.chunk_bytes.max(length).min(ahead), &mut self.buffer)?;
            self.buffer_at = position;
        }
        let from = usize::try_from(position - self.buffer_at).unwrap_or(usize::MAX);
        let to = from.saturating_add(length).min(self.buffer.len());
        Ok(self.buffer.get(from..to).unwrap_or_default())
    }
}

/// Whether a batch that leaves a gap before it lies about its offset: then the batch behind it, at `behind`, does not
/// follow. Behind the last batch of a segment the next segment vouches; the last batch of the log leaves no gap, for
/// compaction never touches the segment that grows.
pub(super) fn is_displaced(
    file: &dyn SegmentFile,
    header: &BatchHeader,
    behind: u64,
    end: u64,
    upper_offset: Option<i64>,
) -> Result<bool, StorageError> {
    if behind >= end {
        return Ok(upper_offset.is_none_or(|upper| header.next_offset() > upper));
    }
    let next = file.read(behind, BatchHeader::SIZE)?;
    Ok(BatchHeader::parse(&next).is_ok_and(|next| next.base_offset < header.next_offset()))
}

const VERIFY_CHUNK_BYTES: usize = 1 << 20;
const HEADER_CHUNK_BYTES: usize = 4 << 10;
const SEARCH_CHUNK_BYTES: usize = 256 << 10;
/// Largest gap between two batches of a segment: relative offsets have 31 bits.
const GAP_MAX: i64 = i32::MAX as i64;
