//! The cache in front of a backend that others read as well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tidegate::{
    model::{GroupId, OffsetMetadata, TopicPartition},
    storage::{CachedStorage, CoordinatorRecord, CoordinatorStorage, ShardId, StorageError, shard_of},
};

use crate::backends::{Backend, FarAway, InMemory, SHARDS};

const GROUPS: usize = 12;
const PARTITIONS: i32 = 4;

fn id(group: usize) -> GroupId {
    format!("group-{group}").into()
}

/// A writer for each group commits rising offsets, sometimes two commits at once; readers ask the cache and the backend
/// behind it in turn. Whatever was acknowledged, or seen at either, is the least that the cache may answer afterwards.
///
/// The cache holds about half of the groups, so that they come and go, and the backend is slow, so that reads and
/// commits overlap in every way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_is_stale_whatever_overlaps() {
    let backend = FarAway(InMemory::new()).open().await;
    let cached: Arc<dyn CoordinatorStorage> = Arc::new(CachedStorage::new(Arc::clone(&backend), SHARDS, 60_000));
    let floors: Arc<Vec<AtomicI64>> = Arc::new((0..GROUPS).map(|_| AtomicI64::new(-1)).collect());
    let finished = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..GROUPS)
        .map(|group| {
            let (cached, backend, floors) = (cached.clone(), backend.clone(), floors.clone());
            tokio::spawn(async move {
                for offset in (0..400).step_by(2) {
                    if fastrand::u8(..) < 32 {
                        // Nobody but the backend knows which of the two is the later one.
                        let both = tokio::join!(commit(&*cached, group, offset), append(&*cached, group, offset));
                        both.0.and(both.1).unwrap();
                        let at = TopicPartition::new("t", 0);
                        let here = cached.fetch(&id(group), &at).await;
                        let there = backend.fetch(&id(group), &at).await;
                        assert_eq!(here.unwrap(), there.unwrap());
                    }
                    append(&*cached, group, offset + 1).await.unwrap();
                    floors[group].fetch_max(offset + 1, Ordering::SeqCst);
                    if fastrand::bool() {
                        tokio::time::sleep(Duration::from_micros(fastrand::u64(1..2000))).await;
                    }
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let (cached, backend, floors, finished) =
                (cached.clone(), backend.clone(), floors.clone(), finished.clone());
            tokio::spawn(async move {
                while !finished.load(Ordering::SeqCst) {
                    let group = fastrand::usize(..GROUPS);
                    let partition = TopicPartition::new("t", fastrand::i32(0..PARTITIONS));
                    let floor = floors[group].load(Ordering::SeqCst);
                    if fastrand::u8(..) < 64 {
                        let seen = offset(backend.fetch(&id(group), &partition).await.unwrap());
                        floors[group].fetch_max(seen, Ordering::SeqCst);
                        continue;
                    }
                    let found = if fastrand::u8(..) < 64 {
                        let all = cached.fetch_all(&id(group)).await.unwrap();
                        offset(all.into_iter().find(|(at, _)| *at == partition).map(|(_, value)| value))
                    } else if let Some(values) = cached.at_hand(&id(group), std::slice::from_ref(&partition)) {
                        offset(values.into_iter().next().flatten())
                    } else {
                        offset(cached.fetch(&id(group), &partition).await.unwrap())
                    };
                    assert!(found >= floor, "{} of {partition}: {found} after {floor}", id(group));
                    floors[group].fetch_max(found, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    finished.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    let stats = cached.cache().unwrap();
    // Otherwise nothing was tried.
    assert!(stats.hits > 1000 && stats.misses > 1000 && stats.evictions > 10, "{stats:?}");
}

fn offset(found: Option<OffsetMetadata>) -> i64 {
    found.map_or(-1, |value| value.offset)
}

fn offsets(offset: i64, author: &str) -> Vec<(TopicPartition, OffsetMetadata)> {
    let value = OffsetMetadata { metadata: author.into(), ..OffsetMetadata::at(offset) };
    (0..PARTITIONS).map(|number| (TopicPartition::new("t", number), value.clone())).collect()
}

async fn commit(storage: &dyn CoordinatorStorage, group: usize, offset: i64) -> Result<(), StorageError> {
    storage.commit(&id(group), offsets(offset, "commit")).await
}

async fn append(storage: &dyn CoordinatorStorage, group: usize, offset: i64) -> Result<(), StorageError> {
    let group = id(group);
    let record = |(partition, value)| CoordinatorRecord::Offset { group: group.clone(), partition, value: Some(value) };
    let records = offsets(offset, "append").into_iter().map(record).collect();
    storage.append(ShardId::group(shard_of(&group, SHARDS)), records).await
}
