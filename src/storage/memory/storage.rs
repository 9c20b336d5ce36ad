//! Offsets and groups without a journal.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    model::{OffsetMetadata, TopicPartition},
    storage::{
        CoordinatorRecord, CoordinatorStorage, ShardId, StorageError, StorageSize,
        projection::{Projected, Projection},
    },
};

/// Offsets and groups of this process only; everything is visible, and as durable as it gets, at once. Never fails.
#[derive(Debug)]
pub struct MemoryStorage {
    projection: Arc<Projection>,
}

impl MemoryStorage {
    pub fn new() -> Self {
        Self { projection: Arc::new(Projection::new(LOCKS)) }
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Projected for MemoryStorage {
    fn projection(&self) -> &Arc<Projection> {
        &self.projection
    }

    async fn store(&self, index: u16, records: Vec<CoordinatorRecord>) -> Result<(), StorageError> {
        if !records.is_empty() {
            self.projection.apply(index, records);
        }
        Ok(())
    }
}

#[async_trait]
impl CoordinatorStorage for MemoryStorage {
    /// `shard` says nothing here: there is no journal to place the records in.
    async fn append(&self, _shard: ShardId, records: Vec<CoordinatorRecord>) -> Result<(), StorageError> {
        let mut records = records.into_iter().peekable();
        // Records of a shard are of one lock, so that they become visible at once; other numbers of shards are taken
        // apart.
        while let Some(index) = records.peek().map(|record| self.projection.index_of(record.group())) {
            let mut run = Vec::new();
            while let Some(record) = records.next_if(|record| self.projection.index_of(record.group()) == index) {
                run.push(record);
            }
            self.projection.apply(index, run);
        }
        Ok(())
    }

    /// Nothing to do: no append fails, and there is nothing to rebuild from.
    async fn reload(&self, _shard: ShardId) -> Result<(), StorageError> {
        Ok(())
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

const LOCKS: u16 = 50;
