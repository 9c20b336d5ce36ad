//! What a restart of the process need not read again, and a restart of the machine must.

use std::fs;

use super::support::*;
use crate::{
    config::Durability,
    log::{PartitionLog, recovery},
};

const NOTE: &str = "topics/orders-3/recovery-progress";

fn os_bench(directory: &std::path::Path) -> Bench {
    Bench { durability: Durability::Os, ..Bench::disk(directory) }
}

fn fill(log: &PartitionLog, batches: usize) {
    for _ in 0..batches {
        log.append(batch_of(1, 100_000), 0).unwrap();
    }
}

/// Bytes that a start on a copy of the directory, as a kill leaves it, would read; the copy is given to `change` first.
fn scanned_after_kill(from: &std::path::Path, change: impl FnOnce(&std::path::Path)) -> (u64, i64) {
    let copy = tempfile::tempdir().unwrap();
    copy_directory(from, copy.path());
    change(copy.path());
    let bench = os_bench(copy.path());
    let partition = crate::model::TopicPartition::new("orders", 3);
    let recovered = recovery::recover(&*bench.store, &partition, &bench.config, 0).unwrap();
    (recovered.scanned_bytes, recovered.end.offset)
}

#[test]
fn a_start_after_a_kill_reads_little_and_after_a_power_cut_everything() {
    let directory = tempfile::tempdir().unwrap();
    let log = os_bench(directory.path()).open();
    fill(&log, 400);
    let size_bytes = log.size_bytes();
    let (scanned, end) = scanned_after_kill(directory.path(), |_| {});
    assert!(scanned < 20 << 20, "{scanned} bytes of {size_bytes} were read");
    assert_eq!(end, 400);
    let other_boot = |path: &std::path::Path| {
        let path = path.join(NOTE);
        let mut note = fs::read(&path).unwrap();
        note[3] ^= 1;
        fs::write(path, note).unwrap();
    };
    assert_eq!(scanned_after_kill(directory.path(), other_boot), (size_bytes, 400));
}

#[test]
fn a_note_in_time_spares_reading_what_came_before() {
    let directory = tempfile::tempdir().unwrap();
    let log = os_bench(directory.path()).open();
    fill(&log, 5);
    log.note_progress(1 << 20).unwrap();
    assert!(!directory.path().join(NOTE).exists(), "too little to be noted");
    log.note_progress(1).unwrap();
    fill(&log, 1);
    let (scanned, end) = scanned_after_kill(directory.path(), |_| {});
    assert_eq!((scanned, end), (log.size_bytes() / 6, 6));
}

#[test]
fn a_damaged_note_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let log = os_bench(directory.path()).open();
    fill(&log, 3);
    log.note_progress(1).unwrap();
    let whole = fs::read(directory.path().join(NOTE)).unwrap();
    for length in 0..whole.len() {
        let cut = |path: &std::path::Path| fs::write(path.join(NOTE), &whole[..length]).unwrap();
        assert_eq!(scanned_after_kill(directory.path(), cut), (log.size_bytes(), 3), "cut to {length} bytes");
    }
}
