//! A segment store in memory that can lose its power: what was not synced is gone, or there, or there in part, and each
//! change of a directory that was not synced has happened or not, whatever happened to the others.

use std::{collections::BTreeMap, io::IoSlice, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    model::TopicPartition,
    storage::{
        StorageError,
        segment::{FileEntry, OpenMode, SegmentFile, SegmentStore},
    },
};

/// The files of one partition.
#[derive(Clone, Default)]
pub(crate) struct PowerStore {
    disk: Arc<Mutex<Disk>>,
    partition: Arc<Mutex<Option<TopicPartition>>>,
}

#[derive(Clone, Default)]
struct Disk {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Since the directory was synced.
    unsynced: Vec<Change>,
    changes_left: Option<usize>,
}

#[derive(Clone, Default)]
struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone)]
enum Change {
    Put(String, usize),
    Delete(String),
    Rename(String, String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Delete(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl Disk {
    fn change(&mut self) -> Result<(), StorageError> {
        match &mut self.changes_left {
            None => Ok(()),
            Some(0) => Err(StorageError::Unavailable("no power".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn note(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }
}

impl PowerStore {
    /// After so many changes every other fails.
    pub(crate) fn cut_after(&self, changes: usize) {
        self.disk.lock().changes_left = Some(changes);
    }

    /// What a start may find when the power went now.
    pub(crate) fn after_a_cut(&self) -> Self {
        let mut disk = self.disk.lock().clone();
        let mut names = disk.durable_names.clone();
        for change in std::mem::take(&mut disk.unsynced).iter().filter(|_| fastrand::bool()) {
            change.apply(&mut names);
        }
        for file in &mut disk.files {
            let common = file.durable.len().min(file.live.len());
            if file.live[..common] == file.durable[..common] && file.live.len() > common {
                let kept = fastrand::usize(common..=file.live.len());
                file.durable = file.live[..kept].to_vec();
            }
            file.live = file.durable.clone();
        }
        disk.names = names.clone();
        disk.durable_names = names;
        disk.changes_left = None;
        Self { disk: Arc::new(Mutex::new(disk)), partition: Arc::clone(&self.partition) }
    }

    fn file(&self, file: usize) -> Arc<dyn SegmentFile> {
        Arc::new(PowerFile { disk: Arc::clone(&self.disk), file })
    }
}

impl SegmentStore for PowerStore {
    fn list(&self, _partition: &TopicPartition) -> Result<Vec<FileEntry>, StorageError> {
        let disk = self.disk.lock();
        let entry = |(name, file): (&String, &usize)| FileEntry {
            name: name.clone(),
            size_bytes: disk.files[*file].live.len() as u64,
        };
        Ok(disk.names.iter().map(entry).collect())
    }

    fn open(
        &self,
        partition: &TopicPartition,
        name: &str,
        mode: OpenMode,
    ) -> Result<Arc<dyn SegmentFile>, StorageError> {
        *self.partition.lock() = Some(partition.clone());
        let mut disk = self.disk.lock();
        let file = match disk.names.get(name) {
            Some(file) => *file,
            None if mode.creates() => {
                disk.change()?;
                disk.files.push(Contents::default());
                let file = disk.files.len() - 1;
                disk.note(Change::Put(name.to_owned(), file));
                file
            }
            None => return Err(StorageError::Corrupt(format!("{name} is missing"))),
        };
        Ok(self.file(file))
    }

    fn read_whole(&self, _partition: &TopicPartition, name: &str) -> Result<Option<Bytes>, StorageError> {
        let disk = self.disk.lock();
        Ok(disk.names.get(name).map(|file| Bytes::from(disk.files[*file].live.clone())))
    }

    fn write_whole(
        &self,
        _partition: &TopicPartition,
        name: &str,
        contents: &[u8],
        durable: bool,
    ) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let durable = if durable { contents.to_vec() } else { Vec::new() };
        disk.files.push(Contents { live: contents.to_vec(), durable });
        let file = disk.files.len() - 1;
        disk.note(Change::Put(name.to_owned(), file));
        Ok(())
    }

    fn delete(&self, _partition: &TopicPartition, name: &str) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        disk.change()?;
        disk.note(Change::Delete(name.to_owned()));
        Ok(())
    }

    fn rename(&self, _partition: &TopicPartition, from: &str, to: &str) -> Result<Arc<dyn SegmentFile>, StorageError> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let file = *disk.names.get(from).ok_or_else(|| StorageError::Unavailable(format!("{from} is missing")))?;
        disk.note(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(self.file(file))
    }

    fn sync_directory(&self, _partition: &TopicPartition) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        disk.change()?;
        disk.durable_names = disk.names.clone();
        disk.unsynced.clear();
        Ok(())
    }

    fn delete_partition(&self, _partition: &TopicPartition) -> Result<(), StorageError> {
        *self.disk.lock() = Disk::default();
        Ok(())
    }

    fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError> {
        Ok(self.partition.lock().clone().into_iter().collect())
    }

    fn size_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.disk.lock().files.iter().map(|file| file.live.len() as u64).sum())
    }
}

struct PowerFile {
    disk: Arc<Mutex<Disk>>,
    file: usize,
}

impl SegmentFile for PowerFile {
    fn size_bytes(&self) -> u64 {
        self.disk.lock().files[self.file].live.len() as u64
    }

    fn append(&self, parts: &[IoSlice<'_>]) -> Result<u64, StorageError> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let live = &mut disk.files[self.file].live;
        let position = live.len() as u64;
        parts.iter().for_each(|part| live.extend_from_slice(part));
        Ok(position)
    }

    fn read(&self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        let disk = self.disk.lock();
        let live = &disk.files[self.file].live;
        let from = usize::try_from(position).unwrap().min(live.len());
        Ok(Bytes::copy_from_slice(&live[from..from.saturating_add(length).min(live.len())]))
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let file = &mut disk.files[self.file];
        file.durable = file.live.clone();
        Ok(())
    }

    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let file = &mut disk.files[self.file];
        file.live.truncate(usize::try_from(size_bytes).unwrap());
        file.durable = file.live.clone();
        Ok(())
    }
}
