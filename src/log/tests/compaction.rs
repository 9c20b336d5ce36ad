//! What compaction keeps, what goes, and what it leaves alone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::support::*;
use crate::{
    log::{Cleanable, CompactError, CompactStats, Isolation, Pace, PartitionLog, ReadError, StopFlag},
    model::batch::{BatchBuilder, BatchHeader, Codec, batches},
    storage::{disk::DiskSegments, segment::OpenMode},
};

const KEYS_BYTES: u64 = 1 << 20;

fn bench() -> Bench {
    on(Bench::memory())
}

fn on(mut bench: Bench) -> Bench {
    bench.config.compact = true;
    bench.config.delete = false;
    bench.config.segment_bytes = 1_000;
    bench.config.index_interval_bytes = 200;
    bench.config.timestamp_after_max_ms = i64::MAX;
    bench
}

fn pass(bench: &Bench, log: &PartitionLog) -> CompactStats {
    log.compact(KEYS_BYTES, &mut bench.pace()).unwrap().unwrap_or_default()
}

fn put(log: &PartitionLog, key: &str, value: Option<&str>) -> i64 {
    log.append(keyed(NOW_MS, key, value), 0).unwrap().base_offset
}

/// Fills the active segment, so that what was written before can be cleaned.
fn fill(log: &PartitionLog) {
    let count = log.segment_count();
    while log.segment_count() == count {
        put(log, "filler", Some(&"x".repeat(300)));
    }
}

fn dump(log: &PartitionLog) -> Vec<(i64, String, Option<String>)> {
    consume(log, 1_000_000)
        .into_iter()
        .filter(|record| record.key.as_deref() != Some("filler"))
        .map(|record| (record.offset, record.key.unwrap(), record.value))
        .collect()
}

fn headers(log: &PartitionLog) -> Vec<BatchHeader> {
    let mut found = Vec::new();
    let mut at = log.log_start();
    loop {
        let read = log.read(at, 1_000_000, true, Isolation::ReadUncommitted).unwrap();
        if read.records.is_empty() {
            return found;
        }
        found.extend(batches(&read.records.read().unwrap()).map(|batch| batch.unwrap().header));
        at = read.next_offset;
    }
}

fn seen(offset: i64, key: &str, value: Option<&str>) -> (i64, String, Option<String>) {
    (offset, key.to_owned(), value.map(str::to_owned))
}

#[test]
fn the_latest_record_of_each_key_stays_where_it_was() {
    let bench = bench();
    let log = bench.open();
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", "2"), ("a", "3")] {
        put(&log, key, Some(value));
    }
    fill(&log);
    let before = log.size_bytes();
    let stats = pass(&bench, &log);
    let expected = [seen(3, "c", Some("1")), seen(4, "b", Some("2")), seen(5, "a", Some("3"))];
    assert_eq!(dump(&log), expected);
    assert!(log.size_bytes() < before && stats.bytes_after < stats.bytes_before, "{stats:?}");
    assert_eq!(log.log_start(), 0);
    let end = log.offsets().log_end;
    drop(log);
    let log = bench.open();
    assert_eq!((dump(&log), log.log_start(), log.offsets().log_end), (expected.to_vec(), 0, end));
    assert_eq!(put(&log, "a", Some("4")), end);
}

#[test]
fn records_go_from_the_middle_of_a_batch_in_every_codec() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bench = bench();
        let log = bench.open();
        let batch = |from: i64| {
            (0..6).fold(BatchBuilder::new().producer(5, 1, 6 * from as i32), |batch, index| {
                let key = ["a", "b", "c", "d", "e", "f"][index as usize];
                let value = format!("{from}{index}").repeat(20);
                batch.record(NOW_MS + index, Some(key.as_bytes()), (index != 4).then_some(value.as_bytes()))
            })
        };
        log.append(packed(batch(0), codec), 3).unwrap();
        log.append(packed(BatchBuilder::new().record(NOW_MS, Some(b"c"), Some(b"new")), codec), 3).unwrap();
        log.append(packed(BatchBuilder::new().record(NOW_MS, Some(b"f"), Some(b"new")), codec), 3).unwrap();
        let first = headers(&log)[0];
        fill(&log);
        pass(&bench, &log);
        let offsets: Vec<_> = dump(&log).iter().map(|(offset, ..)| *offset).collect();
        assert_eq!(offsets, [0, 1, 3, 4, 6, 7], "{codec:?}");
        assert_eq!(dump(&log)[1], seen(1, "b", Some(&"01".repeat(20))), "{codec:?}");
        let times: Vec<_> = consume(&log, 1_000).iter().map(|record| record.timestamp_ms - NOW_MS).take(4).collect();
        assert_eq!(times, [0, 1, 3, 4], "{codec:?}");
        let cleaned = headers(&log)[0];
        let expected = BatchHeader {
            length: cleaned.length,
            crc: cleaned.crc,
            attributes: first.attributes.with_delete_horizon(true),
            base_timestamp_ms: NOW_MS + bench.config.delete_retention_ms,
            max_timestamp_ms: NOW_MS + 4,
            record_count: 4,
            ..first
        };
        assert_eq!(cleaned, expected, "{codec:?}");
    }
}

