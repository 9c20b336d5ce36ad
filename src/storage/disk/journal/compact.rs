//! Replaces sealed files by one snapshot: the latest value of each live key.
//!
//! The newest log is not touched, so appends go on. Every step leaves a directory that opens: an unfinished snapshot is
//! removed, a finished one counts, and what it replaces is removed whenever that is found.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    contents::{FileSet, SNAPSHOT_LAST, StoredFile},
    frame::{FrameBuilder, RECORD_OVERHEAD_BYTES},
    header::{EXTENSION_UNFINISHED, FileKind, Header},
};
use crate::storage::{
    ShardId, StorageError,
    disk::files::{DiskFile, Files},
};

/// Where and how a snapshot is written.
pub(super) struct Compaction<'a> {
    pub(super) files: &'a Files,
    pub(super) dir: &'a Path,
    /// How many bytes of `set` may contribute keys to memory at once; what a slice of the keys is made from.
    pub(super) slice_bytes: u64,
    /// Gives up, without an error in the files, when this becomes true.
    pub(super) stop: &'a AtomicBool,
}

impl Compaction<'_> {
    /// Writes and publishes the snapshot of `set`, which must not be changed meanwhile. Memory is bounded: the keys are
    /// divided into slices by their hash, and for each slice the files are read twice, first to find where the latest
    /// record of each key stands (24 bytes a key), then to copy those records.
    pub(super) fn run(&self, set: &FileSet, salt: u32) -> Result<StoredFile, StorageError> {
        let set_bytes = set.sealed_bytes() + set.snapshot.as_ref().map_or(0, |file| file.size_bytes);
        let slices = set_bytes.div_ceil(self.slice_bytes.max(1)).max(1);
        let hasher = KeyHasher::default();
        let mut output: Option<Output> = None;
        for slice in 0..slices {
            let in_slice = |hash: KeyHash| hash.0 % slices == slice;
            let (live, next_sequence) = self.locate(set, &hasher, &in_slice)?;
            let output = match &mut output {
                Some(output) => output,
                None => output.insert(Output::create(self, next_sequence.saturating_sub(1), salt)?),
            };
            self.copy(set, &live, output)?;
        }
        match output {
            Some(output) => output.publish(self.files),
            None => Err(StorageError::Closed),
        }
    }

    /// Removes what `snapshot` replaced.
    pub(super) fn discard(&self, replaced: &FileSet) -> Result<(), StorageError> {
        for path in replaced.paths() {
            self.files.remove(path)?;
        }
        self.files.sync_dir(self.dir)
    }

    /// The ordinals of the latest records of live keys, in their order, and the sequence that follows `set`.
    fn locate(
        &self,
        set: &FileSet,
        hasher: &KeyHasher,
        in_slice: &dyn Fn(KeyHash) -> bool,
    ) -> Result<(Vec<u64>, u64), StorageError> {
        let mut latest: HashMap<KeyHash, u64> = HashMap::new();
        let mut ordinal = 0;
        let next_sequence = set.visit(&mut |frame| {
            self.go_on()?;
            for record in frame.records() {
                let record = record?;
                let hash = hasher.hash(frame.shard, record.key);
                if in_slice(hash) {
                    match record.value {
                        Some(_) => latest.insert(hash, ordinal),
                        // Nothing older than the snapshot remains that this deletion would have to hide.
                        None => latest.remove(&hash),
                    };
                }
                ordinal += 1;
            }
            Ok(())
        });
        let next_sequence = self.unless_stopped(next_sequence)?;
        let mut live: Vec<u64> = latest.into_values().collect();
        live.sort_unstable();
        Ok((live, next_sequence))
    }

    /// Copies the records with these ordinals.
    fn copy(&self, set: &FileSet, live: &[u64], output: &mut Output) -> Result<(), StorageError> {
        let mut live = live.iter().peekable();
        let mut ordinal = 0;
        let mut failed = None;
        let copied = set.visit(&mut |frame| {
            self.go_on()?;
            for record in frame.records() {
                let record = record?;
                if live.next_if_eq(&&ordinal).is_some()
                    && let Some(value) = record.value
                    && let Err(error) = output.push(frame.shard, record.key, value)
                {
                    failed = Some(error);
                    return Err(STOPPED);
                }
                ordinal += 1;
            }
            Ok(())
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.unless_stopped(copied)?;
        if live.next().is_some() {
            return Err(StorageError::Corrupt("the journal was not read twice alike".to_owned()));
        }
        output.flush_all()
    }

    fn go_on(&self) -> Result<(), &'static str> {
        if self.stop.load(Ordering::Relaxed) { Err(STOPPED) } else { Ok(()) }
    }

    fn unless_stopped<T>(&self, outcome: Result<T, StorageError>) -> Result<T, StorageError> {
        if self.stop.load(Ordering::Relaxed) { Err(StorageError::Closed) } else { outcome }
    }
}

