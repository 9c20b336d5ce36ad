//! Bytes that no client should send: answered or closed as Kafka does, and nobody else is the worse for it.

use std::{
    thread,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, JoinGroupRequest, MetadataRequest, OffsetFetchRequest,
};

use crate::support::{
    Client, Gateway,
    batch::{self, Batch, old_message},
    eventually,
    frames::{frame, framed, raw_frame},
    groups::Member,
    offsets::{self, commit_partition, commit_request, commit_topic, fetch_group},
    topics::{self, fetch_request, produce_bytes, produce_request, produce_values, read_all, texts},
    unique,
};

#[test]
fn a_frame_that_lies_about_its_length_closes_the_connection() {
    let mut gateway = Gateway::start();
    for length in [-1, i32::MIN, i32::MAX, 100 * 1024 * 1024 + 1, 0, 1, 3, 7] {
        let mut client = gateway.connect();
        let mut bytes = BytesMut::new();
        bytes.put_i32(length);
        bytes.put_slice(&vec![0; usize::try_from(length.clamp(0, 16)).unwrap()]);
        client.write(&bytes);
        client.assert_closed(&format!("a frame of {length} bytes"));
    }
    gateway.assert_alive();
}

#[test]
fn a_frame_cut_by_the_end_of_the_connection_harms_nobody() {
    let mut gateway = Gateway::start();
    let whole = frame(12, 1, &MetadataRequest::default().with_topics(None));
    for length in 0..whole.len() {
        gateway.connect().write(&whole[..length]);
    }
    gateway.assert_alive();
}