#[test]
fn a_tombstone_stays_until_its_delete_horizon() {
    let mut bench = bench();
    bench.config.delete_retention_ms = 10_000;
    let log = bench.open();
    put(&log, "a", Some("1"));
    put(&log, "b", Some("1"));
    put(&log, "a", None);
    fill(&log);
    pass(&bench, &log);
    assert_eq!(dump(&log), [seen(1, "b", Some("1")), seen(2, "a", None)]);
    let stamped = headers(&log).into_iter().find(|header| header.base_offset == 2).unwrap();
    assert!(stamped.attributes.has_delete_horizon());
    assert_eq!((stamped.base_timestamp_ms, stamped.max_timestamp_ms), (NOW_MS + 10_000, NOW_MS));
    assert_eq!(consume(&log, 1_000)[1].timestamp_ms, NOW_MS);
    // The horizon is set once: it does not move with every pass.
    bench.clock.advance(Duration::from_millis(9_999));
    fill(&log);
    pass(&bench, &log);
    assert_eq!(dump(&log), [seen(1, "b", Some("1")), seen(2, "a", None)]);
    assert!(headers(&log).contains(&stamped));
    bench.clock.advance(Duration::from_millis(1));
    fill(&log);
    pass(&bench, &log);
    assert_eq!(dump(&log), [seen(1, "b", Some("1"))]);
}

#[test]
fn a_tombstone_that_was_overtaken_goes_at_once() {
    let bench = bench();
    let log = bench.open();
    put(&log, "a", None);
    put(&log, "a", Some("1"));
    fill(&log);
    pass(&bench, &log);
    assert_eq!(dump(&log), [seen(1, "a", Some("1"))]);
}

#[test]
fn records_without_a_key_go() {
    let mut bench = bench();
    bench.config.compact = false;
    let log = bench.open();
    log.append(BatchBuilder::new().record(NOW_MS, None, Some(b"old")).build(), 0).unwrap();
    put(&log, "a", Some("1"));
    fill(&log);
    assert!(log.compact(KEYS_BYTES, &mut bench.pace()).is_err(), "not a compacted topic");
    bench.config.compact = true;
    log.update_config(Arc::new(bench.config.clone()));
    pass(&bench, &log);
    assert_eq!(dump(&log), [seen(1, "a", Some("1"))]);
}

#[test]
fn the_active_segment_is_not_touched() {
    let bench = bench();
    let log = bench.open();
    put(&log, "a", Some("1"));
    put(&log, "a", Some("2"));
    assert_eq!(log.cleanable(NOW_MS).unwrap(), None);
    assert_eq!(log.compact(KEYS_BYTES, &mut bench.pace()).unwrap(), None);
    assert_eq!(dump(&log).len(), 2);
}

#[test]
fn a_log_is_cleanable_when_enough_of_it_is_dirty() {
    let mut bench = bench();
    bench.config.min_cleanable_dirty_ratio = 0.45;
    let log = bench.open();
    for index in 0..40 {
        put(&log, &format!("key{index}"), Some(&"v".repeat(100)));
    }
    assert_eq!(log.cleanable(NOW_MS).unwrap(), Some(Cleanable { dirty_ratio: 1.0 }));
    pass(&bench, &log);
    assert_eq!(log.cleanable(NOW_MS).unwrap(), None);
    let mut written = 0;
    while log.cleanable(NOW_MS).unwrap().is_none() {
        put(&log, "again", Some(&"v".repeat(100)));
        written += 1;
    }
    assert!((20..45).contains(&written), "{written}");
    // Where it was left off is stored.
    drop(log);
    let ratio = bench.open().cleanable(NOW_MS).unwrap().unwrap().dirty_ratio;
    assert!((0.45..0.6).contains(&ratio), "{ratio}");
    // Without that file everything counts as dirty, and nothing worse.
    let log = bench.open();
    bench.store.delete(log.partition(), "cleaner-offset-checkpoint").unwrap();
    assert_eq!(log.cleanable(NOW_MS).unwrap(), Some(Cleanable { dirty_ratio: 1.0 }));
}

