//! Partition directories in Kafka's own layout: `<data>/topics/<topic>-<partition>/`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IoSlice, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{
    descriptors::{DescriptorCache, DiskFile},
    files::Files,
    redo::{Limits, RedoLog},
};
use crate::{
    clock::{Clock, SystemClock},
    config::Durability,
    model::TopicPartition,
    storage::{
        StorageError,
        segment::{FileEntry, OpenMode, SegmentFile, SegmentStore, Tail, Volume},
    },
};

/// The default backend of records.
pub struct DiskSegments {
    root: PathBuf,
    descriptors: Arc<DescriptorCache>,
    redo: Arc<RedoLog>,
    boot_id: Option<String>,
    deletions: AtomicU64,
}

impl DiskSegments {
    /// Opens `<data_dir>/topics` and the redo log, creating both durably, and finishes deletions that a crash cut short.
    /// At most about `open_files_max` segments are held open, and besides them those with unsynced writes, whose write
    /// errors would be lost with the descriptor. With `os` durability, where hardly anything is ever synced, the bound
    /// holds for all files.
    pub fn open(data_dir: &Path, durability: Durability, open_files_max: usize) -> Result<Self, StorageError> {
        let (root, redo) = (data_dir.join(TOPICS), data_dir.join(REDO));
        for dir in [&root, &redo] {
            fs::create_dir_all(dir).map_err(|error| failure("create", dir, &error))?;
        }
        // What will be synced in them is only found by their names.
        sync_path(data_dir)?;
        for entry in fs::read_dir(&root).map_err(|error| failure("list", &root, &error))? {
            let entry = entry.map_err(|error| failure("list", &root, &error))?;
            if entry.file_name().to_string_lossy().starts_with(DELETED) {
                remove_all(&entry.path())?;
            }
        }
        let limits = Limits::of(open_files_max);
        let redo = RedoLog::open(redo, root.clone(), Files::default(), limits, system_clock())?;
        let redo = Arc::new(redo);
        let descriptors = Arc::new(DescriptorCache::new(open_files_max, durability == Durability::Sync));
        Ok(Self { root, descriptors, redo, boot_id: boot_id(), deletions: AtomicU64::new(0) })
    }

    /// What is there, for those who only read: creates and removes nothing.
    pub fn read_only(data_dir: &Path) -> Self {
        let descriptors = Arc::new(DescriptorCache::new(READ_ONLY_FILES_MAX, false));
        let root = data_dir.join(TOPICS);
        let redo = Arc::new(RedoLog::unapplied(data_dir.join(REDO), root.clone(), system_clock()));
        Self { root, descriptors, redo, boot_id: boot_id(), deletions: AtomicU64::new(0) }
    }

    /// The directory of a partition, whose name the catalogue has checked; checked again, for a path part must never
    /// leave its directory.
    fn directory(&self, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        let topic = &*partition.topic;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || !topic.bytes().all(is_plain) || partition.partition < 0
        {
            return Err(StorageError::Unavailable(format!("{partition} names no directory")));
        }
        Ok(self.root.join(format!("{topic}-{}", partition.partition)))
    }

    fn path(&self, partition: &TopicPartition, name: &str) -> Result<PathBuf, StorageError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_plain) {
            return Err(StorageError::Unavailable(format!("{name} names no file")));
        }
        Ok(self.directory(partition)?.join(name))
    }
}

