//! Makes the ends of many files durable with one sync: their bytes go to one file more, which is synced in their place.
//!
//! The files themselves are synced in the background, when this one has grown; then it is removed. Until then a start
//! writes into each file what is noted for it. A start after a kill finds everything there already, as the page cache
//! had it; one after a power cut may not. What is noted is physical, bytes at a position, so that it can be applied any
//! number of times; before a file goes away or is replaced under its name, what is noted for it is revoked.

mod apply;
mod frame;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use tracing::{error, warn};

use self::frame::FrameBuilder;
use super::files::{DiskFile, Files};
use crate::storage::{
    StorageError,
    segment::{SegmentFile, Tail},
};

/// See the module.
pub(super) struct RedoLog {
    files: Files,
    dir: PathBuf,
    /// Where the paths that are noted begin.
    root: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    current: Option<Generation>,
    settling: Option<Settling>,
    next_number: u64,
    frame: FrameBuilder,
}

/// One file of frames.
struct Generation {
    file: DiskFile,
    /// Bytes of whole frames, all of them durable.
    end: u64,
    /// Bytes that the file has on the disk, zeros behind `end`: a sync is cheaper when the file does not grow.
    allocated: u64,
    /// A write or a sync failed: what lies behind `end` must go before anything else is promised.
    is_broken: bool,
    live: Live,
}

/// Files by path that rest on a generation, not synced since.
type Live = HashMap<String, Arc<dyn SegmentFile>>;

/// A full generation, whose files are synced so that it can go.
struct Settling {
    path: PathBuf,
    /// The files by path. Only the thread holds them: one that is deleted meanwhile takes up room as long as it is held.
    noted: Vec<String>,
    /// Answers whether every sync succeeded.
    thread: Option<JoinHandle<bool>>,
}

impl RedoLog {
    /// Brings the files under `root` up to what is noted in `dir`, which is empty then, and created when missing.
    pub(super) fn open(dir: PathBuf, root: PathBuf, files: Files) -> Result<Self, StorageError> {
        apply::apply_all(&dir, &root, &files)?;
        Ok(Self { files, ..Self::unapplied(dir, root) })
    }

    /// Leaves what is noted as it is: for those who only read.
    pub(super) fn unapplied(dir: PathBuf, root: PathBuf) -> Self {
        let inner = Inner { current: None, settling: None, next_number: 1, frame: FrameBuilder::default() };
        Self { files: Files::default(), dir, root, inner: Mutex::new(inner) }
    }

    /// Makes `tails` durable. After an error none of them may be taken for durable; the next call begins with
    /// [`mend`](Self::mend).
    pub(super) fn append(&self, tails: &[Tail<'_>]) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.mend(&self.files)?;
        inner.frame.begin();
        let paths: Vec<_> = tails.iter().map(|tail| format!("{}/{}", tail.partition, tail.name)).collect();
        for (tail, path) in tails.iter().zip(&paths) {
            inner.frame.push(path, tail.from, &tail.read()?)?;
        }
        if inner.current.as_ref().is_some_and(Generation::is_full) && self.may_settle(inner) {
            self.begin_settling(inner);
        }
        let generation = self.write_frame(inner)?;
        for (tail, path) in tails.iter().zip(paths) {
            generation.live.entry(path).or_insert_with(|| Arc::clone(tail.file));
        }
        Ok(())
    }

    /// Forgets durably what is noted for the file, or all files of the directory, at `path`. Called before something else
    /// gets the name.
    pub(super) fn revoke(&self, path: &str) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        // What a failed write may have left can speak of the path as well, and nobody knows of that.
        inner.mend(&self.files)?;
        let is_it = |noted: &String| frame::is_within(noted, path);
        let is_current = inner.current.as_ref().is_some_and(|current| current.live.keys().any(is_it));
        if !is_current && !inner.settling.as_ref().is_some_and(|settling| settling.noted.iter().any(is_it)) {
            return Ok(());
        }
        inner.frame.begin();
        inner.frame.push_revocation(path)?;
        let generation = self.write_frame(inner)?;
        generation.live.retain(|noted, _| !frame::is_within(noted, path));
        Ok(())
    }

    /// Cuts off what a failed write may have left; afterwards appends go on.
    pub(super) fn mend(&self) -> Result<(), StorageError> {
        self.inner.lock().mend(&self.files)
    }

