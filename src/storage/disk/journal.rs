//! The write-ahead file for all shards: every append is one checksummed frame of one log under `<data>/journal/`.
//!
//! ```text
//! append → queue → batch: one write, one fdatasync → completions, in order
//! 00000000000000000001.log  00000000000000410233.snapshot  00000000000000410234.log
//! ```
//!
//! The records are keyed and the latest wins, so that old logs are replaced in the background by a snapshot without
//! asking whoever wrote them. File formats: `header.rs` and `frame.rs` beside this file. Opening checks everything and keeps
//! what is small (docs/decisions/0012).

mod compact;
mod contents;
mod engine;
mod frame;
mod header;
mod inspect;
mod reader;
mod recover;
#[cfg(test)]
mod tests;
mod writer;

pub use inspect::{JournalInspection, inspect, is_begun};

use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::{
    engine::{Engine, ReadStep},
    frame::FrameBuilder,
    writer::{Pending, Writer},
};
use super::files::Files;
use crate::{
    clock::Clock,
    config::Durability,
    storage::{Completion, Durable, Journal, JournalRecord, OrderedJournal, Reading, ShardId, StorageError},
};

/// The journal of the disk backend.
///
/// One thread, `journal`, writes and syncs whatever waits; in [`Durability::Os`], where an append waits for no disk,
/// the caller writes it itself when nobody else is writing, and the thread only syncs in the background.
///
/// After a failed write or sync everything that waits fails, the log is cut back to what was acknowledged and opened
/// anew, and appends are refused until that has worked; it is tried at each append and once a second.
///
/// Dropping the journal closes it and waits for its threads.
pub struct DiskJournal {
    engine: Arc<Engine>,
    thread: Option<JoinHandle<()>>,
}

/// How a [`DiskJournal`] behaves.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// When an append is answered.
    pub durability: Durability,
    /// Logs are replaced by a snapshot when they are larger than this and than what lives in them.
    pub compact_bytes_min: u64,
    /// How many bytes of journal a compaction divides among one pass; bounds its memory, to about 24 bytes a key.
    pub compact_slice_bytes: u64,
    /// [`Durability::Sync`]: the log grows by this many zeros at a time; 0 turns that off.
    pub fill_bytes: u64,
    /// [`Durability::Os`]: written bytes that start a background sync, beside the passing of a second.
    pub background_sync_bytes: u64,
    /// Appends are refused while more than this waits to be written.
    pub queue_bytes_max: usize,
    /// No compaction begins before [`Journal::started`] is called.
    pub waits_for_start: bool,
}

impl JournalOptions {
    /// What a gateway uses.
    pub fn new(durability: Durability) -> Self {
        Self {
            durability,
            compact_bytes_min: 16 << 20,
            compact_slice_bytes: 256 << 20,
            fill_bytes: 256 << 10,
            background_sync_bytes: 4 << 20,
            queue_bytes_max: 512 << 20,
            waits_for_start: false,
        }
    }
}

/// Counts since the journal was opened, and sizes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Appends that were acknowledged.
    pub appends: u64,
    /// Syncs of the log; fewer than appends when they are shared.
    pub syncs: u64,
    pub compactions: u64,
    /// Bytes of the logs, without room made ahead.
    pub log_bytes: u64,
    pub snapshot_bytes: u64,
}

impl DiskJournal {
    /// Opens `<data_dir>/journal`, or begins it, and reads it all; blocks. The unfinished end that a crash left is cut.
    ///
    /// Errors: [`StorageError::Corrupt`] names file and byte where something that was durable is damaged or missing;
    /// nothing is changed then. The directory must be locked by the caller ([`super::DataDirLock`]).
    pub fn open(data_dir: &Path, options: JournalOptions, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        Self::open_with(Files::default(), data_dir, options, clock)
    }

