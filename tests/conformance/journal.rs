//! `Journal` and `OrderedJournal`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tidegate::storage::{JournalRecord, OrderedJournal, ShardId, StorageError};

use crate::backends::JournalBackend;

const SHARD: ShardId = ShardId(7);

fn set(key: &str, value: impl Into<Vec<u8>>) -> JournalRecord {
    JournalRecord { key: Bytes::copy_from_slice(key.as_bytes()), value: Some(Bytes::from(value.into())) }
}

fn delete(key: &str) -> JournalRecord {
    JournalRecord { key: Bytes::copy_from_slice(key.as_bytes()), value: None }
}

async fn replay(journal: &dyn OrderedJournal, shard: ShardId) -> BTreeMap<Bytes, Bytes> {
    let entries = journal.replay(shard).await.unwrap();
    let count = entries.len();
    let map: BTreeMap<_, _> = entries.into_iter().collect();
    assert_eq!(map.len(), count, "a key came twice");
    map
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<Bytes, Bytes> {
    pairs.iter().map(|(key, value)| (Bytes::from((*key).to_owned()), Bytes::from((*value).to_owned()))).collect()
}

pub async fn the_latest_value_of_each_key_is_replayed(backend: &impl JournalBackend) {
    let journal = backend.open_journal();
    assert_eq!(replay(&*journal, SHARD).await, map(&[]));
    journal.append(SHARD, vec![set("a", "1"), set("b", "1"), set("c", "1")]).await.unwrap();
    journal.append(SHARD, vec![set("a", "2"), delete("b"), set("b", "3"), delete("c"), delete("none")]).await.unwrap();
    journal.append(SHARD, Vec::new()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(replay(&*journal, SHARD).await, map(&[("a", "2"), ("b", "3")]));
    }
}

pub async fn shards_are_apart(backend: &impl JournalBackend) {
    let journal = backend.open_journal();
    for shard in 0..5 {
        journal.append(ShardId(shard), vec![set("a", shard.to_string())]).await.unwrap();
    }
    journal.append(ShardId(3), vec![delete("a")]).await.unwrap();
    assert_eq!(replay(&*journal, ShardId(2)).await, map(&[("a", "2")]));
    assert_eq!(replay(&*journal, ShardId(3)).await, map(&[]));
    assert_eq!(replay(&*journal, ShardId(u16::MAX)).await, map(&[]));
}

pub async fn an_append_takes_its_place_at_the_call(backend: &impl JournalBackend) {
    let journal = backend.open_journal();
    for round in 0..50 {
        let first = journal.append(SHARD, vec![set("a", format!("first {round}"))]);
        let second = journal.append(SHARD, vec![set("a", format!("second {round}"))]);
        // Polled the other way round, and the first not at all.
        second.await.unwrap();
        drop(first);
        assert_eq!(replay(&*journal, SHARD).await, map(&[("a", &format!("second {round}"))]));
    }
}

pub async fn appends_of_many_tasks_are_all_there(backend: &impl JournalBackend) {
    let journal = backend.open_journal();
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                for round in 0..50 {
                    let records =
                        vec![set(&format!("{task} counts"), round.to_string()), set(&format!("{task}-{round}"), "")];
                    journal.append(ShardId(task % 3), records).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for task in 0..16 {
        let found = replay(&*journal, ShardId(task % 3)).await;
        assert_eq!(found[format!("{task} counts").as_bytes()], "49");
        assert_eq!(found.keys().filter(|key| key.starts_with(format!("{task}-").as_bytes())).count(), 50);
    }
}

pub async fn completions_come_once_and_in_order(backend: &impl JournalBackend) {
    let journal = backend.open_journal();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for number in 0..200 {
        let seen = Arc::clone(&seen);
        let done = move |outcome: Result<(), StorageError>| {
            outcome.unwrap();
            seen.lock().unwrap().push(number);
        };
        journal.append_then(SHARD, vec![set("a", number.to_string())], Box::new(done));
    }
    journal.append(SHARD, Vec::new()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (0..200).collect::<Vec<_>>());
}

pub async fn a_replay_shows_all_that_was_acknowledged(backend: &impl JournalBackend) {
    let journal = backend.open_journal();
    let other = {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            for round in 0..200 {
                journal.append(ShardId(1), vec![set("noise", vec![0; round * 10])]).await.unwrap();
            }
        })
    };
    for round in 0..50 {
        journal.append(SHARD, vec![set("a", round.to_string())]).await.unwrap();
        assert_eq!(replay(&*journal, SHARD).await, map(&[("a", &round.to_string())]));
    }
    other.await.unwrap();
}

pub async fn large_and_empty_values_come_back(backend: &impl JournalBackend) {
    let journal = backend.open_journal();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    journal.append(SHARD, vec![set("", "empty key"), set("empty", ""), set("large", large.clone())]).await.unwrap();
    let found = replay(&*journal, SHARD).await;
    assert_eq!(found[&b""[..]], "empty key");
    assert_eq!(found[&b"empty"[..]], "");
    assert!(found[&b"large"[..]] == large);
}

pub async fn a_closed_journal_refuses_appends(backend: &impl JournalBackend) {
    let journal = backend.open_journal();
    let waiting = journal.append(SHARD, vec![set("a", "1")]);
    journal.close().await.unwrap();
    waiting.await.unwrap();
    assert!(matches!(journal.append(SHARD, vec![set("a", "2")]).await, Err(StorageError::Closed)));
    assert_eq!(replay(&*journal, SHARD).await, map(&[("a", "1")]));
    journal.close().await.unwrap();
}
