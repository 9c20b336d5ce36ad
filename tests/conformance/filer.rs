//! What only the filer backend has: readable files, ownership, a gateway that keeps nothing of its own.

use std::{sync::Arc, time::Duration};

use tidegate::{
    model::{GroupMetadata, OffsetMetadata},
    storage::{
        CoordinatorStorage, GroupStorage, Journal, JournalRecord, JournaledStorage, OffsetStorage, OrderedJournal,
        ShardId, StorageError, filer::FilerBackend,
    },
};

use crate::{
    backends::{Filer, SHARDS},
    groups::stable,
    offsets::{group, partition},
    seaweed::Seaweed,
};

/// A backend with what the coordinator sees of it.
struct Opened {
    backend: FilerBackend,
    state: JournaledStorage,
}

async fn open(filer: &Filer) -> Opened {
    let backend = filer.backend().await;
    let state = JournaledStorage::open(Arc::clone(&backend.journal) as Arc<dyn OrderedJournal>, SHARDS).await.unwrap();
    Opened { backend, state }
}

fn at(offset: i64, metadata: &str) -> OffsetMetadata {
    OffsetMetadata { metadata: metadata.into(), commit_timestamp_ms: 7, ..OffsetMetadata::at(offset) }
}

async fn caught_up(opened: &Opened) {
    tokio::time::timeout(Duration::from_secs(10), opened.backend.layout.caught_up()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn filer_storage_commit_and_fetch() {
    let filer = Filer::new();
    let opened = open(&filer).await;
    for round in 0..3 {
        let offsets = vec![(partition("orders", 0), at(round, "mine")), (partition("orders", 7), at(100 + round, ""))];
        opened.state.commit(&group("readers"), offsets).await.unwrap();
        assert_eq!(opened.state.fetch("readers", &partition("orders", 0)).await.unwrap(), Some(at(round, "mine")));
    }
    caught_up(&opened).await;
    let layout = &opened.backend.layout;
    assert_eq!(layout.offset("readers", &partition("orders", 0)).await.unwrap(), Some(at(2, "mine")));
    assert_eq!(layout.offset("readers", &partition("orders", 7)).await.unwrap(), Some(at(102, "")));
    assert_eq!(layout.offset("readers", &partition("orders", 1)).await.unwrap(), None);
    let read = |path: &str| filer.get(&format!("consumer_offsets/readers/orders/0/{path}"));
    assert_eq!(read("offset").as_deref(), Some("2"));
    assert_eq!(read("metadata").as_deref(), Some("mine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn filer_storage_persistence() {
    let filer = Filer::new();
    {
        let opened = open(&filer).await;
        for number in 0..100 {
            let offsets = vec![(partition("orders", number), at(number.into(), "m"))];
            opened.state.commit(&group("readers"), offsets).await.unwrap();
        }
        opened.state.delete_group(&group("none")).await.unwrap();
    }
    for _ in 0..2 {
        let opened = open(&filer).await;
        let all = opened.state.fetch_all("readers").await.unwrap();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|(at, offset)| offset.offset == i64::from(at.partition)));
        // Also what the one before had not come to.
        caught_up(&opened).await;
        for number in [0, 50, 99] {
            let found = opened.backend.layout.offset("readers", &partition("orders", number)).await.unwrap();
            assert_eq!(found, Some(at(number.into(), "m")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn filer_storage_multiple_groups() {
    let filer = Filer::new();
    let opened = open(&filer).await;
    let long = "x".repeat(20_000);
    let names = ["plain", "a/b", "..", ".", "%2F", "with space", "über", "a\u{1}b", "", &long];
    for (number, name) in (0..).zip(names) {
        opened
            .state
            .commit(&group(name), vec![(partition("t", 0), at(number, name.get(..5).unwrap_or("")))])
            .await
            .unwrap();
    }
    caught_up(&opened).await;
    for (number, name) in (0..).zip(names) {
        let found = opened.backend.layout.offset(name, &partition("t", 0)).await.unwrap().unwrap();
        assert_eq!(found.offset, number, "{name:.20}");
    }
    let mut listed = opened.backend.layout.groups_with_offsets().await.unwrap();
    listed.sort();
    let mut expected: Vec<_> = names.iter().filter(|name| name.len() < 100).map(|name| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    // A deleted group leaves nothing.
    for name in names {
        opened.state.delete_group(&group(name)).await.unwrap();
    }
    caught_up(&opened).await;
    assert_eq!(opened.backend.layout.groups_with_offsets().await.unwrap(), Vec::<String>::new());
    assert_eq!(opened.backend.layout.offset("a/b", &partition("t", 0)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn filer_group_storage_save_get_and_delete() {
    let filer = Filer::new();
    let opened = open(&filer).await;
    opened.state.save(&stable("g", 1, 2)).await.unwrap();
    opened.state.save(&stable("g", 2, 3)).await.unwrap();
    opened.state.save(&stable("other", 1, 1)).await.unwrap();
    caught_up(&opened).await;
    assert_eq!(opened.backend.layout.group("g").await.unwrap(), Some(stable("g", 2, 3)));
    let json = filer.get("consumer_groups/g/metadata").unwrap();
    assert_eq!(serde_json::from_str::<GroupMetadata>(&json).unwrap(), stable("g", 2, 3));
    GroupStorage::delete(&opened.state, &group("g")).await.unwrap();
    caught_up(&opened).await;
    assert_eq!(opened.backend.layout.group("g").await.unwrap(), None);
    assert_eq!(opened.backend.layout.group("other").await.unwrap(), Some(stable("other", 1, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn filer_group_storage_persistence() {
    let filer = Filer::new();
    open(&filer).await.state.save(&stable("g", 4, 2)).await.unwrap();
    let opened = open(&filer).await;
    assert_eq!(opened.state.list().await.unwrap(), [stable("g", 4, 2)]);
    caught_up(&opened).await;
    assert_eq!(opened.backend.layout.group("g").await.unwrap(), Some(stable("g", 4, 2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn garbage_where_an_offset_should_be_is_named_and_not_served() {
    let filer = Filer::new();
    let opened = open(&filer).await;
    let layout = &opened.backend.layout;
    filer.put("consumer_offsets/readers/orders/0/offset", "12");
    filer.put("consumer_offsets/notes.txt", "somebody's");
    let error = layout.offset("readers", &partition("orders", 0)).await.unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt(what) if what.contains("readers/orders/0/offset")), "{error}");
    assert_eq!(layout.groups_with_offsets().await.unwrap(), ["readers"]);
    opened.state.commit(&group("readers"), vec![(partition("orders", 0), at(5, ""))]).await.unwrap();
    caught_up(&opened).await;
    assert_eq!(layout.offset("readers", &partition("orders", 0)).await.unwrap(), Some(at(5, "")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_gateway_is_refused_while_the_first_is_alive() {
    let filer = Filer::new();
    let first = open(&filer).await;
    let error = filer.try_backend().await.err().unwrap().to_string();
    assert!(error.contains("is in use by") && error.contains("one gateway at a time"), "{error}");
    first.state.commit(&group("g"), vec![(partition("t", 0), at(1, ""))]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_gateways_that_start_at_once_the_last_fence_alone_may_write() {
    let filer = Filer::new();
    let starts: Vec<_> = (0..6).map(|_| tokio::spawn(filer.starting())).collect();
    let mut started = Vec::new();
    for start in starts {
        started.extend(start.await.unwrap().ok());
    }
    assert!(!started.is_empty());
    let record =
        |number: usize| vec![JournalRecord { key: number.to_string().into(), value: Some(b"x".as_slice().into()) }];
    let mut writers = Vec::new();
    for (number, backend) in started.iter().enumerate() {
        if backend.journal.append(ShardId(7), record(number)).await.is_ok() {
            writers.push(number);
        }
    }
    assert_eq!(writers.len(), 1, "{writers:?} of {}", started.len());
    let before: Vec<_> = started[writers[0]].journal.replay(ShardId(7)).await.unwrap();
    drop(started);
    let after = filer.backend().await;
    assert_eq!(after.journal.replay(ShardId(7)).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_missing_object_of_the_journal_is_noticed() {
    let filer = Filer::new();
    {
        let journal = filer.backend().await.journal;
        for number in 0..5_u8 {
            let record = JournalRecord { key: vec![number].into(), value: Some(b"x".as_slice().into()) };
            journal.append(ShardId(7), vec![record]).await.unwrap();
        }
    }
    let names = filer.list("wal");
    // The fence, the file of the layout's progress aside, is the first; this is one of the records.
    filer.delete(&format!("wal/{}", names[2]));
    let error = filer.try_backend().await.err().unwrap();
    assert!(matches!(&error, StorageError::Corrupt(what) if what.contains("is missing")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_object_of_the_journal_is_named() {
    let filer = Filer::new();
    {
        let journal = filer.backend().await.journal;
        let record = JournalRecord { key: b"k".as_slice().into(), value: Some(b"x".as_slice().into()) };
        journal.append(ShardId(7), vec![record]).await.unwrap();
    }
    let name = filer.list("wal").pop().unwrap();
    filer.put(&format!("wal/{name}"), "garbage");
    let error = filer.try_backend().await.err().unwrap();
    assert!(matches!(&error, StorageError::Corrupt(what) if what.contains(&name)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_filer_that_dies_for_a_while_costs_errors_and_no_acknowledged_commit() {
    let mut seaweed = Seaweed::start();
    let filer = Filer::at(&seaweed.url());
    let opened = open(&filer).await;
    let commit = async |offset: i64| opened.state.commit(&group("g"), vec![(partition("t", 0), at(offset, ""))]).await;
    commit(1).await.unwrap();
    seaweed.kill();
    let error = commit(2).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
    assert!(CoordinatorStorage::health(&opened.state).is_err());
    assert!(commit(3).await.is_err(), "nothing is taken before the fate of what came before is known");
    seaweed.restart();
    let start = std::time::Instant::now();
    while CoordinatorStorage::health(&opened.state).is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    opened.state.reload(ShardId::group(tidegate::storage::shard_of("g", SHARDS))).await.unwrap();
    let found = opened.state.fetch("g", &partition("t", 0)).await.unwrap().unwrap().offset;
    assert!(found == 1 || found == 2, "{found}");
    commit(4).await.unwrap();
    drop(opened);
    let opened = open(&filer).await;
    assert_eq!(opened.state.fetch("g", &partition("t", 0)).await.unwrap(), Some(at(4, "")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listings_page_through_any_number_of_groups() {
    let filer = Filer::new();
    let opened = open(&filer).await;
    let commits = (0..2_050).map(|number| {
        let state = &opened.state;
        async move { state.commit(&group(&format!("g {number}")), vec![(partition("t", 0), at(1, ""))]).await.unwrap() }
    });
    futures_util::future::join_all(commits).await;
    caught_up(&opened).await;
    assert_eq!(opened.backend.layout.groups_with_offsets().await.unwrap().len(), 2_050);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_of_others_and_a_thousand_objects_of_the_journal_are_no_trouble_at_a_start() {
    let filer = Filer::new();
    let record = |number: u32| {
        vec![JournalRecord { key: number.to_be_bytes().to_vec().into(), value: Some(b"x".as_slice().into()) }]
    };
    {
        let journal = filer.backend().await.journal;
        // One after the other: each is an object of its own, and most are merged away.
        for number in 0..1_200 {
            journal.append(ShardId(7), record(number)).await.unwrap();
        }
    }
    for name in ["wal/notes.txt", "wal/00000000000000000003.bak", "owners/readme", "topics/x"] {
        filer.put(name, "somebody's");
    }
    assert!(filer.list("wal").len() < 400, "{}", filer.list("wal").len());
    for _ in 0..3 {
        let backend = filer.backend().await;
        assert_eq!(backend.journal.replay(ShardId(7)).await.unwrap().len(), 1_200);
    }
    for name in ["wal/notes.txt", "wal/00000000000000000003.bak", "topics/x"] {
        assert_eq!(filer.get(name).as_deref(), Some("somebody's"), "{name}");
    }
}
