//! The sparse indexes of a segment, held against its batches in one pass.

use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;

use super::Inspection;
use crate::{
    log::{
        files::{index_name, time_index_name},
        index::{Entry, OffsetEntry, TimeEntry},
        segment::IndexMark,
    },
    model::batch::{BatchHeader, NO_TIMESTAMP},
    storage::{
        StorageError,
        segment::{OpenMode, SegmentFile},
    },
};

/// Both indexes of a segment, read along with its batches.
pub(super) struct Indexes {
    base: i64,
    offsets: Cursor<OffsetEntry>,
    times: Cursor<TimeEntry>,
    /// Entries for what lies before this byte are not the indexes' fault.
    damaged_to: u64,
    last: Option<(BatchHeader, u64)>,
    max_timestamp_ms: i64,
}

impl Indexes {
    /// The indexes of the segment at `base`: as far as `mark` says, of a sealed one all.
    pub(super) fn open(inspection: &Inspection<'_>, base: i64, mark: Option<&IndexMark>) -> Result<Self, StorageError> {
        let open = |name: &str| match inspection.store.open(inspection.partition, name, OpenMode::ExistingTransient) {
            Err(StorageError::Corrupt(_)) => Ok(None),
            other => other.map(Some),
        };
        Ok(Self {
            offsets: Cursor::over(open(&index_name(base))?, mark.map(|mark| mark.offset_entries)),
            times: Cursor::over(open(&time_index_name(base))?, mark.map(|mark| mark.time_entries)),
            ..Self::none(base)
        })
    }

    /// For a segment whose indexes do not count.
    pub(super) fn none(base: i64) -> Self {
        Self {
            base,
            offsets: Cursor::over(None, Some(0)),
            times: Cursor::over(None, Some(0)),
            damaged_to: 0,
            last: None,
            max_timestamp_ms: NO_TIMESTAMP,
        }
    }

    /// Entries that point before byte `to` cannot be checked.
    pub(super) fn pass(&mut self, to: u64) {
        self.damaged_to = to;
    }

    pub(super) fn batch(&mut self, header: &BatchHeader, position: u64) -> Result<(), StorageError> {
        self.last = Some((*header, position));
        self.max_timestamp_ms = self.max_timestamp_ms.max(header.max_timestamp_ms);
        while let Some(entry) = self.offsets.peek()?.filter(|entry| u64::from(entry.position) <= position) {
            let at = u64::from(entry.position);
            if at < position && at >= self.damaged_to {
                self.offsets.wrong("points to no batch");
            } else if at == position && self.base + i64::from(entry.relative_offset) != header.last_offset() {
                self.offsets.wrong("names another offset than the batch has to which it points");
            }
            self.offsets.pass();
        }
        Ok(())
    }

    /// Reports what is wrong. The last time entry of a segment that is whole and takes no more records is its largest
    /// timestamp.
    pub(super) fn finish(mut self, inspection: &mut Inspection<'_>, is_sealed: bool) -> Result<(), StorageError> {
        if let Some(entry) = self.offsets.peek()?
            && u64::from(entry.position) >= self.damaged_to
        {
            self.offsets.wrong("points behind the records");
        }
        let mut previous: Option<TimeEntry> = None;
        while let Some(entry) = self.times.peek()? {
            if previous.is_some_and(|previous| previous.timestamp_ms >= entry.timestamp_ms) {
                self.times.wrong("is not later than the one before it");
            } else if previous.is_some_and(|previous| previous.relative_offset > entry.relative_offset) {
                self.times.wrong("names an offset before that of the one before it");
            } else if self.last_offset().is_some_and(|last| self.base + i64::from(entry.relative_offset) > last) {
                self.times.wrong("names an offset behind the records");
            }
            previous = Some(entry);
            self.times.pass();
        }
        if is_sealed && previous.is_some_and(|last| last.timestamp_ms != self.max_timestamp_ms) {
            self.times.back();
            self.times.wrong("is the last and not the largest timestamp of the records");
        }
        let is_long = self.last.is_some_and(|(_, position)| position > LONG_BYTES);
        self.offsets.report(inspection, &index_name(self.base), is_long);
        self.times.report(inspection, &time_index_name(self.base), self.last.is_some());
        Ok(())
    }

    fn last_offset(&self) -> Option<i64> {
        self.last.map(|(header, _)| header.last_offset())
    }
}

/// Reads the entries of one index one by one, in bounded memory.
struct Cursor<E> {
    file: Option<Arc<dyn SegmentFile>>,
    /// The byte of the entry at hand.
    at: u64,
    end: u64,
    chunk: Bytes,
    chunk_at: u64,
    /// The first entry that is wrong, by its byte.
    wrong: Option<(u64, &'static str)>,
    is_expected: bool,
    kind: PhantomData<E>,
}

impl<E: Entry> Cursor<E> {
    /// The first `count` entries; all when there is no count.
    fn over(file: Option<Arc<dyn SegmentFile>>, count: Option<u64>) -> Self {
        let size_bytes = file.as_ref().map_or(0, |file| file.size_bytes());
        let entry_bytes = E::SIZE as u64;
        let end = count.map_or(size_bytes, |count| size_bytes.min(count.saturating_mul(entry_bytes)));
        let whole = end - end % entry_bytes;
        let wrong = (whole < end).then_some((whole, "is not whole"));
        let is_expected = count.is_none();
        Self { file, at: 0, end: whole, chunk: Bytes::new(), chunk_at: 0, wrong, is_expected, kind: PhantomData }
    }

    fn peek(&mut self) -> Result<Option<E>, StorageError> {
        let Some(file) = self.file.as_ref().filter(|_| self.at < self.end) else { return Ok(None) };
        if self.at >= self.chunk_at + self.chunk.len() as u64 {
            self.chunk = file.read(self.at, CHUNK_ENTRIES * E::SIZE)?;
            self.chunk_at = self.at;
        }
        let from = usize::try_from(self.at - self.chunk_at).unwrap_or(usize::MAX);
        Ok(self.chunk.get(from..).filter(|rest| rest.len() >= E::SIZE).map(E::get))
    }

    fn pass(&mut self) {
        self.at += E::SIZE as u64;
    }

    fn back(&mut self) {
        self.at = self.at.saturating_sub(E::SIZE as u64);
    }

    /// Takes notice of a wrong entry; the first one is reported.
    fn wrong(&mut self, what: &'static str) {
        if self.wrong.is_none_or(|(at, _)| at > self.at) {
            self.wrong = Some((self.at, what));
        }
    }

    fn report(&self, inspection: &mut Inspection<'_>, name: &str, has_entries: bool) {
        if let Some((at, what)) = self.wrong {
            let what = format!("the entry {what}");
            inspection.damage(name, Some(at), what, "look-ups take longer; without the file it is made again");
        } else if self.end == 0 && self.is_expected && has_entries {
            inspection.note(name, "is missing or empty", "made again when it is needed");
        }
    }
}

const CHUNK_ENTRIES: usize = 4096;
/// A segment of fewer bytes need not have an entry.
const LONG_BYTES: u64 = 64 << 10;
