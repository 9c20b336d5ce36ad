//! A cache of committed offsets in front of any backend.
//!
//! What is cached is what the backend shows: a commit is written to the backend first and cached once it is durable, in
//! the journal's order, and what is known to be absent is remembered as well. While a change of a group is on its way,
//! every read of that group goes to the backend; see [`Stripe`] for why no read is ever stale. Groups' states pass
//! through: they are read at the start only.

mod group;
mod stripe;

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use self::stripe::{Change, Stripe};
use super::{
    CacheStats, CoordinatorRecord, CoordinatorStorage, GroupStorage, OffsetStorage, StorageError, StorageSize,
};
use crate::{
    model::{GroupId, GroupMetadata, OffsetMetadata, TopicPartition},
    storage::{ShardId, shard_of},
};

/// A storage whose offsets are read from memory where they are known. Bounded by bytes; shared by reference.
pub struct CachedStorage {
    inner: Arc<dyn CoordinatorStorage>,
    cache: Arc<Cache>,
}

/// The cached part, which outlives a caller who does not wait for the end of a change.
struct Cache {
    /// Of the coordinator's; a reload concerns the groups of one.
    shards: u16,
    stripes: Vec<Mutex<Stripe>>,
    counters: Arc<Counters>,
}

/// Since the start.
#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

impl CachedStorage {
    /// Caches up to about `bytes_max` of what `inner` has in `shards` coordinator shards.
    pub fn new(inner: Arc<dyn CoordinatorStorage>, shards: u16, bytes_max: u64) -> Self {
        let counters = Arc::new(Counters::default());
        let stripe = |_| Mutex::new(Stripe::new(bytes_max / u64::from(STRIPES), Arc::clone(&counters)));
        let stripes = (0..STRIPES).map(stripe).collect();
        Self { inner, cache: Arc::new(Cache { shards: shards.max(1), stripes, counters }) }
    }

    /// Carries a change of offsets out. It comes to its end also when the caller goes away: the cache must know it.
    async fn write<F>(&self, changes: Vec<(GroupId, Change)>, write: F) -> Result<(), StorageError>
    where
        F: Future<Output = Result<(), StorageError>> + Send + 'static,
    {
        let cache = Arc::clone(&self.cache);
        changes.iter().for_each(|(group, _)| cache.stripe(group).claim(group));
        let to_the_end = async move {
            let outcome = write.await;
            for (group, change) in changes {
                match outcome {
                    Ok(()) => cache.stripe(&group).settle(group, change),
                    // Nobody knows what is stored; the claim stands until a reload has told.
                    Err(_) => cache.stripe(&group).leave(group),
                }
            }
            outcome
        };
        SeenThrough(Some(Box::pin(to_the_end))).await
    }
}

impl Cache {
    fn stripe(&self, group: &str) -> MutexGuard<'_, Stripe> {
        let index = usize::from(shard_of(group, self.shards)).checked_rem(self.stripes.len()).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "the index is a remainder of the length, which is not zero")]
        self.stripes[index].lock()
    }
}

#[async_trait]
impl OffsetStorage for CachedStorage {
    async fn commit(
        &self,
        group: &GroupId,
        offsets: Vec<(TopicPartition, OffsetMetadata)>,
    ) -> Result<(), StorageError> {
        let (inner, id) = (Arc::clone(&self.inner), Arc::clone(group));
        let changed = offsets.iter().map(|(partition, value)| (partition.clone(), Some(value.clone()))).collect();
        let write = async move { inner.commit(&id, offsets).await };
        self.write(vec![(Arc::clone(group), Change::Some(changed))], write).await
    }

    async fn fetch(&self, group: &str, partition: &TopicPartition) -> Result<Option<OffsetMetadata>, StorageError> {
        let seen = match self.cache.stripe(group).get(group, partition) {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        let value = self.inner.fetch(group, partition).await?;
        self.cache.stripe(group).fill(seen, group, partition, value.as_ref());
        Ok(value)
    }

    async fn fetch_all(&self, group: &str) -> Result<Vec<(TopicPartition, OffsetMetadata)>, StorageError> {
        let seen = match self.cache.stripe(group).get_all(group) {
            Ok(offsets) => return Ok(sorted(offsets)),
            Err(seen) => seen,
        };
        let offsets = self.inner.fetch_all(group).await?;
        self.cache.stripe(group).fill_all(seen, group, &offsets);
        Ok(offsets)
    }

    async fn delete(&self, group: &GroupId, partitions: &[TopicPartition]) -> Result<(), StorageError> {
        let (inner, id, partitions) = (Arc::clone(&self.inner), Arc::clone(group), partitions.to_vec());
        let changed = partitions.iter().map(|partition| (partition.clone(), None)).collect();
        let write = async move { OffsetStorage::delete(&*inner, &id, &partitions).await };
        self.write(vec![(Arc::clone(group), Change::Some(changed))], write).await
    }

    async fn delete_group(&self, group: &GroupId) -> Result<(), StorageError> {
        let (inner, id) = (Arc::clone(&self.inner), Arc::clone(group));
        self.write(vec![(Arc::clone(group), Change::AllGone)], async move { inner.delete_group(&id).await }).await
    }

    async fn list_groups(&self) -> Result<Vec<GroupId>, StorageError> {
        self.inner.list_groups().await
    }
}

#[async_trait]
impl GroupStorage for CachedStorage {
    async fn save(&self, group: &GroupMetadata) -> Result<(), StorageError> {
        self.inner.save(group).await
    }

