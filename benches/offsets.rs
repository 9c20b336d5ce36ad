//! Commit and fetch of offsets: memory against disk with `os` and with `sync` durability, and against a SeaweedFS filer, which
//! is started for it (`make setup` installs it); and with the cache in front.
//!
//! `commit/…/concurrent` is 64 groups that commit at once, as many clients do: it shows shared syncs. `growth` is the
//! same work among 100, 1,000 and 10,000 groups.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run says so and ends")]

#[path = "../tests/support/seaweed.rs"]
#[allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "the tests use all of it, and end by a panic")]
mod seaweed;

use std::{cell::Cell, hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tidegate::{
    clock::SystemClock,
    config::{self, Durability},
    model::{GroupId, OffsetMetadata, TopicPartition},
    storage::{
        CachedStorage, CoordinatorStorage, JournaledStorage,
        disk::{DiskJournal, JournalOptions},
        filer::FilerBackend,
        memory::MemoryStorage,
    },
};
use tokio::runtime::Runtime;

use self::seaweed::Seaweed;

/// A storage under test; a directory lives as long as its journal.
struct Backend {
    name: String,
    storage: Arc<dyn CoordinatorStorage>,
    _dir: Option<TempDir>,
}

impl Backend {
    fn memory() -> Self {
        Self { name: "memory".into(), storage: Arc::new(MemoryStorage::new()), _dir: None }
    }

    fn disk(runtime: &Runtime, name: &str, durability: Durability) -> Self {
        // Below the target folder, because a directory for temporary files may be memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let clock = Arc::new(SystemClock::new());
        let journal = DiskJournal::open(dir.path(), JournalOptions::new(durability), clock).expect("a journal");
        let storage = runtime.block_on(JournaledStorage::open(Arc::new(journal), SHARDS)).expect("an empty storage");
        Self { name: name.into(), storage: Arc::new(storage), _dir: Some(dir) }
    }

    /// A folder of its own on a filer that all share, with the settings' defaults.
    fn filer(runtime: &Runtime) -> Self {
        let flags = [("filer.url", Seaweed::shared().url()), ("filer.path", Seaweed::folder())];
        let settings = config::parse(None, [], &flags).expect("settings").filer;
        let filer = runtime.block_on(FilerBackend::open(&settings, Arc::new(SystemClock::new()))).expect("a filer");
        let storage = runtime.block_on(JournaledStorage::open(filer.journal, SHARDS)).expect("an empty storage");
        Self { name: "filer".into(), storage: Arc::new(storage), _dir: None }
    }

    fn cached(self) -> Self {
        let storage = Arc::new(CachedStorage::new(self.storage, SHARDS, CACHE_BYTES));
        Self { name: format!("{}-cached", self.name), storage, _dir: self._dir }
    }
}

fn backends(runtime: &Runtime) -> Vec<Backend> {
    vec![
        Backend::memory(),
        Backend::memory().cached(),
        Backend::disk(runtime, "disk-os", Durability::Os),
        Backend::disk(runtime, "disk-os", Durability::Os).cached(),
        Backend::disk(runtime, "disk-sync", Durability::Sync),
        Backend::filer(runtime),
    ]
}

fn offsets(partitions: i32, offset: i64) -> Vec<(TopicPartition, OffsetMetadata)> {
    let topic: Arc<str> = "topic".into();
    (0..partitions)
        .map(|number| (TopicPartition::new(Arc::clone(&topic), number), OffsetMetadata::at(offset)))
        .collect()
}

fn group(number: usize) -> GroupId {
    format!("group-{number}").into()
}

fn commit(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut commit = criterion.benchmark_group("commit");
    for Backend { name, storage, .. } in &backends(&runtime) {
        for partitions in [1, 10] {
            commit.throughput(Throughput::Elements(1));
            commit.bench_function(BenchmarkId::new(name, partitions), |bencher| {
                let group = group(0);
                bencher.to_async(&runtime).iter(|| storage.commit(&group, offsets(partitions, 1)));
            });
        }
        commit.throughput(Throughput::Elements(CONCURRENT as u64));
        commit.bench_function(BenchmarkId::new(name, "10/concurrent"), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let tasks: Vec<_> = (0..CONCURRENT)
                    .map(|number| {
                        let storage = Arc::clone(storage);
                        tokio::spawn(async move { storage.commit(&group(number), offsets(10, 1)).await })
                    })
                    .collect();
                for task in tasks {
                    task.await.expect("no panic").expect("a commit");
                }
            });
        });
    }
}

fn fetch(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut fetch = criterion.benchmark_group("fetch");
    for Backend { name, storage, .. } in &backends(&runtime) {
        runtime.block_on(storage.commit(&group(0), offsets(10, 1))).expect("a commit");
        let partitions: Vec<_> = offsets(10, 1).into_iter().map(|(partition, _)| partition).collect();
        let one = TopicPartition::new("topic", 5);
        fetch.bench_function(BenchmarkId::new(name, "one"), |bencher| {
            bencher.to_async(&runtime).iter(|| async { black_box(storage.fetch("group-0", &one).await) });
        });
        fetch.bench_function(BenchmarkId::new(name, "10 at hand"), |bencher| {
            bencher.iter(|| black_box(storage.at_hand("group-0", &partitions)).is_some());
        });
        fetch.bench_function(BenchmarkId::new(name, "all of 10"), |bencher| {
            bencher.to_async(&runtime).iter(|| async { black_box(storage.fetch_all("group-0").await) });
        });
    }
}

fn growth(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut growth = criterion.benchmark_group("growth");
    for groups in [100, 1_000, 10_000] {
        for Backend { name, storage, .. } in
            [Backend::memory(), Backend::disk(&runtime, "disk-os", Durability::Os)].iter()
        {
            let ids: Vec<_> = (0..groups).map(group).collect();
            for id in &ids {
                runtime.block_on(storage.commit(id, offsets(10, 1))).expect("a commit");
            }
            let turn = Cell::new(0);
            let next = || {
                turn.set(turn.get() + 7919);
                ids.get(turn.get() % groups).expect("a group")
            };
            growth.bench_function(BenchmarkId::new(format!("{name}/commit of 10"), groups), |bencher| {
                bencher.to_async(&runtime).iter(|| storage.commit(next(), offsets(10, 1)));
            });
            growth.bench_function(BenchmarkId::new(format!("{name}/fetch all of 10"), groups), |bencher| {
                bencher.to_async(&runtime).iter(|| async { black_box(storage.fetch_all(next()).await) });
            });
        }
    }
}

const SHARDS: u16 = 50;
const CACHE_BYTES: u64 = 64 << 20;
const CONCURRENT: usize = 64;

criterion_group!(benches, commit, fetch, growth);
criterion_main!(benches);
