//! Many requests at once on one connection: answered in order, and each sees what was before it.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use kafka_protocol::messages::{
    FetchRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest,
    metadata_request::MetadataRequestTopic,
};

use crate::support::{
    Gateway,
    batch::{Batch, records_of},
    frames::frame,
    offsets::{self, commit_partition, commit_request, commit_topic, fetch_group},
    topics::{self, fetch_request, produce_request, texts, topic_name},
    unique,
};

#[test]
fn requests_written_at_once_are_answered_in_order() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let (group, topic) = (unique("group"), unique("topic"));
    topics::create(&mut client, &topic, 1);
    offsets::await_coordinator(&mut client, &group);
    let mut bytes = BytesMut::new();
    for round in 0..ROUNDS {
        let records = Batch::of([format!("{round}")]).encode();
        bytes.extend(frame(11, id(round, 0), &produce_request(&topic, 0, records)));
        let commit = commit_request(&group, vec![commit_topic(&topic, vec![commit_partition(0, round.into(), None)])]);
        bytes.extend(frame(8, id(round, 1), &commit));
        let fetch = OffsetFetchRequest::default().with_groups(vec![fetch_group(&group, Some(&[(&topic, &[0])]))]);
        bytes.extend(frame(8, id(round, 2), &fetch));
        bytes.extend(frame(12, id(round, 3), &fetch_request(&topic, 0, round.into())));
        let described = MetadataRequestTopic::default().with_name(Some(topic_name(&topic)));
        bytes.extend(frame(12, id(round, 4), &MetadataRequest::default().with_topics(Some(vec![described]))));
    }
    client.write(&bytes);
    for round in 0..ROUNDS {
        let produced = client.receive::<ProduceRequest>(11, id(round, 0));
        let produced = &produced.responses[0].partition_responses[0];
        assert_eq!((produced.error_code, produced.base_offset), (0, round.into()));
        let committed = client.receive::<OffsetCommitRequest>(8, id(round, 1));
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);
        let seen = client.receive::<OffsetFetchRequest>(8, id(round, 2));
        assert_eq!(seen.groups[0].topics[0].partitions[0].committed_offset, i64::from(round), "the commit just before");
        let fetched = client.receive::<FetchRequest>(12, id(round, 3));
        let fetched = &fetched.responses[0].partitions[0];
        assert_eq!(fetched.error_code, 0, "{fetched:?}");
        assert_eq!(texts(&records_of(fetched.records.as_ref()))[0], format!("{round}"), "the record just before");
        let described = client.receive::<MetadataRequest>(12, id(round, 4));
        assert_eq!(described.topics[0].error_code, 0);
    }
}

#[test]
fn idempotent_batches_in_flight_keep_their_order() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let producer = super::idempotence::new_producer(&mut client);
    let mut bytes = BytesMut::new();
    for sequence in 0..200 {
        let records = Batch::of([format!("{sequence}")]).idempotent(producer, 0, sequence).encode();
        bytes.extend(frame(9, sequence, &produce_request(&topic, 0, records)));
    }
    client.write(&bytes);
    for sequence in 0..200 {
        let response = client.receive::<ProduceRequest>(9, sequence);
        let response = &response.responses[0].partition_responses[0];
        assert_eq!((response.error_code, response.base_offset), (0, sequence.into()), "{response:?}");
    }
}

#[test]
fn a_reply_that_waits_holds_back_those_behind_it() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let start = Instant::now();
    let mut bytes = frame(12, 1, &fetch_request(&topic, 0, 0).with_max_wait_ms(300));
    bytes.extend(frame(12, 2, &MetadataRequest::default().with_topics(None)));
    client.write(&bytes);
    client.receive::<FetchRequest>(12, 1);
    assert!(start.elapsed() >= Duration::from_millis(290));
    client.receive::<MetadataRequest>(12, 2);
}

#[test]
fn acks_0_is_not_answered_and_not_lost() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let mut bytes = BytesMut::new();
    for number in 0..10 {
        let records = Batch::of([format!("{number}")]).encode();
        bytes.extend(frame(9, number, &produce_request(&topic, 0, records).with_acks(0)));
    }
    let records = Batch::of(["last"]).encode();
    bytes.extend(frame(9, 10, &produce_request(&topic, 0, records).with_acks(1)));
    client.write(&bytes);
    let response = client.receive::<ProduceRequest>(9, 10);
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 10);
}

#[test]
fn acks_0_that_fails_closes_the_connection() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    // There is no reply to say it with.
    let records = Batch::of(["value"]).encode();
    client.write(&frame(9, 1, &produce_request(&topic, 7, records).with_acks(0)));
    client.assert_closed("acks=0 to a partition that does not exist");
}

#[test]
fn a_client_that_sends_slowly_is_understood() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let request = frame(12, 1, &MetadataRequest::default().with_topics(Some(vec![])));
    for byte in &request {
        client.write(&[*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    client.receive::<MetadataRequest>(12, 1);
}

fn id(round: i32, number: i32) -> i32 {
    1000 + round * 10 + number
}

const ROUNDS: i32 = 20;
