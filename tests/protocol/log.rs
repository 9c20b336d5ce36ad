//! Partition logs over many segments: what stays, what retention takes, and what a crash leaves.

use std::time::Duration;

use kafka_protocol::messages::fetch_response::PartitionData;

use crate::support::{
    Client, Gateway,
    batch::{Batch, records_of},
    eventually, offsets,
    topics::{self, create_with, fetch, produce, produce_values, read_all},
};

#[test]
fn a_log_of_many_segments_is_read_from_any_offset() {
    let mut gateway = Gateway::options().storage("disk").durability("os").start();
    let mut client = gateway.connect();
    create_with(&mut client, "topic", 1, SMALL_SEGMENTS);
    fill(&mut client, 0, BATCHES);
    for restart in [false, true] {
        if restart {
            gateway.crash_and_restart();
        }
        let mut client = gateway.connect();
        for offset in (0..BATCHES * PER_BATCH).step_by(7) {
            let answer = fetch(&mut client, "topic", 0, offset);
            assert_eq!((answer.error_code, answer.high_watermark), (0, BATCHES * PER_BATCH), "at {offset}");
            let records = records_of(answer.records.as_ref());
            assert_eq!(records[0].offset, offset - offset % PER_BATCH);
        }
        let all = read_all(&mut client, "topic", 0, 0);
        let offsets: Vec<_> = all.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (0..BATCHES * PER_BATCH).collect::<Vec<_>>());
        assert!(all.iter().all(|record| record.text().starts_with(&format!("{} ", record.offset))));
    }
    let segments = std::fs::read_dir(gateway.data_dir().join("topics/topic-0")).unwrap();
    let names = segments.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let logs = names.filter(|name| name.ends_with(".log")).count();
    assert!(logs > 3, "{logs} segments");
}

#[test]
fn retention_by_size_moves_the_log_start_for_good() {
    for storage in ["disk", "memory"] {
        let mut gateway =
            Gateway::options().storage(storage).env("TIDEGATE_LOG_RETENTION_CHECK_INTERVAL_MS", "100").start();
        let mut client = gateway.connect();
        create_with(&mut client, "topic", 1, &[SMALL_SEGMENTS, &[("retention.bytes", "2000000")]].concat());
        offsets::commit(&mut client, "group", "topic", 0, 1);
        fill(&mut client, 0, BATCHES);
        let end = BATCHES * PER_BATCH;
        let start = eventually("old segments go", Duration::from_secs(10), || {
            Some(topics::log_start_offset(&mut client, "topic", 0)).filter(|start| *start > end / 2)
        });
        let check = |client: &mut Client| {
            let below: PartitionData = fetch(client, "topic", 0, start - 1);
            assert_eq!(below.error_code, OFFSET_OUT_OF_RANGE, "{storage}: {below:?}");
            // Exactly where it says that the log starts, records are.
            let first = fetch(client, "topic", 0, start);
            assert_eq!((first.error_code, first.log_start_offset), (0, start), "{storage}: {first:?}");
            assert_eq!(records_of(first.records.as_ref())[0].offset, start);
            assert_eq!(read_all(client, "topic", 0, start).len(), usize::try_from(end - start).unwrap());
            // Offsets are kept, whatever they point to.
            assert_eq!(offsets::fetch_all(client, "group")[0].1[0].offset, 1);
        };
        check(&mut client);
        if storage == "disk" {
            gateway.crash_and_restart();
            let mut client = gateway.connect();
            assert_eq!(topics::log_start_offset(&mut client, "topic", 0), start);
            check(&mut client);
            assert_eq!(produce_values(&mut client, "topic", 0, ["next"]), end);
        }
    }
}

#[test]
fn retention_by_time_empties_a_log_and_keeps_its_end() {
    let mut gateway = Gateway::options().storage("disk").env("TIDEGATE_LOG_RETENTION_CHECK_INTERVAL_MS", "100").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    let old = Batch::of(["old", "older"]).at(1_000_000_000_000);
    assert_eq!(produce(&mut client, "topic", 0, &old).error_code, 0);
    eventually("what is past its time goes", Duration::from_secs(10), || {
        (topics::log_start_offset(&mut client, "topic", 0) == 2).then_some(())
    });
    gateway.crash_and_restart();
    let mut client = gateway.connect();
    assert_eq!(topics::log_start_offset(&mut client, "topic", 0), 2);
    assert_eq!(topics::log_end_offset(&mut client, "topic", 0), 2, "offsets are never used again");
    assert_eq!(produce_values(&mut client, "topic", 0, ["new"]), 2);
}

