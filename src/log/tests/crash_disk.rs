//! A disk in the heap that loses what was not synced, and at which any one operation can fail.

use std::{
    collections::{BTreeMap, HashMap},
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    model::TopicPartition,
    storage::{
        StorageError,
        segment::{FileEntry, OpenMode, SegmentFile, SegmentStore},
    },
};

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done.
    Fails,
    /// It is not done, for want of room.
    Full,
    /// It is done, a write in half, and an error reported.
    FailsLate,
    /// The power goes: neither this nor anything after it is done.
    Crashes,
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Nothing,
    /// The process was killed, and the machine went on.
    Everything,
    /// Sizes and half of each unsynced part; zeros behind it.
    Halves,
}

/// The disk of one partition. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct CrashDisk {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    /// The directory as processes see it, and as the disk has it.
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    files: HashMap<u64, File>,
    next_file: u64,
    operations: Vec<String>,
    faults: Vec<(usize, Fault)>,
    is_off: bool,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    /// What the disk has.
    synced: Vec<u8>,
    /// Bytes from here to there were lost by a failed sync: the next one says nothing of them.
    lost: Option<(usize, usize)>,
}

/// How an operation may end.
enum Fate {
    Done,
    Late(StorageError),
}

impl CrashDisk {
    /// The operation with this number, counted from 0, goes wrong.
    pub(crate) fn plan(&self, at: usize, fault: Fault) {
        self.disk.lock().faults.push((at, fault));
    }

    /// What was done to the disk so far.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.disk.lock().operations.clone()
    }

    /// The disk after a restart: a new one, so that nothing of the process before reaches it.
    pub(crate) fn after(&self, cut: Cut) -> Self {
        let disk = self.disk.lock();
        let names = if cut == Cut::Nothing { &disk.synced_names } else { &disk.names };
        let files = names.values().map(|id| {
            let file = disk.files.get(id).cloned().unwrap_or_default();
            let mut bytes = if cut == Cut::Nothing { file.synced.clone() } else { file.bytes.clone() };
            if cut == Cut::Halves && bytes.len() > file.synced.len() {
                let kept = file.synced.len() + (bytes.len() - file.synced.len()) / 2;
                bytes[kept..].fill(0);
            }
            (*id, File { synced: bytes.clone(), bytes, lost: None })
        });
        let files = files.collect();
        let after = Disk {
            names: names.clone(),
            synced_names: names.clone(),
            files,
            next_file: disk.next_file,
            ..Disk::default()
        };
        Self { disk: Arc::new(Mutex::new(after)) }
    }
}

impl Disk {
    /// Counts an operation and says how it ends.
    fn begin(&mut self, what: &str, name: &str) -> Result<Fate, StorageError> {
        let number = self.operations.len();
        self.operations.push(format!("{what} {name}"));
        let error = || StorageError::Unavailable(format!("injected: {what} {name}"));
        if self.is_off {
            return Err(error());
        }
        match self.faults.iter().find(|(at, _)| *at == number) {
            None => Ok(Fate::Done),
            Some((_, Fault::Fails)) => Err(error()),
            Some((_, Fault::Full)) => Err(StorageError::Full(format!("injected: {what} {name}"))),
            Some((_, Fault::FailsLate)) => Ok(Fate::Late(error())),
            Some((_, Fault::Crashes)) => {
                self.is_off = true;
                Err(error())
            }
        }
    }

    fn add(&mut self, name: &str, file: File) -> u64 {
        self.next_file += 1;
        self.files.insert(self.next_file, file);
        self.names.insert(name.to_owned(), self.next_file);
        self.next_file
    }
}

impl Fate {
    fn end(self) -> Result<(), StorageError> {
        match self {
            Self::Done => Ok(()),
            Self::Late(error) => Err(error),
        }
    }
}

impl SegmentStore for CrashDisk {
    fn list(&self, _: &TopicPartition) -> Result<Vec<FileEntry>, StorageError> {
        let disk = self.disk.lock();
        let entry = |(name, id): (&String, &u64)| FileEntry {
            name: name.clone(),
            size_bytes: disk.files.get(id).map_or(0, |file| file.bytes.len() as u64),
        };
        Ok(disk.names.iter().map(entry).collect())
    }

    fn open(&self, _: &TopicPartition, name: &str, mode: OpenMode) -> Result<Arc<dyn SegmentFile>, StorageError> {
        let mut disk = self.disk.lock();
        let id = match disk.names.get(name) {
            Some(id) => *id,
            None if !mode.creates() => return Err(StorageError::Corrupt(format!("{name} is missing"))),
            None => {
                let fate = disk.begin("create", name)?;
                let id = disk.add(name, File::default());
                fate.end()?;
                id
            }
        };
        let refuses = AtomicBool::new(false);
        Ok(Arc::new(CrashFile { disk: self.clone(), name: name.to_owned(), id, refuses, sync_failed: false.into() }))
    }

    fn read_whole(&self, _: &TopicPartition, name: &str) -> Result<Option<Bytes>, StorageError> {
        let disk = self.disk.lock();
        let file = disk.names.get(name).and_then(|id| disk.files.get(id));
        Ok(file.map(|file| Bytes::copy_from_slice(&file.bytes)))
    }

