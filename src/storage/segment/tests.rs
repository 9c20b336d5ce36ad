//! What every segment store must do.

use std::{io::IoSlice, sync::Arc};

use super::*;
use crate::{
    clock::SystemClock,
    config::{self, Durability},
    storage::{
        disk::DiskSegments,
        filer::{FilerBackend, seaweed::Seaweed},
        memory::MemorySegments,
    },
};

fn on_every_store(test: impl Fn(&dyn SegmentStore)) {
    test(&MemorySegments::new(1 << 30));
    let directory = tempfile::tempdir().unwrap();
    // Two descriptors: almost everything is closed again behind the caller's back.
    test(&DiskSegments::open(directory.path(), Durability::Os, 2).unwrap());
    test(&*on_a_filer(&Seaweed::folder()).segments);
}

/// What is in a folder of a real filer.
fn on_a_filer(folder: &str) -> FilerBackend {
    on_a_filer_with(folder, 128 << 20)
}

fn on_a_filer_with(folder: &str, tail_bytes_max: u64) -> FilerBackend {
    let flags = [
        ("filer.url", Seaweed::shared().url()),
        ("filer.path", folder.to_owned()),
        ("filer.tail.bytes", tail_bytes_max.to_string()),
    ];
    let settings = config::parse(None, [], &flags).unwrap().filer;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(FilerBackend::open(&settings, Arc::new(SystemClock::new()))).unwrap()
}

fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn append(file: &Arc<dyn SegmentFile>, bytes: &[u8]) -> u64 {
    file.append(&[IoSlice::new(&bytes[..bytes.len() / 2]), IoSlice::new(&bytes[bytes.len() / 2..])]).unwrap()
}

#[test]
fn what_was_appended_can_be_read_in_any_piece() {
    on_every_store(|store| {
        let file = store.open(&orders(), "0.log", OpenMode::Create).unwrap();
        let mut all = Vec::new();
        for index in 0..200_u32 {
            let piece: Vec<u8> = (0..index * 7).map(|byte| (byte % 251) as u8).collect();
            assert_eq!(append(&file, &piece), all.len() as u64);
            all.extend_from_slice(&piece);
        }
        assert_eq!(file.size_bytes(), all.len() as u64);
        for (from, length) in [(0, 1), (0, all.len()), (70_000, 5), (60_000, 20_000), (100, 100_000)] {
            let end = (from + length).min(all.len());
            assert_eq!(&file.read(from as u64, length).unwrap()[..], &all[from..end], "{from} {length}");
        }
        assert!(file.read(all.len() as u64, 10).unwrap().is_empty());
        assert!(file.read(u64::MAX / 2, 10).unwrap().is_empty());
        file.seal();
        file.sync().unwrap();
        assert_eq!(&file.read(65_000, 2_000).unwrap()[..], &all[65_000..67_000]);
        let again = store.open(&orders(), "0.log", OpenMode::Existing).unwrap();
        assert_eq!(again.size_bytes(), all.len() as u64);
    });
}

#[test]
fn a_truncated_file_goes_on_from_there() {
    on_every_store(|store| {
        let file = store.open(&orders(), "0.log", OpenMode::Create).unwrap();
        for _ in 0..3 {
            append(&file, &[7; 60_000]);
        }
        file.truncate(100_000).unwrap();
        assert_eq!(file.size_bytes(), 100_000);
        assert_eq!(append(&file, b"tail"), 100_000);
        assert_eq!(&file.read(99_998, 100).unwrap()[..], b"\x07\x07tail");
        file.truncate(0).unwrap();
        assert_eq!(append(&file, b"new"), 0);
        assert_eq!(&file.read(0, 100).unwrap()[..], b"new");
    });
}