#[test]
fn young_records_are_kept_out_by_the_minimum_lag() {
    let mut bench = bench();
    bench.config.min_compaction_lag_ms = 5_000;
    let log = bench.open();
    for index in 0..10 {
        for _ in 0..4 {
            log.append(keyed(NOW_MS + index * 1_000, "a", Some(&"v".repeat(200))), 0).unwrap();
        }
    }
    bench.clock.advance(Duration::from_millis(8_500));
    let before = consume(&log, 1_000);
    pass(&bench, &log);
    let left = consume(&log, 1_000);
    let young = |records: &[Seen]| records.iter().filter(|it| it.timestamp_ms > NOW_MS + 3_500).count();
    assert_eq!(young(&left), young(&before));
    assert!(left.len() - young(&left) <= 4, "{left:?}");
}

#[test]
fn a_record_that_waited_too_long_makes_a_log_cleanable_and_its_segment_roll() {
    let mut bench = bench();
    bench.config.min_cleanable_dirty_ratio = 1.0;
    bench.config.max_compaction_lag_ms = 5_000;
    let log = bench.open();
    put(&log, "a", Some("1"));
    put(&log, "a", Some("2"));
    assert_eq!(log.cleanable(NOW_MS + 5_000).unwrap(), None);
    assert_eq!(log.segment_count(), 1);
    assert!(log.cleanable(NOW_MS + 5_001).unwrap().is_some());
    assert_eq!(log.segment_count(), 2);
    pass(&bench, &log);
    assert_eq!(dump(&log), [seen(1, "a", Some("2"))]);
    assert_eq!(log.cleanable(NOW_MS + 9_000).unwrap(), None);
    // An append rolls for the same reason.
    log.append(keyed(NOW_MS + 10_000, "a", Some("3")), 0).unwrap();
    log.append(keyed(NOW_MS + 15_001, "a", Some("4")), 0).unwrap();
    assert_eq!(log.segment_count(), 3);
}

#[test]
fn small_segments_become_one_within_every_bound() {
    let mut bench = bench();
    bench.config.segment_bytes = 500;
    let log = bench.open();
    for index in 0..60 {
        put(&log, &format!("key{}", index % 50), Some(&"v".repeat(100)));
    }
    bench.config.segment_bytes = 2_000;
    log.update_config(Arc::new(bench.config.clone()));
    fill(&log);
    let before = log.segment_count();
    let kept = dump(&log).split_off(10);
    let stats = pass(&bench, &log);
    assert!(log.segment_count() * 3 < before, "{before} segments became {}", log.segment_count());
    assert_eq!(log.segment_count(), stats.segments_after + 1);
    assert_eq!(dump(&log), kept);
    let files = bench.store.list(log.partition()).unwrap();
    let logs: Vec<_> = files.iter().filter(|file| file.name.ends_with(".log")).collect();
    assert_eq!(logs.len(), log.segment_count());
    assert!(logs.iter().all(|file| file.size_bytes <= 2_000), "{logs:?}");
    assert!(!files.iter().any(|file| file.name.ends_with(".cleaned") || file.name.contains("replaced")), "{files:?}");
    // Every offset can be asked for, gaps too.
    for from in 0..log.offsets().log_end {
        let read = log.read(from, 1, true, Isolation::ReadUncommitted).unwrap();
        assert!(ranges(&read.records)[0].1 >= from);
    }
    drop(log);
    assert_eq!(dump(&bench.open()), kept);
}

