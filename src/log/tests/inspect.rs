//! The offline check, held against everything that can be flipped.

use std::{collections::BTreeMap, fs, path::Path};

use super::support::*;
use crate::{
    log::{InspectedTopic, inspect},
    model::{TopicId, TopicPartition},
    storage::{Finding, Severity, disk::DiskSegments},
};

fn findings(directory: &Path) -> Vec<Finding> {
    let topic = InspectedTopic { topic_id: TopicId::from_u128(7), log_start_offset: 0, is_compacted: false };
    let mut findings = Vec::new();
    let store = DiskSegments::read_only(directory);
    inspect(&store, &TopicPartition::new("orders", 3), Some(&topic), &mut |finding| findings.push(finding)).unwrap();
    findings
}

fn damages(directory: &Path) -> Vec<Finding> {
    findings(directory).into_iter().filter(|finding| finding.severity == Severity::Damage).collect()
}

/// A few segments with indexes, stopped in good order; answers its files.
fn written(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut bench = Bench::disk(directory);
    bench.config.segment_bytes = 700;
    bench.config.index_interval_bytes = 100;
    let log = bench.open();
    for index in 0..12 {
        log.append(batch_at(NOW_MS + index, 2, 30), 0).unwrap();
        log.append(idempotent(5, 0, i32::try_from(index).unwrap(), 1), 0).unwrap();
    }
    log.close().unwrap();
    let entries = fs::read_dir(directory.join("topics/orders-3")).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_flipped_bit_in_any_byte_of_the_records_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let files = written(directory.path());
    assert_eq!(findings(directory.path()), []);
    let logs = files.iter().filter(|(name, _)| name.ends_with(".log"));
    assert!(logs.clone().count() > 2);
    for (name, whole) in logs {
        let path = directory.path().join("topics/orders-3").join(name);
        // Another bit of each byte.
        for bit in (0..whole.len() * 8).step_by(7) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            let found = damages(directory.path());
            assert!(!found.is_empty(), "bit {} of byte {} of {name}", bit % 8, bit / 8);
            assert!(found.iter().all(|finding| finding.at.is_some()), "{found:?}");
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(findings(directory.path()), []);
}

#[test]
fn a_checkpoint_that_lags_behind_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::disk(directory.path());
    bench.config.segment_bytes = 1_500;
    bench.config.index_interval_bytes = 100;
    let checkpoint = directory.path().join("topics/orders-3/recovery-checkpoint");
    let log = bench.open();
    (0..4).for_each(|index| _ = log.append(batch_at(NOW_MS + index, 1, 100), 0).unwrap());
    log.close().unwrap();
    let early = fs::read(&checkpoint).unwrap();
    let log = bench.open();
    (4..30).for_each(|index| _ = log.append(batch_at(NOW_MS + index, 1, 100), 0).unwrap());
    assert!(log.segment_count() > 2);
    drop(log);
    fs::write(&checkpoint, early).unwrap();
    assert_undamaged(&bench, "killed before the next checkpoint");
    assert_eq!(bench.open().offsets().log_end, 30);
}

#[test]
fn what_is_cut_off_anywhere_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let files = written(directory.path());
    for (name, whole) in files.iter().filter(|(_, whole)| !whole.is_empty()) {
        let path = directory.path().join("topics/orders-3").join(name);
        for length in [0, 1, whole.len() / 2, whole.len() - 2] {
            // A sparse index may be any sparser.
            if name.ends_with(".index") && length % 8 == 0 {
                continue;
            }
            fs::write(&path, &whole[..length]).unwrap();
            assert!(!findings(directory.path()).is_empty(), "{name} cut to {length} of {}", whole.len());
        }
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn wrong_index_entries_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let files = written(directory.path());
    for (name, whole) in files.iter().filter(|(name, _)| name.ends_with("index")) {
        let path = directory.path().join("topics/orders-3").join(name);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            let found = damages(directory.path());
            // A time that is a little off leaves the order as it is.
            if name.ends_with(".index") {
                assert_eq!(found.len(), 1, "bit {} of byte {} of {name}", bit % 8, bit / 8);
                assert_eq!(found[0].at, Some((bit / 64 * 8) as u64), "{name}: {}", found[0]);
            }
        }
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn garbage_of_every_kind_is_no_reason_to_panic() {
    let directory = tempfile::tempdir().unwrap();
    let files = written(directory.path());
    for (name, whole) in &files {
        let path = directory.path().join("topics/orders-3").join(name);
        for garbage in [vec![0; 5_000], vec![0xff; 5_000], b"TGCP".to_vec(), [whole.as_slice(), whole].concat()] {
            fs::write(&path, garbage).unwrap();
            let _ = findings(directory.path());
        }
        fs::write(&path, whole).unwrap();
    }
}