#[test]
fn announced_frames_take_no_memory_and_hold_up_nobody() {
    let mut gateway = Gateway::options().start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    let before = gateway.resident_kib();
    let announcing: Vec<_> = (0..20)
        .map(|_| {
            let mut hostile = gateway.connect();
            // The beginning of a Produce that may be as large as any.
            let mut bytes = BytesMut::new();
            bytes.put_i32(100 * 1024 * 1024);
            bytes.put_slice(&[0, 0, 0, 9, 0, 0, 0, 1]);
            hostile.write(&bytes);
            hostile
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    let large = "x".repeat(500_000);
    for number in 0..20 {
        assert_eq!(produce_values(&mut client, "topic", 0, [&large]), number);
        gateway.connect().ping();
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(gateway.resident_kib() < before + 100 * 1024, "{} KiB, {before} before", gateway.resident_kib());
    drop(announcing);
    gateway.assert_alive();
}

#[test]
fn an_array_that_lies_about_its_length_takes_no_memory() {
    let mut gateway = Gateway::options().start();
    let before = gateway.resident_kib();
    // The body that makes a trusting decoder ask for 154 GB; then every API with each way to say "very many".
    let mut client = gateway.connect();
    client.write(&raw_frame(3, 0, 1, 1, &[0x7f, 0xff, 0xff, 0xff]));
    client.assert_closed("Metadata with 2^31-1 topics");
    let listed = gateway.connect().api_versions();
    for api in &listed.api_keys {
        for version in api.min_version..=api.max_version {
            for many in
                [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff, 0xff, 0xff, 0xff, 0x07]]
            {
                for offset in [0, 1, 2, 4, 5, 8] {
                    let body = [&[0; 8][..offset], many, &[0; 8]].concat();
                    for header_version in [1, 2] {
                        let hostile = raw_frame(api.api_key, version, 1, header_version, &body);
                        let _ = gateway.connect().try_write(&hostile);
                    }
                }
            }
        }
    }
    gateway.assert_alive();
    let after = gateway.resident_kib();
    assert!(after < before + 64 * 1024, "{after} KiB, {before} before");
}

#[test]
fn mutated_requests_harm_nobody() {
    let mut gateway = Gateway::options().start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 2);
    produce_values(&mut client, "topic", 0, ["kept"]);
    offsets::commit(&mut client, "kept", "topic", 0, 1);
    let before = gateway.resident_kib();
    let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for request in valid_requests(&gateway) {
        for _ in 0..150 {
            let mut bytes = request.to_vec();
            for _ in 0..random.usize(1..=3) {
                let index = random.usize(8..bytes.len());
                match random.u8(0..4) {
                    0 => bytes[index] = random.u8(..),
                    1 => bytes[index] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap(),
                    2 => bytes[index] ^= 1 << random.u8(0..8),
                    _ => bytes.truncate(index.max(12)),
                }
            }
            let mut hostile = gateway.connect();
            let _ = hostile.try_write(&framed(&bytes[4..]));
            if random.u8(0..8) == 0 {
                hostile.set_patience(Duration::from_millis(20));
                let _ = hostile.try_read_frame();
            }
        }
        gateway.assert_alive();
    }
    assert!(gateway.resident_kib() < before + 100 * 1024, "{} KiB, {before} before", gateway.resident_kib());
    assert_eq!(texts(&read_all(&mut client, "topic", 0, 0))[0], "kept");
    assert_eq!(offsets::fetch_all(&mut client, "kept")[0].1[0].offset, 1);
}

/// One of each that carries something worth breaking.
fn valid_requests(gateway: &Gateway) -> Vec<Bytes> {
    let records = Batch::of(["one", "two"]).encode();
    let commit =
        |group: &str| commit_request(group, vec![commit_topic("topic", vec![commit_partition(0, 1, Some("m"))])]);
    let member = Member::new(gateway, "hostile");
    let mut requests = vec![
        frame(9, 1, &produce_request("topic", 1, records.clone())),
        frame(3, 1, &produce_request("topic", 1, records)),
        frame(4, 1, &fetch_request("topic", 0, 0)),
        frame(12, 1, &fetch_request("topic", 0, 0)),
        frame(2, 1, &commit("hostile")),
        frame(8, 1, &commit("hostile")),
        frame(8, 1, &OffsetFetchRequest::default().with_groups(vec![fetch_group("kept", Some(&[("topic", &[0])]))])),
        frame(1, 1, &offsets::fetch_request(1, "kept", Some(&[("topic", &[0])]))),
        frame(9, 1, &member.join_request()),
        frame(0, 1, &JoinGroupRequest::default()),
        frame(12, 1, &MetadataRequest::default().with_allow_auto_topic_creation(false)),
        frame(7, 1, &CreateTopicsRequest::default().with_validate_only(true)),
    ];
    requests.push(raw_frame(18, 3, 1, 2, &[2, b'a', 2, b'1', 0]));
    requests.into_iter().map(BytesMut::freeze).collect()
}

#[test]
fn garbage_harms_nobody() {
    let mut gateway = Gateway::start();
    for length in [1, 4, 5, 100, 10_000, 100_000] {
        for _ in 0..5 {
            let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect();
            let _ = gateway.connect().try_write(&bytes);
            let _ = gateway.connect().try_write(&framed(&bytes));
        }
    }
    for text in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03"] {
        let mut client = gateway.connect();
        client.write(text.as_bytes());
        client.assert_closed("another protocol");
    }
    gateway.assert_alive();
}

#[test]
fn batches_that_are_wrong_are_refused() {
    let mut gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let good = Batch::of(["a", "b"]);
    let mut otherwise = Vec::new();
    for (what, records, code) in wrong_batches(&good) {
        let answer = produce_bytes(&mut client, &topic, 0, records);
        if (answer.error_code, answer.base_offset) != (code, -1) {
            otherwise.push(format!("{what}: expected {code}, got {} ({:?})", answer.error_code, answer.error_message));
        }
    }
    assert!(otherwise.is_empty(), "{otherwise:#?}");
    if !gateway.is_kafka() {
        for (what, records) in batches_that_kafka_takes_and_consumers_stumble_on() {
            let answer = produce_bytes(&mut client, &topic, 0, records);
            assert_eq!(answer.error_code, INVALID_RECORD, "{what}: {answer:?}");
        }
    }
    let too_large = Batch::of(["x".repeat(1_048_588)]).encode();
    assert_eq!(produce_bytes(&mut client, &topic, 0, too_large).error_code, MESSAGE_TOO_LARGE);
    // None of them left anything.
    assert_eq!(produce_values(&mut client, &topic, 0, ["first"]), 0);
    assert_eq!(texts(&read_all(&mut client, &topic, 0, 0)), ["first"]);
    gateway.assert_alive();
}

