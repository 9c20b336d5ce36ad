//! The backends under test, each with what it needs to live.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tempfile::TempDir;
use tidegate::{
    clock::SystemClock,
    config::{self, Durability, FilerSettings},
    model::{GroupId, GroupMetadata, OffsetMetadata, TopicPartition},
    storage::{
        CachedStorage, CoordinatorRecord, CoordinatorStorage, GroupStorage, JournaledStorage, OffsetStorage,
        OrderedJournal, ShardId, StorageError, StorageSize,
        disk::{DiskJournal, JournalOptions},
        filer::{FilerBackend, FilerClient},
        memory::{MemoryJournal, MemoryStorage},
    },
};

use crate::seaweed::Seaweed;

/// As many coordinator shards as the gateway has by default.
pub const SHARDS: u16 = 50;

/// Hands out a storage; a later call gives what a restart finds.
#[async_trait]
pub trait Backend: Send + Sync {
    async fn open(&self) -> Arc<dyn CoordinatorStorage>;
}

/// Hands out a journal; a later call gives what a restart finds.
pub trait JournalBackend: Send + Sync {
    fn open_journal(&self) -> Arc<dyn OrderedJournal>;
}

pub struct InMemory(Arc<MemoryStorage>);

impl InMemory {
    pub fn new() -> Self {
        Self(Arc::new(MemoryStorage::new()))
    }
}

#[async_trait]
impl Backend for InMemory {
    async fn open(&self) -> Arc<dyn CoordinatorStorage> {
        self.0.clone()
    }
}

pub struct MemoryJournaled(Arc<MemoryJournal>);

impl MemoryJournaled {
    pub fn new() -> Self {
        Self(Arc::new(MemoryJournal::new()))
    }
}

impl JournalBackend for MemoryJournaled {
    fn open_journal(&self) -> Arc<dyn OrderedJournal> {
        self.0.clone()
    }
}

#[async_trait]
impl Backend for MemoryJournaled {
    async fn open(&self) -> Arc<dyn CoordinatorStorage> {
        Arc::new(JournaledStorage::open(self.open_journal(), SHARDS).await.unwrap())
    }
}

/// A journal in a directory of its own, compacted often.
pub struct Disk {
    dir: TempDir,
    durability: Durability,
}

impl Disk {
    pub fn new(durability: Durability) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), durability }
    }

    fn journal(&self, dir: &Path) -> Arc<DiskJournal> {
        let options = JournalOptions { compact_bytes_min: 100_000, ..JournalOptions::new(self.durability) };
        Arc::new(DiskJournal::open(dir, options, Arc::new(SystemClock::new())).unwrap())
    }
}

impl JournalBackend for Disk {
    fn open_journal(&self) -> Arc<dyn OrderedJournal> {
        self.journal(self.dir.path())
    }
}

#[async_trait]
impl Backend for Disk {
    async fn open(&self) -> Arc<dyn CoordinatorStorage> {
        Arc::new(JournaledStorage::open(self.open_journal(), SHARDS).await.unwrap())
    }
}

/// Another backend behind the cache. The cache is small, so that groups are evicted all the time.
pub struct Cached<B> {
    backend: B,
    bytes_max: u64,
}

impl<B> Cached<B> {
    pub fn new(backend: B, bytes_max: u64) -> Self {
        Self { backend, bytes_max }
    }
}

#[async_trait]
impl<B: Backend> Backend for Cached<B> {
    async fn open(&self) -> Arc<dyn CoordinatorStorage> {
        Arc::new(CachedStorage::new(self.backend.open().await, SHARDS, self.bytes_max))
    }
}

/// A backend as far away as a filer: an answer is on its way for a while, and so is a request.
pub struct FarAway<B>(pub B);

#[async_trait]
impl<B: Backend> Backend for FarAway<B> {
    async fn open(&self) -> Arc<dyn CoordinatorStorage> {
        Arc::new(Distant(self.0.open().await))
    }
}

struct Distant(Arc<dyn CoordinatorStorage>);

/// Mostly the next task's turn, now and then long enough for whole requests of others.
async fn travel() {
    match fastrand::u8(..) {
        0..16 => tokio::time::sleep(Duration::from_micros(fastrand::u64(100..2000))).await,
        16..200 => tokio::task::yield_now().await,
        _ => {}
    }
}

macro_rules! travelling {
    ($call:expr) => {{
        travel().await;
        let answer = $call.await;
        travel().await;
        answer
    }};
}

