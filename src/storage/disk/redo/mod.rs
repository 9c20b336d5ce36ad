//! Makes the ends of many files durable with one sync: their bytes go to one file more, which is synced in their place.
//!
//! The files themselves are synced in the background, when this one has grown; then it is removed. Until then a start
//! writes into each file what is noted for it. A start after a kill finds everything there already, as the page cache
//! had it; one after a power cut may not. What is noted is physical, bytes at a position, so that it can be applied any
//! number of times; before a file goes away or is replaced under its name, what is noted for it is revoked.

mod apply;
mod frame;
mod inspect;
mod reading;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use tracing::{error, warn};

use self::frame::{FRAMES_AT, FrameBuilder, Header};
use super::files::{DiskFile, Files};
use crate::{
    clock::Clock,
    storage::{
        Finding, StorageError,
        segment::{SegmentFile, Tail},
    },
};

/// See the module.
pub(super) struct RedoLog {
    files: Files,
    dir: PathBuf,
    /// Where the paths that are noted begin.
    root: PathBuf,
    limits: Limits,
    clock: Arc<dyn Clock>,
    damages: u64,
    inner: Mutex<Inner>,
}

/// When a generation is full. One that cannot be left to the background, because the one before is there still, may become
/// twice as long and rest half as many files more on it: then appends wait, and fail while its files cannot be synced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bounds what a start has to look at.
    pub(super) bytes: u64,
    /// Files that rest on the redo log are held open.
    pub(super) files: usize,
}

impl Limits {
    /// Two generations rest at most three quarters of `open_files_max` files on them.
    pub(super) fn of(open_files_max: usize) -> Self {
        Self { bytes: GENERATION_BYTES, files: (open_files_max / 4).max(1) }
    }
}

struct Inner {
    current: Option<Generation>,
    settling: Option<Settling>,
    next_number: u64,
    /// Of the next frame.
    sequence: u64,
    /// Noted so far.
    revocations: u64,
    frame: FrameBuilder,
}

/// One file of frames.
struct Generation {
    file: DiskFile,
    salt: u32,
    /// Bytes of header and whole frames, all of them durable.
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
    /// The files could not be made durable otherwise either, at that time.
    failed: Option<(Duration, StorageError)>,
}

/// Whether a generation takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    /// It is time to begin another.
    Little,
    None,
}

impl RedoLog {
    /// Brings the files under `root` up to what is noted in `dir`, which must be there durably and is empty then.
    pub(super) fn open(
        dir: PathBuf,
        root: PathBuf,
        files: Files,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StorageError> {
        let damages = apply::apply_all(&dir, &root, &files)?;
        Ok(Self { files, limits, damages, ..Self::unapplied(dir, root, clock) })
    }

    /// Leaves what is noted as it is: for those who only read.
    pub(super) fn unapplied(dir: PathBuf, root: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            current: None,
            settling: None,
            next_number: 1,
            sequence: 1,
            revocations: 0,
            frame: FrameBuilder::default(),
        };
        let limits = Limits::of(usize::MAX);
        Self { files: Files::default(), dir, root, limits, clock, damages: 0, inner: Mutex::new(inner) }
    }

    /// At how many places what was noted could not be read when the log was opened.
    pub(super) fn damages(&self) -> u64 {
        self.damages
    }