fn wrong_batches(good: &Batch) -> Vec<(&'static str, Bytes, i16)> {
    let bytes = good.encode();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.to_vec();
        change(&mut changed);
        Bytes::from(changed)
    };
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| {
        changed(&|bytes| {
            change(bytes);
            batch::seal(bytes);
        })
    };
    let count = |count: i32| {
        resealed(&|bytes: &mut Vec<u8>| {
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            bytes[23..27].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
        })
    };
    let last = bytes.len() - 1;
    vec![
        ("wrong checksum", changed(&|bytes| bytes[17] ^= 1), CORRUPT_MESSAGE),
        ("a flipped bit in a record", changed(&|bytes| bytes[last - 3] ^= 1), CORRUPT_MESSAGE),
        ("more records than it has", count(3), INVALID_RECORD),
        ("fewer records than it has", count(1), INVALID_RECORD),
        ("a count of 2^31-1", count(i32::MAX), INVALID_RECORD),
        ("no records", Batch { count: 0, records: vec![], ..good.clone() }.encode(), INVALID_RECORD),
        ("a last offset delta that does not fit", resealed(&|bytes| bytes[26] = 9), INVALID_RECORD),
        ("magic 0", old_message(0, b"old"), INVALID_RECORD),
        ("magic 1", old_message(1, b"old"), INVALID_RECORD),
        ("magic 3", changed(&|bytes| bytes[16] = 3), CORRUPT_MESSAGE),
        ("two batches", [&bytes[..], &bytes[..]].concat().into(), INVALID_RECORD),
        ("nothing at all", Bytes::new(), INVALID_RECORD),
        ("cut in the header", bytes.slice(..40), INVALID_RECORD),
        ("cut in a record", bytes.slice(..bytes.len() - 4), INVALID_RECORD),
        (
            "a length beyond its end",
            changed(&|bytes| bytes[8..12].copy_from_slice(&1000_i32.to_be_bytes())),
            INVALID_RECORD,
        ),
        ("a length of 0", changed(&|bytes| bytes[8..12].copy_from_slice(&[0; 4])), CORRUPT_MESSAGE),
        ("a negative length", changed(&|bytes| bytes[8..12].copy_from_slice(&[0xff; 4])), CORRUPT_MESSAGE),
        (
            "a transactional batch",
            Batch { attributes: 0x10, ..good.clone() }.idempotent(7, 0, 0).encode(),
            TRANSACTIONAL,
        ),
        ("a control batch", Batch { attributes: 0x20, ..good.clone() }.encode(), INVALID_RECORD),
        ("a producer without a sequence", good.clone().idempotent(7, 0, -1).encode(), INVALID_RECORD),
        ("a base offset", Batch { base_offset: 5, ..good.clone() }.encode(), INVALID_RECORD),
    ]
}

/// Kafka 4.1 appends these, and its consumers stop on them. (To what does not decompress it answers
/// UNKNOWN_SERVER_ERROR.)
fn batches_that_kafka_takes_and_consumers_stumble_on() -> Vec<(&'static str, Bytes)> {
    let with_record = |record: &[u8]| {
        let mut bytes = Batch { records: vec![], count: 1, ..Batch::of([""]) }.encode().to_vec();
        bytes.extend(record);
        batch::seal(&mut bytes);
        Bytes::from(bytes)
    };
    // length, attributes, timestamp delta, offset delta, key length, value length, headers
    vec![
        ("bytes behind the last record", with_record(&[12, 0, 0, 0, 1, 1, 0, 9, 9, 9])),
        ("a negative value length", with_record(&[12, 0, 0, 0, 1, 3, 0])),
        ("gzip that is none", Batch { attributes: 1, ..Batch::of(["a"]) }.encode()),
        ("an offset delta of 2^31-1", with_record(&[20, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 1, 0])),
    ]
}

