//! librdkafka through the rdkafka crate: consumers that commit, come back, and lose their place.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::support::{Gateway, offsets, tools::kafka_tool, topics, unique};

#[test]
fn consumer_offset_commit_and_fetch() {
    let gateway = Gateway::start();
    let (topic, group) = (topic_of(&gateway, 2), unique("group"));
    produce(&gateway, &topic, 0, 0..10);
    produce(&gateway, &topic, 1, 0..5);

    // The first consumer reads everything, and commits less than that.
    let first = consumer(&gateway, &group, &[("auto.offset.reset", "earliest")]);
    first.subscribe(&[&topic]).unwrap();
    let mut read = read(&first, 15);
    read.sort();
    let expected: Vec<_> = (0..10).map(|number| (0, number)).chain((0..5).map(|number| (1, number))).collect();
    assert_eq!(read, expected);
    let mut commit = TopicPartitionList::new();
    commit.add_partition_offset(&topic, 0, Offset::Offset(4)).unwrap();
    commit.add_partition(&topic, 1).set_offset(Offset::Offset(5)).unwrap();
    commit.find_partition(&topic, 0).unwrap().set_metadata("four");
    first.commit(&commit, CommitMode::Sync).unwrap();
    let committed = first.committed_offsets(commit.clone(), PATIENCE).unwrap();
    assert_eq!(committed.find_partition(&topic, 0).unwrap().offset(), Offset::Offset(4));
    assert_eq!(committed.find_partition(&topic, 1).unwrap().offset(), Offset::Offset(5));
    drop(first);

    // The next one goes on exactly there.
    let second = consumer(&gateway, &group, &[("auto.offset.reset", "earliest")]);
    second.subscribe(&[&topic]).unwrap();
    assert_eq!(self::read(&second, 6), (4..10).map(|number| (0, number)).collect::<Vec<_>>());
    nothing_more(&second);
    second.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(second);

    // And the one after that has nothing to read until something is written.
    let third = consumer(&gateway, &group, &[("auto.offset.reset", "earliest")]);
    third.subscribe(&[&topic]).unwrap();
    nothing_more(&third);
    produce(&gateway, &topic, 1, 5..6);
    assert_eq!(self::read(&third, 1), [(1, 5)]);

    // What it committed is what the protocol tells.
    let found = offsets::fetch_all(&mut gateway.connect(), &group);
    let found: Vec<_> = found[0].1.iter().map(|committed| (committed.partition, committed.offset)).collect();
    assert_eq!(found, [(0, 10), (1, 5)]);
}

#[test]
fn consumer_group_persistence() {
    let mut gateway = Gateway::options().storage("disk").start();
    let (topic, group) = (topic_of(&gateway, 1), unique("group"));
    produce(&gateway, &topic, 0, 0..10);
    let settings = [("auto.offset.reset", "error"), ("enable.auto.commit", "false")];
    let lasting = consumer(&gateway, &group, &[("auto.offset.reset", "earliest")]);
    lasting.subscribe(&[&topic]).unwrap();
    assert_eq!(read(&lasting, 10).len(), 10);
    lasting.commit_consumer_state(CommitMode::Sync).unwrap();

    // A consumer lives through the crash and reads on, without a reset.
    gateway.crash_and_restart();
    produce(&gateway, &topic, 0, 10..13);
    assert_eq!(read(&lasting, 3), [(0, 10), (0, 11), (0, 12)]);
    lasting.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(lasting);

    // One that comes after the crash would fail if it had to reset.
    gateway.crash_and_restart();
    produce(&gateway, &topic, 0, 13..15);
    let next = consumer(&gateway, &group, &settings);
    next.subscribe(&[&topic]).unwrap();
    assert_eq!(read(&next, 2), [(0, 13), (0, 14)]);
}

#[test]
fn fetch_from_offset() {
    let gateway = Gateway::start();
    let topic = topic_of(&gateway, 1);
    produce(&gateway, &topic, 0, 0..20);
    let consumer = consumer(&gateway, &unique("group"), &[("auto.offset.reset", "error")]);
    for (offset, first) in [
        (Offset::Beginning, 0),
        (Offset::Offset(0), 0),
        (Offset::Offset(7), 7),
        (Offset::Offset(19), 19),
        (Offset::OffsetTail(3), 17),
    ] {
        assign(&consumer, &topic, offset);
        let expected: Vec<_> = (first..20).map(|number| (0, number)).collect();
        assert_eq!(read(&consumer, expected.len()), expected, "{offset:?}");
    }
    for offset in [Offset::Offset(20), Offset::End] {
        assign(&consumer, &topic, offset);
        nothing_more(&consumer);
    }
    assert_eq!(consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap(), (0, 20));
}