    /// Writes into the file at `path` once more what is noted for it, after one of its syncs failed.
    pub(super) fn restore(&self, path: &Path) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        inner.mend(&self.files)?;
        apply::apply(&inner.paths(), &self.root, &self.files, |noted| noted == path)
    }

    /// Syncs every file that rests on what is noted, and removes that.
    pub(super) fn settle(&self) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        inner.mend(&self.files)?;
        self.finish_settling(&mut inner)?;
        self.begin_settling(&mut inner);
        self.finish_settling(&mut inner)
    }

    /// Whether the present generation can be left to the background: none is there still, or it is done.
    fn may_settle(&self, inner: &mut Inner) -> bool {
        let is_busy = |settling: &Settling| settling.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if inner.settling.as_ref().is_some_and(is_busy) {
            return false;
        }
        match self.finish_settling(inner) {
            Ok(()) => true,
            Err(error) => {
                error!(%error, "files could not be synced; the redo log grows meanwhile");
                false
            }
        }
    }

    fn begin_settling(&self, inner: &mut Inner) {
        let Some(generation) = inner.current.take() else { return };
        let path = generation.file.path().to_owned();
        let (noted, files): (Vec<_>, Vec<_>) = generation.live.into_iter().unzip();
        let sync_all = move || files.iter().filter(|file| file.sync().is_err()).count() == 0;
        let thread = thread::Builder::new().name("redo-settle".to_owned()).spawn(sync_all);
        inner.settling = Some(Settling { path, noted, thread: thread.ok() });
    }

    /// Removes the generation that was settled. Where a sync failed, what is noted is written once more.
    fn finish_settling(&self, inner: &mut Inner) -> Result<(), StorageError> {
        let Some(settling) = &mut inner.settling else { return Ok(()) };
        let path = settling.path.clone();
        let is_synced = settling.thread.take().is_some_and(|thread| thread.join().unwrap_or(false));
        if !is_synced {
            warn!(path = %path.display(), "files could not be synced; writing them again from the redo log");
            // The newer one with it, for what it revokes.
            apply::apply(&inner.paths(), &self.root, &self.files, |_| true)?;
        }
        // Durably: what is noted there is revoked by nobody any more.
        self.files.remove(&path)?;
        inner.settling = None;
        self.files.sync_dir(&self.dir)
    }

    /// Writes the frame that was built into the present generation, which begins when there is none.
    fn write_frame<'a>(&self, inner: &'a mut Inner) -> Result<&'a mut Generation, StorageError> {
        let Inner { current, next_number, frame, .. } = inner;
        let generation = match current {
            Some(generation) => generation,
            None => {
                let file = self.files.create(self.dir.join(format!("{next_number:020}.{EXTENSION}")))?;
                self.files.sync_dir(&self.dir)?;
                *next_number += 1;
                current.insert(Generation { file, end: 0, allocated: 0, is_broken: false, live: Live::new() })
            }
        };
        generation.append(frame.finish()?)?;
        Ok(generation)
    }
}

impl Inner {
    /// The files of the generations, the older first.
    fn paths(&self) -> Vec<PathBuf> {
        let settling = self.settling.as_ref().map(|settling| settling.path.clone());
        let current = self.current.as_ref().map(|current| current.file.path().to_owned());
        settling.into_iter().chain(current).collect()
    }

    fn mend(&mut self, files: &Files) -> Result<(), StorageError> {
        match self.current.as_mut().filter(|generation| generation.is_broken) {
            Some(generation) => generation.mend(files),
            None => Ok(()),
        }
    }
}

impl Generation {
    fn is_full(&self) -> bool {
        self.end >= GENERATION_BYTES || self.live.len() >= GENERATION_FILES
    }

    fn append(&mut self, frame: &[u8]) -> Result<(), StorageError> {
        if self.is_broken {
            return Err(StorageError::Unavailable(format!("{} awaits repair", self.file.path().display())));
        }
        self.is_broken = true;
        let end = self.end + frame.len() as u64;
        if end > self.allocated {
            let allocated = end + ALLOCATED_AHEAD_BYTES;
            let zeros = vec![0; usize::try_from(allocated - self.allocated).unwrap_or_default()];
            self.file.write_at(&zeros, self.allocated)?;
            self.allocated = allocated;
        }
        self.file.write_at(frame, self.end)?;
        self.file.sync()?;
        self.end = end;
        self.is_broken = false;
        Ok(())
    }

    /// Through a new descriptor: the kernel reports a lost write once, and then the old one knows nothing of it.
    fn mend(&mut self, files: &Files) -> Result<(), StorageError> {
        let file = files.open(self.file.path().to_owned())?;
        file.truncate(self.end)?;
        file.sync_all()?;
        self.file = file;
        self.allocated = self.end;
        self.is_broken = false;
        Ok(())
    }
}

const EXTENSION: &str = "redo";
/// Bounds what a start has to look at.
const GENERATION_BYTES: u64 = 32 << 20;
/// Files that rest on the redo log are held open.
const GENERATION_FILES: usize = 1024;
const ALLOCATED_AHEAD_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests;
