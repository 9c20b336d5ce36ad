//! What is old or too much goes; DeleteRecords.

use std::{sync::Arc, time::Duration};

use super::support::*;
use crate::log::{Isolation, LogError, ReadError, Waiter};

fn bench() -> Bench {
    let mut bench = Bench::memory();
    bench.config.segment_bytes = 1_000;
    bench.config.retention_ms = None;
    bench
}

#[test]
fn segments_past_their_time_go() {
    let mut bench = bench();
    bench.config.retention_ms = Some(1_000);
    let log = bench.open();
    for index in 0..20 {
        log.append(batch_at(NOW_MS + index * 100, 1, 200), 0).unwrap();
    }
    assert_eq!(log.apply_retention(NOW_MS + 1_000).unwrap(), 0);
    assert!(log.apply_retention(NOW_MS + 2_000).unwrap() > 0);
    let start = log.log_start();
    assert!(start > 0 && start <= 10, "{start}");
    assert!(matches!(
        log.read(0, 1, true, Isolation::ReadUncommitted),
        Err(ReadError::BelowStart { log_start, .. }) if log_start == start
    ));
    // Everything is old: the active segment goes too, and the next offset stays.
    log.apply_retention(NOW_MS + 1_000_000).unwrap();
    assert_eq!((log.log_start(), log.offsets().high_watermark, log.size_bytes()), (20, 20, 0));
    assert!(log.read(20, 1, true, Isolation::ReadUncommitted).unwrap().records.is_empty());
    assert_eq!(log.append(batch_of(1, 200), 0).unwrap().base_offset, 20);
    assert_eq!(ranges(&log.read(20, 1, true, Isolation::ReadUncommitted).unwrap().records), [(20, 20)]);
    let log = bench.open();
    assert_eq!((log.log_start(), log.offsets().log_end), (20, 21));
}

#[test]
fn segments_past_the_size_go() {
    let mut bench = bench();
    bench.config.retention_bytes = Some(3_000);
    let log = bench.open();
    for _ in 0..40 {
        log.append(batch_of(1, 200), 0).unwrap();
    }
    log.apply_retention(NOW_MS).unwrap();
    assert!((3_000..4_000).contains(&log.size_bytes()), "{}", log.size_bytes());
    assert_eq!(log.offsets().log_end, 40);
}

#[test]
fn a_compacted_topic_keeps_everything() {
    let mut bench = bench();
    bench.config.retention_bytes = Some(0);
    bench.config.delete = false;
    let log = bench.open();
    for _ in 0..20 {
        log.append(batch_of(1, 200), 0).unwrap();
    }
    assert_eq!(log.apply_retention(NOW_MS * 2).unwrap(), 0);
    log.delete_records(15).unwrap();
    assert!(log.size_bytes() < 3_000);
}

#[test]
fn delete_records_moves_the_start_within_the_high_watermark() {
    let log = bench().open();
    for _ in 0..20 {
        log.append(batch_of(1, 200), 0).unwrap();
    }
    let waiter = Waiter::new();
    log.register(&waiter);
    assert_eq!(log.delete_records(7).unwrap(), 7);
    assert_eq!(log.delete_records(3).unwrap(), 7);
    assert!(matches!(log.delete_records(21), Err(LogError::OffsetOutOfRange { .. })));
    assert!(matches!(log.delete_records(-2), Err(LogError::OffsetOutOfRange { .. })));
    assert!(log.read(6, 1, true, Isolation::ReadUncommitted).is_err());
    assert_eq!(ranges(&log.read(7, 1, true, Isolation::ReadUncommitted).unwrap().records), [(7, 7)]);
    assert_eq!(log.delete_records(-1).unwrap(), 20);
    assert!(log.read(20, 1, true, Isolation::ReadUncommitted).unwrap().records.is_empty());
    log.append(batch_of(1, 200), 0).unwrap();
    assert_eq!(ranges(&log.read(20, 1, true, Isolation::ReadUncommitted).unwrap().records), [(20, 20)]);
}

#[test]
fn time_alone_rolls_a_segment() {
    let mut bench = bench();
    bench.config.segment_bytes = 1 << 20;
    bench.config.segment_ms = 1_000;
    let log = bench.open();
    log.append(batch_at(NOW_MS, 1, 10), 0).unwrap();
    log.append(batch_at(NOW_MS + 1_000, 1, 10), 0).unwrap();
    assert_eq!(log.segment_count(), 1);
    log.append(batch_at(NOW_MS + 1_001, 1, 10), 0).unwrap();
    assert_eq!(log.segment_count(), 2);
    bench.clock.advance(Duration::from_secs(1));
    let mut config = bench.config.clone();
    config.segment_ms = i64::MAX;
    log.update_config(Arc::new(config));
    log.append(batch_at(NOW_MS + 3_000, 1, 10), 0).unwrap();
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn readers_outlive_the_segment_they_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::disk(directory.path());
    bench.config.segment_bytes = 1_000;
    let log = bench.open();
    for _ in 0..40 {
        log.append(batch_of(1, 200), 0).unwrap();
    }
    let read = log.read(0, 1, true, Isolation::ReadUncommitted).unwrap();
    let reader = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            for _ in 0..2_000 {
                match log.read(0, 10_000, true, Isolation::ReadUncommitted) {
                    Ok(_) | Err(ReadError::BelowStart { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    for start in 0..40 {
        log.delete_records(start).unwrap();
    }
    reader.join().unwrap();
    assert_eq!(ranges(&read.records), [(0, 0)]);
}
