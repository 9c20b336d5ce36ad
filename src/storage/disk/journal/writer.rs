//! The one place that writes to the newest log: batches, syncs, and what follows a failure.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    contents::{LOG_START, StoredFile},
    frame::FrameBuilder,
    recover::{ActiveLog, PreparedLog, log_path},
};
use crate::{
    config::Durability,
    storage::{
        Completion, ShardId, StorageError,
        disk::files::{DiskFile, Files},
    },
};

/// An append that waits for its turn.
pub(super) struct Pending {
    pub(super) frame: FrameBuilder,
    pub(super) done: Completion,
}

/// The newest log and how much of it is written, acknowledged and durable.
pub(super) struct Writer {
    files: Files,
    dir: PathBuf,
    durability: Durability,
    /// In `sync` durability the file grows by this many zeros at a time: a sync that need not write a new size and new
    /// extents is cheaper.
    fill_bytes: u64,
    log: ActiveLog,
    /// What is known to be on the disk: bytes, and the sequence of the last frame in them.
    synced_end: u64,
    synced_sequence: u64,
    /// What the last frame in the log says of `synced_sequence`.
    vouched_sequence: u64,
    /// Up to here the file is written, with zeros behind the log's end.
    filled_end: u64,
    /// A log that may exist by a failed roll, and must not while appends go on in the one before it.
    stray: Option<PathBuf>,
    batch: Vec<u8>,
    status: Arc<Status>,
}

/// What can be seen of the writer without waiting for the disk.
#[derive(Default)]
pub(super) struct Status {
    /// Why nothing can be written. The descriptor is not to be synced again.
    broken: Mutex<Option<StorageError>>,
    pub(super) end_bytes: AtomicU64,
    pub(super) appends: AtomicU64,
    pub(super) syncs: AtomicU64,
}

impl Status {
    pub(super) fn health(&self) -> Result<(), StorageError> {
        self.broken.lock().clone().map_or(Ok(()), Err)
    }
}

/// How much was written at some moment, to be synced without holding the writer.
pub(super) struct Unsynced {
    file: DiskFile,
    end: u64,
    sequence: u64,
}

impl Unsynced {
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.file.sync()
    }
}

impl Writer {
    pub(super) fn new(files: Files, dir: PathBuf, durability: Durability, fill_bytes: u64, log: ActiveLog) -> Self {
        let synced_sequence = log.next_sequence.saturating_sub(1);
        let status = Arc::new(Status { end_bytes: AtomicU64::new(log.end), ..Status::default() });
        Self {
            files,
            dir,
            durability,
            fill_bytes,
            synced_end: log.end,
            synced_sequence,
            vouched_sequence: synced_sequence,
            filled_end: log.end,
            log,
            stray: None,
            batch: Vec::new(),
            status,
        }
    }

