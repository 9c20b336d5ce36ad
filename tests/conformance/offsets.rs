//! `OffsetStorage`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Waker},
};

use tidegate::{
    model::{GroupId, OffsetMetadata, TopicId, TopicPartition},
    storage::{CoordinatorStorage, OffsetStorage},
};

use crate::backends::Backend;

pub fn group(id: &str) -> GroupId {
    GroupId::from(id)
}

pub fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// An offset whose metadata says what it is, so that a torn pair shows.
fn offset(offset: i64) -> OffsetMetadata {
    OffsetMetadata { metadata: format!("at {offset}").into(), ..OffsetMetadata::at(offset) }
}

fn assert_whole(found: &OffsetMetadata) {
    assert_eq!(*found.metadata, format!("at {}", found.offset), "offset and metadata are of different commits");
}

async fn commit(storage: &dyn CoordinatorStorage, id: &str, topic: &str, number: i32, at: i64) {
    storage.commit(&group(id), vec![(partition(topic, number), offset(at))]).await.unwrap();
}

pub async fn commit_and_fetch(backend: &impl Backend) {
    let storage = backend.open().await;
    let offsets = vec![(partition("t", 0), offset(5)), (partition("t", 1), offset(0)), (partition("u", 0), offset(7))];
    storage.commit(&group("g"), offsets.clone()).await.unwrap();
    for (partition, offset) in offsets {
        assert_eq!(storage.fetch("g", &partition).await.unwrap(), Some(offset));
    }
}

pub async fn every_field_comes_back(backend: &impl Backend) {
    let storage = backend.open().await;
    let full = OffsetMetadata {
        offset: i64::MAX,
        leader_epoch: 17,
        metadata: "ümlaut \u{0} \u{1F600}".into(),
        commit_timestamp_ms: 1_700_000_000_000,
        expire_timestamp_ms: Some(1_700_000_000_001),
        topic_id: TopicId::from_u128(u128::MAX - 1),
    };
    storage.commit(&group("g"), vec![(partition("t", i32::MAX), full.clone())]).await.unwrap();
    assert_eq!(storage.fetch("g", &partition("t", i32::MAX)).await.unwrap(), Some(full.clone()));
    assert_eq!(storage.fetch_all("g").await.unwrap(), vec![(partition("t", i32::MAX), full)]);
}

pub async fn a_later_commit_replaces_an_earlier_one(backend: &impl Backend) {
    let storage = backend.open().await;
    for at in [1, 9, 4] {
        commit(&*storage, "g", "t", 0, at).await;
        assert_eq!(storage.fetch("g", &partition("t", 0)).await.unwrap(), Some(offset(at)));
    }
    let twice = vec![(partition("t", 0), offset(5)), (partition("t", 0), offset(6))];
    storage.commit(&group("g"), twice).await.unwrap();
    assert_eq!(storage.fetch("g", &partition("t", 0)).await.unwrap(), Some(offset(6)));
    assert_eq!(storage.fetch_all("g").await.unwrap().len(), 1);
}

pub async fn fetch_all_is_ordered_and_of_one_group(backend: &impl Backend) {
    let storage = backend.open().await;
    for (topic, number) in [("b", 2), ("a", 10), ("b", 0), ("a", 9)] {
        commit(&*storage, "g", topic, number, i64::from(number)).await;
    }
    commit(&*storage, "other", "a", 0, 77).await;
    let expected = [("a", 9), ("a", 10), ("b", 0), ("b", 2)]
        .map(|(topic, number)| (partition(topic, number), offset(i64::from(number))));
    assert_eq!(storage.fetch_all("g").await.unwrap(), expected);
    assert_eq!(storage.fetch_all("other").await.unwrap(), [(partition("a", 0), offset(77))]);
}

pub async fn what_was_never_committed_is_absent(backend: &impl Backend) {
    let storage = backend.open().await;
    assert_eq!(storage.fetch("unknown", &partition("t", 0)).await.unwrap(), None);
    assert_eq!(storage.fetch_all("unknown").await.unwrap(), []);
    assert!(storage.list_groups().await.unwrap().is_empty());
    storage.delete_group(&group("unknown")).await.unwrap();
    OffsetStorage::delete(&*storage, &group("unknown"), &[partition("t", 0)]).await.unwrap();
    storage.commit(&group("g"), Vec::new()).await.unwrap();
    commit(&*storage, "g", "t", 0, 1).await;
    assert_eq!(storage.fetch("g", &partition("t", 1)).await.unwrap(), None);
    assert_eq!(storage.fetch("g", &partition("u", 0)).await.unwrap(), None);
}

