use std::{
    fs, io,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    config::Durability,
    model::TopicPartition,
    storage::{
        disk::{DiskSegments, files::FileOp},
        segment::{OpenMode, SegmentStore},
    },
};

/// Files of a topic, whose ends go through a redo log.
struct Bench {
    dir: tempfile::TempDir,
    segments: DiskSegments,
    files: Vec<(TopicPartition, Arc<dyn SegmentFile>)>,
    /// What each file must hold, whatever happens.
    acknowledged: Vec<Vec<u8>>,
}

const NAME: &str = "0.log";

impl Bench {
    fn new(count: i32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Its own redo log lies elsewhere and stays empty.
        let segments = DiskSegments::open(dir.path(), Durability::Sync, 64).unwrap();
        let files = (0..count)
            .map(|index| TopicPartition::new("t", index))
            .map(|partition| {
                let file = segments.open(&partition, NAME, OpenMode::Create).unwrap();
                (partition, file)
            })
            .collect();
        let acknowledged = (0..count).map(|_| Vec::new()).collect();
        Self { dir, segments, files, acknowledged }
    }

    fn redo(&self, files: Files) -> Result<RedoLog, StorageError> {
        RedoLog::open(self.dir.path().join("tested"), self.dir.path().join("topics"), files)
    }

    /// Appends `bytes` to each file and makes them durable together; cuts them off again when that fails.
    fn append(&mut self, redo: &RedoLog, bytes: &[u8]) -> Result<(), StorageError> {
        let tails: Vec<_> = self
            .files
            .iter()
            .map(|(partition, file)| {
                let from = file.append(&[io::IoSlice::new(bytes)]).unwrap();
                Tail { partition, name: NAME, file, from, to: from + bytes.len() as u64 }
            })
            .collect();
        let result = redo.append(&tails);
        for ((_, file), acknowledged) in self.files.iter().zip(&mut self.acknowledged) {
            match &result {
                Ok(()) => acknowledged.extend_from_slice(bytes),
                Err(_) => file.truncate(acknowledged.len() as u64).unwrap(),
            }
        }
        result
    }

    fn path(&self, index: usize) -> PathBuf {
        self.dir.path().join("topics").join(self.files[index].0.to_string()).join(NAME)
    }

    /// What was written to the files and not synced is gone.
    fn cut_power(&self) {
        for index in 0..self.files.len() {
            fs::write(self.path(index), []).unwrap();
        }
    }

    fn check(&self, note: &str) {
        for (index, expected) in self.acknowledged.iter().enumerate() {
            let found = fs::read(self.path(index)).unwrap();
            assert!(found == *expected, "{note}: file {index} has {} bytes of {}", found.len(), expected.len());
        }
    }

    fn generations(&self) -> usize {
        fs::read_dir(self.dir.path().join("tested")).unwrap().count()
    }
}

#[test]
fn what_was_acknowledged_comes_back_after_a_power_cut() {
    let mut bench = Bench::new(3);
    let redo = bench.redo(Files::default()).unwrap();
    for round in 0..50_u8 {
        bench.append(&redo, &vec![round; usize::from(round) * 13 + 1]).unwrap();
    }
    drop(redo);
    bench.cut_power();
    bench.redo(Files::default()).unwrap();
    bench.check("reopened");
    assert_eq!(bench.generations(), 0);
}

#[test]
fn a_failure_at_any_step_loses_nothing_that_was_acknowledged_and_keeps_nothing_that_was_not() {
    for failing in 0..40 {
        let mut bench = Bench::new(2);
        let count = AtomicUsize::new(0);
        let hook = move |_: FileOp, _: &std::path::Path| match count.fetch_add(1, Ordering::SeqCst) == failing {
            true => Err(io::Error::other("injected")),
            false => Ok(()),
        };
        let redo = bench.redo(Files::hooked(Arc::new(hook))).unwrap();
        let mut failures = 0;
        for round in 0..12_u8 {
            if bench.append(&redo, &[round; 100]).is_err() {
                failures += 1;
                // As a truncation does; a failure of the repair leaves the log refusing.
                let _ = redo.mend();
            }
        }
        assert!(failures <= 2, "{failures} failures for one fault at step {failing}");
        drop(redo);
        bench.cut_power();
        bench.redo(Files::default()).unwrap();
        bench.check(&format!("step {failing}"));
    }
}

#[test]
fn a_torn_frame_is_as_if_it_had_never_been_written() {
    let mut bench = Bench::new(1);
    let redo = bench.redo(Files::default()).unwrap();
    bench.append(&redo, b"first").unwrap();
    let path = bench.dir.path().join("tested").join(format!("{:020}.{EXTENSION}", 1));
    let before = fs::read(&path).unwrap();
    bench.append(&redo, b"second").unwrap();
    drop(redo);
    let whole = fs::read(&path).unwrap();
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for end in used(&before)..used(&whole) {
        let mut torn = whole.clone();
        torn[end..].fill(0);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, torn).unwrap();
        bench.cut_power();
        bench.redo(Files::default()).unwrap();
        assert_eq!(fs::read(bench.path(0)).unwrap(), b"first", "cut at {end}");
    }
}

#[test]
fn what_is_revoked_is_not_written_into_the_file_that_has_the_name_then() {
    let mut bench = Bench::new(2);
    let redo = bench.redo(Files::default()).unwrap();
    bench.append(&redo, b"of the old topic").unwrap();
    redo.revoke("t-1").unwrap();
    redo.revoke("t").unwrap();
    drop(redo);
    bench.cut_power();
    bench.redo(Files::default()).unwrap();
    bench.acknowledged[1].clear();
    bench.check("revoked");
}

