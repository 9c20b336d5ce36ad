//! Stops of every kind, and what is there after.

use std::{fs, path::Path};

use super::support::*;
use crate::{
    config::Durability,
    log::{Isolation, PartitionLog},
    model::{TopicId, batch::BatchHeader},
};

const LOG: &str = "topics/orders-3/00000000000000000000.log";

fn all(log: &PartitionLog) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut at = log.log_start();
    loop {
        let read = log.read(at, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
        if read.records.is_empty() {
            return found;
        }
        found.extend(ranges(&read.records));
        at = read.next_offset;
    }
}

#[test]
fn a_torn_tail_is_cut_wherever_it_was_torn() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    let log = bench.open();
    for _ in 0..3 {
        log.append(batch_of(2, 20), 0).unwrap();
    }
    drop(log);
    let path = directory.path().join(LOG);
    let whole = fs::read(&path).unwrap();
    let batch = whole.len() / 3;
    for kept in 2 * batch..whole.len() {
        fs::write(&path, &whole[..kept]).unwrap();
        let log = bench.open();
        assert_eq!(all(&log), [(0, 1), (2, 3)], "{kept} bytes kept");
        assert_eq!(fs::metadata(&path).unwrap().len() as usize, 2 * batch);
        assert_eq!(log.append(batch_of(2, 20), 0).unwrap().base_offset, 4);
    }
}

#[test]
fn garbage_behind_the_last_batch_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    bench.open().append(batch_of(2, 20), 0).unwrap();
    let path = directory.path().join(LOG);
    let whole = fs::read(&path).unwrap();
    for garbage in [vec![0; 10_000], vec![0xff; 100], whole[..BatchHeader::SIZE].to_vec(), whole.clone()] {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&garbage);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(all(&bench.open()), [(0, 1)]);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

fn small_segments(directory: &Path) -> Bench {
    let mut bench = Bench::disk(directory);
    bench.config.segment_bytes = 4_000;
    bench.config.index_interval_bytes = 500;
    bench
}

#[test]
fn a_kill_at_any_time_loses_nothing_that_was_written() {
    for durability in [Durability::Sync, Durability::Os] {
        let directory = tempfile::tempdir().unwrap();
        let mut bench = small_segments(directory.path());
        bench.durability = durability;
        let log = bench.open();
        for index in 0..60 {
            log.append(idempotent(5, 0, index * 2, 2), 0).unwrap();
            log.append(batch_of(1, 200), 0).unwrap();
            if index % 7 == 0 {
                let copy = tempfile::tempdir().unwrap();
                copy_directory(directory.path(), copy.path());
                let mut copied = small_segments(copy.path());
                copied.durability = durability;
                let revived = copied.open();
                assert_eq!(all(&revived).len(), (index as usize + 1) * 2);
                assert_eq!(revived.offsets().high_watermark, i64::from(index + 1) * 3);
                // All of the last five batches are known, and the sequence goes on.
                for back in 0..5.min(index + 1) {
                    let again = revived.append(idempotent(5, 0, (index - back) * 2, 2), 0).unwrap();
                    assert!(again.is_duplicate, "after {index}, {back} back");
                    assert_eq!(again.base_offset, i64::from(index - back) * 3);
                }
                assert!(!revived.append(idempotent(5, 0, (index + 1) * 2, 2), 0).unwrap().is_duplicate);
                revived.close().unwrap();
                assert_eq!(copied.open().offsets().log_end, i64::from(index + 1) * 3 + 2);
            }
        }
        assert!(log.segment_count() > 3);
    }
}

#[test]
fn a_clean_stop_leaves_nothing_to_scan_and_kafkas_files() {
    let directory = tempfile::tempdir().unwrap();
    let bench = small_segments(directory.path());
    let log = bench.open();
    for index in 0..40 {
        log.append(idempotent(5, 0, index, 1), 4).unwrap();
        log.append(batch_of(1, 200), 4).unwrap();
    }
    let segments = log.segment_count();
    log.close().unwrap();
    let home = directory.path().join("topics/orders-3");
    assert_eq!(
        fs::read_to_string(home.join("partition.metadata")).unwrap(),
        "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAABw\n"
    );
    assert_eq!(fs::read_to_string(home.join("leader-epoch-checkpoint")).unwrap(), "0\n1\n4 0\n");
    assert!(home.join("00000000000000000080.snapshot").exists());
    let log = bench.open();
    assert_eq!((all(&log).len(), log.segment_count()), (80, segments));
    assert_eq!((log.end_offset_for_epoch(4), log.end_offset_for_epoch(3)), (Some((4, 80)), Some((3, 0))));
    assert!(log.append(idempotent(5, 0, 35, 1), 4).unwrap().is_duplicate);
    assert_eq!(log.append(idempotent(5, 0, 40, 1), 4).unwrap().base_offset, 80);
}

