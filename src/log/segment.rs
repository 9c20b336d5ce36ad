//! One segment: its records file and what is known of them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    files::{index_name, log_name, time_index_name},
    index::{OffsetEntry, SparseIndex, TimeEntry},
    scan::{Expected, Scanner, Step},
    spans::Spans,
};
use crate::{
    model::{
        TopicPartition,
        batch::{BatchHeader, NO_TIMESTAMP},
    },
    storage::{
        StorageError,
        segment::{OpenMode, SegmentFile, SegmentStore},
    },
};

/// Records from `base_offset` on, with their sparse indexes. The last segment of a log is the one that grows.
pub(super) struct Segment {
    pub(super) base_offset: i64,
    pub(super) file: Arc<dyn SegmentFile>,
    details: Mutex<Details>,
    pub(super) spans: Mutex<Spans>,
}

/// What is known of a segment's records; of a sealed segment nothing before somebody asks.
#[derive(Default)]
struct Details {
    is_loaded: bool,
    /// The files of that name are another segment's by now.
    is_retired: bool,
    offsets: SparseIndex<OffsetEntry>,
    times: SparseIndex<TimeEntry>,
    bytes_since_entry: u64,
    /// The largest timestamp, and the last offset of its batch.
    max_timestamp_ms: i64,
    offset_of_max: i64,
    /// For rolling by time: the first batch's largest timestamp.
    first_timestamp_ms: i64,
}

impl Details {
    fn empty() -> Self {
        Self {
            is_loaded: true,
            max_timestamp_ms: NO_TIMESTAMP,
            offset_of_max: -1,
            first_timestamp_ms: NO_TIMESTAMP,
            ..Self::default()
        }
    }
}

/// How far the indexes of the active segment reached at one moment; part of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IndexMark {
    pub(super) offset_entries: u64,
    pub(super) time_entries: u64,
    pub(super) bytes_since_entry: u64,
    pub(super) max_timestamp_ms: i64,
    pub(super) offset_of_max: i64,
    pub(super) first_timestamp_ms: i64,
}

impl IndexMark {
    /// Of a segment without records.
    pub(super) const EMPTY: Self = Self {
        offset_entries: 0,
        time_entries: 0,
        bytes_since_entry: 0,
        max_timestamp_ms: NO_TIMESTAMP,
        offset_of_max: -1,
        first_timestamp_ms: NO_TIMESTAMP,
    };
}

impl Segment {
    /// A new segment, its file created.
    pub(super) fn create(
        store: &dyn SegmentStore,
        partition: &TopicPartition,
        base_offset: i64,
    ) -> Result<Arc<Self>, StorageError> {
        let name = log_name(base_offset);
        let file = store.open(partition, &name, OpenMode::Create).inspect_err(|_| {
            // It may be there all the same. The segment before goes on meanwhile, and a restart would end it here.
            let _ = store.delete(partition, &name);
        })?;
        Ok(Arc::new(Self { base_offset, file, details: Mutex::new(Details::empty()), spans: Mutex::default() }))
    }

    /// A segment that is there; its indexes are read when somebody asks.
    pub(super) fn sealed(
        store: &dyn SegmentStore,
        partition: &TopicPartition,
        base_offset: i64,
    ) -> Result<Arc<Self>, StorageError> {
        let file = store.open(partition, &log_name(base_offset), OpenMode::Existing)?;
        Ok(Arc::new(Self { base_offset, file, details: Mutex::default(), spans: Mutex::default() }))
    }

    /// A segment that is being written and has no place in the log yet; [`note`](Self::note) builds its indexes.
    pub(super) fn unplaced(base_offset: i64, file: Arc<dyn SegmentFile>) -> Self {
        Self { base_offset, file, details: Mutex::new(Details::empty()), spans: Mutex::default() }
    }

    /// The same under the name that it got.
    pub(super) fn placed(self, file: Arc<dyn SegmentFile>) -> Self {
        Self { file, ..self }
    }

    /// Tells that its names are about to become another segment's: whoever reads it goes on, and touches no file by name.
    pub(super) fn retire(&self) -> Result<(), StorageError> {
        self.details.lock().is_retired = true;
        self.file.retire()
    }

