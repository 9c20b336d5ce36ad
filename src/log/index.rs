//! Sparse indexes in Kafka's format: what grows lies in a file, the latest entries in memory until there are enough of
//! them to be worth a write. A crash loses those; recovery finds them again in the records.

use std::{io::IoSlice, marker::PhantomData, sync::Arc};

use bytes::{Buf, BufMut};

use crate::storage::{StorageError, segment::SegmentFile};

/// An entry of a fixed size whose keys rise through the index.
pub(super) trait Entry: Copy + 'static {
    const SIZE: usize;
    fn key(&self) -> i64;
    fn put(&self, out: &mut Vec<u8>);
    /// `bytes` has at least [`SIZE`](Self::SIZE) bytes.
    fn get(bytes: &[u8]) -> Self;
}

/// `.index`: the last offset of a batch, relative to the segment, and where the batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub(super) relative_offset: u32,
    pub(super) position: u32,
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn key(&self) -> i64 {
        i64::from(self.relative_offset)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.relative_offset);
        out.put_u32(self.position);
    }

    fn get(mut bytes: &[u8]) -> Self {
        Self { relative_offset: bytes.get_u32(), position: bytes.get_u32() }
    }
}

/// `.timeindex`: the largest timestamp so far and the last offset of its batch; records behind it may be older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub(super) timestamp_ms: i64,
    pub(super) relative_offset: u32,
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn key(&self) -> i64 {
        self.timestamp_ms
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_i64(self.timestamp_ms);
        out.put_u32(self.relative_offset);
    }

    fn get(mut bytes: &[u8]) -> Self {
        Self { timestamp_ms: bytes.get_i64(), relative_offset: bytes.get_u32() }
    }
}

/// An index over entries of one kind.
pub(super) struct SparseIndex<E> {
    file: Option<Arc<dyn SegmentFile>>,
    flushed: u64,
    tail: Vec<E>,
    last: Option<E>,
    kind: PhantomData<E>,
}

impl<E: Entry> Default for SparseIndex<E> {
    fn default() -> Self {
        Self { file: None, flushed: 0, tail: Vec::new(), last: None, kind: PhantomData }
    }
}

impl<E: Entry> SparseIndex<E> {
    /// The index whose first `count` entries lie in `file`, which holds no more than those.
    pub(super) fn over(file: Arc<dyn SegmentFile>, count: u64) -> Result<Self, StorageError> {
        let mut index = Self { file: Some(file), flushed: count, ..Self::default() };
        index.last = index.in_file().last()?;
        Ok(index)
    }

    pub(super) fn len(&self) -> u64 {
        self.flushed + self.tail.len() as u64
    }

    pub(super) fn last(&self) -> Option<E> {
        self.last
    }

    /// Whether enough entries wait in memory to be worth a write.
    pub(super) fn is_flush_due(&self) -> bool {
        self.tail.len() >= TAIL_ENTRIES && self.tail.len().is_power_of_two()
    }

    pub(super) fn push(&mut self, entry: E) {
        self.tail.push(entry);
        self.last = Some(entry);
    }

    /// Writes what waits in memory; after an error it waits on.
    pub(super) fn flush(
        &mut self,
        open: impl FnOnce() -> Result<Arc<dyn SegmentFile>, StorageError>,
    ) -> Result<(), StorageError> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(open()?),
        };
        let mut bytes = Vec::with_capacity(self.tail.len() * E::SIZE);
        for entry in &self.tail {
            entry.put(&mut bytes);
        }
        let parts = [IoSlice::new(&bytes)];
        match file.append(&parts) {
            // A write or a sync failed before this one: what it left is cut off, or the index would take no more
            // entries, and its segment could never end.
            Err(StorageError::Unavailable(_)) => {
                file.truncate(self.flushed * E::SIZE as u64)?;
                file.append(&parts)?;
            }
            result => _ = result?,
        }
        self.flushed += self.tail.len() as u64;
        self.tail = Vec::new();
        Ok(())
    }

    /// Makes durable what was flushed.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.file.as_ref().map_or(Ok(()), |file| file.sync())
    }

    /// Looks for the last entry whose key is at most `key`: in memory at once, in the file by the caller, who need not
    /// hold a lock meanwhile.
    pub(super) fn floor(&self, key: i64) -> Floor<E> {
        match self.tail.partition_point(|entry| entry.key() <= key).checked_sub(1) {
            Some(at) => Floor::Known(self.tail.get(at).copied()),
            None => Floor::InFile(self.in_file()),
        }
    }

    fn in_file(&self) -> InFile<E> {
        InFile { file: self.file.clone(), count: self.flushed, kind: PhantomData }
    }
}

/// Answer of [`SparseIndex::floor`].
pub(super) enum Floor<E> {
    Known(Option<E>),
    InFile(InFile<E>),
}

impl<E: Entry> Floor<E> {
    pub(super) fn resolve(self, key: i64) -> Result<Option<E>, StorageError> {
        match self {
            Self::Known(entry) => Ok(entry),
            Self::InFile(file) => file.floor(key),
        }
    }
}

/// The part of an index that lies in its file, at one moment.
pub(super) struct InFile<E> {
    file: Option<Arc<dyn SegmentFile>>,
    count: u64,
    kind: PhantomData<E>,
}

impl<E: Entry> InFile<E> {
    fn floor(&self, key: i64) -> Result<Option<E>, StorageError> {
        let (mut low, mut high) = (0, self.count);
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            match self.read(middle, 1)?.first() {
                Some(entry) if entry.key() <= key => low = middle,
                _ => high = middle,
            }
        }
        let block = self.read(low, high - low)?;
        let at = block.partition_point(|entry| entry.key() <= key);
        Ok(at.checked_sub(1).and_then(|at| block.get(at).copied()))
    }

    fn last(&self) -> Result<Option<E>, StorageError> {
        match self.count.checked_sub(1) {
            Some(last) => Ok(self.read(last, 1)?.first().copied()),
            None => Ok(None),
        }
    }

    fn read(&self, from: u64, count: u64) -> Result<Vec<E>, StorageError> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(E::SIZE);
        let bytes = file.read(from * E::SIZE as u64, length)?;
        Ok(bytes.chunks_exact(E::SIZE).map(E::get).collect())
    }
}

/// With 4 KiB between entries: one write a MiB of records.
const TAIL_ENTRIES: usize = 256;
const BLOCK_ENTRIES: u64 = 512;