impl SegmentStore for DiskSegments {
    fn list(&self, partition: &TopicPartition) -> Result<Vec<FileEntry>, StorageError> {
        let directory = self.directory(partition)?;
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failure("list", &directory, &error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failure("list", &directory, &error))?;
            let metadata = entry.metadata().map_err(|error| failure("look at", &entry.path(), &error))?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(FileEntry { name, size_bytes: metadata.len() });
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn open(
        &self,
        partition: &TopicPartition,
        name: &str,
        mode: OpenMode,
    ) -> Result<Arc<dyn SegmentFile>, StorageError> {
        let path = self.path(partition, name)?;
        let size_bytes = match (fs::metadata(&path), mode) {
            (Ok(metadata), _) => metadata.len(),
            (Err(error), mode) if error.kind() == ErrorKind::NotFound => {
                if !mode.creates() {
                    return Err(StorageError::Corrupt(format!("{} is missing", path.display())));
                }
                create(&path)?;
                0
            }
            (Err(error), _) => return Err(failure("look at", &path, &error)),
        };
        let (descriptors, redo) = (Arc::clone(&self.descriptors), Arc::clone(&self.redo));
        Ok(DiskFile::handle(path, size_bytes, !mode.is_transient(), descriptors, redo))
    }

    fn read_whole(&self, partition: &TopicPartition, name: &str) -> Result<Option<Bytes>, StorageError> {
        let path = self.path(partition, name)?;
        match fs::read(&path) {
            Ok(contents) => Ok(Some(Bytes::from(contents))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure("read", &path, &error)),
        }
    }

    fn write_whole(
        &self,
        partition: &TopicPartition,
        name: &str,
        contents: &[u8],
        durable: bool,
    ) -> Result<(), StorageError> {
        let path = self.path(partition, name)?;
        let temporary = path.with_file_name(format!("{name}{TEMPORARY}"));
        let write = || -> io::Result<()> {
            let mut file = match File::create(&temporary) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    fs::create_dir_all(self.directory(partition).map_err(io::Error::other)?)?;
                    File::create(&temporary)?
                }
                result => result?,
            };
            file.write_all(contents)?;
            if durable {
                file.sync_all()?;
            }
            fs::rename(&temporary, &path)
        };
        if let Err(error) = write() {
            let _ = fs::remove_file(&temporary);
            return Err(failure("write", &path, &error));
        }
        Ok(())
    }

    fn delete(&self, partition: &TopicPartition, name: &str) -> Result<(), StorageError> {
        let path = self.path(partition, name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failure("delete", &path, &error)),
            // Also when it is gone already: the attempt before may have come no further.
            _ => self.redo.revoke(&format!("{partition}/{name}")),
        }
    }

    fn rename(&self, partition: &TopicPartition, from: &str, to: &str) -> Result<Arc<dyn SegmentFile>, StorageError> {
        self.redo.revoke(&format!("{partition}/{to}"))?;
        let (from, to) = (self.path(partition, from)?, self.path(partition, to)?);
        let size_bytes = fs::metadata(&from).map_err(|error| failure("look at", &from, &error))?.len();
        fs::rename(&from, &to).map_err(|error| failure("rename", &from, &error))?;
        Ok(DiskFile::handle(to, size_bytes, true, Arc::clone(&self.descriptors), Arc::clone(&self.redo)))
    }

    fn sync_directory(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        sync_path(&self.directory(partition)?)?;
        sync_path(&self.root)
    }

    fn delete_partition(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        let directory = self.directory(partition)?;
        // First: after a failure the directory is there still, and nobody else can have its name.
        self.redo.revoke(&partition.to_string())?;
        let number = self.deletions.fetch_add(1, Ordering::Relaxed);
        // Out of sight in one step; what a crash leaves of it, the next start removes.
        let doomed = self.root.join(format!("{DELETED}{}-{number}", std::process::id()));
        match fs::rename(&directory, &doomed) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failure("delete", &directory, &error)),
            Ok(()) => {}
        }
        sync_path(&self.root)?;
        remove_all(&doomed)
    }

    fn sync_tails(&self, tails: &[Tail<'_>]) -> Result<(), StorageError> {
        self.redo.append(tails)
    }

    fn settle(&self) -> Result<(), StorageError> {
        self.redo.settle()
    }

    fn damages(&self) -> u64 {
        self.redo.damages()
    }

    fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError> {
        let mut partitions = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(|error| failure("list", &self.root, &error))? {
            let entry = entry.map_err(|error| failure("list", &self.root, &error))?;
            partitions.extend(entry.file_name().to_str().and_then(parse_directory));
        }
        Ok(partitions)
    }

    fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_deref()
    }

    fn volume(&self) -> Option<Volume> {
        let volume = rustix::fs::statvfs(&self.root).ok()?;
        Some(Volume {
            total_bytes: volume.f_blocks.saturating_mul(volume.f_frsize),
            usable_bytes: volume.f_bavail.saturating_mul(volume.f_frsize),
        })
    }

    fn size_bytes(&self) -> Result<u64, StorageError> {
        let mut total = 0;
        for partition in self.partitions()? {
            total += self.list(&partition)?.iter().map(|file| file.size_bytes).sum::<u64>();
        }
        Ok(total)
    }
}

/// The partition that a directory below `topics` holds; none for what is none.
pub(super) fn parse_directory(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition = partition.parse().ok()?;
    (!topic.starts_with(DELETED)).then(|| TopicPartition::new(topic, partition))
}

/// An error of the file system as the kind that tells the log what to do.
pub(super) fn failure(what: &str, path: &Path, error: &io::Error) -> StorageError {
    let message = format!("cannot {what} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StorageError::Full(message),
        _ => StorageError::Unavailable(message),
    }
}

/// Writes all of `parts`, going on after short writes.
pub(super) fn write_all(mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<u64> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut written = loop {
        match file.write_vectored(parts) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    while written < total {
        let mut skip = written;
        for part in parts {
            let Some(rest) = part.get(skip..) else {
                skip -= part.len();
                continue;
            };
            skip = 0;
            file.write_all(rest)?;
            written += rest.len();
        }
    }
    Ok(total as u64)
}

fn create(path: &Path) -> Result<(), StorageError> {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    let result = match (open(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(parent).and_then(|()| open())
        }
        (result, _) => result,
    };
    result.map(drop).map_err(|error| failure("create", path, &error))
}

/// For salts and for the time between attempts, which no test of the store asks about.
fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// Of the kernel that runs; see proc_sys_kernel(5).
fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

fn sync_path(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| failure("sync", path, &error))
}

fn remove_all(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failure("delete", path, &error)),
        _ => Ok(()),
    }
}

pub(super) const REDO: &str = "redo";
pub(super) const TOPICS: &str = "topics";
/// Prefix of directories that are being deleted; no topic name with a partition begins like it and parses.
pub(super) const DELETED: &str = ".deleted-";
const TEMPORARY: &str = ".tmp";
const READ_ONLY_FILES_MAX: usize = 8;
const TOPIC_BYTES_MAX: usize = 249;
