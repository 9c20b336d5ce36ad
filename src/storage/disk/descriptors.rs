//! Files that open themselves when they are used, and a bound on how many stay open.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, IoSlice},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    redo::RedoLog,
    segments::{failure, write_all},
};
use crate::{
    model::FileRange,
    storage::{StorageError, segment::SegmentFile},
};

/// One file that grows; see [`SegmentFile`].
pub(super) struct DiskFile {
    path: PathBuf,
    keep_open: bool,
    size_bytes: AtomicU64,
    /// A sync succeeded for what lies before, or others vouch for it.
    synced_bytes: AtomicU64,
    /// Appended to since the last sync: its descriptor stays, for a write error is reported to it.
    dirty: AtomicBool,
    /// Used since the cache looked last.
    touched: AtomicBool,
    handle: Mutex<Handle>,
    descriptors: Arc<DescriptorCache>,
    redo: Arc<RedoLog>,
}

#[derive(Debug, Default)]
struct Handle {
    file: Option<Arc<File>>,
    /// A sync failed, or a torn write could not be cut: no appends before a truncation.
    refuses: bool,
    /// A sync failed: another one would succeed and mean nothing.
    sync_failed: bool,
    /// The name is another file's by now: the descriptor stays, and there will be no other.
    retired: bool,
}

impl DiskFile {
    pub(super) fn handle(
        path: PathBuf,
        size_bytes: u64,
        keep_open: bool,
        descriptors: Arc<DescriptorCache>,
        redo: Arc<RedoLog>,
    ) -> Arc<dyn SegmentFile> {
        let file = Arc::new(Self {
            path,
            keep_open,
            size_bytes: AtomicU64::new(size_bytes),
            synced_bytes: AtomicU64::new(size_bytes),
            dirty: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            handle: Mutex::default(),
            descriptors,
            redo,
        });
        file.descriptors.introduce(&file);
        file
    }