#[test]
fn a_renamed_file_takes_the_place_of_another() {
    on_every_store(|store| {
        let old = store.open(&orders(), "0.log", OpenMode::Create).unwrap();
        append(&old, &[1; 1_000]);
        let unread = store.open(&orders(), "0.log", OpenMode::Existing).unwrap();
        let new = store.open(&orders(), "0.log.cleaned", OpenMode::Create).unwrap();
        append(&new, &[2; 500]);
        new.sync().unwrap();
        old.retire().unwrap();
        unread.retire().unwrap();
        let renamed = store.rename(&orders(), "0.log.cleaned", "0.log").unwrap();
        assert_eq!((renamed.size_bytes(), &renamed.read(0, 1_000).unwrap()[..]), (500, &[2; 500][..]));
        assert_eq!(append(&renamed, &[3; 10]), 500);
        let names: Vec<_> = store.list(&orders()).unwrap().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["0.log"]);
        // Other files are used meanwhile: the retired handles keep their descriptors.
        for index in 0..20 {
            append(&store.open(&TopicPartition::new("many", index), "0.log", OpenMode::Create).unwrap(), b"x");
        }
        for file in [old, unread] {
            assert_eq!((file.size_bytes(), &file.read(0, 1_000).unwrap()[..]), (1_000, &[1; 1_000][..]));
        }
        assert!(store.rename(&orders(), "no", "0.log").is_err());
        assert_eq!(store.open(&orders(), "0.log", OpenMode::Existing).unwrap().size_bytes(), 510);
    });
}

#[test]
fn small_files_are_replaced_whole() {
    on_every_store(|store| {
        assert_eq!(store.read_whole(&orders(), "x").unwrap(), None);
        for contents in [b"first".as_slice(), b"", b"second"] {
            store.write_whole(&orders(), "x", contents, contents.is_empty()).unwrap();
            assert_eq!(store.read_whole(&orders(), "x").unwrap().as_deref(), Some(contents));
        }
        store.sync_directory(&orders()).unwrap();
        store.delete(&orders(), "x").unwrap();
        store.delete(&orders(), "x").unwrap();
        assert_eq!(store.read_whole(&orders(), "x").unwrap(), None);
    });
}

#[test]
fn directories_appear_with_their_first_file_and_go_whole() {
    on_every_store(|store| {
        assert_eq!(store.list(&orders()).unwrap(), []);
        assert!(matches!(store.open(&orders(), "0.log", OpenMode::Existing), Err(StorageError::Corrupt(_))));
        assert_eq!(store.partitions().unwrap(), []);
        let file = store.open(&orders(), "0.log", OpenMode::CreateTransient).unwrap();
        append(&file, b"records");
        store.write_whole(&orders(), "meta", b"m", true).unwrap();
        let names: Vec<_> =
            store.list(&orders()).unwrap().into_iter().map(|file| (file.name, file.size_bytes)).collect();
        assert_eq!(names, [("0.log".to_owned(), 7), ("meta".to_owned(), 1)]);
        assert_eq!(store.partitions().unwrap(), [orders()]);
        assert!(store.size_bytes().unwrap() >= 8);
        store.delete_partition(&orders()).unwrap();
        store.delete_partition(&orders()).unwrap();
        assert_eq!((store.list(&orders()).unwrap(), store.partitions().unwrap()), (vec![], vec![]));
    });
}

#[test]
fn many_files_share_few_descriptors() {
    on_every_store(|store| {
        let files: Vec<_> = (0..100)
            .map(|index| store.open(&TopicPartition::new("many", index), "0.log", OpenMode::Create).unwrap())
            .collect();
        for round in 0..3_u8 {
            for file in &files {
                append(file, &[round; 10]);
            }
        }
        for file in &files {
            assert_eq!(&file.read(5, 20).unwrap()[..], [[0; 5].as_slice(), &[1; 10], &[2; 5]].concat());
        }
    });
}

