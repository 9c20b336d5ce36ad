//! Sequences of idempotent producers through the log.

use std::time::Duration;

use super::support::*;
use crate::log::AppendError;

#[test]
fn five_batches_back_are_recognised() {
    let log = Bench::memory().open();
    for sequence in 0..7 {
        log.append(idempotent(1, 0, sequence, 1), 0).unwrap();
    }
    for sequence in 2..7 {
        let again = log.append(idempotent(1, 0, sequence, 1), 0).unwrap();
        assert!(again.is_duplicate);
        assert_eq!((again.base_offset, again.last_offset), (i64::from(sequence), i64::from(sequence)));
    }
    assert!(matches!(
        log.append(idempotent(1, 0, 1, 1), 0),
        Err(AppendError::OutOfOrderSequence { sequence: 1, last_sequence: 6, .. })
    ));
    assert_eq!(log.offsets().log_end, 7);
}

#[test]
fn a_gap_is_refused_and_leaves_nothing() {
    let log = Bench::memory().open();
    log.append(idempotent(1, 0, 0, 3), 0).unwrap();
    for sequence in [1, 2, 4, 100] {
        assert!(matches!(log.append(idempotent(1, 0, sequence, 3), 0), Err(AppendError::OutOfOrderSequence { .. })));
    }
    assert_eq!(log.append(idempotent(1, 0, 3, 3), 0).unwrap().base_offset, 3);
}

#[test]
fn an_unknown_producer_may_begin_anywhere() {
    let log = Bench::memory().open();
    log.append(idempotent(1, 4, 77, 1), 0).unwrap();
    log.append(idempotent(1, 4, 78, 1), 0).unwrap();
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
    let log = Bench::memory().open();
    log.append(idempotent(1, 0, 0, 1), 0).unwrap();
    assert!(matches!(log.append(idempotent(1, 1, 1, 1), 0), Err(AppendError::OutOfOrderSequence { .. })));
    log.append(idempotent(1, 1, 0, 1), 0).unwrap();
    assert!(matches!(
        log.append(idempotent(1, 0, 1, 1), 0),
        Err(AppendError::InvalidProducerEpoch { epoch: 0, current_epoch: 1, .. })
    ));
    // The same sequence under another epoch is no duplicate.
    assert!(log.append(idempotent(1, 1, 0, 1), 0).unwrap().is_duplicate);
}

#[test]
fn sequences_wrap() {
    let log = Bench::memory().open();
    log.append(idempotent(1, 0, i32::MAX - 1, 2), 0).unwrap();
    log.append(idempotent(1, 0, 0, 2), 0).unwrap();
    assert!(log.append(idempotent(1, 0, i32::MAX - 1, 2), 0).unwrap().is_duplicate);
}

#[test]
fn idle_producers_are_forgotten() {
    let bench = Bench::memory();
    let log = bench.open();
    log.append(idempotent(1, 0, 0, 1), 0).unwrap();
    bench.clock.advance(Duration::from_secs(86_401));
    log.apply_retention(NOW_MS + 86_401_000).unwrap();
    assert_eq!(log.producers(), []);
    log.append(idempotent(1, 0, 50, 1), 0).unwrap();
}

#[test]
fn a_duplicate_of_a_batch_that_spans_kinds_keeps_its_time() {
    let mut bench = Bench::memory();
    bench.config.timestamp_type = crate::model::batch::TimestampType::LogAppendTime;
    let log = bench.open();
    let first = log.append(idempotent(1, 0, 0, 1), 0).unwrap();
    bench.clock.advance(Duration::from_secs(5));
    let again = log.append(idempotent(1, 0, 0, 1), 0).unwrap();
    assert_eq!((first.log_append_time_ms, again.log_append_time_ms), (NOW_MS, NOW_MS));
}
