//! ListOffsets by time.

use std::io::Write as _;

use super::support::*;
use crate::{
    log::{Isolation, PartitionLog, TimestampOffset},
    model::batch::{BatchBuilder, BatchHeader, Codec, TimestampType},
};

fn compressed(codec: Codec, times: &[i64]) -> bytes::Bytes {
    let number = match codec {
        Codec::None => 0,
        Codec::Gzip => 1,
        Codec::Snappy => 2,
        Codec::Lz4 => 3,
        Codec::Zstd => 4,
    };
    times
        .iter()
        .fold(BatchBuilder::new().attributes(number), |builder, at| builder.record(*at, Some(b"k"), Some(b"v")))
        .build_with(|plain| match codec {
            Codec::None => plain,
            Codec::Gzip => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                gzip.write_all(&plain).unwrap();
                gzip.finish().unwrap()
            }
            Codec::Snappy => snap::raw::Encoder::new().compress_vec(&plain).unwrap(),
            Codec::Lz4 => {
                let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
                lz4.write_all(&plain).unwrap();
                lz4.finish().unwrap()
            }
            Codec::Zstd => zstd::encode_all(plain.as_slice(), 1).unwrap(),
        })
}

#[test]
fn the_first_record_that_is_not_older_is_found_in_every_codec() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let log = Bench::memory().open();
        log.append(compressed(codec, &[100, 200, 300]), 7).unwrap();
        log.append(compressed(codec, &[250, 400, 350]), 7).unwrap();
        let found = |at| log.offset_for_timestamp(at).unwrap().map(|found| (found.offset, found.timestamp_ms));
        assert_eq!(found(0), Some((0, 100)), "{codec:?}");
        assert_eq!(found(101), Some((1, 200)));
        assert_eq!(found(300), Some((2, 300)));
        assert_eq!(found(301), Some((4, 400)));
        assert_eq!(found(401), None);
        assert_eq!(
            log.offset_of_max_timestamp().unwrap(),
            Some(TimestampOffset { timestamp_ms: 400, offset: 4, leader_epoch: 7 })
        );
    }
}

#[test]
fn times_are_found_across_segments_and_above_the_log_start() {
    let mut bench = Bench::memory();
    bench.config.segment_bytes = 2_000;
    bench.config.index_interval_bytes = 200;
    let log = bench.open();
    for index in 0..200 {
        log.append(batch_at(NOW_MS - 1_000 + index, 1, 50), 0).unwrap();
    }
    assert!(log.segment_count() > 5);
    for index in 0..200 {
        let found = log.offset_for_timestamp(NOW_MS - 1_000 + index).unwrap().unwrap();
        assert_eq!((found.offset, found.timestamp_ms), (index, NOW_MS - 1_000 + index));
    }
    log.delete_records(150).unwrap();
    assert_eq!(log.offset_for_timestamp(0).unwrap().unwrap().offset, 150);
    assert_eq!(log.offset_of_max_timestamp().unwrap().unwrap().offset, 199);
}

#[test]
fn an_empty_log_has_no_times() {
    let log = Bench::memory().open();
    assert_eq!(log.offset_for_timestamp(0).unwrap(), None);
    assert_eq!(log.offset_of_max_timestamp().unwrap(), None);
}

#[test]
fn log_append_time_is_the_brokers() {
    let mut bench = Bench::memory();
    bench.config.timestamp_type = TimestampType::LogAppendTime;
    let log = bench.open();
    let appended = log.append(batch_at(5, 2, 10), 0).unwrap();
    assert_eq!(appended.log_append_time_ms, NOW_MS);
    let records = log.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap().records.read().unwrap();
    let header = BatchHeader::parse(&records).unwrap();
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.max_timestamp_ms, NOW_MS);
    assert_eq!(log.offset_for_timestamp(6).unwrap().map(|found| found.timestamp_ms), Some(NOW_MS));
}

/// What a walk over all records finds.
fn expected(log: &PartitionLog, timestamp_ms: i64) -> Option<(i64, i64)> {
    let seen = consume(log, 1 << 20);
    seen.iter().find(|record| record.timestamp_ms >= timestamp_ms).map(|record| (record.offset, record.timestamp_ms))
}

#[test]
fn times_in_any_order_are_found_while_segments_come_and_go() {
    let mut bench = Bench::memory();
    bench.config.segment_bytes = 1_000;
    bench.config.index_interval_bytes = 200;
    let mut rng = fastrand::Rng::with_seed(7);
    let log = bench.open();
    for round in 0..40 {
        for _ in 0..rng.usize(1..12) {
            // Now and then one of the far past or the far future.
            let at = match rng.u8(..8) {
                0 => NOW_MS - 10_000 + rng.i64(0..20_000),
                _ => NOW_MS - 2_000 + 50 * round + rng.i64(0..200),
            };
            log.append(batch_at(at, rng.usize(1..3), 50), 0).unwrap();
        }
        log.flush_now(false).unwrap();
        match rng.u8(..4) {
            0 => _ = log.delete_records(rng.i64(log.log_start()..=log.offsets().high_watermark)).unwrap(),
            1 => {
                let mut config = bench.config.clone();
                config.retention_bytes = Some(8_000);
                log.update_config(std::sync::Arc::new(config));
                log.apply_retention(NOW_MS).unwrap();
            }
            _ => {}
        }
        for _ in 0..20 {
            let at = NOW_MS - 12_000 + rng.i64(0..24_000);
            let found = log.offset_for_timestamp(at).unwrap().map(|found| (found.offset, found.timestamp_ms));
            assert_eq!(found, expected(&log, at), "round {round}, {at}");
        }
        let seen = consume(&log, 1 << 20);
        let Some(max) = log.offset_of_max_timestamp().unwrap() else {
            assert!(seen.is_empty(), "round {round}");
            continue;
        };
        let largest = seen.iter().map(|record| record.timestamp_ms).max();
        // What DeleteRecords left of a segment has its timestamps, as in Kafka.
        assert!(Some(max.timestamp_ms) >= largest, "round {round}");
        let first = seen.iter().find(|record| record.timestamp_ms == max.timestamp_ms);
        assert!(max.offset < log.log_start() || first.is_some_and(|first| first.offset == max.offset), "round {round}");
    }
}

#[test]
fn look_ups_share_one_list_which_holds_nothing_that_is_gone() {
    let mut bench = Bench::memory();
    bench.config.segment_bytes = 1_000;
    let log = bench.open();
    for index in 0..100 {
        log.append(batch_at(NOW_MS + index, 1, 50), 0).unwrap();
    }
    log.flush_now(false).unwrap();
    log.offset_for_timestamp(NOW_MS + 80).unwrap().unwrap();
    let (view, first) = {
        let mut state = log.state.lock();
        (state.segments.view(), std::sync::Arc::downgrade(&state.segments[0]))
    };
    log.append(batch_at(NOW_MS + 100, 1, 50), 0).unwrap();
    log.offset_for_timestamp(NOW_MS + 80).unwrap().unwrap();
    assert!(log.state.lock().segments.is(&view), "it was not copied");
    drop(view);
    log.delete_records(50).unwrap();
    assert!(first.upgrade().is_none());
}