#[test]
fn a_filer_has_the_same_files_after_a_restart() {
    let folder = Seaweed::folder();
    let mut expected = Vec::new();
    {
        let backend = on_a_filer(&folder);
        let store = &*backend.segments;
        let log = store.open(&orders(), "0.log", OpenMode::Create).unwrap();
        // Much of it becomes objects, the rest stays in the journal, and a part was never synced.
        for round in 0..40_u8 {
            append(&log, &vec![round; 300_000]);
            expected.extend_from_slice(&vec![round; 300_000]);
            log.sync().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(1500));
        log.truncate(11_500_001).unwrap();
        expected.truncate(11_500_001);
        append(&log, b"after the cut");
        expected.extend_from_slice(b"after the cut");
        log.sync().unwrap();
        append(&log, b"never synced");
        store.write_whole(&orders(), "meta", b"first", true).unwrap();
        store.write_whole(&orders(), "meta", b"second", true).unwrap();
        append(&store.open(&orders(), "1.log.cleaned", OpenMode::Create).unwrap(), &[9; 10]);
        append(&store.open(&orders(), "1.log", OpenMode::Create).unwrap(), &[8; 10]);
        store.rename(&orders(), "1.log.cleaned", "1.log").unwrap();
        store.write_whole(&TopicPartition::new("gone", 0), "meta", b"x", true).unwrap();
        store.delete_partition(&TopicPartition::new("gone", 0)).unwrap();
        store.sync_tails(&[]).unwrap();
        store.open(&orders(), "1.log", OpenMode::Existing).unwrap().sync().unwrap();
    }
    let backend = on_a_filer(&folder);
    let store = &*backend.segments;
    assert_eq!(store.partitions().unwrap(), [orders()]);
    let log = store.open(&orders(), "0.log", OpenMode::Existing).unwrap();
    assert!(log.read(0, usize::MAX).unwrap() == expected, "{} bytes", log.size_bytes());
    for position in [0, 299_999, 4_194_303, 8_000_000, 11_499_990] {
        let end = (position + 700_000).min(expected.len());
        assert!(log.read(position as u64, 700_000).unwrap() == expected[position..end], "{position}");
    }
    assert_eq!(store.read_whole(&orders(), "meta").unwrap().as_deref(), Some(&b"second"[..]));
    assert_eq!(store.read_whole(&orders(), "1.log").unwrap().as_deref(), Some(&[9; 10][..]));
    assert_eq!(store.list(&orders()).unwrap().len(), 3);
}

#[test]
fn with_little_memory_small_objects_are_written_and_become_large_ones() {
    let folder = Seaweed::folder();
    let mut expected = Vec::new();
    let check = |backend: &FilerBackend, expected: &[u8]| {
        let log = backend.segments.open(&orders(), "0.log", OpenMode::Existing).unwrap();
        assert!(log.read(0, usize::MAX).unwrap() == expected, "{} bytes", log.size_bytes());
    };
    {
        let backend = on_a_filer_with(&folder, 1 << 20);
        let log = backend.segments.open(&orders(), "0.log", OpenMode::Create).unwrap();
        for round in 0..60_u8 {
            // Little enough for the journal.
            append(&log, &vec![round; 100_000]);
            expected.extend_from_slice(&vec![round; 100_000]);
            log.sync().unwrap();
            if round % 10 == 0 {
                check(&backend, &expected);
            }
        }
        check(&backend, &expected);
        let most = 1 << 20;
        assert!(backend.segments.held_bytes() <= most, "{}", backend.segments.held_bytes());
    }
    let backend = on_a_filer(&folder);
    check(&backend, &expected);
    let objects = Seaweed::shared().list(&format!("{folder}/topics/orders/0"));
    assert!((2..20).contains(&objects), "{objects} objects");
}

