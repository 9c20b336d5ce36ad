//! Partition files on the filer.
//!
//! ```text
//! append → memory ─ sync → journal (with everything else that waits) ─ in the background → topics/{topic}/{partition}/…
//!                 └ sync of 128 KiB and more → topics/{topic}/{partition}/… → journal (that it is there)
//! ```
//!
//! What the journal has of a file, it has as keyed records: one that says what the file is called and which objects it is
//! made of, and one for each stretch of bytes that is in no object yet ([`manifest`]). So creating, renaming, cutting and
//! removing files is an append like any other, in the same order as the bytes, and a file moves from the journal into an
//! object by a single one. An object that nothing durable names is removed, by the next start if need be.

mod cache;
mod file;
mod manifest;
mod objects;
mod shared;
mod upload;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::Notify;

use self::{file::FilerFile, manifest::FILES, objects::Objects, shared::Shared};
use super::{client::FilerClient, journal::FilerJournal, names, runtime::FilerRuntime};
use crate::{
    config::FilerSettings,
    model::TopicPartition,
    storage::{
        JournalRecord, StorageError,
        segment::{FileEntry, OpenMode, SegmentFile, SegmentStore, Tail},
    },
};

/// The segment store of the filer backend.
pub struct FilerSegments {
    directories: Arc<Directories>,
    shared: Arc<Shared>,
    next_id: AtomicU64,
}

type Directories = RwLock<HashMap<TopicPartition, BTreeMap<String, Arc<FilerFile>>>>;

impl FilerSegments {
    /// The files that the journal has. Objects that none of them names are removed in the background.
    pub(super) fn open(
        settings: &FilerSettings,
        client: Arc<FilerClient>,
        runtime: Arc<FilerRuntime>,
        journal: &FilerJournal,
    ) -> Result<Self, StorageError> {
        let engine = Arc::clone(journal.engine());
        let epoch = engine.epoch();
        let shared = Arc::new(Shared {
            objects: Objects::new(Arc::clone(&client), Arc::clone(&runtime), settings.cache_bytes_max),
            next_number: AtomicU64::new(1),
            held_bytes: AtomicU64::new(0),
            held_bytes_max: settings.tail_bytes_max,
            grown: Notify::new(),
            shrunk: Condvar::new(),
            shrinking: Mutex::new(()),
            patience: settings.timeout,
            engine,
        });
        let stored = manifest::files(shared.engine.replay(FILES)?)?;
        let mut directories: HashMap<TopicPartition, BTreeMap<String, Arc<FilerFile>>> = HashMap::new();
        let mut referenced = std::collections::HashSet::new();
        let mut last_id = 0;
        for (id, stored) in stored {
            last_id = id;
            let Some(record) = stored.record.clone() else {
                return Err(StorageError::Corrupt(format!("file {id} in the journal has bytes and no name")));
            };
            referenced.extend(record.extents.iter().map(|(path, ..)| path.clone()));
            referenced.extend(stored.objects.values().map(|(path, _)| path.clone()));
            let file = FilerFile::stored(&shared, id, stored)?;
            directories.entry(record.partition).or_default().insert(record.name, file);
        }
        let directories = Arc::new(RwLock::new(directories));
        let handle = runtime.handle();
        handle.spawn(upload::run(Arc::downgrade(&directories), Arc::clone(&shared)));
        handle.spawn(upload::remove_unreferenced(client, referenced, epoch));
        Ok(Self { directories, shared, next_id: AtomicU64::new(last_id + 1) })
    }

    /// Bytes of all files that are in no object yet.
    pub(in crate::storage) fn held_bytes(&self) -> u64 {
        self.shared.held_bytes.load(Ordering::Relaxed)
    }

    fn file(&self, partition: &TopicPartition, name: &str) -> Option<Arc<FilerFile>> {
        self.directories.read().get(partition)?.get(name).map(Arc::clone)
    }

    fn new_file(&self, partition: &TopicPartition, name: &str) -> Arc<FilerFile> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        FilerFile::new(&self.shared, id, partition.clone(), name.to_owned())
    }

    /// Logs `records` and that `files` lose their names, in one. Call it with the directories locked.
    fn log_with_removal(
        &self,
        files: Vec<Arc<FilerFile>>,
        mut records: Vec<JournalRecord>,
        log: impl FnOnce(Vec<JournalRecord>, Box<dyn FnOnce(bool) + Send>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut objects = Vec::new();
        for file in &files {
            let (forgotten, freed) = file.begin_removal();
            records.extend(forgotten);
            objects.extend(freed);
        }
        let then = Box::new(move |is_durable| {
            if is_durable {
                objects.iter().for_each(|object| object.doom());
            }
        });
        log(records, then).inspect_err(|_| files.iter().for_each(|file| file.undo_removal()))
    }

    fn remove(&self, files: Vec<Arc<FilerFile>>, records: Vec<JournalRecord>) -> Result<(), StorageError> {
        self.log_with_removal(files, records, |records, then| self.shared.log(records, then).map(drop))
    }
}