pub async fn delete_forgets_only_what_is_named(backend: &impl Backend) {
    let storage = backend.open().await;
    for number in 0..3 {
        commit(&*storage, "g", "t", number, 1).await;
    }
    OffsetStorage::delete(&*storage, &group("g"), &[partition("t", 1), partition("absent", 1)]).await.unwrap();
    let left: Vec<_> = storage.fetch_all("g").await.unwrap().into_iter().map(|(at, _)| at.partition).collect();
    assert_eq!(left, [0, 2]);
}

pub async fn delete_group_forgets_all_of_one_group(backend: &impl Backend) {
    let storage = backend.open().await;
    for id in ["g", "other"] {
        for number in 0..20 {
            commit(&*storage, id, "t", number, 1).await;
        }
    }
    storage.delete_group(&group("g")).await.unwrap();
    assert_eq!(storage.fetch_all("g").await.unwrap(), []);
    assert_eq!(storage.fetch("g", &partition("t", 0)).await.unwrap(), None);
    assert_eq!(storage.fetch_all("other").await.unwrap().len(), 20);
    assert_eq!(storage.list_groups().await.unwrap(), [group("other")]);
    commit(&*storage, "g", "t", 3, 9).await;
    assert_eq!(storage.fetch_all("g").await.unwrap(), [(partition("t", 3), offset(9))]);
}

pub async fn list_groups_lists_those_with_offsets(backend: &impl Backend) {
    let storage = backend.open().await;
    for id in ["c", "a", "b"] {
        commit(&*storage, id, "t", 0, 1).await;
    }
    storage.delete_group(&group("b")).await.unwrap();
    storage.save(&super::groups::empty("without offsets")).await.unwrap();
    let mut listed = storage.list_groups().await.unwrap();
    listed.sort();
    assert_eq!(listed, [group("a"), group("c")]);
}

/// What can be told at once is what a fetch finds; a backend may have nothing at hand.
pub async fn what_is_at_hand_is_what_a_fetch_finds(backend: &impl Backend) {
    let storage = backend.open().await;
    let partitions = [partition("t", 1), partition("absent", 0), partition("t", 0), partition("t", 1)];
    for at in 0..3 {
        commit(&*storage, "g", "t", 0, at).await;
        commit(&*storage, "g", "t", 1, at + 1).await;
        let expected = [Some(offset(at + 1)), None, Some(offset(at)), Some(offset(at + 1))];
        for (at, expected) in partitions.iter().zip(&expected) {
            assert_eq!(storage.fetch("g", at).await.unwrap(), *expected);
        }
        assert!(storage.at_hand("g", &partitions).is_none_or(|values| values == expected));
        let all = storage.fetch_all("g").await.unwrap();
        assert!(storage.all_at_hand("g").is_none_or(|values| values == all));
    }
    assert!(storage.at_hand("unknown", &partitions).is_none_or(|values| values == [None, None, None, None]));
    assert!(storage.all_at_hand("unknown").is_none_or(|values| values.is_empty()));
}

pub async fn names_may_be_anything(backend: &impl Backend) {
    let storage = backend.open().await;
    let long = "x".repeat(32_767);
    let names = ["", "/", "..", "a/b", "a\u{0}b", "g\n", "\u{1F600}", "%2F", &long];
    for (at, name) in (0..).zip(names) {
        storage
            .commit(&group(name), vec![(partition("t", at), offset(1)), (partition("", 0), offset(2))])
            .await
            .unwrap();
    }
    for (at, name) in (0..).zip(names) {
        let expected = [(partition("", 0), offset(2)), (partition("t", at), offset(1))];
        assert_eq!(storage.fetch_all(name).await.unwrap(), expected, "{name:.20}");
    }
}