/// Two independent 64-bit hashes with random keys: no client can make two keys meet, and by chance it does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct KeyHash(u64, u64);

#[derive(Default)]
struct KeyHasher {
    first: RandomState,
    second: RandomState,
}

impl KeyHasher {
    fn hash(&self, shard: ShardId, key: &[u8]) -> KeyHash {
        KeyHash(self.first.hash_one((shard, key)), self.second.hash_one((shard, key)))
    }
}

/// A snapshot under construction.
struct Output {
    file: DiskFile,
    path: PathBuf,
    salt: u32,
    end: u64,
    frames: u64,
    /// One open frame a shard.
    open: BTreeMap<ShardId, FrameBuilder>,
    ready: Vec<u8>,
}

impl Output {
    fn create(compaction: &Compaction<'_>, sequence: u64, salt: u32) -> Result<Self, StorageError> {
        let header = Header { kind: FileKind::Snapshot, salt, sequence };
        let path = header.path(compaction.dir);
        let file = compaction.files.create(path.with_extension(EXTENSION_UNFINISHED))?;
        Ok(Self { file, path, salt, end: 0, frames: 0, open: BTreeMap::new(), ready: header.encode() })
    }

    fn push(&mut self, shard: ShardId, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let record_bytes = key.len() + value.len() + RECORD_OVERHEAD_BYTES;
        if self.open.get(&shard).is_some_and(|frame| frame.len_bytes() + record_bytes > SNAPSHOT_FRAME_BYTES)
            && let Some(full) = self.open.remove(&shard)
        {
            self.put(full)?;
        }
        let frame = self.open.entry(shard).or_insert_with(|| FrameBuilder::begin(shard, record_bytes));
        if !frame.push(key, Some(value)) {
            return Err(StorageError::Corrupt("a record is larger than a frame".to_owned()));
        }
        Ok(())
    }

    fn flush_all(&mut self) -> Result<(), StorageError> {
        for frame in std::mem::take(&mut self.open).into_values() {
            self.put(frame)?;
        }
        Ok(())
    }

    fn put(&mut self, frame: FrameBuilder) -> Result<(), StorageError> {
        self.frames += 1;
        let frame = frame.seal(self.salt, self.frames, 0);
        self.ready.extend_from_slice(&frame);
        if self.ready.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StorageError> {
        self.file.write_at(&self.ready, self.end)?;
        self.end += self.ready.len() as u64;
        self.ready.clear();
        Ok(())
    }

    fn publish(mut self, files: &Files) -> Result<StoredFile, StorageError> {
        let last = FrameBuilder::begin(ShardId(0), 0).seal(self.salt, SNAPSHOT_LAST, self.frames);
        self.ready.extend_from_slice(&last);
        self.write()?;
        self.file.sync()?;
        let file = files.publish(self.file, self.path)?;
        Ok(StoredFile { path: file.path().to_owned(), size_bytes: self.end })
    }
}

const STOPPED: &str = "stopped";
const SNAPSHOT_FRAME_BYTES: usize = 64 << 10;
const WRITE_BYTES: usize = 1 << 20;
