//! Offsets and groups over a [`Journal`](super::Journal): the disk backend of the coordinator.

use std::{mem, sync::Arc, thread};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    CoordinatorRecord, CoordinatorStorage, OrderedJournal, ShardId, StorageError, StorageSize,
    projection::{Loading, Projected, Projection},
    records::encode,
    resharding, shard_of,
};
use crate::model::{OffsetMetadata, TopicPartition};

/// Offsets and groups whose every change is an append to a journal. Reads come from memory and show a change when it
/// is durable, in the journal's order, whether or not whoever made it still waits.
pub struct JournaledStorage {
    journal: Arc<dyn OrderedJournal>,
    projection: Arc<Projection>,
}

impl JournaledStorage {
    /// Replays the coordinator's shards 0 up to `shards` (at least one). When the journal was written with another
    /// number, groups are moved to where they belong now first.
    pub async fn open(journal: Arc<dyn OrderedJournal>, shards: u16) -> Result<Self, StorageError> {
        resharding::ensure(&*journal, shards.max(1)).await?;
        let projection = Arc::new(Projection::new(shards));
        let storage = Self { journal, projection };
        // A start is to be short: processors share the work.
        let parts = thread::available_parallelism().map_or(1, usize::from).min(PARTS_MAX);
        let of_part = |part| (0..storage.projection.shards()).skip(part).step_by(parts).collect();
        try_join_all((0..parts).map(|part| storage.load(of_part(part)))).await?;
        Ok(storage)
    }

    /// Reads shards that nobody writes to yet.
    async fn load(&self, indices: Vec<u16>) -> Result<(), StorageError> {
        let mut loading = self.read(&indices).await?;
        let projection = Arc::clone(&self.projection);
        let loaded = tokio::task::spawn_blocking(move || {
            for index in indices {
                let fresh = loading.finish(ShardId::group(index))?;
                _ = projection.replace(index, projection.version(index), fresh);
            }
            Ok(())
        });
        loaded.await.unwrap_or(Err(StorageError::Closed))
    }

    async fn read(&self, indices: &[u16]) -> Result<Loading, StorageError> {
        let loading = Arc::new(Mutex::new(Loading::default()));
        let shards = indices.iter().copied().map(ShardId::group).collect();
        self.journal.read(shards, Arc::clone(&loading) as _).await?;
        Ok(mem::take(&mut *loading.lock()))
    }

    fn index(&self, shard: ShardId) -> Result<u16, StorageError> {
        let index = shard.group_index().filter(|index| *index < self.projection.shards());
        index.ok_or_else(|| StorageError::Corrupt(format!("shard {} is not one of the coordinator's", shard.0)))
    }
}

#[async_trait]
impl Projected for JournaledStorage {
    fn projection(&self) -> &Arc<Projection> {
        &self.projection
    }

    async fn store(&self, index: u16, records: Vec<CoordinatorRecord>) -> Result<(), StorageError> {
        if records.is_empty() {
            return Ok(());
        }
        // Collected into a `Result`, it would grow step by step.
        let mut encoded = Vec::with_capacity(records.len());
        for record in &records {
            encoded.push(encode(record)?);
        }
        let projection = Arc::clone(&self.projection);
        let (tell, told) = oneshot::channel();
        let done = move |outcome: Result<(), StorageError>| {
            if outcome.is_ok() {
                projection.apply(index, records);
            }
            // Nobody listens when the request has gone away; the change stands.
            drop(tell.send(outcome));
        };
        self.journal.append_then(ShardId::group(index), encoded, Box::new(done));
        told.await.unwrap_or(Err(StorageError::Closed))
    }
}

#[async_trait]
impl CoordinatorStorage for JournaledStorage {
    async fn append(&self, shard: ShardId, records: Vec<CoordinatorRecord>) -> Result<(), StorageError> {
        let index = self.index(shard)?;
        // A record in another shard's part of the journal would not be found again.
        if let Some(stray) = records.iter().find(|record| self.projection.index_of(record.group()) != index) {
            let (group, shards) = (stray.group(), self.projection.shards());
            let right = shard_of(group, shards);
            return Err(StorageError::Corrupt(format!("group {group} is of shard {right} of {shards}, not {index}")));
        }
        self.store(index, records).await
    }

    async fn reload(&self, shard: ShardId) -> Result<(), StorageError> {
        let index = self.index(shard)?;
        for _ in 0..RELOAD_ATTEMPTS_MAX {
            let version = self.projection.version(index);
            let fresh = self.read(&[index]).await?.finish(shard)?;
            if self.projection.replace(index, version, fresh) {
                return Ok(());
            }
        }
        Err(StorageError::Unavailable(format!("shard {index} changes faster than it can be read")))
    }

    fn health(&self) -> Result<(), StorageError> {
        self.journal.health()
    }

    fn at_hand(&self, group: &str, partitions: &[TopicPartition]) -> Option<Vec<Option<OffsetMetadata>>> {
        Some(self.projection.offsets_of(group, partitions))
    }

    fn all_at_hand(&self, group: &str) -> Option<Vec<(TopicPartition, OffsetMetadata)>> {
        Some(self.projection.offsets(group))
    }

    fn size(&self) -> StorageSize {
        self.projection.size()
    }
}

const RELOAD_ATTEMPTS_MAX: u32 = 16;
/// Each part reads all of the journal, and passes over what is not its own.
const PARTS_MAX: usize = 4;