#[test]
fn a_torn_tail_is_cut_and_nothing_before_it() {
    for torn in [&b"\0"[..], &[0; 61], &[0xff; 200], b"\0\0\0\0\0\0\0\x05\0\0\x10\0half a batch"] {
        let mut gateway = Gateway::options().storage("disk").durability("os").start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 1);
        for number in 0..5 {
            produce_values(&mut client, "topic", 0, [format!("{number}")]);
        }
        gateway.kill();
        let path = gateway.data_dir().join("topics/topic-0/00000000000000000000.log");
        let mut log = std::fs::read(&path).unwrap_or_default();
        log.extend(torn);
        if path.exists() {
            std::fs::write(&path, log).unwrap();
        }
        gateway.run();
        let mut client = gateway.connect();
        let records = read_all(&mut client, "topic", 0, 0);
        assert_eq!(topics::texts(&records), ["0", "1", "2", "3", "4"], "{torn:?}");
        assert_eq!(produce_values(&mut client, "topic", 0, ["5"]), 5);
        gateway.crash_and_restart();
        assert_eq!(read_all(&mut gateway.connect(), "topic", 0, 0).len(), 6);
    }
}

#[test]
fn a_topic_may_take_larger_or_only_smaller_batches() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let (small, large) = (crate::support::unique("small"), crate::support::unique("large"));
    create_with(&mut client, &small, 1, &[("max.message.bytes", "1000")]);
    create_with(&mut client, &large, 1, &[("max.message.bytes", "5000000")]);
    let batch = |bytes: usize| Batch::of(["x".repeat(bytes)]);
    assert_eq!(produce(&mut client, &small, 0, &batch(900)).error_code, 0);
    assert_eq!(produce(&mut client, &small, 0, &batch(1000)).error_code, MESSAGE_TOO_LARGE);
    assert_eq!(produce(&mut client, &large, 0, &batch(4_000_000)).error_code, 0);
    assert_eq!(produce(&mut client, &large, 0, &batch(5_000_000)).error_code, MESSAGE_TOO_LARGE);
    // Larger than what the consumer asks for, and served all the same (KIP-74).
    let answer = fetch(&mut client, &large, 0, 0);
    assert_eq!(records_of(answer.records.as_ref())[0].value.as_ref().unwrap().len(), 4_000_000);
}

#[test]
fn offsets_with_a_retention_of_their_own_expire() {
    let gateway = Gateway::options().storage("disk").env("TIDEGATE_OFFSETS_RETENTION_CHECK_INTERVAL_MS", "100").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 2);
    let commit = |client: &mut Client, partition: i32, retention_ms: i64| {
        let topics = vec![offsets::commit_topic("topic", vec![offsets::commit_partition(partition, 5, None)])];
        let request = offsets::commit_request("group", topics).with_retention_time_ms(retention_ms);
        assert_eq!(offsets::commit_codes(client, 2, &request), [0]);
    };
    commit(&mut client, 0, 1);
    commit(&mut client, 1, -1);
    eventually("the short one expires", Duration::from_secs(10), || {
        let found = offsets::fetch_all(&mut client, "group");
        (found[0].1.len() == 1 && found[0].1[0].partition == 1).then_some(())
    });
}

/// Batches of a kilobyte a record, each with its offset.
fn fill(client: &mut Client, from: i64, batches: i64) {
    for batch in from..from + batches {
        let values = (0..PER_BATCH).map(|number| format!("{} {}", batch * PER_BATCH + number, "x".repeat(10_000)));
        assert_eq!(produce_values(client, "topic", 0, values), batch * PER_BATCH);
    }
}

/// The smallest that Kafka 4.1 allows.
const SMALL_SEGMENTS: &[(&str, &str)] = &[("segment.bytes", "1048576")];
const BATCHES: i64 = 100;
const PER_BATCH: i64 = 5;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const MESSAGE_TOO_LARGE: i16 = 10;