#[test]
fn zstd_needs_a_newer_produce() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let records = Batch { attributes: 4, ..Batch::of(["value"]) }.encode();
    for version in 3..=6 {
        let response = client.call(version, &produce_request(&topic, 0, records.clone()));
        assert_eq!(response.responses[0].partition_responses[0].error_code, UNSUPPORTED_COMPRESSION_TYPE, "{version}");
    }
}

#[test]
fn a_partition_named_twice_is_answered_once() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let mut request = produce_request(&topic, 0, Batch::of(["value"]).encode());
    let partition = request.topic_data[0].partition_data[0].clone();
    request.topic_data[0].partition_data.push(partition);
    let response = client.call(9, &request);
    assert_eq!(response.responses[0].partition_responses.len(), 1, "{response:?}");
    assert_eq!(read_all(&mut client, &topic, 0, 0).len(), 1);
    let mut request = fetch_request(&topic, 0, 0);
    let partition = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.push(partition);
    let response = client.call(12, &request);
    assert_eq!(response.responses[0].partitions.len(), 1, "{response:?}");
}

#[test]
fn partitions_that_do_not_exist_are_unknown() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let records = Batch::of(["value"]).encode();
    for partition in [1, -1, i32::MAX, i32::MIN] {
        let answer = produce_bytes(&mut client, &topic, partition, records.clone());
        assert_eq!(answer.error_code, UNKNOWN_TOPIC_OR_PARTITION, "{partition}");
    }
    let by_id = |id: u128| {
        let mut request = produce_request("", 0, records.clone());
        request.topic_data[0].topic_id = uuid::Uuid::from_u128(id);
        request
    };
    let response = client.call(13, &by_id(99));
    assert_eq!(response.responses[0].partition_responses[0].error_code, UNKNOWN_TOPIC_ID);
    for acks in [2, -2, i16::MAX] {
        let response = client.call(9, &produce_request(&topic, 0, records.clone()).with_acks(acks));
        assert_eq!(response.responses[0].partition_responses[0].error_code, INVALID_REQUIRED_ACKS, "acks={acks}");
    }
}

#[test]
fn connections_beyond_count_do_not_add_up() {
    let mut gateway = Gateway::options().start();
    let before = gateway.resident_kib();
    let idle: Vec<_> = (0..500).map(|_| gateway.connect()).collect();
    gateway.connect().ping();
    let each = (gateway.resident_kib().saturating_sub(before)) / 500;
    assert!(each < 32, "{each} KiB a connection");
    drop(idle);
    gateway.assert_alive();
}

#[test]
fn connections_beyond_the_limit_are_refused_until_one_ends() {
    let gateway = Gateway::options().env("TIDEGATE_MAX_CONNECTIONS", "5").start();
    let mut connections: Vec<_> = (0..5).map(|_| gateway.connect()).collect();
    connections.iter_mut().for_each(Client::ping);
    let mut refused = gateway.connect();
    refused.assert_closed("the sixth of five");
    connections.iter_mut().for_each(Client::ping);
    connections.pop();
    eventually("a place is free", Duration::from_secs(5), || {
        let mut client = gateway.connect();
        client.try_call(0, &ApiVersionsRequest::default()).ok()
    });
}

#[test]
fn silent_connections_are_closed_and_waiting_ones_are_not() {
    let gateway = Gateway::options().env("TIDEGATE_CONNECTIONS_MAX_IDLE_MS", "300").start();
    let mut waiting = gateway.connect();
    topics::create(&mut waiting, "topic", 1);
    let poll = waiting.send(12, &fetch_request("topic", 0, 0).with_max_wait_ms(1500));
    let mut silent = gateway.connect();
    silent.ping();
    let start = Instant::now();
    silent.assert_closed("a silent connection");
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
    waiting.receive::<FetchRequest>(12, poll);
}

#[test]
fn a_frame_that_does_not_arrive_in_time_closes_the_connection() {
    let gateway = Gateway::options().env("TIDEGATE_REQUEST_READ_TIMEOUT_MS", "300").start();
    let mut slow = gateway.connect();
    slow.write(&[0, 0, 0, 50, 0, 3]);
    slow.assert_closed("half a frame");
    let mut idle = gateway.connect();
    thread::sleep(Duration::from_millis(700));
    idle.ping();
}

