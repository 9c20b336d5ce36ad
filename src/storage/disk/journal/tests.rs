//! The journal against crashes, damage and failing disks.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    clock::SystemClock,
    storage::disk::files::{FileOp, Hook},
};

type Content = BTreeMap<String, String>;

const SHARD: ShardId = ShardId(1000);
const OTHER: ShardId = ShardId(1001);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn options(durability: Durability) -> JournalOptions {
    JournalOptions { compact_bytes_min: u64::MAX, fill_bytes: 4096, ..JournalOptions::new(durability) }
}

fn open_with(dir: &Path, options: JournalOptions, hook: Option<Hook>) -> Result<DiskJournal, StorageError> {
    let files = hook.map_or_else(Files::default, Files::hooked);
    DiskJournal::open_with(files, dir, options, Arc::new(SystemClock::new()))
}

fn open(dir: &Path) -> Result<DiskJournal, StorageError> {
    open_with(dir, options(Durability::Sync), None)
}

fn set(key: impl Into<String>, value: impl Into<String>) -> JournalRecord {
    JournalRecord { key: Bytes::from(key.into()), value: Some(Bytes::from(value.into())) }
}

fn delete(key: &str) -> JournalRecord {
    JournalRecord { key: Bytes::copy_from_slice(key.as_bytes()), value: None }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn content(journal: &DiskJournal, shard: ShardId) -> Content {
    journal.replay(shard).await.unwrap().iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn contents(pairs: &[(&str, &str)]) -> Content {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The one log of a journal.
fn log_of(dir: &Path) -> PathBuf {
    let logs: Vec<_> = files_of(dir).into_iter().filter(|path| path.extension().unwrap() == "log").collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs[0].clone()
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join(DIRECTORY)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What the disk has at this moment, as a crash would leave it.
fn image(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    if dir.join(DIRECTORY).exists() {
        fs::create_dir(copy.path().join(DIRECTORY)).unwrap();
        for path in files_of(dir) {
            fs::copy(&path, copy.path().join(DIRECTORY).join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn a_torn_tail_is_cut_at_every_byte_of_the_last_frame() {
    for durability in [Durability::Sync, Durability::Os] {
        let dir = tempfile::tempdir().unwrap();
        let journal = open_with(dir.path(), options(durability), None).unwrap();
        journal.append(SHARD, vec![set("a", "1"), set("b", "1")]).await.unwrap();
        let before = journal.stats().log_bytes;
        journal.append(SHARD, vec![set("a", "2"), delete("b")]).await.unwrap();
        let after = journal.stats().log_bytes;
        let crashed = image(dir.path());
        let log = log_of(crashed.path());
        let bytes = fs::read(&log).unwrap();
        for end in before..=after {
            for zeros in [0, 1, 5000] {
                let mut torn = bytes[..end as usize].to_vec();
                torn.resize(torn.len() + zeros, 0);
                fs::write(&log, torn).unwrap();
                let journal = open(crashed.path()).unwrap();
                let expected = if end == after { contents(&[("a", "2")]) } else { contents(&[("a", "1"), ("b", "1")]) };
                assert_eq!(content(&journal, SHARD).await, expected, "cut at {end}, {zeros} zeros");
                // What is appended behind the cut is found again.
                journal.append(OTHER, vec![set("c", "3")]).await.unwrap();
                drop(journal);
                let journal = open(crashed.path()).unwrap();
                assert_eq!(content(&journal, SHARD).await, expected, "reopened after a cut at {end}");
                assert_eq!(content(&journal, OTHER).await, contents(&[("c", "3")]));
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_what_was_durable_is_refused_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    journal.append(SHARD, vec![set("a", "1")]).await.unwrap();
    let first = super::contents::LOG_START..journal.stats().log_bytes;
    for value in ["2", "3"] {
        journal.append(SHARD, vec![set("a", value)]).await.unwrap();
    }
    let crashed = image(dir.path());
    let log = log_of(crashed.path());
    let bytes = fs::read(&log).unwrap();
    for at in first {
        for bit in [0, 3, 7] {
            let mut flipped = bytes.clone();
            flipped[at as usize] ^= 1 << bit;
            fs::write(&log, &flipped).unwrap();
            let Err(StorageError::Corrupt(message)) = open(crashed.path()) else { panic!("byte {at} bit {bit}") };
            assert!(message.contains(log.to_str().unwrap()) && message.contains("byte 32"), "{message}");
            assert_eq!(fs::read(&log).unwrap(), flipped);
        }
    }
}

#[tokio::test]
async fn after_a_clean_close_even_the_last_frame_is_vouched_for() {
    for durability in [Durability::Sync, Durability::Os] {
        let dir = tempfile::tempdir().unwrap();
        let journal = open_with(dir.path(), options(durability), None).unwrap();
        journal.append(SHARD, vec![set("a", "1")]).await.unwrap();
        journal.close().await.unwrap();
        let log = log_of(dir.path());
        let mut bytes = fs::read(&log).unwrap();
        bytes[60] ^= 1;
        fs::write(&log, bytes).unwrap();
        assert!(matches!(open(dir.path()), Err(StorageError::Corrupt(_))));
    }
}

#[tokio::test]
async fn frames_of_a_write_that_was_never_acknowledged_do_not_vouch_for_each_other() {
    // One batch of three frames, of which the disk has the first and the last: power failed before the sync.
    let dir = tempfile::tempdir().unwrap();
    let stuck = Arc::new(Mutex::new(()));
    let gate = Arc::clone(&stuck);
    let hook: Hook = Arc::new(move |op, _| {
        if op == FileOp::Write {
            drop(gate.lock());
        }
        Ok(())
    });
    let journal = open_with(dir.path(), options(Durability::Sync), Some(hook)).unwrap();
    journal.append(SHARD, vec![set("a", "1")]).await.unwrap();
    let (first, batch) = {
        let _guard = stuck.lock();
        let first = journal.append(SHARD, vec![set("a", "2")]);
        std::thread::sleep(Duration::from_millis(50));
        (first, ["3", "4", "5"].map(|value| journal.append(SHARD, vec![set("a", value)])))
    };
    first.await.unwrap();
    let before = journal.stats().log_bytes;
    for append in batch {
        append.await.unwrap();
    }
    let frame_bytes = {
        let journal = open(tempfile::tempdir().unwrap().path()).unwrap();
        let empty = journal.stats().log_bytes;
        journal.append(SHARD, vec![set("a", "1")]).await.unwrap();
        journal.stats().log_bytes - empty
    };
    let log = log_of(dir.path());
    let end = journal.stats().log_bytes;
    let crashed = image(dir.path());
    let log = crashed.path().join(DIRECTORY).join(log.file_name().unwrap());
    let mut bytes = fs::read(&log).unwrap();
    // The batch is the last three frames, or fewer when the thread was quick; the one before the last is lost.
    assert!(end - before <= 3 * frame_bytes);
    let lost = (end - 2 * frame_bytes) as usize..(end - frame_bytes) as usize;
    bytes[lost].fill(0);
    fs::write(&log, bytes).unwrap();
    let journal = open(crashed.path()).unwrap();
    assert_eq!(content(&journal, SHARD).await, contents(&[("a", "3")]));
}

#[tokio::test]
async fn frames_inside_a_clients_bytes_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    let mut forged = FrameBuilder::begin(SHARD, 0);
    assert!(forged.push(b"a", Some(b"forged")));
    let forged = Bytes::from(forged.seal(0, 2, 1));
    journal.append(SHARD, vec![set("a", "1")]).await.unwrap();
    let value = Bytes::from([vec![0; 100], forged.to_vec(), vec![0; 100]].concat());
    journal.append(SHARD, vec![JournalRecord { key: "b".into(), value: Some(value) }]).await.unwrap();
    let end = journal.stats().log_bytes;
    let crashed = image(dir.path());
    let log = log_of(crashed.path());
    fs::write(&log, &fs::read(&log).unwrap()[..end as usize - 1]).unwrap();
    let journal = open(crashed.path()).unwrap();
    assert_eq!(content(&journal, SHARD).await, contents(&[("a", "1")]));
}

#[tokio::test]
async fn garbage_lengths_allocate_nothing_and_damaged_headers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().append(SHARD, vec![set("a", "1")]).await.unwrap();
    let log = log_of(dir.path());
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, [&bytes[..], &[0xff; 40]].concat()).unwrap();
    let journal = open(dir.path()).unwrap();
    assert_eq!(content(&journal, SHARD).await, contents(&[("a", "1")]));
    drop(journal);
    for damage in [&b""[..], b"TIDEGJNL", &[0; 64]] {
        fs::write(&log, damage).unwrap();
        assert!(matches!(open(dir.path()), Err(StorageError::Corrupt(_))));
    }
    fs::remove_file(&log).unwrap();
    fs::write(log.with_file_name("00000000000000000007.log"), &bytes).unwrap();
    assert!(matches!(open(dir.path()), Err(StorageError::Corrupt(_))), "a name that is not the header's");
}

#[tokio::test]
async fn a_crash_at_any_step_of_a_compaction_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let images: Arc<Mutex<Vec<(String, TempDir)>>> = Arc::default();
    let armed = Arc::new(AtomicBool::new(false));
    let hook: Hook = {
        let (dir, images, armed) = (dir.path().to_owned(), Arc::clone(&images), Arc::clone(&armed));
        Arc::new(move |op, path| {
            if armed.load(Ordering::SeqCst) {
                let name = format!("before {op:?} of {}", path.file_name().unwrap().to_string_lossy());
                images.lock().push((name, image(&dir)));
            }
            Ok(())
        })
    };
    let options = JournalOptions { compact_bytes_min: 20_000, ..options(Durability::Sync) };
    let journal = open_with(dir.path(), options, Some(hook)).unwrap();
    journal.append(OTHER, vec![set("kept", "here"), set("gone", "soon")]).await.unwrap();
    journal.append(OTHER, vec![delete("gone")]).await.unwrap();
    let mut value = 0;
    while journal.stats().log_bytes < 19_000 {
        value += 1;
        journal.append(SHARD, vec![set("a", value.to_string()), set(format!("k{}", value % 7), "x")]).await.unwrap();
    }
    armed.store(true, Ordering::SeqCst);
    let expected_before = value;
    while journal.stats().compactions < 2 {
        value += 1;
        let filler = "x".repeat(300);
        journal.append(SHARD, vec![set("a", value.to_string()), set("filler", filler)]).await.unwrap();
    }
    armed.store(false, Ordering::SeqCst);
    drop(journal);
    let images = std::mem::take(&mut *images.lock());
    for step in ["Create", "Rename", "Sync of", "SyncDir", "Remove"] {
        assert!(images.iter().any(|(name, _)| name.contains(step)), "no step {step}");
    }
    let mut last = expected_before;
    for (name, crashed) in images.iter() {
        let journal = open(crashed.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = content(&journal, SHARD).await;
        let a: i32 = found["a"].parse().unwrap();
        assert!(a >= last && a <= value, "{name}: {a} after {last}");
        last = a;
        assert_eq!(found.keys().filter(|key| key.starts_with('k')).count(), 7, "{name}");
        assert_eq!(content(&journal, OTHER).await, contents(&[("kept", "here")]), "{name}");
        drop(journal);
        assert!(files_of(crashed.path()).iter().all(|path| path.extension().unwrap() != "tmp"), "{name}");
        let snapshots = files_of(crashed.path()).iter().filter(|path| path.extension().unwrap() == "snapshot").count();
        assert!(snapshots <= 1, "{name}");
    }
    let journal = open(dir.path()).unwrap();
    assert_eq!(content(&journal, SHARD).await["a"], value.to_string());
}

#[tokio::test]
async fn compaction_in_slices_keeps_exactly_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { compact_bytes_min: 50_000, compact_slice_bytes: 5_000, ..options(Durability::Os) };
    let journal = open_with(dir.path(), options, None).unwrap();
    let mut expected = Content::new();
    let mut round = 0;
    while journal.stats().compactions < 3 {
        for key in 0..100 {
            let key = format!("key-{key}");
            if (round + key.len()) % 5 == 0 {
                expected.remove(&key);
                journal.append(SHARD, vec![delete(&key)]).await.unwrap();
            } else {
                expected.insert(key.clone(), round.to_string());
                journal.append(SHARD, vec![set(key, round.to_string())]).await.unwrap();
            }
        }
        round += 1;
        while journal.stats().log_bytes > 100_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(content(&journal, SHARD).await, expected);
    assert!(journal.stats().snapshot_bytes > 0);
    drop(journal);
    assert_eq!(content(&open(dir.path()).unwrap(), SHARD).await, expected);
}

#[tokio::test]
async fn a_failed_compaction_leaves_the_journal_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let tries = Arc::new(AtomicUsize::new(0));
    let hook: Hook = {
        let tries = Arc::clone(&tries);
        Arc::new(move |op, path: &Path| {
            if op == FileOp::Rename
                && path.extension().unwrap() == "snapshot"
                && tries.fetch_add(1, Ordering::SeqCst) == 0
            {
                return Err(io::Error::other("injected"));
            }
            Ok(())
        })
    };
    let options = JournalOptions { compact_bytes_min: 10_000, ..options(Durability::Sync) };
    let journal = open_with(dir.path(), options, Some(hook)).unwrap();
    let mut value = 0;
    while journal.stats().compactions == 0 {
        value += 1;
        journal.append(SHARD, vec![set("a", value.to_string()), set("filler", "x".repeat(100))]).await.unwrap();
        assert_eq!(content(&journal, SHARD).await["a"], value.to_string());
    }
    assert!(tries.load(Ordering::SeqCst) >= 2);
    drop(journal);
    assert_eq!(content(&open(dir.path()).unwrap(), SHARD).await["a"], value.to_string());
}

#[tokio::test]
async fn a_compaction_that_a_restart_finds_due_spares_the_empty_newest_log() {
    let dir = tempfile::tempdir().unwrap();
    let hook: Hook = Arc::new(|op, path: &Path| {
        let snapshot = path.extension().is_some_and(|extension| extension == "snapshot");
        if op == FileOp::Rename && snapshot { Err(io::Error::other("injected")) } else { Ok(()) }
    });
    let small = JournalOptions { compact_bytes_min: 1_000, ..options(Durability::Sync) };
    let journal = open_with(dir.path(), small.clone(), Some(hook)).unwrap();
    let mut value = 0;
    // Until the newest log has just begun.
    while files_of(dir.path()).iter().filter(|path| path.extension().unwrap() == "log").count() < 2 {
        value += 1;
        journal.append(SHARD, vec![set("a", value.to_string()), set("filler", "x".repeat(100))]).await.unwrap();
    }
    let crashed = image(dir.path());
    drop(journal);
    let journal = open_with(crashed.path(), small, None).unwrap();
    while journal.stats().compactions == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(content(&journal, SHARD).await["a"], value.to_string());
    journal.append(SHARD, vec![set("b", "1")]).await.unwrap();
    drop(journal);
    assert_eq!(content(&open(crashed.path()).unwrap(), SHARD).await["b"], "1");
}

/// Fails the operations that `fails` names, until told otherwise.
fn failing(fails: FileOp, kind: io::ErrorKind) -> (Arc<AtomicBool>, Hook) {
    let active = Arc::new(AtomicBool::new(false));
    let hook = {
        let active = Arc::clone(&active);
        Arc::new(
            move |op, _: &Path| {
                if op == fails && active.load(Ordering::SeqCst) { Err(io::Error::from(kind)) } else { Ok(()) }
            },
        )
    };
    (active, hook)
}

#[tokio::test]
async fn after_a_failed_sync_appends_are_refused_until_the_journal_is_whole_again() {
    let dir = tempfile::tempdir().unwrap();
    let (failing, hook) = failing(FileOp::Sync, io::ErrorKind::Other);
    let journal = open_with(dir.path(), options(Durability::Sync), Some(hook)).unwrap();
    journal.append(SHARD, vec![set("a", "1")]).await.unwrap();
    failing.store(true, Ordering::SeqCst);
    for value in ["2", "3"] {
        let failed = journal.append(SHARD, vec![set("a", value)]).await;
        assert!(matches!(failed, Err(StorageError::Unavailable(_))), "{failed:?}");
        assert!(matches!(journal.health(), Err(StorageError::Unavailable(_))));
        assert_eq!(content(&journal, SHARD).await, contents(&[("a", "1")]));
    }
    failing.store(false, Ordering::SeqCst);
    journal.append(SHARD, vec![set("b", "4")]).await.unwrap();
    journal.health().unwrap();
    assert_eq!(content(&journal, SHARD).await, contents(&[("a", "1"), ("b", "4")]));
    let crashed = image(dir.path());
    assert_eq!(content(&open(crashed.path()).unwrap(), SHARD).await, contents(&[("a", "1"), ("b", "4")]));
}

#[tokio::test]
async fn a_broken_journal_is_repaired_without_an_append() {
    for durability in [Durability::Sync, Durability::Os] {
        let dir = tempfile::tempdir().unwrap();
        let (failing, hook) = failing(FileOp::Write, io::ErrorKind::Other);
        let journal = open_with(dir.path(), options(durability), Some(hook)).unwrap();
        failing.store(true, Ordering::SeqCst);
        journal.append(SHARD, vec![set("a", "1")]).await.unwrap_err();
        failing.store(false, Ordering::SeqCst);
        for _ in 0..100 {
            if journal.health().is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        journal.health().unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_as_such_and_loses_nothing() {
    for durability in [Durability::Sync, Durability::Os] {
        let dir = tempfile::tempdir().unwrap();
        let (failing, hook) = failing(FileOp::Write, io::ErrorKind::StorageFull);
        let journal = open_with(dir.path(), options(durability), Some(hook)).unwrap();
        journal.append(SHARD, vec![set("a", "1")]).await.unwrap();
        failing.store(true, Ordering::SeqCst);
        let failed = journal.append(SHARD, vec![set("a", "2")]).await;
        assert!(matches!(failed, Err(StorageError::Full(_))), "{failed:?}");
        failing.store(false, Ordering::SeqCst);
        for attempt in 0.. {
            match journal.append(SHARD, vec![set("b", "3")]).await {
                Ok(()) => break,
                Err(error) => assert!(attempt < 100, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(journal);
        assert_eq!(content(&open(dir.path()).unwrap(), SHARD).await, contents(&[("a", "1"), ("b", "3")]));
    }
}

#[tokio::test]
async fn a_failed_background_sync_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (failing, hook) = failing(FileOp::Sync, io::ErrorKind::Other);
    let options = JournalOptions { background_sync_bytes: 1, ..options(Durability::Os) };
    let journal = open_with(dir.path(), options, Some(hook)).unwrap();
    failing.store(true, Ordering::SeqCst);
    journal.append(SHARD, vec![set("a", "1")]).await.unwrap();
    for _ in 0..100 {
        if journal.health().is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    journal.health().unwrap_err();
    journal.append(SHARD, vec![set("b", "2")]).await.unwrap_err();
    failing.store(false, Ordering::SeqCst);
    while journal.append(SHARD, vec![set("c", "3")]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(content(&journal, SHARD).await, contents(&[("a", "1"), ("c", "3")]));
}

#[tokio::test]
async fn what_waits_behind_a_failed_append_fails_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Mutex::new(()));
    let fails = Arc::new(AtomicBool::new(false));
    let hook: Hook = {
        let (gate, fails) = (Arc::clone(&gate), Arc::clone(&fails));
        Arc::new(move |op, _: &Path| {
            if op != FileOp::Sync {
                return Ok(());
            }
            drop(gate.lock());
            if fails.swap(false, Ordering::SeqCst) { Err(io::Error::other("injected")) } else { Ok(()) }
        })
    };
    let journal = open_with(dir.path(), options(Durability::Sync), Some(hook)).unwrap();
    fails.store(true, Ordering::SeqCst);
    let (first, behind) = {
        let _guard = gate.lock();
        let first = journal.append(SHARD, vec![set("a", "1")]);
        std::thread::sleep(Duration::from_millis(50));
        (first, journal.append(SHARD, vec![set("a", "2")]))
    };
    assert!(first.await.is_err());
    assert!(behind.await.is_err());
    assert_eq!(content(&journal, SHARD).await, Content::new());
    journal.append(SHARD, vec![set("a", "3")]).await.unwrap();
}

#[tokio::test]
async fn a_roll_that_fails_leaves_appends_in_the_old_log() {
    for op in [FileOp::Create, FileOp::Rename, FileOp::SyncDir] {
        let dir = tempfile::tempdir().unwrap();
        let (failing, hook) = failing(op, io::ErrorKind::Other);
        let options = JournalOptions { compact_bytes_min: 2_000, ..options(Durability::Sync) };
        let journal = open_with(dir.path(), options, Some(hook)).unwrap();
        failing.store(true, Ordering::SeqCst);
        let mut value = 0;
        let mut acknowledged = 0;
        while journal.stats().log_bytes < 10_000 && value < 300 {
            value += 1;
            if journal.append(SHARD, vec![set("a", value.to_string()), set("b", "x".repeat(50))]).await.is_ok() {
                acknowledged = value;
            }
            let crashed = image(dir.path());
            let found = content(&open(crashed.path()).unwrap(), SHARD).await;
            assert_eq!(found["a"], acknowledged.to_string(), "{op:?}");
        }
        failing.store(false, Ordering::SeqCst);
        while journal.stats().compactions == 0 {
            value += 1;
            journal.append(SHARD, vec![set("a", value.to_string()), set("b", "x".repeat(50))]).await.unwrap();
        }
        drop(journal);
        assert_eq!(content(&open(dir.path()).unwrap(), SHARD).await["a"], value.to_string(), "{op:?}");
    }
}

#[tokio::test]
async fn syncs_are_shared_by_all_that_wait() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    let before = journal.stats().syncs;
    let appends: Vec<_> = (0..1000).map(|n| journal.append(SHARD, vec![set(format!("k{n}"), "v")])).collect();
    for append in appends {
        append.await.unwrap();
    }
    let stats = journal.stats();
    assert_eq!(stats.appends, 1000);
    assert!(stats.syncs - before < 500, "{} syncs", stats.syncs - before);
}

#[tokio::test]
async fn completions_come_in_the_order_of_the_appends() {
    for durability in [Durability::Sync, Durability::Os] {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(open_with(dir.path(), options(durability), None).unwrap());
        // Calls are ordered by this lock; completions must come in the same order without it.
        let called = Arc::new(Mutex::new(0_u64));
        let completed: Arc<Mutex<Vec<u64>>> = Arc::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut called = called.lock();
                        let ticket = *called;
                        *called += 1;
                        let completed = Arc::clone(&completed);
                        let done: Completion = Box::new(move |outcome| {
                            outcome.unwrap();
                            completed.lock().push(ticket);
                        });
                        journal.append_then(SHARD, vec![set("a", ticket.to_string())], done);
                    }
                });
            }
        });
        journal.close().await.unwrap();
        assert_eq!(*completed.lock(), (0..800).collect::<Vec<_>>());
        assert_eq!(content(&open(dir.path()).unwrap(), SHARD).await, contents(&[("a", "799")]));
    }
}

#[tokio::test]
async fn a_closed_journal_refuses_appends_and_still_replays() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    let waiting = journal.append(SHARD, vec![set("a", "1")]);
    journal.close().await.unwrap();
    waiting.await.unwrap();
    journal.close().await.unwrap();
    assert!(matches!(journal.append(SHARD, vec![set("a", "2")]).await, Err(StorageError::Closed)));
    assert!(matches!(journal.health(), Err(StorageError::Closed)));
    assert_eq!(content(&journal, SHARD).await, contents(&[("a", "1")]));
}

#[tokio::test]
async fn opening_reads_the_files_once_for_all_small_shards() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().append(ShardId::CATALOG, vec![set("a", "1")]).await.unwrap();
    let journal = open(dir.path()).unwrap();
    // What is read again from here on would not be found.
    fs::remove_file(log_of(dir.path())).unwrap();
    assert_eq!(content(&journal, ShardId::PRODUCER_IDS).await, Content::new());
    assert_eq!(content(&journal, ShardId::CATALOG).await, contents(&[("a", "1")]));
    assert!(journal.replay(ShardId::CATALOG).await.is_err());
    assert!(journal.replay(SHARD).await.is_err());
}

/// What a [`Reading`] was told, by shard.
#[derive(Default)]
struct Told(BTreeMap<u16, Content>);

impl Reading for Told {
    fn begin(&mut self) {
        self.0.clear();
    }

    fn change(&mut self, shard: ShardId, key: &[u8], value: Option<&[u8]>) -> Result<(), StorageError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let of_shard = self.0.entry(shard.0).or_default();
        match value {
            Some(value) if value == b"refused" => return Err(StorageError::Corrupt("no".to_owned())),
            Some(value) => of_shard.insert(text(key), text(value)),
            None => of_shard.remove(&text(key)),
        };
        Ok(())
    }
}

#[tokio::test]
async fn shards_are_read_together_from_all_files_and_up_to_the_last_append() {
    let dir = tempfile::tempdir().unwrap();
    let small = JournalOptions { compact_bytes_min: 2_000, ..options(Durability::Os) };
    let journal = open_with(dir.path(), small, None).unwrap();
    let mut value = 0;
    while journal.stats().compactions < 2 {
        value += 1;
        for shard in [SHARD, OTHER, ShardId(1002), ShardId::CATALOG] {
            let gone = delete(&format!("{}", value - 1));
            let records = vec![set(value.to_string(), "x".repeat(100)), gone, set("shard", shard.0.to_string())];
            journal.append(shard, records).await.unwrap();
        }
    }
    let told = Arc::new(Mutex::new(Told::default()));
    journal.read(vec![SHARD, OTHER], Arc::clone(&told) as _).await.unwrap();
    let last = value.to_string();
    let of_shard = |shard: ShardId| {
        let shard = (shard.0, contents(&[(&last, &"x".repeat(100)), ("shard", &shard.0.to_string())]));
        shard
    };
    assert_eq!(told.lock().0, BTreeMap::from([of_shard(SHARD), of_shard(OTHER)]));
    journal.append(OTHER, vec![set("a", "refused")]).await.unwrap();
    assert!(matches!(journal.read(vec![OTHER], told).await, Err(StorageError::Corrupt(what)) if what == "no"));
}

#[tokio::test]
async fn a_compaction_waits_for_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let small = JournalOptions { compact_bytes_min: 1_000, waits_for_start: true, ..options(Durability::Os) };
    let journal = open_with(dir.path(), small, None).unwrap();
    for value in 0..100 {
        journal.append(SHARD, vec![set("a", value.to_string()), set("filler", "x".repeat(100))]).await.unwrap();
    }
    tokio::time::sleep(TICK + Duration::from_millis(200)).await;
    assert_eq!(journal.stats().compactions, 0);
    journal.started();
    while journal.stats().compactions == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(u16, Vec<(u8, Option<u8>)>),
    Reopen(bool),
    Crash,
    Replay(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..20_u8, proptest::option::weighted(0.8, any::<u8>()));
    let append = (0..3_u16, proptest::collection::vec(record, 0..20));
    let append = append.prop_map(|(shard, records)| Step::Append(shard, records));
    prop_oneof![
        10 => append,
        1 => any::<bool>().prop_map(Step::Reopen),
        1 => Just(Step::Crash),
        1 => (0..3_u16).prop_map(Step::Replay),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_the_journal_holds_what_a_map_holds(
        steps in proptest::collection::vec(step(), 1..80), sync: bool,
    ) {
        let runtime = runtime();
        let durability = if sync { Durability::Sync } else { Durability::Os };
        // Small enough that compactions happen all the time.
        let options = JournalOptions {
            compact_bytes_min: 700, compact_slice_bytes: 300, fill_bytes: 512, ..JournalOptions::new(durability)
        };
        let mut dir = tempfile::tempdir().unwrap();
        let mut journal = open_with(dir.path(), options.clone(), None).unwrap();
        let mut model: BTreeMap<u16, Content> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Append(shard, records) => {
                    let encoded = records.iter().map(|(key, value)| match value {
                        Some(value) => set(key.to_string(), value.to_string()),
                        None => delete(&key.to_string()),
                    });
                    runtime.block_on(journal.append(ShardId(shard), encoded.collect())).unwrap();
                    let shard = model.entry(shard).or_default();
                    for (key, value) in records {
                        match value {
                            Some(value) => shard.insert(key.to_string(), value.to_string()),
                            None => shard.remove(&key.to_string()),
                        };
                    }
                }
                Step::Reopen(close) => {
                    if close {
                        runtime.block_on(journal.close()).unwrap();
                    }
                    drop(journal);
                    journal = open_with(dir.path(), options.clone(), None).unwrap();
                }
                Step::Crash => {
                    // A copy is no picture of one moment while a compaction moves files: it is taken again then.
                    let crashed = loop {
                        let names = files_of(dir.path());
                        let compactions = journal.stats().compactions;
                        let copy = std::panic::catch_unwind(|| image(dir.path()));
                        let same = names == files_of(dir.path()) && compactions == journal.stats().compactions;
                        if let Ok(copy) = copy && same {
                            break copy;
                        }
                    };
                    drop(journal);
                    journal = open_with(crashed.path(), options.clone(), None).unwrap();
                    dir = crashed;
                }
                Step::Replay(shard) => {
                    let expected = model.get(&shard).cloned().unwrap_or_default();
                    prop_assert_eq!(runtime.block_on(content(&journal, ShardId(shard))), expected);
                }
            }
        }
        drop(journal);
        let journal = open_with(dir.path(), options, None).unwrap();
        for (shard, expected) in model {
            prop_assert_eq!(runtime.block_on(content(&journal, ShardId(shard))), expected);
        }
    }
}

/// A slow disk holds up the caller once; from then on the journal's own thread waits for it.
#[test]
fn callers_do_not_write_while_the_disk_is_slow() {
    let dir = TempDir::new().unwrap();
    let writers: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let seen = Arc::clone(&writers);
    let hook: Hook = Arc::new(move |op, _| {
        if op == FileOp::Write {
            std::thread::sleep(crate::storage::stalls::STALL);
            seen.lock().push(std::thread::current().name().map(str::to_owned));
        }
        Ok(())
    });
    let journal = open_with(dir.path(), options(Durability::Os), Some(hook)).unwrap();
    writers.lock().clear();
    runtime().block_on(async {
        for i in 0..3 {
            journal.append(SHARD, vec![set("k", i.to_string())]).await.unwrap();
        }
        assert_eq!(content(&journal, SHARD).await["k"], "2");
        journal.close().await.unwrap();
    });
    let writers = writers.lock();
    let by_journal = |writer: &Option<String>| writer.as_deref() == Some("journal");
    assert!(writers.len() >= 3 && !by_journal(&writers[0]), "{writers:?}");
    assert!(writers[1..3].iter().all(by_journal), "{writers:?}");
}
