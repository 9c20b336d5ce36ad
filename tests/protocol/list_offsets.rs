//! Offsets by timestamp and by the special timestamps, from the version on that brought each.

use kafka_protocol::messages::{
    ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    list_offsets_response::ListOffsetsPartitionResponse,
};

use crate::support::{
    Client, Gateway,
    batch::{Batch, records_of},
    topics::{self, create_with, delete_records, fetch, produce, topic_name},
    unique,
};

#[test]
fn offsets_are_found_by_time() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    create_with(&mut client, &topic, 1, KEEP);
    // Not in the order of time, as producers' clocks are not.
    for (values, time) in [(["a", "b"], 1000), (["c", "d"], 3000), (["e", "f"], 2000)] {
        assert_eq!(produce(&mut client, &topic, 0, &Batch::of(values).at(time)).error_code, 0);
    }
    for version in 1..=10 {
        let mut find = |timestamp: i64| {
            let found = list(&mut client, version, &topic, 0, timestamp);
            (found.error_code, found.timestamp, found.offset)
        };
        assert_eq!(find(0), (0, 1000, 0));
        assert_eq!(find(1000), (0, 1000, 0));
        assert_eq!(find(1001), (0, 3000, 2), "the first record at or after, by offset");
        assert_eq!(find(3000), (0, 3000, 2));
        assert_eq!(find(3001), (0, -1, -1), "nothing so late");
        assert_eq!(find(EARLIEST), (0, -1, 0));
        assert_eq!(find(LATEST), (0, -1, 6));
    }
    delete_records(&mut client, &topic, 0, 3);
    let mut find = |timestamp: i64| list(&mut client, 10, &topic, 0, timestamp).offset;
    assert_eq!((find(EARLIEST), find(LATEST), find(1001)), (3, 6, 3));
}

#[test]
fn special_timestamps_have_a_first_version() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    create_with(&mut client, &topic, 2, KEEP);
    for time in [1000, 3000, 2000] {
        assert_eq!(produce(&mut client, &topic, 0, &Batch::of(["a", "b"]).at(time)).error_code, 0);
    }
    for version in 1..=10 {
        let mut find = |partition: i32, timestamp: i64| {
            let found = list(&mut client, version, &topic, partition, timestamp);
            (found.error_code, found.timestamp, found.offset)
        };
        let refused = (UNSUPPORTED_VERSION, -1, -1);
        // KIP-734, KIP-405, KIP-1005.
        assert_eq!(find(0, MAX_TIMESTAMP), if version >= 7 { (0, 3000, 2) } else { refused }, "{version}");
        assert_eq!(find(1, MAX_TIMESTAMP), if version >= 7 { (0, -1, -1) } else { refused }, "{version}");
        assert_eq!(find(0, EARLIEST_LOCAL), if version >= 8 { (0, -1, 0) } else { refused }, "{version}");
        assert_eq!(find(0, LATEST_TIERED), if version >= 9 { (0, -1, -1) } else { refused }, "{version}");
        for unknown in [-6, -7, i64::MIN] {
            assert_eq!(find(0, unknown), refused, "{unknown} at version {version}");
        }
    }
}

#[test]
fn what_cannot_be_listed_says_why() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    assert_eq!(list(&mut client, 10, &topic, 3, LATEST).error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(list(&mut client, 10, &unique("unknown"), 0, LATEST).error_code, UNKNOWN_TOPIC_OR_PARTITION);
    let mut request = request(&topic, 0, LATEST);
    let partition = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.push(partition);
    let response = client.call(10, &request);
    let partitions = &response.topics[0].partitions;
    assert!(partitions.iter().all(|partition| partition.error_code == INVALID_REQUEST), "twice: {partitions:?}");
    for (epoch, code) in [(0, 0), (1, UNKNOWN_LEADER_EPOCH), (7, UNKNOWN_LEADER_EPOCH)] {
        request.topics[0].partitions.truncate(1);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(client.call(10, &request).topics[0].partitions[0].error_code, code, "epoch {epoch}");
    }
}

#[test]
fn log_append_time_is_the_gateways() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    create_with(&mut client, &topic, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let sent = Batch::of(["a", "b"]);
    let answer = produce(&mut client, &topic, 0, &sent.clone().at(5));
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let time = answer.log_append_time_ms;
    assert!((sent.base_timestamp - 60_000..sent.base_timestamp + 60_000).contains(&time), "{time}");
    let found = list(&mut client, 10, &topic, 0, MAX_TIMESTAMP);
    assert_eq!((found.timestamp, found.offset), (time, 0));
    // The checksum covers the timestamp: it is the gateway's too. (`records_of` checks it.)
    let fetched = fetch(&mut client, &topic, 0, 0);
    assert_eq!(records_of(fetched.records.as_ref()).len(), 2);
    let batch = fetched.records.unwrap();
    assert_eq!(batch[22] & 0x08, 0x08, "the batch says whose time it is");
    assert_eq!(batch[35..43], time.to_be_bytes(), "its largest timestamp");
}

#[test]
fn times_too_far_in_the_future_are_refused() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let now = Batch::of([""]).base_timestamp;
    let answer = produce(&mut client, &topic, 0, &Batch::of(["a", "b"]).at(now + 2 * HOUR_MS));
    assert_eq!((answer.error_code, answer.record_errors.len()), (INVALID_TIMESTAMP, 2), "{answer:?}");
    assert_eq!(produce(&mut client, &topic, 0, &Batch::of(["a"]).at(now + HOUR_MS / 2)).base_offset, 0);
}

fn list(
    client: &mut Client,
    version: i16,
    topic: &str,
    partition: i32,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    client.call(version, &request(topic, partition, timestamp)).topics.remove(0).partitions.remove(0)
}

fn request(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic])
}

/// Records of long ago are kept.
const KEEP: &[(&str, &str)] = &[("retention.ms", "-1")];
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const HOUR_MS: i64 = 3_600_000;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_VERSION: i16 = 35;
const INVALID_REQUEST: i16 = 42;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