/// Large frames that stop halfway hold memory, which is bounded; whoever waits for it goes on when they are closed.
#[test]
fn frames_that_stop_halfway_block_nobody_for_long() {
    let mut gateway = Gateway::options()
        .env("TIDEGATE_REQUEST_READ_TIMEOUT_MS", "1000")
        .env("TIDEGATE_SOCKET_REQUEST_MAX_BYTES", "6000000")
        .env("TIDEGATE_QUEUED_MAX_REQUEST_BYTES", "8000000")
        .start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    let before = gateway.resident_kib();
    let mut bytes = BytesMut::new();
    bytes.put_i32(5_000_000);
    bytes.put_slice(&[0, 0, 0, 9, 0, 0, 0, 1]);
    bytes.put_bytes(0, 3_000_000);
    let half: Vec<_> = (0..10)
        .map(|_| {
            let mut hostile = gateway.connect();
            let bytes = bytes.clone();
            thread::spawn(move || {
                let _ = hostile.try_write(&bytes);
                hostile
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    // Small requests need no share of it; a large one has to wait.
    client.ping();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    let large = produce_request("topic", 0, Batch::of(["x".repeat(500_000)]).encode());
    let response = eventually("a large request is taken", Duration::from_secs(10), || {
        // A client whose connection ends comes again.
        client.try_call(9, &large).inspect_err(|_| client = gateway.connect()).ok()
    });
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    assert!(gateway.resident_kib() < before + 64 * 1024, "{} KiB, {before} before", gateway.resident_kib());
    drop(half);
    gateway.assert_alive();
}

/// A reader that takes nothing must not make the gateway hold all that it asked for.
#[test]
fn a_client_that_does_not_read_is_not_served_without_end() {
    let mut gateway = Gateway::options().start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    let large = "x".repeat(900_000);
    for _ in 0..8 {
        produce_values(&mut client, "topic", 0, [&large]);
    }
    let before = gateway.resident_kib();
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let mut hostile = gateway.connect();
        let mut bytes = BytesMut::new();
        for id in 0..200 {
            let mut request = fetch_request("topic", 0, 0);
            request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
            bytes.extend(frame(12, id, &request));
        }
        hostile.write(&bytes);
        deaf.push(hostile);
    }
    thread::sleep(Duration::from_millis(500));
    gateway.assert_alive();
    let after = gateway.resident_kib();
    assert!(after < before + 200 * 1024, "{after} KiB, {before} before: 4 × 200 × 7 MiB were asked for");
    assert_eq!(read_first(&mut client), 900_000);
}

/// What is decoded takes several times the room of its frame, and may wait for its shard.
#[test]
fn large_requests_of_one_connection_are_not_all_decoded_at_once() {
    let mut gateway = Gateway::options().start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    offsets::await_coordinator(&mut client, "group");
    let partitions = vec![commit_partition(0, 1, None); 100_000];
    let request = commit_request("group", vec![commit_topic("topic", partitions)]);
    let mut bytes = BytesMut::new();
    for id in 0..40 {
        bytes.extend(frame(8, id, &request));
    }
    let before = gateway.resident_kib();
    let mut most = before;
    thread::scope(|scope| {
        for _ in 0..4 {
            let (mut hostile, bytes) = (gateway.connect(), &bytes);
            // It reads no answer: in the end its writes stop, and the gateway goes.
            scope.spawn(move || hostile.try_write(bytes));
        }
        for _ in 0..200 {
            thread::sleep(Duration::from_millis(20));
            most = most.max(gateway.resident_kib());
        }
        gateway.kill();
    });
    assert!(most < before + 320 * 1024, "{most} KiB, {before} before: some 50 MiB a connection, and not 120");
}

fn read_first(client: &mut Client) -> usize {
    let answer = topics::fetch(client, "topic", 0, 0);
    batch::records_of(answer.records.as_ref())[0].value.as_ref().unwrap().len()
}

const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_REQUIRED_ACKS: i16 = 21;
/// TRANSACTIONAL_ID_AUTHORIZATION_FAILED
const TRANSACTIONAL: i16 = 53;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;
const UNKNOWN_TOPIC_ID: i16 = 100;