#[test]
fn a_deleted_file_does_not_come_back() {
    let mut bench = Bench::new(2);
    let redo = bench.redo(Files::default()).unwrap();
    bench.append(&redo, b"bytes").unwrap();
    drop(redo);
    fs::remove_dir_all(bench.path(0).parent().unwrap()).unwrap();
    bench.redo(Files::default()).unwrap();
    assert!(!bench.path(0).exists());
}

#[test]
fn a_generation_goes_when_its_files_are_synced() {
    let mut bench = Bench::new(1);
    let redo = bench.redo(Files::default()).unwrap();
    let megabyte = vec![7; 1 << 20];
    for _ in 0..70 {
        bench.append(&redo, &megabyte).unwrap();
    }
    assert!(bench.generations() <= 2, "{} generations", bench.generations());
    redo.settle().unwrap();
    assert_eq!(bench.generations(), 0);
    bench.check("settled");
    bench.append(&redo, b"more").unwrap();
    assert_eq!(bench.generations(), 1);
    drop(bench.segments);
}

/// Fails every sync as long as `failing` says so.
fn unsyncable(failing: &Arc<AtomicBool>) -> Files {
    let failing = Arc::clone(failing);
    Files::hooked(Arc::new(move |op, _| match op == FileOp::Sync && failing.load(Ordering::SeqCst) {
        true => Err(io::Error::other("injected")),
        false => Ok(()),
    }))
}

#[test]
fn after_a_failed_write_the_next_one_works_by_itself() {
    let failing = Arc::new(AtomicBool::new(true));
    let mut bench = Bench::new(2);
    let redo = bench.redo(unsyncable(&failing)).unwrap();
    bench.append(&redo, b"a long one that fails").unwrap_err();
    failing.store(false, Ordering::SeqCst);
    bench.append(&redo, b"short").unwrap();
    drop(redo);
    bench.cut_power();
    bench.redo(Files::default()).unwrap();
    bench.check("after a failure");
}

#[test]
fn what_a_failed_write_left_is_not_written_into_the_file_that_has_the_name_then() {
    let failing = Arc::new(AtomicBool::new(true));
    let mut bench = Bench::new(1);
    let redo = bench.redo(unsyncable(&failing)).unwrap();
    bench.append(&redo, b"of the old topic").unwrap_err();
    failing.store(false, Ordering::SeqCst);
    redo.revoke("t-0").unwrap();
    drop(redo);
    bench.acknowledged[0] = b"synced by the new topic".to_vec();
    fs::write(bench.path(0), &bench.acknowledged[0]).unwrap();
    bench.redo(Files::default()).unwrap();
    bench.check("revoked after a failure");
}

/// A file whose syncs fail.
struct Unsyncable(Arc<dyn SegmentFile>);

impl SegmentFile for Unsyncable {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn append(&self, parts: &[io::IoSlice<'_>]) -> Result<u64, StorageError> {
        self.0.append(parts)
    }

    fn read(&self, position: u64, length: usize) -> Result<bytes::Bytes, StorageError> {
        self.0.read(position, length)
    }

    fn sync(&self) -> Result<(), StorageError> {
        Err(StorageError::Unavailable("injected".to_owned()))
    }

    fn truncate(&self, size_bytes: u64) -> Result<(), StorageError> {
        self.0.truncate(size_bytes)
    }
}

#[test]
fn a_file_that_could_not_be_synced_is_written_again_though_the_page_cache_has_it_all() {
    let mut bench = Bench::new(1);
    let file = Arc::new(Unsyncable(Arc::clone(&bench.files[0].1)));
    bench.files[0].1 = file;
    let written = Arc::new(AtomicUsize::new(0));
    let (path, count) = (bench.path(0), Arc::clone(&written));
    let hook = move |op: FileOp, at: &Path| {
        if op == FileOp::Write && at == path {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    };
    let redo = bench.redo(Files::hooked(Arc::new(hook))).unwrap();
    bench.append(&redo, b"acknowledged").unwrap();
    redo.settle().unwrap();
    assert_eq!((written.load(Ordering::SeqCst), bench.generations()), (1, 0));
    bench.check("settled");
}

#[test]
fn what_a_file_lost_with_a_failed_sync_is_restored() {
    let mut bench = Bench::new(2);
    let redo = bench.redo(Files::default()).unwrap();
    bench.append(&redo, b"acknowledged").unwrap();
    fs::write(bench.path(0), vec![0; 12]).unwrap();
    redo.restore(&bench.path(0)).unwrap();
    bench.check("restored");
    assert_eq!(bench.generations(), 1);
}

#[test]
fn a_deleted_file_is_not_held_by_what_was_settled() {
    let mut bench = Bench::new(1);
    let redo = bench.redo(Files::default()).unwrap();
    for _ in 0..34 {
        bench.append(&redo, &vec![7; 1 << 20]).unwrap();
    }
    assert_eq!(bench.generations(), 2);
    redo.revoke("t-0").unwrap();
    let file = Arc::downgrade(&bench.files[0].1);
    bench.files.clear();
    let is_held = (0..1000).all(|_| {
        thread::sleep(Duration::from_millis(10));
        file.strong_count() > 0
    });
    assert!(!is_held);
}
