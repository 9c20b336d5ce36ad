//! Commit and fetch of offsets: memory against disk with `os` and with `sync` durability.
//!
//! `commit/…/concurrent` is 64 groups that commit at once, as many clients do: it shows shared syncs.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run says so and ends")]

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tidegate::{
    clock::SystemClock,
    config::Durability,
    model::{GroupId, OffsetMetadata, TopicPartition},
    storage::{
        CachedStorage, CoordinatorStorage, JournaledStorage,
        disk::{DiskJournal, JournalOptions},
        memory::MemoryStorage,
    },
};
use tokio::runtime::Runtime;

fn offsets(partitions: i32, offset: i64) -> Vec<(TopicPartition, OffsetMetadata)> {
    let topic: Arc<str> = "topic".into();
    (0..partitions)
        .map(|number| (TopicPartition::new(Arc::clone(&topic), number), OffsetMetadata::at(offset)))
        .collect()
}

fn group(number: usize) -> GroupId {
    format!("group-{number}").into()
}

/// Backends by name; a directory lives as long as its journal.
fn backends(runtime: &Runtime) -> Vec<(&'static str, Arc<dyn CoordinatorStorage>, Option<TempDir>)> {
    let mut backends: Vec<(_, Arc<dyn CoordinatorStorage>, _)> = vec![("memory", Arc::new(MemoryStorage::new()), None)];
    for (name, durability) in [("disk-os", Durability::Os), ("disk-sync", Durability::Sync)] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(SystemClock::new());
        let journal = DiskJournal::open(dir.path(), JournalOptions::new(durability), clock).expect("a journal");
        let storage = runtime.block_on(JournaledStorage::open(Arc::new(journal), 50)).expect("an empty storage");
        backends.push((name, Arc::new(storage), Some(dir)));
    }
    for (at, name) in [(0, "memory-cached"), (1, "disk-os-cached")] {
        let Some((_, backend, _)) = backends.get(at) else { continue };
        let cached: Arc<dyn CoordinatorStorage> = Arc::new(CachedStorage::new(Arc::clone(backend), 50, 64 << 20));
        backends.push((name, cached, None));
    }
    backends
}

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let backends = backends(&runtime);
    let mut commit = criterion.benchmark_group("commit");
    for (name, storage, _) in &backends {
        for partitions in [1, 10] {
            commit.throughput(Throughput::Elements(1));
            commit.bench_function(BenchmarkId::new(*name, partitions), |bencher| {
                let group = group(0);
                bencher.to_async(&runtime).iter(|| storage.commit(&group, offsets(partitions, 1)));
            });
        }
        commit.throughput(Throughput::Elements(CONCURRENT as u64));
        commit.bench_function(BenchmarkId::new(*name, "10/concurrent"), |bencher| {
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
    commit.finish();
    let mut fetch = criterion.benchmark_group("fetch");
    for (name, storage, _) in &backends {
        runtime.block_on(storage.commit(&group(0), offsets(10, 1))).expect("a commit");
        let partition = TopicPartition::new("topic", 5);
        fetch.bench_function(BenchmarkId::new(*name, "one"), |bencher| {
            bencher.to_async(&runtime).iter(|| async { black_box(storage.fetch("group-0", &partition).await) });
        });
        fetch.bench_function(BenchmarkId::new(*name, "all of 10"), |bencher| {
            bencher.to_async(&runtime).iter(|| async { black_box(storage.fetch_all("group-0").await) });
        });
    }
    fetch.finish();
}

const CONCURRENT: usize = 64;

criterion_group!(benches, bench);
criterion_main!(benches);