    fn file(&self, handle: &mut Handle) -> Result<Arc<File>, StorageError> {
        if let Some(file) = &handle.file {
            self.touched.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(file));
        }
        if handle.retired {
            return Err(StorageError::Unavailable(format!("{} was replaced", self.path.display())));
        }
        let mut options = OpenOptions::new();
        options.read(true);
        let file = match options.clone().append(true).open(&self.path) {
            // Reads go on where writes cannot; an append then fails by itself.
            Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                options.open(&self.path)
            }
            result => result,
        };
        let file = Arc::new(file.map_err(|error| failure("open", &self.path, &error))?);
        if self.keep_open {
            self.keep(handle, &file);
        }
        Ok(file)
    }

    fn keep(&self, handle: &mut Handle, file: &Arc<File>) {
        handle.file = Some(Arc::clone(file));
        self.touched.store(true, Ordering::Relaxed);
        self.descriptors.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes what no sync has covered over itself, up to `end`. What a failed sync has not written stays in the page cache
    /// and counts as written there: the next sync would leave it out, and succeed.
    fn write_again(&self, end: u64) -> Result<(), StorageError> {
        let mut position = self.synced_bytes.load(Ordering::Relaxed);
        let mut again = || -> io::Result<()> {
            let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
            let mut buffer = vec![0; WRITE_AGAIN_BYTES];
            while position < end {
                let left = usize::try_from(end - position).unwrap_or(usize::MAX);
                let piece = buffer.get_mut(..left.min(WRITE_AGAIN_BYTES)).unwrap_or_default();
                file.read_exact_at(piece, position)?;
                file.write_all_at(piece, position)?;
                position += piece.len() as u64;
            }
            Ok(())
        };
        again().map_err(|error| failure("write again", &self.path, &error))
    }

    fn close(&self, handle: &mut Handle) {
        if handle.file.take().is_some() {
            self.descriptors.opened.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl SegmentFile for DiskFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    fn append(&self, parts: &[IoSlice<'_>]) -> Result<u64, StorageError> {
        self.descriptors.make_room();
        let mut handle = self.handle.lock();
        if handle.refuses {
            return Err(StorageError::Unavailable(format!("{} awaits repair", self.path.display())));
        }
        let file = self.file(&mut handle)?;
        let position = self.size_bytes.load(Ordering::Acquire);
        self.dirty.store(true, Ordering::Relaxed);
        match write_all(&file, parts) {
            Ok(written) => {
                self.size_bytes.store(position + written, Ordering::Release);
                Ok(position)
            }
            Err(error) => {
                let cause = failure("append to", &self.path, &error);
                if let Err(error) = file.set_len(position) {
                    handle.refuses = true;
                    self.close(&mut handle);
                    return Err(StorageError::Unavailable(format!("{cause}; and cannot cut the torn write: {error}")));
                }
                Err(cause)
            }
        }
    }

    fn read(&self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        let mut buffer = Vec::new();
        self.read_into(position, length, &mut buffer)?;
        Ok(Bytes::from(buffer))
    }

    fn read_into(&self, position: u64, length: usize, buffer: &mut Vec<u8>) -> Result<(), StorageError> {
        buffer.clear();
        let available = self.size_bytes().saturating_sub(position);
        let length = usize::try_from(available).unwrap_or(usize::MAX).min(length);
        if length == 0 {
            return Ok(());
        }
        self.descriptors.make_room();
        let file = self.file(&mut self.handle.lock())?;
        buffer.reserve_exact(length);
        while buffer.len() < length {
            let at = position + buffer.len() as u64;
            match rustix::io::pread(&*file, rustix::buffer::spare_capacity(buffer), at) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failure("read", &self.path, &error.into())),
            }
        }
        // The buffer may have had room for more than was asked for.
        buffer.truncate(length);
        Ok(())
    }

    fn range(&self, position: u64, length: usize) -> Result<Option<FileRange>, StorageError> {
        self.descriptors.make_room();
        let file = self.file(&mut self.handle.lock())?;
        Ok(Some(FileRange { file, position, len: length }))
    }

    fn sync(&self) -> Result<(), StorageError> {
        let file = {
            let mut handle = self.handle.lock();
            if handle.sync_failed {
                return Err(StorageError::Unavailable(format!("{} was not synced", self.path.display())));
            }
            let file = self.file(&mut handle)?;
            // Before the lock is given up: an append that is under way then is of the next sync.
            self.dirty.store(false, Ordering::Relaxed);
            file
        };
        let size_bytes = self.size_bytes();
        match file.sync_data() {
            Ok(()) => {
                self.synced_bytes.fetch_max(size_bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                // The kernel reports a lost write once: a second sync of this descriptor would lie.
                let mut handle = self.handle.lock();
                handle.refuses = true;
                handle.sync_failed = true;
                self.close(&mut handle);
                Err(failure("sync", &self.path, &error))
            }
        }
    }

    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError> {
        // What the redo log may hold of the bytes that go, and of those that come in their place, is undecided before.
        self.redo.mend()?;
        if self.handle.lock().sync_failed {
            self.redo.restore(&self.path)?;
            self.write_again(size_bytes)?;
        }
        let mut handle = self.handle.lock();
        self.close(&mut handle);
        let file = self.file(&mut handle)?;
        let cut = file.set_len(size_bytes).and_then(|()| file.sync_data());
        match cut {
            Ok(()) => {
                handle.refuses = false;
                handle.sync_failed = false;
                self.dirty.store(false, Ordering::Relaxed);
                self.size_bytes.store(size_bytes, Ordering::Release);
                self.synced_bytes.store(size_bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                handle.refuses = true;
                self.close(&mut handle);
                Err(failure("truncate", &self.path, &error))
            }
        }
    }

    fn retire(&self) -> Result<(), StorageError> {
        let mut handle = self.handle.lock();
        let file = self.file(&mut handle)?;
        if handle.file.is_none() {
            self.keep(&mut handle, &file);
        }
        handle.retired = true;
        Ok(())
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        if self.handle.get_mut().file.is_some() {
            self.descriptors.opened.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Keeps the number of open files near a bound: a clock hand passes over the files and closes those that were not used
/// since its last pass and that have nothing unsynced.
pub(super) struct DescriptorCache {
    max: usize,
    keeps_dirty: bool,
    opened: AtomicU64,
    clock: Mutex<VecDeque<Weak<DiskFile>>>,
}

impl DescriptorCache {
    pub(super) fn new(max: usize, keeps_dirty: bool) -> Self {
        Self { max: max.max(1), keeps_dirty, opened: AtomicU64::new(0), clock: Mutex::default() }
    }

    fn introduce(&self, file: &Arc<DiskFile>) {
        if !file.keep_open {
            return;
        }
        let mut clock = self.clock.lock();
        // Files come and go with retention: two looked at for one that is added keeps the list in proportion.
        for _ in 0..2 {
            match clock.pop_front() {
                Some(weak) if weak.strong_count() > 0 => clock.push_back(weak),
                _ => {}
            }
        }
        clock.push_back(Arc::downgrade(file));
    }

    /// Closes a few files when the bound is passed. Never called with a file's lock held.
    fn make_room(&self) {
        if (self.opened.load(Ordering::Relaxed) as usize) < self.max {
            return;
        }
        let mut clock = self.clock.lock();
        let steps = clock.len().min(STEPS_MAX);
        for _ in 0..steps {
            let Some(weak) = clock.pop_front() else { return };
            let Some(file) = weak.upgrade() else { continue };
            clock.push_back(weak);
            let is_kept = self.keeps_dirty && file.dirty.load(Ordering::Relaxed);
            if file.touched.swap(false, Ordering::Relaxed) || is_kept {
                continue;
            }
            let Some(mut handle) = file.handle.try_lock() else { continue };
            // What is on its way to a consumer stays open all the same.
            if handle.retired || handle.file.as_ref().is_some_and(|file| Arc::strong_count(file) > 1) {
                continue;
            }
            file.close(&mut handle);
            if (self.opened.load(Ordering::Relaxed) as usize) < self.max {
                return;
            }
        }
    }
}

/// Files looked at for one that is opened: bounds the time of a call.
const STEPS_MAX: usize = 64;
const WRITE_AGAIN_BYTES: usize = 1 << 20;