#[test]
fn with_little_memory_a_pass_ends_early_and_the_next_goes_on() {
    let bench = bench();
    let log = bench.open();
    for round in 0..3 {
        for index in 0..100 {
            put(&log, &format!("key{index}"), Some(&format!("{round}")));
        }
    }
    fill(&log);
    let mut passes = 0;
    while log.compact(24 * 30, &mut bench.pace()).unwrap().is_some() {
        passes += 1;
        let latest: BTreeMap<_, _> = dump(&log).into_iter().map(|(_, key, value)| (key, value)).collect();
        assert!(latest.len() == 100 && latest.values().all(|value| value.as_deref() == Some("2")), "pass {passes}");
    }
    assert!(passes > 10, "{passes}");
    assert_eq!(dump(&log).len(), 100);
}

#[test]
fn an_idempotent_producer_goes_on_after_its_records_are_gone() {
    let bench = bench();
    let log = bench.open();
    let batch = |sequence| BatchBuilder::new().producer(7, 2, sequence).record(NOW_MS, Some(b"a"), Some(b"v")).build();
    for sequence in 0..3 {
        log.append(batch(sequence), 0).unwrap();
    }
    put(&log, "a", Some("other"));
    fill(&log);
    pass(&bench, &log);
    assert_eq!(dump(&log), [seen(3, "a", Some("other"))]);
    let empty: Vec<_> = headers(&log).into_iter().filter(|header| header.record_count == 0).collect();
    assert_eq!(empty.len(), 1, "the last batch of the producer stays, without records");
    assert_eq!((empty[0].base_offset, empty[0].base_sequence, empty[0].producer_epoch), (2, 2, 2));
    assert_eq!((empty[0].attributes.codec(), empty[0].base_timestamp_ms), (Some(Codec::None), -1));
    assert_eq!(empty[0].max_timestamp_ms, NOW_MS);
    drop(log);
    // Even without the checkpoint, from the records alone.
    bench.store.delete(bench.open().partition(), "recovery-checkpoint").unwrap();
    let log = bench.open();
    assert!(log.append(batch(2), 0).unwrap().is_duplicate);
    assert!(log.append(batch(4), 0).is_err());
    log.append(batch(3), 0).unwrap();
    fill(&log);
    pass(&bench, &log);
    assert!(!headers(&log).iter().any(|header| header.base_offset == 2), "it wrote again: no need any more");
    // An expired producer keeps nothing.
    let count = headers(&log).iter().filter(|header| header.record_count == 0).count();
    put(&log, "a", Some("later"));
    fill(&log);
    log.apply_retention(NOW_MS + 86_400_001).unwrap();
    pass(&bench, &log);
    assert!(headers(&log).iter().filter(|header| header.record_count == 0).count() <= count);
    assert!(!headers(&log).iter().any(|header| header.producer_id == 7));
}

#[test]
fn the_last_batch_of_what_was_cleaned_keeps_its_offsets() {
    let bench = bench();
    let log = bench.open();
    // The last record of the segment is out of date by the time that another pass comes.
    fill(&log);
    pass(&bench, &log);
    fill(&log);
    pass(&bench, &log);
    let bound =
        headers(&log).iter().filter(|header| header.record_count > 0).map(|it| it.base_offset).collect::<Vec<_>>();
    assert_eq!(bound.len(), 2, "one in the sealed part and one in the active segment: {bound:?}");
}

#[test]
fn batches_of_transactions_are_left_as_they_are() {
    let bench = bench();
    let records = |attributes, id| {
        BatchBuilder::new().attributes(attributes).producer(id, 0, 0).record(NOW_MS, Some(b"a"), Some(b"v"))
    };
    {
        // As another broker leaves them.
        let orders = bench.open().partition().clone();
        let file = bench.store.open(&orders, "00000000000000000000.log", OpenMode::Create).unwrap();
        let mut offset = 0;
        for (attributes, id) in [(0x10, 5), (0x30, 5), (0x10, 6), (0x30, 6), (0, 8)] {
            let mut batch = records(attributes, id).base_offset(offset).build().to_vec();
            batch[12..16].fill(0);
            file.append(&[std::io::IoSlice::new(&batch)]).unwrap();
            offset += 1;
        }
    }
    let log = bench.open();
    put(&log, "a", Some("2"));
    fill(&log);
    pass(&bench, &log);
    let offsets: Vec<_> = dump(&log).iter().map(|(offset, ..)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 5]);
}