pub async fn concurrent_commits_are_all_there(backend: &impl Backend) {
    let storage = backend.open().await;
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let storage = Arc::clone(&storage);
            tokio::spawn(async move {
                // Half of the tasks share a group, so that one group is changed by many at once.
                let id = if task % 2 == 0 { "shared".to_owned() } else { format!("g{task}") };
                for number in 0..50 {
                    commit(&*storage, &id, &format!("t{task}"), number, i64::from(number)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(storage.fetch_all("shared").await.unwrap().len(), 8 * 50);
    for task in (1..16).step_by(2) {
        let all = storage.fetch_all(&format!("g{task}")).await.unwrap();
        assert_eq!(all.len(), 50);
        assert!(all.iter().all(|(partition, offset)| offset.offset == i64::from(partition.partition)));
    }
    assert_eq!(storage.size().offset_entries, 16 * 50);
}

/// Writers commit rising offsets, two partitions at a time; readers must see each partition rise, never below what was
/// acknowledged before they asked, and each offset with its own metadata.
pub async fn offsets_never_go_back_and_never_tear(backend: &impl Backend) {
    const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
    let storage = backend.open().await;
    let acknowledged: Arc<[AtomicI64; 3]> = Arc::new(std::array::from_fn(|_| AtomicI64::new(-1)));
    let finished = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for (index, id) in GROUPS.into_iter().cycle().enumerate().take(6) {
        let (storage, acknowledged, finished) = (storage.clone(), acknowledged.clone(), finished.clone());
        readers.push(tokio::spawn(async move {
            let mut seen = -1;
            let mut reads = 0_u64;
            while !finished.load(Ordering::SeqCst) || reads == 0 {
                let floor = acknowledged[index % 3].load(Ordering::SeqCst).max(seen);
                let found = if reads.is_multiple_of(2) {
                    storage.fetch(id, &partition("t", 0)).await.unwrap()
                } else {
                    storage.fetch_all(id).await.unwrap().into_iter().next().map(|(_, offset)| offset)
                };
                if let Some(found) = &found {
                    assert_whole(found);
                }
                let found = found.map_or(-1, |found| found.offset);
                assert!(found >= floor, "{id} went back from {floor} to {found}");
                seen = found;
                reads += 1;
                tokio::task::yield_now().await;
            }
        }));
    }
    let mut writers = Vec::new();
    for (index, id) in GROUPS.into_iter().enumerate() {
        let (storage, acknowledged) = (storage.clone(), acknowledged.clone());
        writers.push(tokio::spawn(async move {
            for at in 0..300 {
                let offsets = vec![(partition("t", 0), offset(at)), (partition("t", 1), offset(at))];
                storage.commit(&group(id), offsets).await.unwrap();
                acknowledged[index].store(at, Ordering::SeqCst);
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    finished.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}

/// All partitions of one commit become visible together.
pub async fn a_commit_of_many_partitions_is_seen_whole(backend: &impl Backend) {
    let storage = backend.open().await;
    let finished = Arc::new(AtomicBool::new(false));
    let reader = {
        let (storage, finished) = (storage.clone(), finished.clone());
        tokio::spawn(async move {
            while !finished.load(Ordering::SeqCst) {
                let all = storage.fetch_all("g").await.unwrap();
                assert!(all.is_empty() || all.len() == 20, "{} of 20 partitions", all.len());
                let first = all.first().map(|(_, offset)| offset.offset);
                assert!(all.iter().all(|(_, offset)| Some(offset.offset) == first), "parts of two commits");
                tokio::task::yield_now().await;
            }
        })
    };
    // Two writers, whose commits may interleave but not mix.
    let writers = [0, 1_000_000].map(|base| {
        let storage = storage.clone();
        tokio::spawn(async move {
            for at in base..base + 200 {
                let offsets = (0..20).map(|number| (partition("t", number), offset(at))).collect();
                storage.commit(&group("g"), offsets).await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    finished.store(true, Ordering::SeqCst);
    reader.await.unwrap();
}

/// Whoever stops waiting for a commit leaves no half of it, and nothing that a reload would change.
pub async fn a_dropped_commit_is_seen_whole_or_not_at_all(backend: &impl Backend) {
    let storage = backend.open().await;
    for at in 0..100 {
        let offsets = (0..5).map(|number| (partition("t", number), offset(at))).collect();
        let id = group("g");
        let mut commit = storage.commit(&id, offsets);
        // Polled once: the append has its place, and nobody waits for it any more.
        let _ = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(commit);
    }
    commit(&*storage, "g", "last", 0, 1).await;
    let all = storage.fetch_all("g").await.unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.iter().filter(|(at, _)| *at.topic == *"t").all(|(_, offset)| offset.offset == 99));
}

pub async fn offsets_and_deletions_survive_a_restart(backend: &impl Backend) {
    let storage = backend.open().await;
    let ids: Vec<_> = (0..200).map(|n| format!("group {n}")).collect();
    for round in 0..3 {
        for id in &ids {
            storage
                .commit(&group(id), vec![(partition("t", 0), offset(round)), (partition("t", 1), offset(round + 1))])
                .await
                .unwrap();
        }
    }
    OffsetStorage::delete(&*storage, &group("group 7"), &[partition("t", 1)]).await.unwrap();
    storage.delete_group(&group("group 9")).await.unwrap();
    let size = storage.size();
    drop(storage);
    for _ in 0..2 {
        let storage = backend.open().await;
        assert_eq!(storage.size(), size);
        assert_eq!(storage.list_groups().await.unwrap().len(), 199);
        assert_eq!(storage.fetch_all("group 9").await.unwrap(), []);
        assert_eq!(storage.fetch_all("group 7").await.unwrap(), [(partition("t", 0), offset(2))]);
        let expected = [(partition("t", 0), offset(2)), (partition("t", 1), offset(3))];
        assert_eq!(storage.fetch_all("group 199").await.unwrap(), expected);
    }
}
