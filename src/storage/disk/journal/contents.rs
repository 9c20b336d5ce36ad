//! What the files of a journal say together: the latest value of each key.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    frame::Frame,
    header::HEADER_BYTES,
    reader::{Item, Reader, corrupt, examine_tail},
};
use crate::storage::{ShardId, StorageError};

/// The files of a journal, oldest first. Everything in the snapshot is older than the logs.
#[derive(Clone, Debug, Default)]
pub(super) struct FileSet {
    pub(super) snapshot: Option<StoredFile>,
    /// Logs to which nothing is appended any more; all of their bytes are durable.
    pub(super) sealed: Vec<StoredFile>,
}

/// A file that is complete.
#[derive(Clone, Debug)]
pub(super) struct StoredFile {
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
}

impl FileSet {
    /// Shows every frame to `visit`, oldest first; returns the sequence that must follow.
    pub(super) fn visit(
        &self,
        visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), &'static str>,
    ) -> Result<u64, StorageError> {
        let mut next_sequence = match &self.snapshot {
            None => FIRST_SEQUENCE,
            Some(snapshot) => visit_snapshot(&snapshot.path, visit)?,
        };
        for log in &self.sealed {
            let end = visit_log(&log.path, None, &mut next_sequence, visit)?;
            // Zeros are room that was made ahead; that no append is missing shows in the sequence of the next file.
            if let Some(what) = end.broken
                && examine_tail(&log.path, end.salt, end.offset, next_sequence)?.written_bytes > 0
            {
                return Err(corrupt(&log.path, end.offset, what));
            }
        }
        Ok(next_sequence)
    }

    pub(super) fn sealed_bytes(&self) -> u64 {
        self.sealed.iter().map(|log| log.size_bytes).sum()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.snapshot.iter().chain(&self.sealed).map(|file| file.path.as_path())
    }
}

/// Where a log ends.
#[derive(Debug)]
pub(super) struct LogEnd {
    /// The salt of the log's header.
    pub(super) salt: u32,
    /// Behind the last frame.
    pub(super) offset: u64,
    /// Why what follows there is no frame; none at the end of the file.
    pub(super) broken: Option<&'static str>,
}

/// Shows every frame of a log up to byte `end` to `visit`. Sequences must go on from `next_sequence` without a gap.
pub(super) fn visit_log(
    path: &Path,
    end: Option<u64>,
    next_sequence: &mut u64,
    visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), &'static str>,
) -> Result<LogEnd, StorageError> {
    let mut reader = Reader::open(path, end)?;
    if reader.sequence != *next_sequence {
        return Err(corrupt(path, 0, &format!("append {next_sequence} should be here: a file is missing")));
    }
    loop {
        let offset = reader.offset();
        let frame = match reader.next()? {
            Item::Frame(frame) => frame,
            Item::Broken(what) => return Ok(LogEnd { salt: reader.salt, offset, broken: Some(what) }),
            Item::End => return Ok(LogEnd { salt: reader.salt, offset, broken: None }),
        };
        if frame.sequence != *next_sequence {
            return Err(corrupt(path, offset, &format!("append {next_sequence} should be here")));
        }
        visit(&frame).map_err(|what| corrupt(path, offset, what))?;
        *next_sequence += 1;
    }
}

/// Shows every frame of a snapshot but its last, which only says how many there are; returns the sequence that follows.
fn visit_snapshot(
    path: &Path,
    visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), &'static str>,
) -> Result<u64, StorageError> {
    let mut reader = Reader::open(path, None)?;
    let mut frames = 0;
    let mut complete = false;
    loop {
        let offset = reader.offset();
        match reader.next()? {
            Item::Frame(_) if complete => return Err(corrupt(path, offset, "frames follow the snapshot's last")),
            Item::Frame(frame) if frame.sequence == SNAPSHOT_LAST => {
                complete = frame.durable == frames;
                if !complete {
                    return Err(corrupt(path, offset, "the snapshot has not as many frames as it says"));
                }
            }
            Item::Frame(frame) => {
                frames += 1;
                visit(&frame).map_err(|what| corrupt(path, offset, what))?;
            }
            Item::Broken(what) => return Err(reader.corrupt(what)),
            Item::End if complete => return Ok(reader.sequence.saturating_add(1)),
            Item::End => return Err(corrupt(path, offset, "the snapshot is cut off")),
        }
    }
}

/// The latest value of each key of each shard.
pub(super) type Fold = HashMap<ShardId, HashMap<Bytes, Bytes>>;

/// What opening does with a frame. The coordinator's shards may hold millions of records: they are only checked, and
/// read by [`read_shards`](super::engine::Engine::read_shards) when they are asked for. The others are small.
pub(super) fn fold_small(fold: &mut Fold, frame: &Frame<'_>) -> Result<(), &'static str> {
    if is_large(frame.shard) { check(frame) } else { fold_frame(fold, frame) }
}

/// Whether opening leaves the records of `shard` in the files.
pub(super) fn is_large(shard: ShardId) -> bool {
    shard.group_index().is_some()
}

pub(super) fn check(frame: &Frame<'_>) -> Result<(), &'static str> {
    frame.records().try_for_each(|record| record.map(drop))
}

/// Lets the records of `frame` change `fold`.
pub(super) fn fold_frame(fold: &mut Fold, frame: &Frame<'_>) -> Result<(), &'static str> {
    let mut records = frame.records().peekable();
    if records.peek().is_none() {
        return Ok(());
    }
    let shard = fold.entry(frame.shard).or_default();
    for record in records {
        let record = record?;
        match record.value.map(Bytes::copy_from_slice) {
            Some(value) => match shard.get_mut(record.key) {
                Some(place) => *place = value,
                None => _ = shard.insert(Bytes::copy_from_slice(record.key), value),
            },
            None => _ = shard.remove(record.key),
        }
    }
    Ok(())
}

/// Sequence of a journal's first append; sequence 0 stands for none.
pub(super) const FIRST_SEQUENCE: u64 = 1;
/// Sequence of a snapshot's last frame, whose `durable` is the count of the frames before it.
pub(super) const SNAPSHOT_LAST: u64 = u64::MAX;
pub(super) const LOG_START: u64 = HEADER_BYTES as u64;