    fn open_with(
        files: Files,
        data_dir: &Path,
        options: JournalOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StorageError> {
        let dir = data_dir.join(DIRECTORY);
        let recovered = recover::recover(&files, &dir, engine::salt(&*clock))?;
        let writer = Writer::new(files.clone(), dir.clone(), options.durability, options.fill_bytes, recovered.active);
        let engine = Arc::new(Engine::new(files, dir, options, clock, writer, recovered.set, recovered.fold));
        let worker = Arc::clone(&engine);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| StorageError::Unavailable(format!("cannot start the journal's thread: {error}")))?;
        Ok(Self { engine, thread: Some(thread) })
    }

    pub fn stats(&self) -> JournalStats {
        self.engine.stats()
    }
}

impl OrderedJournal for DiskJournal {
    fn append_then(&self, shard: ShardId, records: Vec<JournalRecord>, done: Completion) {
        let payload_bytes = records.iter().map(|record| {
            record.key.len() + record.value.as_ref().map_or(0, Bytes::len) + frame::RECORD_OVERHEAD_BYTES
        });
        let mut frame = FrameBuilder::begin(shard, payload_bytes.sum());
        if !records.iter().all(|record| frame.push(&record.key, record.value.as_deref())) {
            let limit = frame::FRAME_BODY_BYTES_MAX;
            return done(Err(StorageError::Full(format!("an append is larger than {limit} bytes"))));
        }
        self.engine.append(shard, Pending { frame, done });
    }
}

#[async_trait]
impl Journal for DiskJournal {
    fn health(&self) -> Result<(), StorageError> {
        self.engine.health()
    }

    fn append(&self, shard: ShardId, records: Vec<JournalRecord>) -> Durable {
        let (tell, told) = oneshot::channel();
        // Nobody listens when the caller has given up; the append stands.
        self.append_then(shard, records, Box::new(move |outcome| drop(tell.send(outcome))));
        Box::pin(async move { told.await.unwrap_or(Err(StorageError::Closed)) })
    }

    /// The first replay of a shard hands out what opening the journal has read of it, unless it is one of the coordinator's; a
    /// later one reads the files again.
    async fn replay(&self, shard: ShardId) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        if let Some(part) = self.engine.take_unclaimed(shard) {
            return Ok(part.into_iter().collect());
        }
        let engine = Arc::clone(&self.engine);
        let read = tokio::task::spawn_blocking(move || engine.read_shard(shard));
        Ok(read.await.unwrap_or(Err(StorageError::Closed))?.into_iter().collect())
    }

    /// Reads the files once, in pieces, whatever the number of shards.
    async fn read(&self, shards: Vec<ShardId>, into: Arc<Mutex<dyn Reading>>) -> Result<(), StorageError> {
        let engine = Arc::clone(&self.engine);
        let read = tokio::task::spawn_blocking(move || read(&engine, &shards, &mut *into.lock()));
        read.await.unwrap_or(Err(StorageError::Closed))
    }

    fn started(&self) {
        self.engine.release_compaction();
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.engine.begin_close();
        self.engine.closed().await
    }
}

impl Drop for DiskJournal {
    fn drop(&mut self) {
        self.engine.begin_close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
    }
}

fn read(engine: &Engine, shards: &[ShardId], into: &mut dyn Reading) -> Result<(), StorageError> {
    let wanted: HashSet<ShardId> = shards.iter().copied().collect();
    let mut refused = None;
    let outcome = engine.read_shards(&|shard| wanted.contains(&shard), &mut |step| {
        let ReadStep::Frame(frame) = step else {
            into.begin();
            return Ok(());
        };
        for record in frame.records() {
            let record = record?;
            if let Err(error) = into.change(frame.shard, record.key, record.value) {
                refused = Some(error);
                return Err("the record was refused");
            }
        }
        Ok(())
    });
    refused.map_or(outcome, Err)
}

const DIRECTORY: &str = "journal";
/// How long written bytes stay unsynced in [`Durability::Os`], and how often a broken journal is tried.
const TICK: Duration = Duration::from_secs(1);