    async fn get(&self, group: &str) -> Result<Option<GroupMetadata>, StorageError> {
        self.inner.get(group).await
    }

    async fn delete(&self, group: &GroupId) -> Result<(), StorageError> {
        GroupStorage::delete(&*self.inner, group).await
    }

    async fn list(&self) -> Result<Vec<GroupMetadata>, StorageError> {
        self.inner.list().await
    }
}

#[async_trait]
impl CoordinatorStorage for CachedStorage {
    async fn append(&self, shard: ShardId, records: Vec<CoordinatorRecord>) -> Result<(), StorageError> {
        let (inner, changes) = (Arc::clone(&self.inner), offset_changes(&records));
        self.write(changes, async move { inner.append(shard, records).await }).await
    }

    async fn reload(&self, shard: ShardId) -> Result<(), StorageError> {
        let Some(stripe) = shard
            .group_index()
            .map(usize::from)
            .and_then(|index| self.cache.stripes.get(index.checked_rem(self.cache.stripes.len()).unwrap_or_default()))
        else {
            return self.inner.reload(shard).await;
        };
        let shards = self.cache.shards;
        let is_of_shard = |group: &str| Some(shard_of(group, shards)) == shard.group_index();
        let left = stripe.lock().take_left(is_of_shard);
        let outcome = self.inner.reload(shard).await;
        stripe.lock().end_reload(is_of_shard, left, outcome.is_ok());
        outcome
    }

    fn at_hand(&self, group: &str, partitions: &[TopicPartition]) -> Option<Vec<Option<OffsetMetadata>>> {
        self.cache.stripe(group).at_hand(group, partitions)
    }

    fn all_at_hand(&self, group: &str) -> Option<Vec<(TopicPartition, OffsetMetadata)>> {
        self.cache.stripe(group).all_at_hand(group).map(sorted)
    }

    fn size(&self) -> StorageSize {
        self.inner.size()
    }

    fn cache(&self) -> Option<CacheStats> {
        Some(self.cache.stats())
    }

    fn health(&self) -> Result<(), StorageError> {
        self.inner.health()
    }
}

impl Cache {
    fn stats(&self) -> CacheStats {
        let mut stats = self.counters.stats();
        for stripe in &self.stripes {
            let (groups, bytes) = stripe.lock().size();
            stats.groups += groups;
            stats.bytes += bytes;
        }
        stats
    }
}

/// What an append changes of the offsets of each group, in order.
fn offset_changes(records: &[CoordinatorRecord]) -> Vec<(GroupId, Change)> {
    let mut changes: Vec<(GroupId, Vec<_>)> = Vec::new();
    for record in records {
        let CoordinatorRecord::Offset { group, partition, value } = record else { continue };
        let change = (partition.clone(), value.clone());
        match changes.last_mut() {
            Some((last, changed)) if last == group => changed.push(change),
            _ => changes.push((Arc::clone(group), vec![change])),
        }
    }
    // A group that comes twice has one change, as it has one claim.
    changes.sort_by(|(left, _), (right, _)| left.cmp(right));
    changes.dedup_by(|(next, added), (group, changed)| {
        let is_same = next == group;
        if is_same {
            changed.append(added);
        }
        is_same
    });
    changes.into_iter().map(|(group, changed)| (group, Change::Some(changed))).collect()
}

fn sorted(mut offsets: Vec<(TopicPartition, OffsetMetadata)>) -> Vec<(TopicPartition, OffsetMetadata)> {
    offsets.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    offsets
}

/// A future that goes on by itself when it is dropped in the middle.
struct SeenThrough(Option<BoxFuture<'static, Result<(), StorageError>>>);

impl Future for SeenThrough {
    type Output = Result<(), StorageError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.0 {
            Some(running) => ready!(running.as_mut().poll(context)),
            None => Err(StorageError::Closed),
        };
        self.0 = None;
        Poll::Ready(outcome)
    }
}

impl Drop for SeenThrough {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the claims stand to its end.
        if let (Some(rest), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
}

/// Parts of the cache with a lock each; also the largest share that one group may take.
const STRIPES: u16 = 8;
