//! A segment store whose writes, syncs and cuts fail when a test says so.

use std::{
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    model::TopicPartition,
    storage::{
        StorageError,
        segment::{FileEntry, OpenMode, SegmentFile, SegmentStore},
    },
};

/// What fails.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) syncs: AtomicBool,
    /// Syncs panic.
    pub(crate) panics: AtomicBool,
    pub(crate) truncates: AtomicBool,
    /// Appends answer that there is no room.
    pub(crate) full: AtomicBool,
    /// Appends leave a torn write that cannot be cut.
    pub(crate) torn: AtomicBool,
    pub(crate) sync_count: AtomicUsize,
    /// So many changes are made yet, as when the process is killed then; every later one fails. None: no end.
    pub(crate) changes_left: Mutex<Option<usize>>,
}

impl Faults {
    fn check(&self, fault: &AtomicBool) -> Result<(), StorageError> {
        match fault.load(Ordering::SeqCst) {
            true => Err(StorageError::Unavailable("injected".to_owned())),
            false => Ok(()),
        }
    }

    fn change(&self) -> Result<(), StorageError> {
        match &mut *self.changes_left.lock() {
            None => Ok(()),
            Some(0) => Err(StorageError::Unavailable("killed".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// Passes everything on, and fails where it was told to.
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn SegmentStore>,
    pub(crate) faults: Arc<Faults>,
}

impl SegmentStore for FaultyStore {
    fn list(&self, partition: &TopicPartition) -> Result<Vec<FileEntry>, StorageError> {
        self.inner.list(partition)
    }

    fn open(
        &self,
        partition: &TopicPartition,
        name: &str,
        mode: OpenMode,
    ) -> Result<Arc<dyn SegmentFile>, StorageError> {
        if mode.creates() {
            self.faults.change()?;
        }
        Ok(self.file(self.inner.open(partition, name, mode)?, name))
    }

    fn read_whole(&self, partition: &TopicPartition, name: &str) -> Result<Option<Bytes>, StorageError> {
        self.inner.read_whole(partition, name)
    }

    fn write_whole(
        &self,
        partition: &TopicPartition,
        name: &str,
        contents: &[u8],
        durable: bool,
    ) -> Result<(), StorageError> {
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(StorageError::Full("injected".to_owned()));
        }
        self.faults.change()?;
        self.inner.write_whole(partition, name, contents, durable)
    }

    fn delete(&self, partition: &TopicPartition, name: &str) -> Result<(), StorageError> {
        self.faults.change()?;
        self.inner.delete(partition, name)
    }

    fn rename(&self, partition: &TopicPartition, from: &str, to: &str) -> Result<Arc<dyn SegmentFile>, StorageError> {
        self.faults.change()?;
        Ok(self.file(self.inner.rename(partition, from, to)?, to))
    }

    fn sync_directory(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        self.faults.change()?;
        self.inner.sync_directory(partition)
    }

    fn delete_partition(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        self.inner.delete_partition(partition)
    }

    fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError> {
        self.inner.partitions()
    }

    fn size_bytes(&self) -> Result<u64, StorageError> {
        self.inner.size_bytes()
    }
}

impl FaultyStore {
    fn file(&self, inner: Arc<dyn SegmentFile>, name: &str) -> Arc<dyn SegmentFile> {
        Arc::new(FaultyFile {
            inner,
            faults: Arc::clone(&self.faults),
            is_index: name.ends_with("index"),
            refuses: AtomicBool::new(false),
            sync_failed: AtomicBool::new(false),
        })
    }
}

struct FaultyFile {
    inner: Arc<dyn SegmentFile>,
    faults: Arc<Faults>,
    /// Of these only changes are counted.
    is_index: bool,
    refuses: AtomicBool,
    sync_failed: AtomicBool,
}

impl SegmentFile for FaultyFile {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn append(&self, parts: &[IoSlice<'_>]) -> Result<u64, StorageError> {
        self.faults.change()?;
        if self.is_index {
            return self.inner.append(parts);
        }
        self.faults.check(&self.refuses)?;
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(StorageError::Full("injected".to_owned()));
        }
        if self.faults.torn.load(Ordering::SeqCst) {
            self.refuses.store(true, Ordering::SeqCst);
            self.inner.append(&[IoSlice::new(b"torn")])?;
            return Err(StorageError::Unavailable("injected".to_owned()));
        }
        self.inner.append(parts)
    }

    fn read(&self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        self.inner.read(position, length)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.faults.change()?;
        if self.is_index {
            return self.inner.sync();
        }
        self.faults.sync_count.fetch_add(1, Ordering::SeqCst);
        assert!(!self.faults.panics.load(Ordering::SeqCst), "injected");
        self.faults.check(&self.sync_failed)?;
        self.faults.check(&self.faults.syncs).inspect_err(|_| {
            self.refuses.store(true, Ordering::SeqCst);
            self.sync_failed.store(true, Ordering::SeqCst);
        })?;
        self.inner.sync()
    }

    fn retire(&self) -> Result<(), StorageError> {
        self.faults.change()?;
        self.inner.retire()
    }

    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError> {
        self.faults.change()?;
        if self.is_index {
            return self.inner.truncate(size_bytes);
        }
        self.faults.check(&self.faults.truncates)?;
        self.inner.truncate(size_bytes)?;
        self.refuses.store(false, Ordering::SeqCst);
        self.sync_failed.store(false, Ordering::SeqCst);
        Ok(())
    }
}
