//! Segments that are missing in the middle.

use std::fs;

use super::support::*;
use crate::log::Isolation;

/// A log of more than four segments, the second of which is gone; answers the offsets that went with it.
fn with_a_hole(directory: &std::path::Path) -> (Bench, i64, i64) {
    let mut bench = Bench::disk(directory);
    bench.config.segment_bytes = 1_000;
    let log = bench.open();
    for _ in 0..30 {
        log.append(batch_of(1, 200), 0).unwrap();
    }
    log.close().unwrap();
    let home = directory.join("topics/orders-3");
    let names = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut bases: Vec<i64> = names.filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    fs::remove_file(home.join(format!("{:020}.log", bases[1]))).unwrap();
    (bench, bases[1], bases[2] - 1)
}

#[test]
fn a_missing_segment_is_found_and_read_over() {
    let directory = tempfile::tempdir().unwrap();
    let (bench, first, last) = with_a_hole(directory.path());
    let log = bench.open();
    assert_eq!(log.holes().unwrap(), [first..=last]);
    let read = log.read(first, 1, true, Isolation::ReadUncommitted).unwrap();
    assert_eq!(ranges(&read.records), [(last + 1, last + 1)]);
    // What lies below the log start is not missed.
    log.delete_records(last).unwrap();
    assert_eq!(log.holes().unwrap(), [last..=last]);
    log.delete_records(last + 1).unwrap();
    assert_eq!(log.holes().unwrap(), []);
}

#[test]
fn a_log_that_is_or_was_compacted_has_gaps_by_design() {
    let directory = tempfile::tempdir().unwrap();
    let (mut bench, first, last) = with_a_hole(directory.path());
    bench.config.compact = true;
    assert_eq!(bench.open().holes().unwrap(), []);
    bench.config.compact = false;
    let log = bench.open();
    assert_eq!(log.holes().unwrap(), [first..=last]);
    bench.store.write_whole(log.partition(), "cleaner-offset-checkpoint", b"", true).unwrap();
    assert_eq!(log.holes().unwrap(), []);
}

#[test]
fn damage_is_no_hole_and_lost_indexes_make_none() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::disk(directory.path());
    bench.config.segment_bytes = 1_000;
    let log = bench.open();
    for _ in 0..30 {
        log.append(batch_of(1, 200), 0).unwrap();
    }
    log.close().unwrap();
    let home = directory.path().join("topics/orders-3");
    for entry in fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "timeindex") {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(bench.open().holes().unwrap(), []);
    let first = home.join("00000000000000000000.log");
    let mut bytes = fs::read(&first).unwrap();
    let end = bytes.len();
    bytes[end - 220..].fill(0xee);
    fs::write(&first, bytes).unwrap();
    assert_eq!(bench.open().holes().unwrap(), []);
}