impl SegmentStore for FilerSegments {
    fn list(&self, partition: &TopicPartition) -> Result<Vec<FileEntry>, StorageError> {
        let directories = self.directories.read();
        let files = directories.get(partition).into_iter().flatten();
        Ok(files.map(|(name, file)| FileEntry { name: name.clone(), size_bytes: file.size_bytes() }).collect())
    }

    fn open(
        &self,
        partition: &TopicPartition,
        name: &str,
        mode: OpenMode,
    ) -> Result<Arc<dyn SegmentFile>, StorageError> {
        if let Some(file) = self.file(partition, name) {
            return Ok(file);
        }
        if !mode.creates() {
            return Err(StorageError::Corrupt(format!("{partition}/{name} is missing")));
        }
        let mut directories = self.directories.write();
        let files = directories.entry(partition.clone()).or_default();
        if let Some(file) = files.get(name) {
            return Ok(Arc::clone(file) as Arc<dyn SegmentFile>);
        }
        let file = self.new_file(partition, name);
        self.shared.log(vec![file.created()], |_| ())?;
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn read_whole(&self, partition: &TopicPartition, name: &str) -> Result<Option<Bytes>, StorageError> {
        self.file(partition, name).map(|file| file.read(0, usize::MAX)).transpose()
    }

    fn write_whole(
        &self,
        partition: &TopicPartition,
        name: &str,
        contents: &[u8],
        _durable: bool,
    ) -> Result<(), StorageError> {
        let file = self.new_file(partition, name);
        let records = std::iter::once(file.created()).chain(file.fill(Bytes::copy_from_slice(contents))).collect();
        let mut directories = self.directories.write();
        let files = directories.entry(partition.clone()).or_default();
        let old: Vec<_> = files.get(name).map(Arc::clone).into_iter().collect();
        self.remove(old, records)?;
        files.insert(name.to_owned(), Arc::clone(&file));
        drop(directories);
        // What comes behind it in the journal tells when it is there.
        self.shared.log(Vec::new(), move |is_durable| file.written(is_durable)).map(drop)
    }

    fn delete(&self, partition: &TopicPartition, name: &str) -> Result<(), StorageError> {
        let mut directories = self.directories.write();
        let Some(files) = directories.get_mut(partition) else { return Ok(()) };
        let Some(file) = files.get(name).map(Arc::clone) else { return Ok(()) };
        self.remove(vec![file], Vec::new())?;
        files.remove(name);
        Ok(())
    }

    fn rename(&self, partition: &TopicPartition, from: &str, to: &str) -> Result<Arc<dyn SegmentFile>, StorageError> {
        let mut directories = self.directories.write();
        let files = directories.get_mut(partition);
        let Some((files, file)) = files.and_then(|files| files.get(from).map(Arc::clone).map(|file| (files, file)))
        else {
            return Err(StorageError::Unavailable(format!("{partition}/{from} is missing")));
        };
        let replaced: Vec<_> = files.get(to).map(Arc::clone).into_iter().collect();
        self.log_with_removal(replaced, Vec::new(), |records, then| file.rename(to, records, then))?;
        files.remove(from);
        files.insert(to.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn sync_directory(&self, _partition: &TopicPartition) -> Result<(), StorageError> {
        self.shared.settle()
    }

    fn delete_partition(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        let mut directories = self.directories.write();
        let Some(files) = directories.get(partition) else { return Ok(()) };
        let doomed: Vec<_> = files.values().map(Arc::clone).collect();
        self.remove(doomed, Vec::new())?;
        directories.remove(partition);
        Ok(())
    }

    fn sync_tails(&self, tails: &[Tail<'_>]) -> Result<(), StorageError> {
        let directories = self.directories.read();
        let named = tails.iter().map(|tail| directories.get(tail.partition).and_then(|files| files.get(tail.name)));
        let files: Option<Vec<_>> = named.map(|file| file.map(Arc::clone)).collect();
        drop(directories);
        match files {
            Some(files) => file::sync_files(&self.shared, files.iter().map(|file| &**file).collect()),
            // A file without a name has a handle all the same.
            None => tails.iter().try_for_each(|tail| tail.file.sync()),
        }
    }

    fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError> {
        let directories = self.directories.read();
        Ok(directories.iter().filter(|(_, files)| !files.is_empty()).map(|(partition, _)| partition.clone()).collect())
    }

    fn size_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.directories.read().values().flatten().map(|(_, file)| file.size_bytes()).sum())
    }
}

/// Where a partition's objects are, below the filer's folder.
fn folder_of(partition: &TopicPartition) -> String {
    format!("topics/{}/{}", names::encode(&partition.topic), partition.partition)
}