    pub(super) fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// The newest log's file and where its acknowledged frames end.
    pub(super) fn acknowledged(&self) -> (PathBuf, u64) {
        (self.log.file.path().to_owned(), self.log.end)
    }

    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.log.end - self.synced_end
    }

    pub(super) fn is_broken(&self) -> bool {
        self.status.broken.lock().is_some()
    }

    /// Writes all of `pending` with one write, syncs as the durability asks, and calls the completions in order.
    pub(super) fn commit(&mut self, pending: Vec<Pending>) -> Result<(), StorageError> {
        let mut completions = Vec::with_capacity(pending.len());
        let outcome = self.recover();
        let mut batch = std::mem::take(&mut self.batch);
        let mut next_sequence = self.log.next_sequence;
        for Pending { frame, done } in pending {
            completions.push(done);
            batch.extend_from_slice(&frame.seal(self.log.salt, next_sequence, self.synced_sequence));
            next_sequence += 1;
        }
        let outcome = outcome.and_then(|()| self.write(&mut batch, next_sequence));
        batch.clear();
        batch.shrink_to(BATCH_BYTES_KEPT);
        self.batch = batch;
        if outcome.is_ok() {
            self.status.appends.fetch_add(completions.len() as u64, Ordering::Relaxed);
        }
        for done in completions {
            done(outcome.clone());
        }
        outcome
    }

    /// What a sync would make durable now; none when everything is.
    pub(super) fn unsynced(&self) -> Option<Unsynced> {
        let Self { log, synced_end, .. } = self;
        (!self.is_broken() && *synced_end < log.end).then(|| Unsynced {
            file: log.file.clone(),
            end: log.end,
            sequence: log.next_sequence.saturating_sub(1),
        })
    }

    /// Takes notice of a sync that was done without holding the writer.
    pub(super) fn synced(&mut self, what: &Unsynced, outcome: Result<(), StorageError>) -> Result<(), StorageError> {
        match &outcome {
            Ok(()) => {
                self.status.syncs.fetch_add(1, Ordering::Relaxed);
                self.synced_end = self.synced_end.max(what.end);
                self.synced_sequence = self.synced_sequence.max(what.sequence);
            }
            Err(error) => return self.fail(error.clone()),
        }
        outcome
    }

    /// Ends the newest log, all of it durable, and begins the next. When that fails, appends go on in the old one. None
    /// when nothing is in the newest log: the next would have its name.
    pub(super) fn roll(&mut self, prepared: PreparedLog) -> Result<Option<StoredFile>, StorageError> {
        self.recover()?;
        if self.log.end == LOG_START {
            return Ok(None);
        }
        self.sync()?;
        if self.filled_end > self.log.end {
            // Only to give the room back: zeros behind the last frame of a sealed log are no damage.
            self.log.file.truncate(self.log.end).or_else(|error| self.fail(error))?;
        }
        let next = self.log.next_sequence;
        let log = match prepared.publish(&self.files, &self.dir, next) {
            Ok(log) => log,
            Err(error) => {
                self.stray = Some(log_path(&self.dir, next));
                return self.fail(error);
            }
        };
        let sealed = StoredFile { path: self.log.file.path().to_owned(), size_bytes: self.log.end };
        self.synced_end = log.end;
        self.filled_end = log.end;
        self.status.end_bytes.store(log.end, Ordering::Relaxed);
        self.log = log;
        Ok(Some(sealed))
    }

    /// Makes everything durable, and ends the log with a frame that vouches for it.
    pub(super) fn close(&mut self) -> Result<(), StorageError> {
        self.recover()?;
        self.sync()?;
        if self.vouched_sequence < self.synced_sequence {
            let mut frame =
                FrameBuilder::begin(ShardId(0), 0).seal(self.log.salt, self.log.next_sequence, self.synced_sequence);
            self.fill_bytes = 0;
            self.write(&mut frame, self.log.next_sequence + 1)?;
            self.sync()?;
        }
        self.log.file.truncate(self.log.end).or_else(|error| self.fail(error))
    }

    /// After a failure: cuts what was not acknowledged, through a new descriptor, and writes what was acknowledged
    /// but not yet durable once more, because the kernel may have dropped it.
    pub(super) fn recover(&mut self) -> Result<(), StorageError> {
        if !self.is_broken() {
            return Ok(());
        }
        if let Err(error) = self.try_recover() {
            return self.fail(error);
        }
        let (file, offset) = (self.log.file.path(), self.log.end);
        tracing::info!(file = %file.display(), offset, "the journal takes appends again");
        *self.status.broken.lock() = None;
        Ok(())
    }

    fn try_recover(&mut self) -> Result<(), StorageError> {
        if let Some(stray) = &self.stray {
            if stray.exists() {
                self.files.remove(stray)?;
            }
            self.files.sync_dir(&self.dir)?;
            self.stray = None;
        }
        let file = self.files.open(self.log.file.path().to_owned())?;
        file.truncate(self.log.end)?;
        self.filled_end = self.log.end;
        let mut chunk = Vec::new();
        let mut at = self.synced_end;
        while at < self.log.end {
            let chunk_bytes =
                usize::try_from(self.log.end - at).map_or(RECOVER_CHUNK_BYTES, |left| left.min(RECOVER_CHUNK_BYTES));
            chunk.resize(chunk_bytes, 0);
            file.read_at(&mut chunk, at)?;
            file.write_at(&chunk, at)?;
            at += chunk_bytes as u64;
        }
        file.sync_all()?;
        self.status.syncs.fetch_add(1, Ordering::Relaxed);
        self.log.file = file;
        self.mark_synced();
        Ok(())
    }

    /// Writes sealed frames, the last of which has the sequence before `next_sequence`.
    fn write(&mut self, batch: &mut Vec<u8>, next_sequence: u64) -> Result<(), StorageError> {
        let end = self.log.end + batch.len() as u64;
        if self.durability == Durability::Sync && end > self.filled_end && self.fill_bytes > 0 {
            let filled_end = end.next_multiple_of(self.fill_bytes);
            batch.resize(batch.len() + usize::try_from(filled_end - end).unwrap_or_default(), 0);
            self.filled_end = filled_end;
        }
        let vouched_sequence = self.synced_sequence;
        let before = (self.log.end, self.log.next_sequence);
        let written = self.log.file.write_at(batch, self.log.end).and_then(|()| {
            self.log.end = end;
            self.log.next_sequence = next_sequence;
            if self.durability == Durability::Sync { self.log.file.sync() } else { Ok(()) }
        });
        if let Err(error) = written {
            (self.log.end, self.log.next_sequence) = before;
            return self.fail(error);
        }
        self.status.end_bytes.store(end, Ordering::Relaxed);
        self.vouched_sequence = vouched_sequence;
        if self.durability == Durability::Sync {
            self.status.syncs.fetch_add(1, Ordering::Relaxed);
            self.mark_synced();
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.synced_end == self.log.end {
            return Ok(());
        }
        self.log.file.sync().or_else(|error| self.fail(error))?;
        self.status.syncs.fetch_add(1, Ordering::Relaxed);
        self.mark_synced();
        Ok(())
    }

    fn mark_synced(&mut self) {
        self.synced_end = self.log.end;
        self.synced_sequence = self.log.next_sequence.saturating_sub(1);
    }

    fn fail<T>(&mut self, error: StorageError) -> Result<T, StorageError> {
        if !self.is_broken() {
            tracing::error!(
                file = %self.log.file.path().display(), offset = self.log.end, %error,
                "the journal refuses appends until it is whole again"
            );
        }
        if matches!(error, StorageError::Full(_)) {
            // Room made ahead may be what does not fit.
            self.fill_bytes = 0;
        }
        *self.status.broken.lock() = Some(error.clone());
        Err(error)
    }
}

const BATCH_BYTES_KEPT: usize = 1 << 20;
const RECOVER_CHUNK_BYTES: usize = 1 << 20;