/// Every `auto.offset.reset`, with nothing committed and with commits outside of the log.
#[test]
fn offset_reset() {
    let gateway = Gateway::start();
    let topic = topic_of(&gateway, 1);
    produce(&gateway, &topic, 0, 0..10);
    topics::delete_records(&mut gateway.connect(), &topic, 0, 3);
    for committed in [None, Some(1), Some(500)] {
        let group = unique("earliest");
        commit(&gateway, &group, &topic, committed);
        let earliest = consumer(&gateway, &group, &[("auto.offset.reset", "earliest")]);
        earliest.subscribe(&[&topic]).unwrap();
        assert_eq!(read(&earliest, 7), (3..10).map(|number| (0, number)).collect::<Vec<_>>(), "{committed:?}");

        let group = unique("error");
        commit(&gateway, &group, &topic, committed);
        let error = consumer(&gateway, &group, &[("auto.offset.reset", "error")]);
        error.subscribe(&[&topic]).unwrap();
        assert_eq!(first_error(&error), RDKafkaErrorCode::AutoOffsetReset, "{committed:?}");
    }
    for (next, committed) in (10..).zip([None, Some(1), Some(500)]) {
        let group = unique("latest");
        commit(&gateway, &group, &topic, committed);
        let latest = consumer(&gateway, &group, &[("auto.offset.reset", "latest")]);
        latest.subscribe(&[&topic]).unwrap();
        await_position(&latest, &topic);
        produce(&gateway, &topic, 0, next..next + 1);
        assert_eq!(read(&latest, 1), [(0, next)], "{committed:?}");
    }
    // A commit within the log is never reset, whatever the setting.
    for reset in ["earliest", "latest", "error"] {
        let group = unique("within");
        commit(&gateway, &group, &topic, Some(5));
        let within = consumer(&gateway, &group, &[("auto.offset.reset", reset)]);
        within.subscribe(&[&topic]).unwrap();
        assert_eq!(read(&within, 2), [(0, 5), (0, 6)], "{reset}");
    }
}

