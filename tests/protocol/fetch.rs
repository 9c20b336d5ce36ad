//! Where a fetch starts, what it says of the log, and how long it waits.

use std::{
    thread,
    time::{Duration, Instant},
};

use kafka_protocol::messages::{FetchRequest, fetch_response::PartitionData};

use crate::support::{
    Client, Gateway,
    batch::{self, Batch},
    topics::{self, fetch, fetch_request, fetch_request_by_id, produce_values, read_all, texts},
    unique,
};

#[test]
fn fetch_from_offset() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    let topic_id = topics::create(&mut client, &topic, 2);
    assert_eq!(produce_values(&mut client, &topic, 0, ["r0", "r1", "r2"]), 0);
    assert_eq!(produce_values(&mut client, &topic, 0, ["r3"]), 3);
    assert_eq!(produce_values(&mut client, &topic, 0, ["r4", "r5"]), 4);
    produce_values(&mut client, &topic, 1, ["other"]);

    let all = ["r0", "r1", "r2", "r3", "r4", "r5"];
    for offset in 0..6 {
        let answer = fetch(&mut client, &topic, 0, offset);
        assert_log(&answer, 0, 6);
        let records = batch::records_of(answer.records.as_ref());
        // The batch that holds the offset comes whole; the client drops what it did not ask for.
        let batch_start = [0, 0, 0, 3, 4, 4][usize::try_from(offset).unwrap()];
        assert_eq!(texts(&records), all[batch_start..], "from {offset}");
        assert_eq!(records[0].offset, i64::try_from(batch_start).unwrap());
        let read = read_all(&mut client, &topic, 0, offset);
        assert_eq!(texts(&read), all[usize::try_from(offset).unwrap()..]);
    }
    for version in 4..=18 {
        every_version_answers_the_same(&mut client, version, &topic, topic_id);
    }
    at_the_high_watermark_is_nothing_and_a_wait(&mut client, &topic);
    beyond_the_end_is_out_of_range(&mut client, &topic);
    below_the_log_start_is_out_of_range(&mut client, &topic);
    an_unknown_partition_says_so(&mut client, &topic);
}

fn every_version_answers_the_same(client: &mut Client, version: i16, topic: &str, topic_id: uuid::Uuid) {
    let request = if version >= 13 { fetch_request_by_id(topic_id, 0, 3) } else { fetch_request(topic, 0, 3) };
    let response = client.call(version, &request);
    assert_eq!((response.error_code, response.session_id, response.responses.len()), (0, 0, 1), "{response:?}");
    let answer = &response.responses[0].partitions[0];
    assert_eq!((answer.error_code, answer.high_watermark, answer.last_stable_offset), (0, 6, 6), "version {version}");
    assert_eq!(answer.log_start_offset, if version >= 5 { 0 } else { -1 }, "version {version}");
    assert_eq!(texts(&batch::records_of(answer.records.as_ref())), ["r3", "r4", "r5"], "version {version}");
}

fn at_the_high_watermark_is_nothing_and_a_wait(client: &mut Client, topic: &str) {
    let start = Instant::now();
    let response = client.call(12, &fetch_request(topic, 0, 6).with_max_wait_ms(300));
    assert!(start.elapsed() >= Duration::from_millis(290), "answered after {:?}", start.elapsed());
    let answer = &response.responses[0].partitions[0];
    assert_log(answer, 0, 6);
    assert_eq!(batch::records_of(answer.records.as_ref()), []);
}

fn beyond_the_end_is_out_of_range(client: &mut Client, topic: &str) {
    for offset in [7, 1000, i64::MAX] {
        let start = Instant::now();
        let response = client.call(12, &fetch_request(topic, 0, offset).with_max_wait_ms(5000));
        let answer = &response.responses[0].partitions[0];
        assert_out_of_range(answer, offset);
        assert!(start.elapsed() < Duration::from_secs(2), "an error does not wait");
    }
}

fn below_the_log_start_is_out_of_range(client: &mut Client, topic: &str) {
    for offset in [-1, i64::MIN] {
        assert_out_of_range(&fetch(client, topic, 0, offset), offset);
    }
    // In the middle of a batch: what remains of it is served.
    topics::delete_records(client, topic, 0, 2);
    for offset in [0, 1] {
        assert_out_of_range(&fetch(client, topic, 0, offset), offset);
    }
    assert_eq!(topics::log_start_offset(client, topic, 0), 2);
    let answer = fetch(client, topic, 0, 2);
    assert_log(&answer, 2, 6);
    assert_eq!(texts(&read_all(client, topic, 0, 2)), ["r2", "r3", "r4", "r5"]);
    topics::delete_records(client, topic, 0, 6);
    assert_out_of_range(&fetch(client, topic, 0, 5), 5);
    assert_log(&fetch(client, topic, 0, 6), 6, 6);
}