#[async_trait]
impl OffsetStorage for Distant {
    async fn commit(&self, id: &GroupId, all: Vec<(TopicPartition, OffsetMetadata)>) -> Result<(), StorageError> {
        travelling!(self.0.commit(id, all))
    }

    async fn fetch(&self, id: &str, partition: &TopicPartition) -> Result<Option<OffsetMetadata>, StorageError> {
        travelling!(self.0.fetch(id, partition))
    }

    async fn fetch_all(&self, id: &str) -> Result<Vec<(TopicPartition, OffsetMetadata)>, StorageError> {
        travelling!(self.0.fetch_all(id))
    }

    async fn delete(&self, id: &GroupId, partitions: &[TopicPartition]) -> Result<(), StorageError> {
        travelling!(OffsetStorage::delete(&*self.0, id, partitions))
    }

    async fn delete_group(&self, id: &GroupId) -> Result<(), StorageError> {
        travelling!(self.0.delete_group(id))
    }

    async fn list_groups(&self) -> Result<Vec<GroupId>, StorageError> {
        self.0.list_groups().await
    }
}

#[async_trait]
impl GroupStorage for Distant {
    async fn save(&self, group: &GroupMetadata) -> Result<(), StorageError> {
        travelling!(self.0.save(group))
    }

    async fn get(&self, id: &str) -> Result<Option<GroupMetadata>, StorageError> {
        travelling!(self.0.get(id))
    }

    async fn delete(&self, id: &GroupId) -> Result<(), StorageError> {
        travelling!(GroupStorage::delete(&*self.0, id))
    }

    async fn list(&self) -> Result<Vec<GroupMetadata>, StorageError> {
        self.0.list().await
    }
}

#[async_trait]
impl CoordinatorStorage for Distant {
    async fn append(&self, shard: ShardId, records: Vec<CoordinatorRecord>) -> Result<(), StorageError> {
        travelling!(self.0.append(shard, records))
    }

    async fn reload(&self, shard: ShardId) -> Result<(), StorageError> {
        travelling!(self.0.reload(shard))
    }

    fn size(&self) -> StorageSize {
        self.0.size()
    }
}

/// A folder of its own on a real filer.
pub struct Filer(FilerSettings);

impl Filer {
    pub fn new() -> Self {
        Self::at(&Seaweed::shared().url())
    }

    pub fn at(url: &str) -> Self {
        let flags = [
            ("filer.url", url.to_owned()),
            ("filer.path", Seaweed::folder()),
            ("filer.lease.ms", "500".to_owned()),
            ("filer.timeout.ms", "2000".to_owned()),
        ];
        Self(config::parse(None, [], &flags).unwrap().filer)
    }

    pub async fn backend(&self) -> FilerBackend {
        self.try_backend().await.unwrap()
    }

    pub async fn try_backend(&self) -> Result<FilerBackend, StorageError> {
        FilerBackend::open(&self.0, Arc::new(SystemClock::new())).await
    }

    /// A start that can run beside others.
    pub fn starting(&self) -> impl Future<Output = Result<FilerBackend, StorageError>> + Send + 'static {
        let settings = self.0.clone();
        async move { FilerBackend::open(&settings, Arc::new(SystemClock::new())).await }
    }

    /// What anybody reads below the folder.
    pub fn get(&self, path: &str) -> Option<String> {
        let client = self.client();
        let found = block_on(async { client.get(path, 1 << 20).await }).unwrap();
        found.map(|found| String::from_utf8(found.bytes.to_vec()).unwrap())
    }

    pub fn put(&self, path: &str, contents: &str) {
        let client = self.client();
        block_on(async { client.put(path, contents.to_owned().into(), None).await }).unwrap();
    }

    pub fn delete(&self, path: &str) {
        let client = self.client();
        block_on(async { client.delete(path).await }).unwrap();
    }

    pub fn list(&self, path: &str) -> Vec<String> {
        let client = self.client();
        block_on(async { client.list(path, "").await }).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    fn client(&self) -> FilerClient {
        FilerClient::new(&self.0, Arc::new(SystemClock::new())).unwrap()
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

impl JournalBackend for Filer {
    fn open_journal(&self) -> Arc<dyn OrderedJournal> {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.backend())).journal
    }
}

#[async_trait]
impl Backend for Filer {
    async fn open(&self) -> Arc<dyn CoordinatorStorage> {
        let journal = self.backend().await.journal;
        Arc::new(JournaledStorage::open(journal, SHARDS).await.unwrap())
    }
}
