//! Opening: which files count, what they hold, and where the next append goes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    contents::{FIRST_SEQUENCE, FileSet, Fold, LOG_START, StoredFile, fold_small, visit_log},
    header::{EXTENSION_UNFINISHED, FileKind, Header, parse_name},
    reader::{corrupt, examine_tail},
};
use crate::storage::{
    StorageError,
    disk::files::{DiskFile, Files, io_error},
};

/// A journal as it was found.
pub(super) struct Recovered {
    /// Of the small shards.
    pub(super) fold: Fold,
    pub(super) set: FileSet,
    pub(super) active: ActiveLog,
}

/// The log that takes appends.
pub(super) struct ActiveLog {
    pub(super) file: DiskFile,
    pub(super) salt: u32,
    /// Behind the last frame; all before it is durable.
    pub(super) end: u64,
    pub(super) next_sequence: u64,
}

/// Reads the journal in `dir`, or begins one; removes what a crash left unfinished. `salt` is used for a new file.
pub(super) fn recover(files: &Files, dir: &Path, salt: u32) -> Result<Recovered, StorageError> {
    create_dir(files, dir)?;
    let mut listing = Listing::of(dir)?;
    for path in &listing.unfinished {
        files.remove(path)?;
    }
    for path in &listing.foreign {
        tracing::warn!(file = %path.display(), "passed over a file that is not the journal's");
    }
    let Some(set) = listing.supersede()? else {
        let active = prepare_log(files, dir, salt)?.publish(files, dir, FIRST_SEQUENCE)?;
        return Ok(Recovered { fold: Fold::new(), set: FileSet::default(), active });
    };
    let mut fold = Fold::new();
    let mut next_sequence = set.visit(&mut |frame| fold_small(&mut fold, frame))?;
    let active = open_active(files, &listing.active, &mut next_sequence, &mut fold)?;
    for path in listing.superseded {
        files.remove(&path)?;
    }
    Ok(Recovered { fold, set, active })
}

/// A log without a name and a place in the order yet.
pub(super) struct PreparedLog {
    file: DiskFile,
    salt: u32,
}

/// Does what takes time of beginning a log; what becomes of it after a crash is removed.
pub(super) fn prepare_log(files: &Files, dir: &Path, salt: u32) -> Result<PreparedLog, StorageError> {
    let file = files.create(dir.join(NEXT_LOG).with_extension(EXTENSION_UNFINISHED))?;
    file.write_at(&Header { kind: FileKind::Log, salt, sequence: 0 }.encode(), 0)?;
    file.sync()?;
    Ok(PreparedLog { file, salt })
}

impl PreparedLog {
    /// Makes it the log whose first append will be `sequence`, durably. It exists whole or not at all.
    pub(super) fn publish(self, files: &Files, dir: &Path, sequence: u64) -> Result<ActiveLog, StorageError> {
        let file = files.publish(self.file, log_path(dir, sequence))?;
        Ok(ActiveLog { file, salt: self.salt, end: LOG_START, next_sequence: sequence })
    }
}

/// The file of the log whose first append is `sequence`.
pub(super) fn log_path(dir: &Path, sequence: u64) -> PathBuf {
    Header { kind: FileKind::Log, salt: 0, sequence }.path(dir)
}

/// Reads the newest log and cuts what a crash left behind its last whole frame. Damage to what was durable is an error.
fn open_active(
    files: &Files,
    path: &Path,
    next_sequence: &mut u64,
    fold: &mut Fold,
) -> Result<ActiveLog, StorageError> {
    let log = visit_log(path, None, next_sequence, &mut |frame| fold_small(fold, frame))?;
    let file = files.open(path.to_owned())?;
    if let Some(what) = log.broken {
        let tail = examine_tail(path, log.salt, log.offset, *next_sequence)?;
        if let Some(proof_at) = tail.proof_at {
            return Err(corrupt(path, log.offset, &contradiction(what, proof_at)));
        }
        if tail.written_bytes > 0 {
            tracing::warn!(
                file = %path.display(), offset = log.offset, bytes = tail.written_bytes, what,
                "cut the unfinished end of the journal"
            );
        }
        file.truncate(log.offset)?;
    }
    // What a killed process had written may not be on the disk yet, and from here on counts as durable.
    file.sync_all()?;
    Ok(ActiveLog { file, salt: log.salt, end: log.offset, next_sequence: *next_sequence })
}

/// Why what does not read is damage and no torn tail.
pub(super) fn contradiction(what: &str, proof_at: u64) -> String {
    format!("{what}, and the frame at byte {proof_at} was written after this one was durable")
}

/// The journal files of a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Each with its sequence, ascending.
    snapshots: Vec<(u64, PathBuf)>,
    logs: Vec<(u64, PathBuf)>,
    /// What a crash left of files that were not complete.
    pub(super) unfinished: Vec<PathBuf>,
    /// What is not the journal's.
    pub(super) foreign: Vec<PathBuf>,
    /// After [`supersede`](Self::supersede): the newest log, and what the newest snapshot replaces.
    pub(super) active: PathBuf,
    pub(super) superseded: Vec<PathBuf>,
}

impl Listing {
    /// Looks at names only.
    pub(super) fn of(dir: &Path) -> Result<Self, StorageError> {
        let unreadable = |error: io::Error| io_error("list", dir, &error);
        let mut listing = Self::default();
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            match parse_name(&path) {
                Some((FileKind::Snapshot, sequence)) => listing.snapshots.push((sequence, path)),
                Some((FileKind::Log, sequence)) => listing.logs.push((sequence, path)),
                None if path.extension().is_some_and(|extension| extension == EXTENSION_UNFINISHED) => {
                    listing.unfinished.push(path);
                }
                None => listing.foreign.push(path),
            }
        }
        listing.snapshots.sort();
        listing.logs.sort();
        Ok(listing)
    }

    pub(super) fn has_files(&self) -> bool {
        !self.logs.is_empty() || !self.snapshots.is_empty()
    }

    /// Takes the files apart into those that count, the newest log, and those that a snapshot has replaced. None when
    /// there is no file at all.
    pub(super) fn supersede(&mut self) -> Result<Option<FileSet>, StorageError> {
        let snapshot = self.snapshots.pop();
        self.superseded.extend(self.snapshots.drain(..).map(|(_, path)| path));
        if let Some((sequence, path)) = &snapshot {
            // A snapshot is only made after the log that follows it exists.
            let first_kept = self.logs.iter().position(|(first, _)| *first == sequence.saturating_add(1));
            let first_kept =
                first_kept.ok_or_else(|| corrupt(path, 0, "the log that follows this snapshot is missing"))?;
            self.superseded.extend(self.logs.drain(..first_kept).map(|(_, path)| path));
        }
        let Some((_, active)) = self.logs.pop() else { return Ok(None) };
        self.active = active;
        let stored = |path: PathBuf| -> Result<StoredFile, StorageError> {
            let metadata = fs::metadata(&path).map_err(|error| io_error("read", &path, &error))?;
            Ok(StoredFile { size_bytes: metadata.len(), path })
        };
        let snapshot = snapshot.map(|(_, path)| stored(path)).transpose()?;
        let sealed = self.logs.drain(..).map(|(_, path)| stored(path)).collect::<Result<_, _>>()?;
        Ok(Some(FileSet { snapshot, sealed }))
    }
}

/// Creates `dir` and makes it durable.
fn create_dir(files: &Files, dir: &Path) -> Result<(), StorageError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|error| io_error("create", dir, &error))?;
    dir.parent().map_or(Ok(()), |parent| files.sync_dir(parent))
}

const NEXT_LOG: &str = "next";