    /// Removes the indexes; they are built anew when somebody asks.
    pub(super) fn forget_indexes(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<(), StorageError> {
        self.reset(store, partition)?;
        self.details.lock().is_loaded = false;
        Ok(())
    }

    /// Prepares the indexes for a scan of the segment from its start: whatever they held is forgotten.
    pub(super) fn reset(&self, store: &dyn SegmentStore, partition: &TopicPartition) -> Result<(), StorageError> {
        let mut details = self.details.lock();
        store.delete(partition, &index_name(self.base_offset))?;
        store.delete(partition, &time_index_name(self.base_offset))?;
        *details = Details::empty();
        Ok(())
    }

    /// Prepares the indexes for a scan from a checkpoint; false when they are not what the checkpoint says.
    pub(super) fn resume(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
        mark: &IndexMark,
    ) -> Result<bool, StorageError> {
        let offsets = store.open(partition, &index_name(self.base_offset), OpenMode::CreateTransient)?;
        let times = store.open(partition, &time_index_name(self.base_offset), OpenMode::CreateTransient)?;
        for (file, entries, size) in [(&offsets, mark.offset_entries, 8), (&times, mark.time_entries, 12)] {
            match entries.saturating_mul(size) {
                wanted if file.size_bytes() < wanted => return Ok(false),
                wanted if file.size_bytes() > wanted => file.truncate(wanted)?,
                _ => {}
            }
        }
        let details = Details {
            is_loaded: true,
            is_retired: false,
            offsets: SparseIndex::over(offsets, mark.offset_entries)?,
            times: SparseIndex::over(times, mark.time_entries)?,
            bytes_since_entry: mark.bytes_since_entry,
            max_timestamp_ms: mark.max_timestamp_ms,
            offset_of_max: mark.offset_of_max,
            first_timestamp_ms: mark.first_timestamp_ms,
        };
        if !details.is_sane(self.file.size_bytes()) {
            return Ok(false);
        }
        *self.details.lock() = details;
        Ok(true)
    }

    /// Notes a batch that lies at `position` (`LogSegment.append`).
    pub(super) fn note(&self, header: &BatchHeader, position: u64, index_interval_bytes: u32) {
        let mut details = self.details.lock();
        let details = &mut *details;
        // Compaction leaves batches without records, which have no time.
        if header.record_count > 0 && header.max_timestamp_ms > details.max_timestamp_ms {
            details.max_timestamp_ms = header.max_timestamp_ms;
            details.offset_of_max = header.last_offset();
        }
        if details.first_timestamp_ms == NO_TIMESTAMP {
            details.first_timestamp_ms = header.max_timestamp_ms;
        }
        if details.bytes_since_entry > u64::from(index_interval_bytes) {
            self.push_entry(details, header, position);
            self.push_time(details);
            details.bytes_since_entry = 0;
        }
        details.bytes_since_entry += header.size_bytes() as u64;
    }

    /// The next batch noted gets an index entry: what follows damage is found without a walk through it.
    pub(super) fn note_damage(&self) {
        self.details.lock().bytes_since_entry = u64::from(u32::MAX) + 1;
    }

    fn push_entry(&self, details: &mut Details, header: &BatchHeader, position: u64) {
        let relative = u32::try_from(header.last_offset() - self.base_offset);
        if let (Ok(relative_offset), Ok(position)) = (relative, u32::try_from(position)) {
            details.offsets.push(OffsetEntry { relative_offset, position });
        }
    }

    fn push_time(&self, details: &mut Details) {
        let Ok(relative_offset) = u32::try_from(details.offset_of_max - self.base_offset) else { return };
        if details.times.last().is_none_or(|last| last.timestamp_ms < details.max_timestamp_ms) {
            details.times.push(TimeEntry { timestamp_ms: details.max_timestamp_ms, relative_offset });
        }
    }

    /// Whether looking up an offset needs no more than a few reads.
    pub(super) fn is_indexed(&self) -> bool {
        self.details.lock().is_loaded
    }

    /// Whether enough index entries wait to be written.
    pub(super) fn is_index_flush_due(&self) -> bool {
        let details = self.details.lock();
        details.offsets.is_flush_due() || details.times.is_flush_due()
    }

    /// Writes the index entries that wait.
    pub(super) fn flush_indexes(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<IndexMark, StorageError> {
        let mut details = self.details.lock();
        let base = self.base_offset;
        details.offsets.flush(|| store.open(partition, &index_name(base), OpenMode::CreateTransient))?;
        details.times.flush(|| store.open(partition, &time_index_name(base), OpenMode::CreateTransient))?;
        Ok(details.mark())
    }

    /// Ends the indexes as a sealed segment's must be: the last time entry is its largest timestamp.
    pub(super) fn finish_indexes(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<IndexMark, StorageError> {
        self.push_time(&mut self.details.lock());
        self.flush_indexes(store, partition)
    }

    /// Makes durable what was flushed of the indexes; nothing of a segment that is on its way out.
    pub(super) fn sync_indexes(&self) -> Result<(), StorageError> {
        let details = self.details.lock();
        if details.is_retired {
            return Ok(());
        }
        details.offsets.sync()?;
        details.times.sync()
    }

    /// Entries of the fuller index, in bytes as `segment.index.bytes` counts them.
    pub(super) fn index_bytes(&self) -> u64 {
        let details = self.details.lock();
        (details.offsets.len() * 8).max(details.times.len() * 12)
    }

    /// The same of a sealed segment, whose indexes are read for it.
    pub(super) fn loaded_index_bytes(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<u64, StorageError> {
        self.load(&mut self.details.lock(), store, partition)?;
        Ok(self.index_bytes())
    }

    pub(super) fn first_timestamp_ms(&self) -> i64 {
        self.details.lock().first_timestamp_ms
    }

    /// The largest timestamp and the last offset of its batch; (-1, -1) without records that have one.
    pub(super) fn max_timestamp(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<(i64, i64), StorageError> {
        let mut details = self.details.lock();
        self.load(&mut details, store, partition)?;
        Ok((details.max_timestamp_ms, details.offset_of_max))
    }

    /// A walk over headers that begins at or a little before the batch that holds `offset`, and ends at `end`.
    pub(super) fn scan_from(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
        offset: i64,
        end: u64,
        upper: Option<i64>,
    ) -> Result<Scanner<'_>, StorageError> {
        let relative = offset - self.base_offset;
        if let Some(entry) = self.offset_entry(store, partition, relative)? {
            let position = u64::from(entry.position);
            let header = BatchHeader::parse(&self.file.read(position, BatchHeader::SIZE)?);
            let last_offset = self.base_offset + i64::from(entry.relative_offset);
            match header {
                Ok(header) if header.last_offset() == last_offset && position < end => {
                    let expected = Expected { first: header.base_offset, upper };
                    return Ok(Scanner::headers(&*self.file, position..end, expected));
                }
                // The index or the batch is damaged: what lies before it leads there as well.
                _ => {}
            }
        }
        Ok(Scanner::headers(&*self.file, 0..end, Expected { first: self.base_offset, upper }))
    }

    fn offset_entry(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
        relative: i64,
    ) -> Result<Option<OffsetEntry>, StorageError> {
        if relative <= 0 {
            return Ok(None);
        }
        let floor = {
            let mut details = self.details.lock();
            self.load(&mut details, store, partition)?;
            details.offsets.floor(relative)
        };
        floor.resolve(relative)
    }

    /// An offset before which every record is older than `timestamp_ms`.
    pub(super) fn offset_before_timestamp(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
        timestamp_ms: i64,
    ) -> Result<i64, StorageError> {
        let key = timestamp_ms.saturating_sub(1);
        let floor = {
            let mut details = self.details.lock();
            self.load(&mut details, store, partition)?;
            details.times.floor(key)
        };
        Ok(floor.resolve(key)?.map_or(self.base_offset, |entry| self.base_offset + i64::from(entry.relative_offset)))
    }

    /// Removes the segment's files; readers that hold it go on.
    pub(super) fn delete(&self, store: &dyn SegmentStore, partition: &TopicPartition) -> Result<(), StorageError> {
        self.details.lock().is_retired = true;
        store.delete(partition, &log_name(self.base_offset))?;
        store.delete(partition, &index_name(self.base_offset))?;
        store.delete(partition, &time_index_name(self.base_offset))
    }

    /// Reads the indexes of a sealed segment, or rebuilds them from the records when they are missing or damaged.
    fn load(
        &self,
        details: &mut Details,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<(), StorageError> {
        if details.is_loaded {
            return Ok(());
        }
        match self.load_stored(store, partition) {
            _ if details.is_retired => *details = self.rebuild(None)?,
            Ok(Some(loaded)) => *details = loaded,
            Ok(None) | Err(_) => {
                tracing::info!(%partition, base_offset = self.base_offset, "rebuilding the indexes of a segment");
                *details = self.rebuild(Some((store, partition)))?;
            }
        }
        Ok(())
    }

    /// None when the stored indexes cannot be those of the segment.
    fn load_stored(
        &self,
        store: &dyn SegmentStore,
        partition: &TopicPartition,
    ) -> Result<Option<Details>, StorageError> {
        let offsets = store.open(partition, &index_name(self.base_offset), OpenMode::ExistingTransient)?;
        let times = store.open(partition, &time_index_name(self.base_offset), OpenMode::ExistingTransient)?;
        let (offsets_size, times_size) = (offsets.size_bytes(), times.size_bytes());
        if !offsets_size.is_multiple_of(8) || !times_size.is_multiple_of(12) || times_size == 0 {
            return Ok(None);
        }
        let mut loaded = Details {
            offsets: SparseIndex::over(offsets, offsets_size / 8)?,
            times: SparseIndex::over(times, times_size / 12)?,
            ..Details::empty()
        };
        if let Some(last) = loaded.times.last() {
            loaded.max_timestamp_ms = last.timestamp_ms;
            loaded.offset_of_max = self.base_offset + i64::from(last.relative_offset);
        }
        Ok(Some(loaded).filter(|loaded| loaded.is_sane(self.file.size_bytes())))
    }

    /// Reads the indexes from the records, and writes them where the files are this segment's.
    fn rebuild(&self, files: Option<(&dyn SegmentStore, &TopicPartition)>) -> Result<Details, StorageError> {
        if let Some((store, partition)) = files {
            store.delete(partition, &index_name(self.base_offset))?;
            store.delete(partition, &time_index_name(self.base_offset))?;
        }
        let details = Mutex::new(Details::empty());
        let built =
            Self { base_offset: self.base_offset, file: Arc::clone(&self.file), details, spans: Mutex::default() };
        let expected = Expected { first: self.base_offset, upper: Some(i64::MAX) };
        let mut scanner = Scanner::headers(&*self.file, 0..u64::MAX, expected);
        loop {
            match scanner.step()? {
                Step::Batch { header, position } => built.note(&header, position, REBUILD_INTERVAL_BYTES),
                Step::Damage { .. } => built.note_damage(),
                Step::End { .. } => break,
            }
        }
        if let Some((store, partition)) = files
            && let Err(error) = built.finish_indexes(store, partition)
        {
            // In memory they serve as well.
            tracing::warn!(%partition, %error, "rebuilt indexes were not written");
        }
        Ok(built.details.into_inner())
    }
}

impl Details {
    /// Entries point into the segment; an index of zeros, as Kafka preallocates them, does not pass.
    fn is_sane(&self, size_bytes: u64) -> bool {
        let is_inside = |entry: OffsetEntry| entry.relative_offset > 0 && u64::from(entry.position) < size_bytes;
        let has_time = |entry: TimeEntry| entry.timestamp_ms > 0 || entry.relative_offset > 0 || self.times.len() == 1;
        self.offsets.last().is_none_or(is_inside) && self.times.last().is_none_or(has_time)
    }

    fn mark(&self) -> IndexMark {
        IndexMark {
            offset_entries: self.offsets.len(),
            time_entries: self.times.len(),
            bytes_since_entry: self.bytes_since_entry,
            max_timestamp_ms: self.max_timestamp_ms,
            offset_of_max: self.offset_of_max,
            first_timestamp_ms: self.first_timestamp_ms,
        }
    }
}

const REBUILD_INTERVAL_BYTES: u32 = 4096;