    /// Makes `tails` durable. After an error none of them may be taken for durable; the next call begins with
    /// [`mend`](Self::mend).
    pub(super) fn append(&self, tails: &[Tail<'_>]) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.mend(&self.files)?;
        let paths: Vec<_> = tails.iter().map(|tail| format!("{}/{}", tail.partition, tail.name)).collect();
        self.make_room(inner, &paths)?;
        inner.frame.begin();
        for (tail, path) in tails.iter().zip(&paths) {
            inner.frame.push(path, tail.from, &tail.read()?)?;
        }
        let generation = self.write_frame(inner, 1)?;
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
        // Twice: what is noted before it would be written over another file if a flipped bit hid it.
        let generation = self.write_frame(inner, 2)?;
        generation.live.retain(|noted, _| !frame::is_within(noted, path));
        inner.revocations += 1;
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

    /// Leaves a full generation to the background when none is there still, so that the next may begin. Waits for the one
    /// that is there, and fails while it cannot go, when otherwise the present one would grow without bound.
    fn make_room(&self, inner: &mut Inner, paths: &[String]) -> Result<(), StorageError> {
        let room = inner.current.as_ref().map_or(Room::Enough, |current| current.room(paths, self.limits));
        let is_busy = |settling: &Settling| settling.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if room == Room::Enough || (room == Room::Little && inner.settling.as_ref().is_some_and(is_busy)) {
            return Ok(());
        }
        let now = self.clock.monotonic();
        let recent = inner.settling.as_ref().and_then(|settling| settling.failed.as_ref());
        let recent = recent.filter(|(at, _)| now.saturating_sub(*at) < SETTLE_INTERVAL).map(|(_, error)| error.clone());
        let is_retry = recent.is_some();
        let settled = recent.map_or_else(|| self.finish_settling(inner), Err);
        match settled {
            Ok(()) => self.begin_settling(inner),
            Err(error) => {
                if !is_retry {
                    error!(%error, "files could not be synced, and the redo log stays");
                }
                if room == Room::None {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn begin_settling(&self, inner: &mut Inner) {
        let Some(generation) = inner.current.take() else { return };
        let path = generation.file.path().to_owned();
        let (noted, files): (Vec<_>, Vec<_>) = generation.live.into_iter().unzip();
        let sync_all = move || files.iter().filter(|file| file.sync().is_err()).count() == 0;
        let thread = thread::Builder::new().name("redo-settle".to_owned()).spawn(sync_all);
        inner.settling = Some(Settling { path, noted, thread: thread.ok(), failed: None });
    }

    /// Removes the generation that was settled. Where a sync failed, what is noted is written once more.
    fn finish_settling(&self, inner: &mut Inner) -> Result<(), StorageError> {
        let paths = inner.paths();
        let Some(settling) = &mut inner.settling else { return Ok(()) };
        let path = settling.path.clone();
        let is_synced = settling.thread.take().is_some_and(|thread| thread.join().unwrap_or(false));
        let remove = || {
            if !is_synced {
                warn!(path = %path.display(), "files could not be synced; writing them again from the redo log");
                // The newer one with it, for what it revokes.
                apply::apply(&paths, &self.root, &self.files, |_| true)?;
            }
            self.files.remove(&path)
        };
        if let Err(error) = remove() {
            settling.failed = Some((self.clock.monotonic(), error.clone()));
            return Err(error);
        }
        inner.settling = None;
        // Durably: what is noted there is revoked by nobody any more.
        self.files.sync_dir(&self.dir)
    }

    /// Writes the frame that was built into the present generation, which begins when there is none; `copies` of it, one
    /// behind the other.
    fn write_frame<'a>(&self, inner: &'a mut Inner, copies: u64) -> Result<&'a mut Generation, StorageError> {
        let Inner { current, next_number, sequence, revocations, frame, .. } = inner;
        let generation = match current {
            Some(generation) => generation,
            None => {
                let path = self.dir.join(format!("{next_number:020}.{EXTENSION}"));
                let header =
                    Header { salt: self.clock.random_below(u32::MAX), sequence: *sequence, revocations: *revocations };
                let generation = Generation::create(&self.files, path, header)?;
                self.files.sync_dir(&self.dir)?;
                *next_number += 1;
                current.insert(generation)
            }
        };
        match copies {
            1 => generation.append(frame.seal(generation.salt, *sequence, *revocations)?)?,
            _ => {
                let mut frames = Vec::new();
                for copy in 0..copies {
                    frames.extend_from_slice(frame.seal(generation.salt, *sequence + copy, *revocations)?);
                }
                generation.append(&frames)?;
            }
        }
        *sequence += copies;
        Ok(generation)
    }
}

/// Looks at what is noted in `dir` and changes nothing; `folder` is what findings call it.
pub(super) fn inspect(dir: &Path, folder: &str) -> Result<Vec<Finding>, StorageError> {
    inspect::inspect(dir, folder)
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
    /// A file with its header, which is durable before anything is noted behind it.
    fn create(files: &Files, path: PathBuf, header: Header) -> Result<Self, StorageError> {
        let file = files.create(path)?;
        let mut contents = header.encode();
        contents.resize(FRAMES_AT + ALLOCATED_AHEAD_BYTES, 0);
        file.write_at(&contents, 0)?;
        file.sync()?;
        let (end, allocated) = (FRAMES_AT as u64, contents.len() as u64);
        Ok(Self { file, salt: header.salt, end, allocated, is_broken: false, live: Live::new() })
    }

    /// For `paths` besides what is there.
    fn room(&self, paths: &[String], limits: Limits) -> Room {
        let added = paths.iter().filter(|path| !self.live.contains_key(*path)).count();
        // One frame may have more than all.
        let resting = if self.live.is_empty() { 0 } else { self.live.len() + added };
        if self.end < limits.bytes && resting <= limits.files {
            Room::Enough
        } else if self.end < limits.bytes * 2 && resting <= limits.files + limits.files / 2 {
            Room::Little
        } else {
            Room::None
        }
    }

    fn append(&mut self, frame: &[u8]) -> Result<(), StorageError> {
        if self.is_broken {
            return Err(StorageError::Unavailable(format!("{} awaits repair", self.file.path().display())));
        }
        self.is_broken = true;
        let end = self.end + frame.len() as u64;
        if end > self.allocated {
            let allocated = end + ALLOCATED_AHEAD_BYTES as u64;
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
/// Of a file that a start found damaged: for those who want to know what was there.
const EXTENSION_DAMAGED: &str = "damaged";
const GENERATION_BYTES: u64 = 32 << 20;
const ALLOCATED_AHEAD_BYTES: usize = 1 << 20;
/// Between attempts to sync what could not be synced.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