#[test]
fn a_long_end_goes_to_the_filer_once_and_is_the_file_after_a_restart() {
    let folder = Seaweed::folder();
    let objects = || Seaweed::shared().list(&format!("{folder}/topics/orders/0"));
    let mut expected = Vec::new();
    let check = |backend: &FilerBackend, expected: &[u8]| {
        let file = backend.segments.open(&orders(), "0.log", OpenMode::Existing).unwrap();
        assert_eq!(file.size_bytes(), expected.len() as u64);
        for position in (0..expected.len()).step_by(70_001) {
            let length = 200_000.min(expected.len() - position);
            assert!(file.read(position as u64, length).unwrap() == expected[position..position + length], "{position}");
        }
    };
    {
        let backend = on_a_filer(&folder);
        let file = backend.segments.open(&orders(), "0.log", OpenMode::Create).unwrap();
        let add = |expected: &mut Vec<u8>, byte: u8, length: usize| {
            append(&file, &vec![byte; length]);
            expected.extend_from_slice(&vec![byte; length]);
            file.sync().unwrap();
        };
        // In the journal, which the object behind it takes along.
        add(&mut expected, 1, 1000);
        assert_eq!((backend.segments.held_bytes(), objects()), (1000, 0));
        add(&mut expected, 2, 700_000);
        assert_eq!((backend.segments.held_bytes(), objects()), (0, 1), "nothing of it is in the journal");
        add(&mut expected, 3, 10);
        add(&mut expected, 4, 300_000);
        add(&mut expected, 5, 10);
        check(&backend, &expected);
        // In the middle of an object, and on from there.
        file.truncate(800_000).unwrap();
        expected.truncate(800_000);
        add(&mut expected, 6, 400_000);
        check(&backend, &expected);
        // All of one.
        file.truncate(700_500).unwrap();
        expected.truncate(700_500);
        check(&backend, &expected);
    }
    for _ in 0..2 {
        let backend = on_a_filer(&folder);
        check(&backend, &expected);
        backend.segments.rename(&orders(), "0.log", "1.log").unwrap();
        backend.segments.rename(&orders(), "1.log", "0.log").unwrap();
    }
    let backend = on_a_filer(&folder);
    check(&backend, &expected);
    backend.segments.delete(&orders(), "0.log").unwrap();
    drop(backend);
    let backend = on_a_filer(&folder);
    assert_eq!(backend.segments.list(&orders()).unwrap(), []);
    let start = std::time::Instant::now();
    while objects() > 0 {
        assert!(start.elapsed().as_secs() < 10, "{} objects are left", objects());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn objects_of_a_few_hundred_kib_become_large_ones_when_nothing_else_is_to_do() {
    let folder = Seaweed::folder();
    let mut expected = Vec::new();
    {
        let backend = on_a_filer(&folder);
        let file = backend.segments.open(&orders(), "0.log", OpenMode::Create).unwrap();
        for round in 0..16_u8 {
            append(&file, &vec![round; 300_000]);
            expected.extend_from_slice(&vec![round; 300_000]);
            file.sync().unwrap();
        }
        let start = std::time::Instant::now();
        while Seaweed::shared().list(&format!("{folder}/topics/orders/0")) > 2 {
            assert!(start.elapsed().as_secs() < 20, "they stay small");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(file.read(0, expected.len()).unwrap() == expected);
    }
    let backend = on_a_filer(&folder);
    let file = backend.segments.open(&orders(), "0.log", OpenMode::Existing).unwrap();
    assert!(file.read(0, expected.len()).unwrap() == expected);
}

#[test]
fn names_never_leave_their_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = DiskSegments::open(directory.path(), Durability::Sync, 16).unwrap();
    let long = "x".repeat(250);
    for topic in ["", "..", "a/b", "a\0b", "ä", &long] {
        let partition = TopicPartition::new(topic, 0);
        let result = store.open(&partition, "0.log", OpenMode::Create);
        assert_eq!(result.is_err(), topic != "..", "{topic}");
    }
    for name in ["", "../x", ".hidden", "a/b"] {
        assert!(store.write_whole(&orders(), name, b"", false).is_err(), "{name}");
    }
    assert!(store.list(&TopicPartition::new("orders", -1)).is_err());
}

#[test]
fn a_deletion_that_a_crash_cut_short_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let doomed = directory.path().join("topics/.deleted-1-0");
    std::fs::create_dir_all(&doomed).unwrap();
    std::fs::write(doomed.join("0.log"), b"x").unwrap();
    let store = DiskSegments::open(directory.path(), Durability::Sync, 16).unwrap();
    assert!(!doomed.exists());
    assert_eq!(store.partitions().unwrap(), []);
}

#[test]
fn a_file_that_is_being_sent_is_not_opened_a_second_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = DiskSegments::open(directory.path(), Durability::Os, 2).unwrap();
    let open = |index| {
        let file = store.open(&TopicPartition::new("t", index), "0.log", OpenMode::Create).unwrap();
        file.append(&[IoSlice::new(b"bytes")]).unwrap();
        file
    };
    let sent = open(0);
    let before = sent.range(0, 5).unwrap().unwrap();
    let _others: Vec<_> = (1..200).map(open).collect();
    let after = sent.range(0, 5).unwrap().unwrap();
    assert!(Arc::ptr_eq(&before.file, &after.file));
}
