//! The backends under test, each with what it needs to live.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use tempfile::TempDir;
use tidegate::{
    clock::SystemClock,
    config::{self, Durability, FilerSettings},
    storage::{
        CoordinatorStorage, JournaledStorage, OrderedJournal, StorageError,
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