#[test]
fn a_damaged_segment_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let bench = on(Bench::disk(directory.path()));
    let log = bench.open();
    for index in 0..30 {
        put(&log, "a", Some(&format!("{index}").repeat(40)));
    }
    let path = directory.path().join("topics/orders-3/00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[BatchHeader::SIZE + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(log.cleanable(NOW_MS).unwrap().is_some());
    let error = log.compact(KEYS_BYTES, &mut bench.pace()).unwrap_err();
    assert!(matches!(error, CompactError::Damaged { base_offset: 0, position: 0, .. }), "{error}");
    assert!(log.is_uncleanable());
    assert_eq!(log.cleanable(NOW_MS).unwrap(), None);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert!(matches!(log.read(0, 1, true, Isolation::ReadUncommitted), Err(ReadError::Corrupt { .. })));
    assert_eq!(ranges(&log.read(1, 1, true, Isolation::ReadUncommitted).unwrap().records), [(1, 1)]);
}

#[test]
fn compact_and_delete_do_both() {
    let mut bench = bench();
    bench.config.delete = true;
    bench.config.retention_ms = Some(1_000);
    let log = bench.open();
    for index in 0..40_i64 {
        log.append(keyed(NOW_MS + index * 100, &format!("k{}", index % 4), Some(&"v".repeat(200))), 0).unwrap();
    }
    pass(&bench, &log);
    let left = consume(&log, 1_000).len();
    assert!(left < 12, "{left}");
    log.apply_retention(NOW_MS + 100_000).unwrap();
    assert_eq!((log.log_start(), log.size_bytes()), (40, 0));
}

#[test]
fn a_segment_without_any_record_left_does_not_hold_up_retention() {
    let mut bench = bench();
    bench.config.delete = true;
    bench.config.retention_ms = None;
    let log = bench.open();
    for index in 0..20 {
        log.append(keyed(NOW_MS + index, "a", Some(&"v".repeat(250))), 0).unwrap();
    }
    pass(&bench, &log);
    assert!(log.segment_count() >= 3, "{}", log.segment_count());
    bench.config.retention_ms = Some(1_000);
    log.update_config(Arc::new(bench.config.clone()));
    assert_eq!(log.apply_retention(NOW_MS + 1_000).unwrap(), 0);
    log.apply_retention(NOW_MS + 5_000).unwrap();
    assert_eq!(log.log_start(), 20);
}

#[test]
fn records_below_the_log_start_do_not_count() {
    let bench = bench();
    let log = bench.open();
    for index in 0..20 {
        put(&log, &format!("k{index}"), Some(&"v".repeat(200)));
    }
    log.delete_records(10).unwrap();
    pass(&bench, &log);
    assert_eq!(log.log_start(), 10);
    assert_eq!(dump(&log).iter().map(|(offset, ..)| *offset).collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
    log.delete_records(19).unwrap();
    fill(&log);
    pass(&bench, &log);
    assert_eq!(dump(&log).len(), 1);
}

#[test]
fn offsets_are_found_by_time_after_compaction() {
    let bench = bench();
    let log = bench.open();
    for index in 0..60_i64 {
        let key = if index % 3 == 0 { "often".to_owned() } else { format!("k{index}") };
        log.append(keyed(NOW_MS + index * 10, &key, Some(&"v".repeat(80))), 0).unwrap();
    }
    fill(&log);
    pass(&bench, &log);
    let check = |log: &PartitionLog| {
        let records = consume(log, 10_000);
        for wanted in 0..600 {
            let found = log.offset_for_timestamp(NOW_MS + wanted).unwrap();
            let expected = records.iter().find(|record| record.timestamp_ms >= NOW_MS + wanted);
            assert_eq!(found.map(|it| it.offset), expected.map(|it| it.offset), "{wanted}");
        }
        let max = records.iter().max_by_key(|record| (record.timestamp_ms, -record.offset)).unwrap();
        assert_eq!(log.offset_of_max_timestamp().unwrap().map(|it| it.offset), Some(max.offset));
    };
    check(&log);
    drop(log);
    check(&bench.open());
}

#[test]
fn a_hundred_thousand_updates_of_a_thousand_keys_shrink() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = on(Bench::disk(directory.path()));
    bench.config.segment_bytes = 1 << 20;
    bench.config.index_interval_bytes = 4_096;
    bench.durability = crate::config::Durability::Os;
    let log = bench.open();
    for batch in 0..1_000 {
        let batch = (0..100).fold(BatchBuilder::new(), |builder, index| {
            let update = batch * 100 + index;
            let key = format!("subject-{}", update * 7 % 1_000);
            builder.record(NOW_MS, Some(key.as_bytes()), Some(format!("schema {update:06}").as_bytes()))
        });
        log.append(batch.build(), 0).unwrap();
    }
    let before = log.size_bytes();
    assert!(log.cleanable(NOW_MS).unwrap().is_some());
    pass(&bench, &log);
    let after = log.size_bytes();
    let check = |log: &PartitionLog| {
        let latest: BTreeMap<_, _> = consume(log, 100_000).into_iter().map(|it| (it.key, it.value)).collect();
        assert_eq!(latest.len(), 1_000);
        for update in 99_000..100_000 {
            let key = format!("subject-{}", update * 7 % 1_000);
            assert_eq!(latest[&Some(key)], Some(format!("schema {update:06}")));
        }
    };
    check(&log);
    assert!(after * 2 < before, "{before} bytes became {after}");
    log.close().unwrap();
    let log = bench.open();
    check(&log);
    assert!(consume(&log, 100_000).len() < 40_000);
}