#[test]
fn a_topic_that_the_producer_invents_is_there() {
    let gateway = Gateway::start();
    let topic = unique("invented");
    produce(&gateway, &topic, 0, 0..3);
    let consumer = consumer(&gateway, &unique("group"), &[("auto.offset.reset", "earliest")]);
    consumer.subscribe(&[&topic]).unwrap();
    assert_eq!(read(&consumer, 3), [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn two_consumers_share_the_partitions_and_one_takes_over() {
    let gateway = Gateway::start();
    for strategy in ["range", "cooperative-sticky"] {
        let (topic, group) = (topic_of(&gateway, 4), unique("group"));
        let settings = [("auto.offset.reset", "earliest"), ("partition.assignment.strategy", strategy)];
        let first = consumer(&gateway, &group, &settings);
        let second = consumer(&gateway, &group, &settings);
        for member in [&first, &second] {
            member.subscribe(&[&topic]).unwrap();
        }
        await_assignment(&[&first, &second], &[2, 2]);
        drop(second);
        await_assignment(&[&first], &[4]);
    }
}

/// A consumer of `group` that commits only when it is told to.
#[test]
fn consumer_protocol_shares_topics_of_a_pattern() {
    let gateway = Gateway::options()
        .config("group.consumer.heartbeat.interval.ms = 200\ngroup.consumer.min.heartbeat.interval.ms = 200")
        .start();
    let (prefix, listed, group) = (unique("prefix"), topic_of(&gateway, 1), unique("group"));
    let create = |name: &str| {
        let topic = format!("{prefix}-{name}");
        topics::create(&mut gateway.connect(), &topic, 2);
        topic
    };
    create("a");
    let settings = [("group.protocol", "consumer"), ("auto.offset.reset", "earliest")];
    let first = consumer(&gateway, &group, &settings);
    let topics = [&*format!("^{prefix}-.*"), &*listed];
    first.subscribe(&topics).unwrap();
    await_assignment(&[&first], &[3]);
    let second = consumer(&gateway, &group, &settings);
    second.subscribe(&topics).unwrap();
    let created_later = create("b");
    let start = Instant::now();
    while first.assignment().unwrap().count() + second.assignment().unwrap().count() != 5 {
        assert!(start.elapsed() < PATIENCE, "{:?} {:?}", first.assignment(), second.assignment());
        for consumer in [&first, &second] {
            assert!(consumer.poll(Duration::from_millis(50)).is_none(), "nothing is there yet");
        }
    }
    drop(first);
    await_assignment(&[&second], &[5]);
    produce(&gateway, &created_later, 0, 0..3);
    assert_eq!(read(&second, 3), [(0, 0), (0, 1), (0, 2)]);
    second.commit_consumer_state(CommitMode::Sync).unwrap();

    let (code, described) = kafka_tool(
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &["--bootstrap-server", &gateway.bootstrap(), "--describe", "--group", &group, "--members", "--verbose"],
    );
    assert_eq!(code, 0, "{described}");
    let row: Vec<_> = described.lines().last().unwrap_or_default().split_whitespace().collect();
    // Group, member, host, client, partitions, epoch, assignment, target epoch, target.
    assert_eq!((row[0], row[4]), (&*group, "5"), "{described}");
    assert_eq!((row[5], row[6]), (row[7], row[8]), "{described}");
    assert!(row[6].contains(&format!("{created_later}:0,1")), "{described}");
}

fn consumer(gateway: &Gateway, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    offsets::await_coordinator(&mut gateway.connect(), group);
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", gateway.bootstrap())
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("reconnect.backoff.max.ms", "200")
        .set("topic.metadata.refresh.interval.ms", "1000");
    // In the consumer protocol the broker sets the times.
    if !settings.contains(&("group.protocol", "consumer")) {
        config.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "200");
    }
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

fn topic_of(gateway: &Gateway, partitions: i32) -> String {
    let topic = unique("topic");
    topics::create(&mut gateway.connect(), &topic, partitions);
    topic
}

/// Numbers as records, in order, each of them acknowledged.
fn produce(gateway: &Gateway, topic: &str, partition: i32, numbers: std::ops::Range<i64>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", gateway.bootstrap())
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .set("message.timeout.ms", "20000")
        .create()
        .unwrap();
    for number in numbers {
        let value = number.to_string();
        producer.send(BaseRecord::<str, str>::to(topic).partition(partition).payload(&value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

fn commit(gateway: &Gateway, group: &str, topic: &str, offset: Option<i64>) {
    let mut client = gateway.connect();
    offsets::await_coordinator(&mut client, group);
    if let Some(offset) = offset {
        offsets::commit(&mut client, group, topic, 0, offset);
    }
}

fn assign(consumer: &BaseConsumer, topic: &str, offset: Offset) {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, offset).unwrap();
    consumer.assign(&assignment).unwrap();
}

/// The next `count` records as partition and number, each at the offset that is its number.
fn read(consumer: &BaseConsumer, count: usize) -> Vec<(i32, i64)> {
    let start = Instant::now();
    let mut records = Vec::new();
    while records.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} records: {records:?}", records.len());
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                let number: i64 = message.payload_view::<str>().unwrap().unwrap().parse().unwrap();
                assert_eq!(message.offset(), number, "offset of a record");
                records.push((message.partition(), number));
            }
            Some(Err(error)) if is_passing(&error) => {}
            Some(Err(error)) => panic!("{error}, after {records:?}"),
        }
    }
    records
}

fn nothing_more(consumer: &BaseConsumer) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(error)) if is_passing(&error) => {}
            other => panic!("expected nothing, got {other:?}"),
        }
    }
}

fn first_error(consumer: &BaseConsumer) -> RDKafkaErrorCode {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => panic!("expected an error, got offset {}", message.offset()),
            Some(Err(KafkaError::MessageConsumption(code))) => return code,
            Some(Err(error)) if is_passing(&error) => {}
            Some(Err(error)) => panic!("{error}"),
        }
    }
    panic!("no error")
}

/// A broker that is away for a moment.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve)
    )
}

/// Waits until the consumer knows where it reads: only then does "latest" mean something.
fn await_position(consumer: &BaseConsumer, topic: &str) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        assert!(consumer.poll(Duration::from_millis(50)).is_none(), "nothing is there yet");
        // Its own fetches are no part of the API: a second at its place in the log is long enough.
        if consumer.assignment().unwrap().find_partition(topic, 0).is_some() {
            nothing_more(consumer);
            return;
        }
    }
    panic!("no assignment");
}

fn await_assignment(consumers: &[&BaseConsumer], counts: &[usize]) {
    let start = Instant::now();
    loop {
        let found: Vec<_> = consumers
            .iter()
            .map(|consumer| {
                if let Some(Err(error)) = consumer.poll(Duration::from_millis(50)) {
                    assert!(is_passing(&error), "{error}");
                }
                consumer.assignment().unwrap().count()
            })
            .collect();
        if found == counts {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "assigned {found:?} instead of {counts:?}");
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