fn an_unknown_partition_says_so(client: &mut Client, topic: &str) {
    for (name, partition) in [(topic, 2), (topic, -1), ("no-such-topic", 0)] {
        let answer = fetch(client, name, partition, 0);
        assert_eq!((answer.error_code, answer.high_watermark), (UNKNOWN_TOPIC_OR_PARTITION, -1), "{name} {partition}");
    }
    let by_id = fetch_request_by_id(uuid::Uuid::from_u128(7), 0, 0);
    let response = client.call(13, &by_id);
    assert_eq!(response.error_code, 0);
    assert_eq!(response.responses[0].partitions[0].error_code, UNKNOWN_TOPIC_ID);
}

#[test]
fn fetch_past_the_end_is_empty_when_the_setting_says_so() {
    let by_file = Gateway::options().config("[fetch]\npast-end = \"empty\"\n").start();
    let by_environment = Gateway::options().env("TIDEGATE_FETCH_PAST_END", "empty").start();
    for gateway in [by_file, by_environment] {
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 1);
        produce_values(&mut client, "topic", 0, ["a", "b"]);
        for offset in [2, 3, 1000, i64::MAX] {
            let answer = fetch(&mut client, "topic", 0, offset);
            assert_log(&answer, 0, 2);
            assert_eq!(batch::records_of(answer.records.as_ref()), [], "at {offset}");
        }
        // Below the start nothing changes.
        topics::delete_records(&mut client, "topic", 0, 1);
        assert_out_of_range(&fetch(&mut client, "topic", 0, 0), 0);
    }
}

#[test]
fn what_is_fetched_after_a_crash_is_what_was_acknowledged() {
    for durability in ["sync", "os"] {
        let mut gateway = Gateway::options().storage("disk").durability(durability).start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 1);
        let mut expected = Vec::new();
        for round in 0..3 {
            let mut client = gateway.connect();
            for number in 0..5 {
                let values = [format!("{round}.{number}.a"), format!("{round}.{number}.b")];
                let end = i64::try_from(expected.len()).unwrap();
                assert_eq!(produce_values(&mut client, "topic", 0, &values), end);
                expected.extend(values);
            }
            gateway.crash_and_restart();
            let mut client = gateway.connect();
            assert_eq!(texts(&read_all(&mut client, "topic", 0, 0)), expected, "{durability}");
            let end = i64::try_from(expected.len()).unwrap();
            assert_log(&fetch(&mut client, "topic", 0, end), 0, end);
        }
        let mut client = gateway.connect();
        topics::delete_records(&mut client, "topic", 0, 7);
        gateway.crash_and_restart();
        let mut client = gateway.connect();
        assert_out_of_range(&fetch(&mut client, "topic", 0, 6), 6);
        assert_eq!(texts(&read_all(&mut client, "topic", 0, 7)), expected[7..]);
    }
}

#[test]
fn limits_cut_between_batches_but_never_starve_the_first() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 2);
    let large = "x".repeat(10_000);
    for partition in 0..2 {
        for _ in 0..3 {
            produce_values(&mut client, &topic, partition, [&large]);
        }
    }
    let count = |answer: &PartitionData| batch::records_of(answer.records.as_ref()).len();
    let with_limits = |partition_bytes: i32, bytes: i32| {
        let mut request = fetch_request(&topic, 0, 0).with_max_bytes(bytes);
        let mut other = request.topics[0].partitions[0].clone().with_partition(1);
        other.partition_max_bytes = partition_bytes;
        request.topics[0].partitions[0].partition_max_bytes = partition_bytes;
        request.topics[0].partitions.push(other);
        request
    };
    let mut counts = |request: &FetchRequest| -> Vec<usize> {
        client.call(12, request).responses[0].partitions.iter().map(count).collect()
    };
    assert_eq!(counts(&with_limits(1 << 20, 1 << 20)), [3, 3]);
    assert_eq!(counts(&with_limits(21_000, 1 << 20)), [2, 2], "whole batches up to the partition's limit");
    assert_eq!(counts(&with_limits(1 << 20, 35_000)), [3, 0], "the response's limit");
    // KIP-74: the first batch of the first partition with data comes, however large.
    assert_eq!(counts(&with_limits(1, 1)), [1, 0]);
    assert_eq!(counts(&with_limits(0, 1 << 20)), [1, 0]);
}

#[test]
fn long_poll_is_woken_by_a_produce_elsewhere() {
    let gateway = Gateway::start();
    let mut consumer = gateway.connect();
    let mut producer = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut consumer, &topic, 1);
    for round in 0..10 {
        let id = consumer.send(12, &fetch_request(&topic, 0, round).with_max_wait_ms(10_000));
        consumer.assert_silent(Duration::from_millis(50));
        let produced = Instant::now();
        assert_eq!(produce_values(&mut producer, &topic, 0, [format!("{round}")]), round);
        let acknowledged = produced.elapsed();
        let response = consumer.receive::<FetchRequest>(12, id);
        let waited = produced.elapsed();
        assert!(waited < acknowledged + WAKE_PATIENCE, "woken after {waited:?}, produced after {acknowledged:?}");
        let answer = &response.responses[0].partitions[0];
        assert_log(answer, 0, round + 1);
        assert_eq!(texts(&batch::records_of(answer.records.as_ref())), [format!("{round}")]);
    }
}