#[test]
fn a_pass_ends_soon_when_it_is_not_wanted_any_more() {
    let ends: [fn(&Bench, &PartitionLog, &StopFlag); 4] = [
        |_, _, stop| stop.set(),
        |_, log, _| log.close().unwrap(),
        |_, log, _| log.delete().unwrap(),
        |bench, log, _| {
            let mut config = bench.config.clone();
            config.compact = false;
            log.update_config(Arc::new(config));
        },
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let bench = on(Bench::disk(directory.path()));
        let log = bench.open();
        for _ in 0..30 {
            put(&log, "a", Some(&"v".repeat(200)));
        }
        let before = log.size_bytes();
        let stop = Arc::new(StopFlag::default());
        // A byte a second: it never comes to an end by itself.
        let mut pace = Pace::new(Arc::new(bench.clock.clone()), Arc::clone(&stop), 1.0).every_bytes(1);
        let cleaner = {
            let log = Arc::clone(&log);
            std::thread::spawn(move || log.compact(KEYS_BYTES, &mut pace))
        };
        std::thread::sleep(Duration::from_millis(50));
        end(&bench, &log, &stop);
        assert!(matches!(cleaner.join().unwrap(), Err(CompactError::Stopped)), "{index}");
        let files = bench.store.list(log.partition()).unwrap();
        assert_eq!(files.is_empty(), index == 2, "{files:?}");
        assert!(index == 2 || log.size_bytes() == before);
    }
}

#[test]
fn readers_see_every_latest_record_while_segments_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    // Two descriptors for all: handles are closed and opened all the time.
    let store = DiskSegments::open(directory.path(), crate::config::Durability::Os, 2);
    let mut bench = on(Bench::over(Arc::new(store.unwrap())));
    bench.durability = crate::config::Durability::Os;
    let log = bench.open();
    let written = Arc::new(std::sync::atomic::AtomicI64::new(0));
    std::thread::scope(|scope| {
        for bytes_max in [1, 400, 5_000] {
            let (log, written) = (Arc::clone(&log), Arc::clone(&written));
            scope.spawn(move || {
                loop {
                    let least = written.load(std::sync::atomic::Ordering::SeqCst);
                    let mut latest = BTreeMap::new();
                    let mut at = -1;
                    for record in consume(&log, bytes_max) {
                        assert!(record.offset > at);
                        at = record.offset;
                        latest.insert(record.key.unwrap(), record.value.unwrap().parse::<i64>().unwrap());
                    }
                    for back in 1..=10 {
                        let wanted = least - back;
                        let found = latest.get(&format!("k{}", wanted.rem_euclid(10)));
                        assert!(wanted < 0 || found.is_some_and(|found| *found >= wanted), "{wanted}: {found:?}");
                    }
                    let _ = log.offset_for_timestamp(NOW_MS).unwrap();
                    let _ = log.offset_of_max_timestamp().unwrap();
                    if least == 1_000 {
                        return;
                    }
                }
            });
        }
        for index in 0..1_000_i64 {
            put(&log, &format!("k{}", index % 10), Some(&format!("{index:060}")));
            written.store(index + 1, std::sync::atomic::Ordering::SeqCst);
            if index % 25 == 24 {
                pass(&bench, &log);
            }
        }
    });
    assert!(log.size_bytes() < 10_000, "{}", log.size_bytes());
}