    fn write_whole(&self, _: &TopicPartition, name: &str, contents: &[u8], durable: bool) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        disk.begin("write", name)?.end()?;
        let synced = if durable { contents.to_vec() } else { Vec::new() };
        let fate = disk.begin("rename to", name)?;
        disk.add(name, File { bytes: contents.to_vec(), synced, lost: None });
        fate.end()
    }

    fn delete(&self, _: &TopicPartition, name: &str) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        if disk.names.contains_key(name) {
            let fate = disk.begin("delete", name)?;
            disk.names.remove(name);
            fate.end()?;
        }
        Ok(())
    }

    fn rename(&self, _: &TopicPartition, from: &str, to: &str) -> Result<Arc<dyn SegmentFile>, StorageError> {
        let mut disk = self.disk.lock();
        let fate = disk.begin("rename to", to)?;
        let missing = || StorageError::Corrupt(format!("{from} is missing"));
        let id = disk.names.remove(from).ok_or_else(missing)?;
        disk.names.insert(to.to_owned(), id);
        fate.end()?;
        Ok(Arc::new(CrashFile {
            disk: self.clone(),
            name: to.to_owned(),
            id,
            refuses: false.into(),
            sync_failed: false.into(),
        }))
    }

    fn sync_directory(&self, _: &TopicPartition) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        let fate = disk.begin("sync", "directory")?;
        disk.synced_names = disk.names.clone();
        fate.end()
    }

    fn delete_partition(&self, _: &TopicPartition) -> Result<(), StorageError> {
        let mut disk = self.disk.lock();
        disk.begin("delete", "directory")?.end()?;
        disk.names.clear();
        disk.synced_names.clear();
        Ok(())
    }

    fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError> {
        Ok(Vec::new())
    }

    fn size_bytes(&self) -> Result<u64, StorageError> {
        Ok(0)
    }
}

struct CrashFile {
    disk: CrashDisk,
    name: String,
    id: u64,
    refuses: AtomicBool,
    sync_failed: AtomicBool,
}

impl CrashFile {
    fn check(&self, refusal: &AtomicBool) -> Result<(), StorageError> {
        match refusal.load(Ordering::SeqCst) {
            true => Err(StorageError::Unavailable(format!("{} awaits repair", self.name))),
            false => Ok(()),
        }
    }
}

impl SegmentFile for CrashFile {
    fn size_bytes(&self) -> u64 {
        self.disk.disk.lock().files.get(&self.id).map_or(0, |file| file.bytes.len() as u64)
    }

    fn append(&self, parts: &[IoSlice<'_>]) -> Result<u64, StorageError> {
        self.check(&self.refuses)?;
        let mut disk = self.disk.disk.lock();
        let fate = disk.begin("append to", &self.name)?;
        let file = disk.files.entry(self.id).or_default();
        let position = file.bytes.len() as u64;
        let written: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if let Fate::Late(error) = fate {
            file.bytes.extend_from_slice(&written[..written.len() / 2]);
            self.refuses.store(true, Ordering::SeqCst);
            return Err(error);
        }
        file.bytes.extend_from_slice(&written);
        Ok(position)
    }

    fn read(&self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        let disk = self.disk.disk.lock();
        let bytes = disk.files.get(&self.id).map(|file| &file.bytes[..]).unwrap_or_default();
        let from = usize::try_from(position).unwrap().min(bytes.len());
        let to = from.saturating_add(length).min(bytes.len());
        Ok(Bytes::copy_from_slice(&bytes[from..to]))
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.check(&self.sync_failed)?;
        let mut disk = self.disk.disk.lock();
        let fate = disk.begin("sync", &self.name).and_then(Fate::end);
        let file = disk.files.entry(self.id).or_default();
        if fate.is_err() {
            // The kernel takes the pages for clean after it has told of the error.
            file.lost = Some((file.synced.len(), file.bytes.len()));
            self.refuses.store(true, Ordering::SeqCst);
            self.sync_failed.store(true, Ordering::SeqCst);
            return fate;
        }
        file.synced = file.bytes.clone();
        if let Some((from, to)) = file.lost {
            file.synced[from..to].fill(0);
        }
        Ok(())
    }

    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError> {
        let mut disk = self.disk.disk.lock();
        let fate = disk.begin("truncate", &self.name)?;
        let file = disk.files.entry(self.id).or_default();
        let size = usize::try_from(size_bytes).unwrap();
        file.bytes.truncate(size);
        file.lost = file.lost.map(|(from, to)| (from.min(size), to.min(size))).filter(|(from, to)| from < to);
        file.synced = file.bytes.clone();
        if let Some((from, to)) = file.lost {
            file.synced[from..to].fill(0);
        }
        if let Fate::Late(error) = fate {
            self.refuses.store(true, Ordering::SeqCst);
            return Err(error);
        }
        self.refuses.store(false, Ordering::SeqCst);
        self.sync_failed.store(false, Ordering::SeqCst);
        Ok(())
    }
}
