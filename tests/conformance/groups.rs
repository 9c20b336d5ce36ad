//! `GroupStorage`.

use std::sync::Arc;

use bytes::Bytes;
use tidegate::{
    model::{GroupMetadata, GroupState, MemberMetadata, OffsetMetadata, group::Base64Bytes},
    storage::{GroupStorage, ShardId, shard_of},
};

use crate::{
    backends::{Backend, SHARDS},
    offsets::{group, partition},
};

pub fn empty(id: &str) -> GroupMetadata {
    GroupMetadata {
        group_id: id.into(),
        protocol_type: "consumer".to_owned(),
        protocol: None,
        generation: 0,
        leader: None,
        state: GroupState::Empty,
        state_timestamp_ms: 0,
        members: Vec::new(),
        consumer: None,
    }
}

/// A stable group of `members` members in generation `generation`.
pub fn stable(id: &str, generation: i32, members: usize) -> GroupMetadata {
    let member = |number: usize| MemberMetadata {
        member_id: format!("member-{number}").into(),
        group_instance_id: number.is_multiple_of(2).then(|| format!("instance-{number}").into()),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        protocols: vec![("range".to_owned(), Base64Bytes(Bytes::from_static(b"\0\x01\xff\xfe")))],
        assignment: Base64Bytes(Bytes::from(generation.to_be_bytes().to_vec())),
    };
    GroupMetadata {
        protocol: Some("range".to_owned()),
        generation,
        leader: Some("member-0".into()),
        state: GroupState::Stable,
        state_timestamp_ms: i64::from(generation),
        members: (0..members).map(member).map(Arc::new).collect(),
        ..empty(id)
    }
}

pub async fn save_get_and_replace(backend: &impl Backend) {
    let storage = backend.open().await;
    assert_eq!(storage.get("g").await.unwrap(), None);
    for state in [empty("g"), stable("g", 1, 3), stable("g", 2, 1), empty("g")] {
        storage.save(&state).await.unwrap();
        assert_eq!(storage.get("g").await.unwrap(), Some(state));
    }
    assert_eq!(storage.get("other").await.unwrap(), None);
}

pub async fn list_is_ordered(backend: &impl Backend) {
    let storage = backend.open().await;
    assert_eq!(storage.list().await.unwrap(), []);
    for id in ["c", "a", "b", "d"] {
        storage.save(&stable(id, 1, 1)).await.unwrap();
    }
    GroupStorage::delete(&*storage, &group("d")).await.unwrap();
    // A group that only has offsets is not one that was saved.
    storage.commit(&group("aa"), vec![(partition("t", 0), OffsetMetadata::at(1))]).await.unwrap();
    assert_eq!(storage.list().await.unwrap(), ["a", "b", "c"].map(|id| stable(id, 1, 1)));
}

pub async fn delete_keeps_offsets(backend: &impl Backend) {
    let storage = backend.open().await;
    GroupStorage::delete(&*storage, &group("unknown")).await.unwrap();
    storage.save(&stable("g", 1, 2)).await.unwrap();
    storage.commit(&group("g"), vec![(partition("t", 0), OffsetMetadata::at(1))]).await.unwrap();
    GroupStorage::delete(&*storage, &group("g")).await.unwrap();
    assert_eq!(storage.get("g").await.unwrap(), None);
    assert_eq!(storage.fetch_all("g").await.unwrap().len(), 1);
    storage.save(&stable("g", 2, 2)).await.unwrap();
    storage.delete_group(&group("g")).await.unwrap();
    assert_eq!(storage.get("g").await.unwrap(), Some(stable("g", 2, 2)));
}

pub async fn opaque_bytes_come_back(backend: &impl Backend) {
    let storage = backend.open().await;
    let mut state = stable("g\u{0}\"\\", 1, 2);
    let [first, second] = state.members.as_mut_slice() else { panic!("two members") };
    Arc::make_mut(first).assignment = Base64Bytes(Bytes::from((0..=255).collect::<Vec<u8>>()));
    let second = Arc::make_mut(second);
    second.protocols = vec![(String::new(), Base64Bytes(Bytes::new())); 3];
    second.client_id = "\u{1F600}\n".to_owned();
    storage.save(&state).await.unwrap();
    storage.reload(ShardId::group(shard_of("g\u{0}\"\\", SHARDS))).await.unwrap();
    assert_eq!(storage.get("g\u{0}\"\\").await.unwrap(), Some(state));
}

pub async fn concurrent_saves_keep_the_last_of_each(backend: &impl Backend) {
    let storage = backend.open().await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let storage = Arc::clone(&storage);
            tokio::spawn(async move {
                let id = format!("g{task}");
                for generation in 0..50 {
                    storage.save(&stable(&id, generation, 2)).await.unwrap();
                    assert_eq!(storage.get(&id).await.unwrap().unwrap().generation, generation);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let expected: Vec<_> = (0..8).map(|task| stable(&format!("g{task}"), 49, 2)).collect();
    assert_eq!(storage.list().await.unwrap(), expected);
}

pub async fn groups_and_deletions_survive_a_restart(backend: &impl Backend) {
    let storage = backend.open().await;
    for generation in 0..100 {
        for id in ["a", "b", "c"] {
            storage.save(&stable(id, generation, 10)).await.unwrap();
        }
    }
    GroupStorage::delete(&*storage, &group("b")).await.unwrap();
    drop(storage);
    for _ in 0..2 {
        let storage = backend.open().await;
        assert_eq!(storage.list().await.unwrap(), ["a", "c"].map(|id| stable(id, 99, 10)));
    }
}
