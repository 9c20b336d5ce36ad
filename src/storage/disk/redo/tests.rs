use std::{
    fs, io,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    clock::MockClock,
    config::Durability,
    model::TopicPartition,
    storage::{
        Severity,
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
    limits: Limits,
    clock: MockClock,
}

const NAME: &str = "0.log";

impl Bench {
    fn new(count: i32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Its own redo log lies elsewhere and stays empty.
        let segments = DiskSegments::open(dir.path(), Durability::Sync, 64).unwrap();
        fs::create_dir(dir.path().join("tested")).unwrap();
        let files = (0..count)
            .map(|index| TopicPartition::new("t", index))
            .map(|partition| {
                let file = segments.open(&partition, NAME, OpenMode::Create).unwrap();
                (partition, file)
            })
            .collect();
        let acknowledged = (0..count).map(|_| Vec::new()).collect();
        Self { dir, segments, files, acknowledged, limits: Limits::of(4096), clock: MockClock::at(0) }
    }

    fn redo(&self, files: Files) -> Result<RedoLog, StorageError> {
        let clock = Arc::new(self.clock.clone());
        RedoLog::open(self.redo_dir(), self.dir.path().join("topics"), files, self.limits, clock)
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

    fn redo_dir(&self) -> PathBuf {
        self.dir.path().join("tested")
    }

    /// The file of a generation.
    fn generation(&self, number: u64) -> PathBuf {
        self.redo_dir().join(format!("{number:020}.{EXTENSION}"))
    }

    fn findings(&self) -> Vec<Finding> {
        inspect(&self.redo_dir(), "redo").unwrap()
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
        fs::read_dir(self.redo_dir()).unwrap().count()
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
    let path = bench.generation(1);
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
        assert!(bench.findings().iter().all(|finding| finding.severity == Severity::Note), "cut at {end}");
        assert_eq!(bench.redo(Files::default()).unwrap().damages(), 0, "cut at {end}");
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

/// A flipped bit in each byte of the first generation in turn: what is in `files` then is `check`ed, with the number of the byte.
fn flip_each_byte(bench: &Bench, check: impl Fn(usize, &RedoLog)) {
    let path = bench.generation(1);
    let whole = fs::read(&path).unwrap();
    let others: Vec<_> = (2..4).map(|number| bench.generation(number)).collect();
    let others: Vec<_> = others.iter().filter_map(|path| Some((path, fs::read(path).ok()?))).collect();
    let files: Vec<_> = (0..bench.files.len()).map(|index| fs::read(bench.path(index)).unwrap()).collect();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for byte in 0..used {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << (byte % 8);
        fs::remove_dir_all(bench.redo_dir()).unwrap();
        fs::create_dir_all(bench.redo_dir()).unwrap();
        fs::write(&path, flipped).unwrap();
        others.iter().for_each(|(path, contents)| fs::write(path, contents).unwrap());
        files.iter().enumerate().for_each(|(index, contents)| fs::write(bench.path(index), contents).unwrap());
        let findings = bench.findings();
        let redo = bench.redo(Files::default()).unwrap();
        let damaged = findings.iter().filter(|finding| finding.severity == Severity::Damage).count() as u64;
        assert_eq!(damaged, redo.damages(), "byte {byte}: {findings:?}");
        let kept = bench.findings();
        assert_eq!(
            kept.iter().any(|finding| finding.severity == Severity::Damage),
            damaged > 0,
            "byte {byte}: {kept:?}"
        );
        check(byte, &redo);
    }
}

#[test]
fn a_flipped_bit_costs_what_one_sync_made_durable_and_is_told() {
    let mut bench = Bench::new(2);
    let redo = bench.redo(Files::default()).unwrap();
    let parts = [&b"first"[..], b"second", b"third"];
    let mut ends = vec![FRAMES_AT];
    for part in parts {
        bench.append(&redo, part).unwrap();
        let contents = fs::read(bench.generation(1)).unwrap();
        ends.push(contents.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    }
    drop(redo);
    bench.cut_power();
    flip_each_byte(&bench, |byte, redo| {
        let whole = b"firstsecondthird".to_vec();
        let (expected, damages) = match ends.iter().rposition(|end| byte >= *end) {
            // The other copy of the header serves.
            None => (whole, 0),
            Some(0) => (b"\0\0\0\0\0secondthird".to_vec(), 1),
            Some(1) => (b"first\0\0\0\0\0\0third".to_vec(), 1),
            // Nobody can tell it from one that was being written.
            Some(_) => (b"firstsecond".to_vec(), 0),
        };
        assert_eq!(redo.damages(), damages, "byte {byte}");
        for index in 0..2 {
            assert_eq!(fs::read(bench.path(index)).unwrap(), expected, "byte {byte}, file {index}");
        }
    });
}

#[test]
fn a_flipped_bit_costs_nothing_that_the_files_have() {
    let mut bench = Bench::new(1);
    let redo = bench.redo(Files::default()).unwrap();
    for part in [&b"first"[..], b"second", b"third"] {
        bench.append(&redo, part).unwrap();
    }
    drop(redo);
    flip_each_byte(&bench, |_, _| bench.check("killed"));
}

#[test]
fn no_flipped_bit_brings_back_what_was_revoked() {
    for last in [&b""[..], b" and later"] {
        let mut bench = Bench::new(1);
        let redo = bench.redo(Files::default()).unwrap();
        bench.append(&redo, b"of the old topic").unwrap();
        redo.revoke("t-0").unwrap();
        // The new topic's file, whose first bytes were synced in their place.
        bench.files[0].1.truncate(0).unwrap();
        bench.acknowledged[0].clear();
        bench.files[0].1.append(&[io::IoSlice::new(b"new")]).unwrap();
        bench.acknowledged[0].extend_from_slice(b"new");
        if !last.is_empty() {
            bench.append(&redo, last).unwrap();
        }
        drop(redo);
        flip_each_byte(&bench, |byte, _| bench.check(&format!("byte {byte}, then {last:?}")));
    }
}

#[test]
fn when_both_copies_of_a_revocation_are_lost_nothing_before_them_is_believed() {
    let mut bench = Bench::new(2);
    let redo = bench.redo(Files::default()).unwrap();
    bench.append(&redo, b"old").unwrap();
    let begin = fs::read(bench.generation(1)).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    redo.revoke("t-0").unwrap();
    let end = fs::read(bench.generation(1)).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bench.append(&redo, b" and later").unwrap();
    drop(redo);
    let mut contents = fs::read(bench.generation(1)).unwrap();
    contents[begin..end].fill(0xff);
    fs::write(bench.generation(1), contents).unwrap();
    for index in 0..2 {
        fs::write(bench.path(index), b"new").unwrap();
    }
    assert_eq!(bench.redo(Files::default()).unwrap().damages(), 2);
    for index in 0..2 {
        assert_eq!(fs::read(bench.path(index)).unwrap(), b"new and later", "file {index}");
    }
}

#[test]
fn what_is_missing_at_the_end_of_a_generation_that_another_follows_is_damage() {
    let mut bench = Bench::new(1);
    bench.limits.bytes = 250;
    let redo = bench.redo(Files::default()).unwrap();
    bench.append(&redo, &[1; 60]).unwrap();
    let begin = fs::read(bench.generation(1)).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bench.append(&redo, &[2; 60]).unwrap();
    bench.append(&redo, &[3; 60]).unwrap();
    assert_eq!(bench.generations(), 2);
    drop(redo);
    let mut contents = fs::read(bench.generation(1)).unwrap();
    contents[begin..].fill(0);
    fs::write(bench.generation(1), contents).unwrap();
    bench.cut_power();
    assert_eq!(bench.redo(Files::default()).unwrap().damages(), 1);
    let expected = [[1; 60], [0; 60], [3; 60]].concat();
    assert_eq!(fs::read(bench.path(0)).unwrap(), expected);
    let left: Vec<_> = fs::read_dir(bench.redo_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [bench.generation(1).with_extension(EXTENSION_DAMAGED)]);
    // It is not in the way of anything.
    assert_eq!(bench.redo(Files::default()).unwrap().damages(), 0);
}

#[test]
fn bytes_of_a_client_never_pass_for_a_frame() {
    let mut bench = Bench::new(2);
    // A frame that a client would like to have applied, as it would be at its place but for the salt.
    let salt = bench.clock.random_below(u32::MAX);
    let mut forged = FrameBuilder::default();
    forged.begin();
    forged.push("t-1/0.log", 0, b"forged").unwrap();
    let redo = bench.redo(Files::default()).unwrap();
    bench.append(&redo, b"first").unwrap();
    let begin = fs::read(bench.generation(1)).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bench.append(&redo, forged.seal(salt, 3, 0).unwrap()).unwrap();
    drop(redo);
    let mut contents = fs::read(bench.generation(1)).unwrap();
    let header = Header::read(&contents).unwrap().unwrap();
    assert_ne!(header.salt, salt);
    contents[begin + 5] ^= 1;
    fs::write(bench.generation(1), contents).unwrap();
    bench.cut_power();
    bench.redo(Files::default()).unwrap();
    for index in 0..2 {
        assert_eq!(fs::read(bench.path(index)).unwrap(), b"first", "file {index}");
    }
}

#[test]
fn a_file_of_a_newer_release_is_left_alone() {
    let mut bench = Bench::new(1);
    let redo = bench.redo(Files::default()).unwrap();
    bench.append(&redo, b"first").unwrap();
    drop(redo);
    let mut contents = fs::read(bench.generation(1)).unwrap();
    let half = FRAMES_AT / 2;
    contents[9] = 2;
    let checksum = crc_fast::crc32_iscsi(&contents[..half - 4]).to_be_bytes();
    contents[half - 4..half].copy_from_slice(&checksum);
    contents.copy_within(..half, half);
    fs::write(bench.generation(1), &contents).unwrap();
    assert!(matches!(bench.redo(Files::default()), Err(StorageError::Corrupt(_))));
    assert_eq!(fs::read(bench.generation(1)).unwrap(), contents);
    assert!(bench.findings()[0].outcome.contains("refuses to start"));
}

#[test]
fn what_is_damaged_is_not_taken_for_a_restored_file() {
    let mut bench = Bench::new(1);
    let redo = bench.redo(Files::default()).unwrap();
    for part in [&b"first"[..], b"second", b"third"] {
        bench.append(&redo, part).unwrap();
    }
    let mut contents = fs::read(bench.generation(1)).unwrap();
    contents[FRAMES_AT + 70] ^= 1;
    fs::write(bench.generation(1), contents).unwrap();
    assert!(matches!(redo.restore(&bench.path(0)), Err(StorageError::Corrupt(_))));
}

/// As long as `failing`, nothing outside of the redo log can be synced.
fn unsyncable_elsewhere(failing: &Arc<AtomicBool>) -> Files {
    let failing = Arc::clone(failing);
    Files::hooked(Arc::new(move |op, path: &Path| {
        let is_elsewhere = path.extension().is_none_or(|extension| extension != EXTENSION);
        match op == FileOp::Sync && is_elsewhere && failing.load(Ordering::SeqCst) {
            true => Err(io::Error::other("injected")),
            false => Ok(()),
        }
    }))
}

#[test]
fn while_files_cannot_be_synced_the_redo_log_stays_small_and_then_goes_on() {
    let failing = Arc::new(AtomicBool::new(true));
    let mut bench = Bench::new(1);
    bench.limits.bytes = 64 << 10;
    bench.files[0].1 = Arc::new(Unsyncable(Arc::clone(&bench.files[0].1)));
    let redo = bench.redo(unsyncable_elsewhere(&failing)).unwrap();
    let frame = vec![7; 4 << 10];
    let mut refused = 0;
    for _ in 0..1000 {
        refused += usize::from(bench.append(&redo, &frame).is_err());
    }
    assert!((900..1000).contains(&refused), "{refused} refused");
    let noted: u64 = {
        let inner = redo.inner.lock();
        assert_eq!(inner.paths().len(), 2);
        inner.current.as_ref().unwrap().end
    };
    assert!(noted <= (128 << 10) + (5 << 10), "{noted} bytes");
    failing.store(false, Ordering::SeqCst);
    bench.append(&redo, &frame).unwrap_err();
    bench.clock.advance(SETTLE_INTERVAL);
    bench.append(&redo, &frame).unwrap();
    bench.check("went on");
}

#[test]
fn files_that_rest_on_the_redo_log_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let open_files_max = 64;
    let segments = DiskSegments::open(dir.path(), Durability::Sync, open_files_max).unwrap();
    let open_files = || {
        let descriptors =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        descriptors.filter(|path| path.starts_with(dir.path().join("topics"))).count()
    };
    let mut most = 0;
    for number in 0..600 {
        let partition = TopicPartition::new("t", number);
        let file = segments.open(&partition, NAME, OpenMode::Create).unwrap();
        file.append(&[io::IoSlice::new(b"bytes")]).unwrap();
        segments.sync_tails(&[Tail { partition: &partition, name: NAME, file: &file, from: 0, to: 5 }]).unwrap();
        most = most.max(open_files());
    }
    assert!(most <= open_files_max, "{most} files are open");
}
