//! `CoordinatorStorage`.

use tidegate::{
    model::OffsetMetadata,
    storage::{CoordinatorRecord, ShardId, StorageSize, shard_of},
};

use crate::{
    backends::{Backend, SHARDS},
    groups::{empty, stable},
    offsets::{group, partition},
};

fn shard(id: &str) -> ShardId {
    ShardId::group(shard_of(id, SHARDS))
}

fn offset_record(id: &str, number: i32, at: Option<i64>) -> CoordinatorRecord {
    CoordinatorRecord::Offset { group: group(id), partition: partition("t", number), value: at.map(OffsetMetadata::at) }
}

pub async fn one_append_changes_both(backend: &impl Backend) {
    let storage = backend.open().await;
    let records = vec![
        CoordinatorRecord::Group { group: group("g"), value: Some(stable("g", 1, 2)) },
        offset_record("g", 0, Some(5)),
        offset_record("g", 1, Some(6)),
        offset_record("g", 0, None),
        offset_record("g", 7, None),
    ];
    storage.append(shard("g"), records).await.unwrap();
    assert_eq!(storage.get("g").await.unwrap(), Some(stable("g", 1, 2)));
    assert_eq!(storage.fetch_all("g").await.unwrap(), [(partition("t", 1), OffsetMetadata::at(6))]);
    let records = vec![offset_record("g", 1, None), CoordinatorRecord::Group { group: group("g"), value: None }];
    storage.append(shard("g"), records).await.unwrap();
    assert_eq!(storage.get("g").await.unwrap(), None);
    assert_eq!(storage.fetch_all("g").await.unwrap(), []);
    assert_eq!(storage.size(), StorageSize::default());
}

pub async fn an_append_of_nothing_succeeds(backend: &impl Backend) {
    let storage = backend.open().await;
    storage.append(ShardId::group(0), Vec::new()).await.unwrap();
}

pub async fn reload_changes_nothing_that_was_acknowledged(backend: &impl Backend) {
    let storage = backend.open().await;
    for number in 0..20 {
        storage.append(shard("g"), vec![offset_record("g", number, Some(1))]).await.unwrap();
    }
    storage.save(&stable("g", 3, 1)).await.unwrap();
    let (offsets, size) = (storage.fetch_all("g").await.unwrap(), storage.size());
    // While the shard is read again, commits of other tasks go on and readers see no gap.
    let writer = {
        let storage = storage.clone();
        tokio::spawn(async move {
            for at in 0..50 {
                storage.append(shard("g"), vec![offset_record("g", 100, Some(at))]).await.unwrap();
                let found = storage.fetch("g", &partition("t", 100)).await.unwrap().unwrap();
                assert_eq!(found.offset, at);
                assert!(storage.fetch("g", &partition("t", 19)).await.unwrap().is_some());
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
    };
    for _ in 0..20 {
        // A shard that changes all the time may be refused; it must only not be wrong.
        let _ = storage.reload(shard("g")).await;
    }
    writer.await.unwrap();
    storage.append(shard("g"), vec![offset_record("g", 100, None)]).await.unwrap();
    storage.reload(shard("g")).await.unwrap();
    assert_eq!(storage.fetch_all("g").await.unwrap(), offsets);
    assert_eq!(storage.get("g").await.unwrap(), Some(stable("g", 3, 1)));
    assert_eq!(storage.size(), size);
}

pub async fn size_counts_what_is_held(backend: &impl Backend) {
    let storage = backend.open().await;
    assert_eq!(storage.size(), StorageSize::default());
    for _ in 0..3 {
        storage.append(shard("g"), vec![offset_record("g", 0, Some(1)), offset_record("g", 1, Some(1))]).await.unwrap();
        storage.save(&empty("h")).await.unwrap();
    }
    let size = storage.size();
    assert_eq!((size.offset_entries, size.group_entries), (2, 1));
    assert!(size.offset_bytes > 0 && size.group_bytes > 0);
    storage.save(&stable("h", 1, 10)).await.unwrap();
    assert!(storage.size().group_bytes > size.group_bytes);
    storage.delete_group(&group("g")).await.unwrap();
    assert_eq!((storage.size().offset_entries, storage.size().offset_bytes), (0, 0));
}