#[test]
fn missing_and_damaged_indexes_are_rebuilt() {
    let directory = tempfile::tempdir().unwrap();
    let bench = small_segments(directory.path());
    let log = bench.open();
    for index in 0..100 {
        log.append(batch_at(NOW_MS - 100 + index, 1, 100), 0).unwrap();
    }
    log.close().unwrap();
    let home = directory.path().join("topics/orders-3");
    let spoil = |how: &dyn Fn(&Path)| {
        for entry in fs::read_dir(&home).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "index" || extension == "timeindex") {
                how(&path);
            }
        }
    };
    let ways: [&dyn Fn(&Path); 4] = [
        &|path| fs::remove_file(path).unwrap(),
        &|path| fs::write(path, b"").unwrap(),
        &|path| fs::write(path, vec![0; 240]).unwrap(),
        &|path| fs::write(path, vec![0xff; 241]).unwrap(),
    ];
    for way in ways {
        spoil(way);
        let log = bench.open();
        for at in 0..100 {
            let read = log.read(at, 1, true, Isolation::ReadUncommitted).unwrap();
            assert_eq!(ranges(&read.records), [(at, at)]);
            let found = log.offset_for_timestamp(NOW_MS - 100 + at).unwrap().unwrap();
            assert_eq!(found.offset, at);
        }
        log.close().unwrap();
    }
}

#[test]
fn a_missing_checkpoint_or_snapshot_costs_only_time() {
    let directory = tempfile::tempdir().unwrap();
    let bench = small_segments(directory.path());
    let log = bench.open();
    for index in 0..50 {
        log.append(idempotent(5, 0, index, 1), 0).unwrap();
        log.append(batch_of(1, 200), 0).unwrap();
    }
    log.close().unwrap();
    let home = directory.path().join("topics/orders-3");
    for name in ["recovery-checkpoint", "leader-epoch-checkpoint", "partition.metadata"] {
        for contents in [None, Some(b"".as_slice()), Some(b"nonsense".as_slice())] {
            match contents {
                None => fs::remove_file(home.join(name)).unwrap(),
                Some(contents) => fs::write(home.join(name), contents).unwrap(),
            }
            let log = bench.open();
            assert_eq!(all(&log).len(), 100);
            assert!(log.append(idempotent(5, 0, 47, 1), 0).unwrap().is_duplicate);
            assert_eq!(log.end_offset_for_epoch(0), Some((0, 100)));
            log.close().unwrap();
            let log = bench.open();
            log.close().unwrap();
        }
    }
}

#[test]
fn records_of_an_earlier_topic_of_the_name_are_never_served() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::disk(directory.path());
    let log = bench.open();
    log.append(batch_of(5, 20), 0).unwrap();
    log.close().unwrap();
    bench.topic_id = TopicId::from_u128(8);
    let log = bench.open();
    assert_eq!(log.offsets().log_end, 0);
    assert_eq!(log.append(batch_of(1, 20), 0).unwrap().base_offset, 0);
}

#[test]
fn offsets_below_the_log_start_are_never_given_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::disk(directory.path());
    bench.open().append(batch_of(5, 20), 0).unwrap();
    bench.log_start_offset = 3;
    assert_eq!(bench.open().log_start(), 3);
    bench.log_start_offset = 9;
    let log = bench.open();
    assert_eq!((log.log_start(), log.offsets().log_end), (9, 9));
    assert_eq!(log.append(batch_of(1, 20), 0).unwrap().base_offset, 9);
}

#[test]
fn a_directory_with_one_missing_segment_is_read_around_it() {
    let directory = tempfile::tempdir().unwrap();
    let bench = small_segments(directory.path());
    let log = bench.open();
    for _ in 0..60 {
        log.append(batch_of(1, 200), 0).unwrap();
    }
    assert!(log.segment_count() >= 4);
    log.close().unwrap();
    let home = directory.path().join("topics/orders-3");
    let mut logs: Vec<_> = fs::read_dir(&home)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    fs::remove_file(&logs[1]).unwrap();
    let log = bench.open();
    let found = all(&log);
    assert_eq!(found.first(), Some(&(0, 0)));
    assert_eq!(found.last(), Some(&(59, 59)));
    assert!(found.len() < 60);
}
