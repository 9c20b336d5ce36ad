//! Partition files in the heap, with a cap on all of them together.

use std::{
    collections::{BTreeMap, HashMap},
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use crate::{
    model::TopicPartition,
    storage::{
        StorageError,
        segment::{FileEntry, OpenMode, SegmentFile, SegmentStore},
    },
};

/// The backend for tests and throw-away gateways.
#[derive(Debug)]
pub struct MemorySegments {
    directories: RwLock<HashMap<TopicPartition, BTreeMap<String, Arc<MemoryFile>>>>,
    budget: Arc<Budget>,
}

impl MemorySegments {
    /// Refuses appends once `bytes_max` bytes are held.
    pub fn new(bytes_max: u64) -> Self {
        Self { directories: RwLock::default(), budget: Arc::new(Budget { max: bytes_max, used: AtomicU64::new(0) }) }
    }

    fn file(&self, partition: &TopicPartition, name: &str) -> Option<Arc<MemoryFile>> {
        self.directories.read().get(partition)?.get(name).map(Arc::clone)
    }

    fn empty(&self) -> Arc<MemoryFile> {
        Arc::new(MemoryFile { contents: RwLock::default(), budget: Arc::clone(&self.budget) })
    }
}

impl SegmentStore for MemorySegments {
    fn list(&self, partition: &TopicPartition) -> Result<Vec<FileEntry>, StorageError> {
        let directories = self.directories.read();
        let Some(files) = directories.get(partition) else { return Ok(Vec::new()) };
        let entry =
            |(name, file): (&String, &Arc<MemoryFile>)| FileEntry { name: name.clone(), size_bytes: file.size_bytes() };
        Ok(files.iter().map(entry).collect())
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
        let file = files.entry(name.to_owned()).or_insert_with(|| self.empty());
        let file: Arc<dyn SegmentFile> = Arc::clone(file) as Arc<dyn SegmentFile>;
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
        let file = self.empty();
        file.append(&[IoSlice::new(contents)])?;
        self.directories.write().entry(partition.clone()).or_default().insert(name.to_owned(), file);
        Ok(())
    }

    fn delete(&self, partition: &TopicPartition, name: &str) -> Result<(), StorageError> {
        if let Some(files) = self.directories.write().get_mut(partition) {
            files.remove(name);
        }
        Ok(())
    }

    fn rename(&self, partition: &TopicPartition, from: &str, to: &str) -> Result<Arc<dyn SegmentFile>, StorageError> {
        let mut directories = self.directories.write();
        let files = directories.get_mut(partition);
        let moved = files.and_then(|files| files.remove(from).map(|file| (files, file)));
        let Some((files, file)) = moved else {
            return Err(StorageError::Unavailable(format!("{partition}/{from} is missing")));
        };
        files.insert(to.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn sync_directory(&self, _partition: &TopicPartition) -> Result<(), StorageError> {
        Ok(())
    }

    fn delete_partition(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        let files = self.directories.write().remove(partition);
        drop(files);
        Ok(())
    }

    fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError> {
        Ok(self.directories.read().keys().cloned().collect())
    }

    fn size_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.budget.used.load(Ordering::Relaxed))
    }
}

/// Bytes held, by capacity.
#[derive(Debug)]
struct Budget {
    max: u64,
    used: AtomicU64,
}

impl Budget {
    fn take(&self, bytes: u64) -> Result<(), StorageError> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.max {
            self.give_back(bytes);
            return Err(StorageError::Full(format!("{before} of {} bytes of memory are in use", self.max)));
        }
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A file as a list of chunks: an append never moves what is there, and a read inside one full chunk copies nothing.
#[derive(Debug)]
struct MemoryFile {
    contents: RwLock<Contents>,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Contents {
    /// Full chunks, each with the position at which it begins.
    chunks: Vec<(u64, Bytes)>,
    tail_start: u64,
    tail: Vec<u8>,
    charged: u64,
}

impl Contents {
    fn size_bytes(&self) -> u64 {
        self.tail_start + self.tail.len() as u64
    }

    fn close_tail(&mut self, budget: &Budget) {
        if self.tail.is_empty() {
            return;
        }
        let before = self.tail.capacity();
        self.tail.shrink_to_fit();
        let freed = (before - self.tail.capacity()) as u64;
        budget.give_back(freed);
        self.charged -= freed;
        let start = self.tail_start;
        self.tail_start += self.tail.len() as u64;
        self.chunks.push((start, Bytes::from(std::mem::take(&mut self.tail))));
    }
}

impl SegmentFile for MemoryFile {
    fn size_bytes(&self) -> u64 {
        self.contents.read().size_bytes()
    }

    fn append(&self, parts: &[IoSlice<'_>]) -> Result<u64, StorageError> {
        let needed: usize = parts.iter().map(|part| part.len()).sum();
        let mut contents = self.contents.write();
        let contents = &mut *contents;
        if !contents.tail.is_empty() && contents.tail.len() + needed > CHUNK_BYTES {
            contents.close_tail(&self.budget);
        }
        let capacity = contents.tail.capacity();
        if capacity - contents.tail.len() < needed {
            let wanted = (contents.tail.len() + needed).max((capacity * 2).min(CHUNK_BYTES));
            let more = (wanted - capacity) as u64;
            self.budget.take(more)?;
            contents.charged += more;
            contents.tail.reserve_exact(wanted - contents.tail.len());
        }
        let position = contents.size_bytes();
        for part in parts {
            contents.tail.extend_from_slice(part);
        }
        Ok(position)
    }

    fn read(&self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        let contents = self.contents.read();
        let available = contents.size_bytes().saturating_sub(position);
        let length = usize::try_from(available).unwrap_or(usize::MAX).min(length);
        let slice = |start: u64, bytes: &[u8], taken: usize| -> (usize, usize) {
            let from = usize::try_from(position + taken as u64 - start).unwrap_or(usize::MAX);
            (from, (from + length - taken).min(bytes.len()))
        };
        let first = contents.chunks.partition_point(|(start, bytes)| start + bytes.len() as u64 <= position);
        if let Some((start, bytes)) = contents.chunks.get(first) {
            let (from, to) = slice(*start, bytes, 0);
            if to - from == length {
                return Ok(bytes.slice(from..to));
            }
        }
        let mut out = BytesMut::with_capacity(length);
        for (start, bytes) in contents.chunks.iter().skip(first) {
            if out.len() == length {
                break;
            }
            let (from, to) = slice(*start, bytes, out.len());
            out.extend_from_slice(bytes.get(from..to).unwrap_or_default());
        }
        if out.len() < length {
            let (from, to) = slice(contents.tail_start, &contents.tail, out.len());
            out.extend_from_slice(contents.tail.get(from..to).unwrap_or_default());
        }
        Ok(out.freeze())
    }

    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError> {
        let mut contents = self.contents.write();
        let contents = &mut *contents;
        contents.close_tail(&self.budget);
        while let Some((start, bytes)) = contents.chunks.pop() {
            if start < size_bytes {
                let keep = usize::try_from(size_bytes - start).unwrap_or(usize::MAX);
                contents.chunks.push((start, bytes.slice(..keep.min(bytes.len()))));
                break;
            }
            let freed = bytes.len() as u64;
            self.budget.give_back(freed);
            contents.charged -= freed;
        }
        contents.tail_start = contents.chunks.last().map_or(0, |(start, bytes)| start + bytes.len() as u64);
        Ok(())
    }

    fn seal(&self) {
        self.contents.write().close_tail(&self.budget);
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.budget.give_back(self.contents.get_mut().charged);
    }
}

const CHUNK_BYTES: usize = 64 * 1024;