#[test]
fn long_poll_waits_for_min_bytes() {
    let gateway = Gateway::start();
    let mut consumer = gateway.connect();
    let mut producer = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut consumer, &topic, 1);
    let value = "v".repeat(1000);
    let request = fetch_request(&topic, 0, 0).with_max_wait_ms(10_000).with_min_bytes(2500);
    let id = consumer.send(12, &request);
    for _ in 0..2 {
        produce_values(&mut producer, &topic, 0, [&value]);
        consumer.assert_silent(Duration::from_millis(100));
    }
    produce_values(&mut producer, &topic, 0, [&value]);
    let response = consumer.receive::<FetchRequest>(12, id);
    assert_eq!(batch::records_of(response.responses[0].partitions[0].records.as_ref()).len(), 3);

    // What is there already does not wait; what does not suffice comes at the end of the wait.
    let start = Instant::now();
    consumer.call(12, &request);
    assert!(start.elapsed() < Duration::from_secs(2));
    let response = consumer.call(12, &request.with_min_bytes(100_000).with_max_wait_ms(300));
    assert!(start.elapsed() >= Duration::from_millis(290));
    assert_eq!(batch::records_of(response.responses[0].partitions[0].records.as_ref()).len(), 3);
}

#[test]
fn many_long_polls_hold_up_nobody() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let mut waiting: Vec<_> = (0..100)
        .map(|_| {
            let mut consumer = gateway.connect();
            let id = consumer.send(12, &fetch_request(&topic, 0, 0).with_max_wait_ms(15_000));
            (consumer, id)
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    client.ping();
    produce_values(&mut client, &topic, 0, ["for all"]);
    for (consumer, id) in &mut waiting {
        let response = consumer.receive::<FetchRequest>(12, *id);
        assert_eq!(texts(&batch::records_of(response.responses[0].partitions[0].records.as_ref())), ["for all"]);
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn committed_reads_name_the_aborted_transactions() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    produce_values(&mut client, &topic, 0, ["value"]);
    for (isolation_level, expected) in [(0, None), (1, Some(vec![]))] {
        let response = client.call(12, &fetch_request(&topic, 0, 0).with_isolation_level(isolation_level));
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.aborted_transactions, expected, "isolation level {isolation_level}");
        assert_eq!((answer.last_stable_offset, batch::records_of(answer.records.as_ref()).len()), (1, 1));
    }
}

#[test]
fn compacted_topics_refuse_records_without_a_key() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create_with(&mut client, &topic, 1, &[("cleanup.policy", "compact")]);
    let keyed = |key: Option<&'static str>, value: Option<&'static str>| (key.map(Into::into), value.map(Into::into));
    let batch = Batch::keyed(vec![keyed(Some("k"), Some("v")), keyed(None, Some("v"))]);
    let response = topics::produce(&mut client, &topic, 0, &batch);
    assert_eq!((response.error_code, response.base_offset), (INVALID_RECORD, -1), "{response:?}");
    assert_eq!(response.record_errors.len(), 1, "{response:?}");
    assert_eq!(response.record_errors[0].batch_index, 1);
    let batch = Batch::keyed(vec![keyed(Some("k"), Some("v")), keyed(Some("k"), None), keyed(Some(""), None)]);
    assert_eq!(topics::produce(&mut client, &topic, 0, &batch).error_code, 0);
    assert_eq!(read_all(&mut client, &topic, 0, 0).len(), 3);
}

#[track_caller]
fn assert_log(answer: &PartitionData, log_start_offset: i64, high_watermark: i64) {
    let found = (answer.error_code, answer.log_start_offset, answer.high_watermark, answer.last_stable_offset);
    assert_eq!(found, (0, log_start_offset, high_watermark, high_watermark), "{answer:?}");
}

#[track_caller]
fn assert_out_of_range(answer: &PartitionData, offset: i64) {
    assert_eq!(answer.error_code, OFFSET_OUT_OF_RANGE, "at {offset}: {answer:?}");
    assert_eq!((answer.high_watermark, answer.log_start_offset), (-1, -1), "at {offset}");
    assert_eq!(batch::records_of(answer.records.as_ref()), []);
}

/// Generous for two busy cores; a poll that nobody wakes takes seconds.
const WAKE_PATIENCE: Duration = Duration::from_millis(100);
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_RECORD: i16 = 87;
const UNKNOWN_TOPIC_ID: i16 = 100;
