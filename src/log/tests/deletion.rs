//! Files that go away while somebody uses them: nobody ever sees those of another topic of the same name.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::support::*;
use crate::{
    config::Durability,
    log::{Isolation, PartitionLog, ReadError},
    model::{TopicId, TopicPartition},
    storage::{
        StorageError,
        disk::DiskSegments,
        segment::{FileEntry, OpenMode, SegmentFile, SegmentStore},
    },
};

/// A store that does something else before it reads or deletes a `.log` file for the first time.
struct Interrupted {
    inner: Arc<dyn SegmentStore>,
    before: Arc<Interruption>,
}

#[derive(Default)]
struct Interruption {
    read: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    delete: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Interruption {
    fn now(of: &Mutex<Option<Box<dyn FnOnce() + Send>>>, name: &str) {
        if name.ends_with(".log")
            && let Some(what) = of.lock().take()
        {
            what();
        }
    }
}

impl SegmentStore for Interrupted {
    fn list(&self, partition: &TopicPartition) -> Result<Vec<FileEntry>, StorageError> {
        self.inner.list(partition)
    }

    fn open(
        &self,
        partition: &TopicPartition,
        name: &str,
        mode: OpenMode,
    ) -> Result<Arc<dyn SegmentFile>, StorageError> {
        let inner = self.inner.open(partition, name, mode)?;
        Ok(Arc::new(InterruptedFile { inner, name: name.to_owned(), before: Arc::clone(&self.before) }))
    }

    fn read_whole(&self, partition: &TopicPartition, name: &str) -> Result<Option<Bytes>, StorageError> {
        self.inner.read_whole(partition, name)
    }

    fn write_whole(
        &self,
        partition: &TopicPartition,
        name: &str,
        contents: &[u8],
        durable: bool,
    ) -> Result<(), StorageError> {
        self.inner.write_whole(partition, name, contents, durable)
    }

    fn delete(&self, partition: &TopicPartition, name: &str) -> Result<(), StorageError> {
        Interruption::now(&self.before.delete, name);
        self.inner.delete(partition, name)
    }

    fn rename(&self, partition: &TopicPartition, from: &str, to: &str) -> Result<Arc<dyn SegmentFile>, StorageError> {
        self.inner.rename(partition, from, to)
    }

    fn sync_directory(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        self.inner.sync_directory(partition)
    }

    fn delete_partition(&self, partition: &TopicPartition) -> Result<(), StorageError> {
        self.inner.delete_partition(partition)
    }

    fn partitions(&self) -> Result<Vec<TopicPartition>, StorageError> {
        self.inner.partitions()
    }

    fn size_bytes(&self) -> Result<u64, StorageError> {
        self.inner.size_bytes()
    }
}

struct InterruptedFile {
    inner: Arc<dyn SegmentFile>,
    name: String,
    before: Arc<Interruption>,
}

impl SegmentFile for InterruptedFile {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn append(&self, parts: &[std::io::IoSlice<'_>]) -> Result<u64, StorageError> {
        self.inner.append(parts)
    }

    fn read(&self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        Interruption::now(&self.before.read, &self.name);
        self.inner.read(position, length)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.inner.sync()
    }

    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError> {
        self.inner.truncate(size_bytes)
    }
}

/// A log on disk whose files are all closed, and what interrupts it.
fn closed_files(directory: &std::path::Path) -> (Bench, Arc<PartitionLog>, Arc<Interruption>) {
    let before = Arc::new(Interruption::default());
    let inner: Arc<dyn SegmentStore> = Arc::new(DiskSegments::open(directory, Durability::Sync, 64).unwrap());
    let mut bench = Bench::over(Arc::new(Interrupted { inner, before: Arc::clone(&before) }));
    bench.config.segment_bytes = 2_000;
    let log = bench.open();
    for _ in 0..30 {
        log.append(batch_of(1, 100), 0).unwrap();
    }
    log.close().unwrap();
    let log = bench.open();
    assert!(log.segment_count() > 2);
    (bench, log, before)
}

/// Deletes the topic and creates it again, with other records, in a thread of its own; waits for that only for a
/// moment.
fn replaces_topic(
    bench: &Bench,
    log: &Arc<PartitionLog>,
) -> (Box<dyn FnOnce() + Send>, mpsc::Receiver<Arc<PartitionLog>>) {
    let (mut bench, log) = (bench.clone(), Arc::clone(log));
    let (tell, told) = mpsc::channel();
    let (tell_done, done) = mpsc::channel();
    let replace = move || {
        log.delete().unwrap();
        bench.topic_id = TopicId::from_u128(8);
        let new = bench.open();
        for _ in 0..30 {
            new.append(batch_of(1, 99), 0).unwrap();
        }
        tell.send(new).unwrap();
        let _ = tell_done.send(());
    };
    let interrupt = move || {
        thread::spawn(replace);
        let _ = done.recv_timeout(Duration::from_millis(300));
    };
    (Box::new(interrupt), told)
}

#[test]
fn a_reader_never_sees_the_records_of_a_new_topic_of_the_same_name() {
    let directory = tempfile::tempdir().unwrap();
    let (bench, log, before) = closed_files(directory.path());
    let (interrupt, told) = replaces_topic(&bench, &log);
    *before.read.lock() = Some(interrupt);
    match log.read(0, 1 << 20, true, Isolation::ReadUncommitted) {
        Ok(read) => {
            let whole = batch_of(1, 100).len();
            assert!(read.records.len().is_multiple_of(whole), "records of the new topic, which are shorter");
        }
        Err(error) => assert!(matches!(error, ReadError::Closed | ReadError::Storage(_)), "{error}"),
    }
    let new = told.recv().unwrap();
    assert!(matches!(log.read(0, 1, true, Isolation::ReadUncommitted), Err(ReadError::Closed)));
    assert_eq!(new.offsets().log_end, 30);
}

#[test]
fn retention_of_a_deleted_topic_spares_the_files_of_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let (mut bench, log, before) = closed_files(directory.path());
    let (interrupt, told) = replaces_topic(&bench, &log);
    *before.delete.lock() = Some(interrupt);
    let _ = log.delete_records(-1);
    drop(told.recv().unwrap());
    bench.topic_id = TopicId::from_u128(8);
    let read = bench.open().read(0, 1, true, Isolation::ReadUncommitted).unwrap();
    assert_eq!(ranges(&read.records), [(0, 0)]);
}

#[test]
fn a_reader_of_a_segment_that_retention_deletes_reads_on_or_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (_, log, before) = closed_files(directory.path());
    let deleting = Arc::clone(&log);
    *before.read.lock() = Some(Box::new(move || {
        deleting.delete_records(20).unwrap();
    }));
    // Its file was closed, and is gone.
    let answer = log.read(0, 1 << 20, true, Isolation::ReadUncommitted);
    assert!(matches!(answer, Err(ReadError::BelowStart { offset: 0, log_start: 20 })), "{answer:?}");
    let read = log.read(20, 1, true, Isolation::ReadUncommitted).unwrap();
    assert_eq!(ranges(&read.records), [(20, 20)]);
}
