//! Producers whose batches carry a sequence: what comes twice is kept once, and a gap is refused (KIP-98).

use std::time::Duration;

use kafka_protocol::messages::{InitProducerIdRequest, ProducerId, TransactionalId};

use crate::support::{
    Client, Gateway,
    batch::Batch,
    eventually, str_bytes,
    topics::{self, produce, read_all, texts},
    unique,
};

#[test]
fn producer_ids_are_new_each_time_also_after_a_crash() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.connect();
        seen.extend((0..5).map(|_| new_producer(&mut client)));
        gateway.crash_and_restart();
    }
    let mut distinct = seen.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
}

#[test]
fn a_batch_that_comes_again_answers_its_first_offset() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let producer = new_producer(&mut client);
    let batch = |sequence: i32| {
        Batch::of([format!("{sequence}"), format!("{}", sequence + 1)]).idempotent(producer, 0, sequence)
    };
    for (number, sequence) in [0, 2, 4, 6, 8].into_iter().enumerate() {
        let response = produce(&mut client, &topic, 0, &batch(sequence));
        assert_eq!((response.error_code, response.base_offset), (0, 2 * i64::try_from(number).unwrap()));
    }
    // Each of the last five is known, in any order.
    for sequence in [8, 0, 4, 2, 6] {
        let response = produce(&mut client, &topic, 0, &batch(sequence));
        assert_eq!((response.error_code, response.base_offset), (0, sequence.into()), "{response:?}");
    }
    assert_eq!(texts(&read_all(&mut client, &topic, 0, 0)).len(), 10);

    // A sixth pushes the first out of memory.
    assert_eq!(produce(&mut client, &topic, 0, &batch(10)).error_code, 0);
    assert_eq!(produce(&mut client, &topic, 0, &batch(0)).error_code, OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(texts(&read_all(&mut client, &topic, 0, 0)).len(), 12);
}

#[test]
fn a_gap_in_the_sequence_is_refused() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 2);
    let producer = new_producer(&mut client);
    let batch = |sequence: i32| Batch::of(["value"]).idempotent(producer, 0, sequence);
    let mut send = |partition: i32, batch: &Batch| {
        let response = produce(&mut client, &topic, partition, batch);
        (response.error_code, response.base_offset)
    };
    assert_eq!(send(0, &batch(0)), (0, 0));
    assert_eq!(send(0, &batch(2)), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(send(0, &batch(1)), (0, 1), "what was refused left nothing");
    assert_eq!(send(0, &batch(2)), (0, 2));
    // A producer that the partition does not know may begin anywhere: its state may have expired.
    assert_eq!(send(1, &batch(7)), (0, 0));
    assert_eq!(send(1, &batch(9)), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    // Overlapping what is there without being the same.
    let overlap = Batch::of(["a", "b"]).idempotent(producer, 0, 2);
    assert_eq!(send(0, &overlap), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    // A new epoch begins at 0, and fences the old one.
    assert_eq!(send(0, &Batch::of(["x"]).idempotent(producer, 1, 3)), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(send(0, &Batch::of(["x"]).idempotent(producer, 1, 0)), (0, 3));
    assert_eq!(send(0, &batch(3)), (INVALID_PRODUCER_EPOCH, -1));
}

#[test]
fn the_sequence_wraps_around() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let producer = new_producer(&mut client);
    let mut send = |sequence: i32| {
        let response = produce(&mut client, &topic, 0, &Batch::of(["a", "b", "c"]).idempotent(producer, 0, sequence));
        (response.error_code, response.base_offset)
    };
    assert_eq!(send(i32::MAX - 3), (0, 0));
    // 2^31-1 is followed by 0: this one has both.
    assert_eq!(send(i32::MAX), (0, 3));
    assert_eq!(send(i32::MAX), (0, 3), "again");
    assert_eq!(send(2), (0, 6));
}

#[test]
fn sequences_survive_a_crash() {
    for durability in ["sync", "os"] {
        let mut gateway = Gateway::options().storage("disk").durability(durability).start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 1);
        let producer = new_producer(&mut client);
        for sequence in 0..4 {
            let batch = Batch::of([format!("{sequence}")]).idempotent(producer, 0, sequence);
            assert_eq!(produce(&mut client, "topic", 0, &batch).error_code, 0);
            gateway.crash_and_restart();
            client = gateway.connect();
            let again = produce(&mut client, "topic", 0, &batch);
            assert_eq!((again.error_code, again.base_offset), (0, sequence.into()), "{durability}");
        }
        let gap = Batch::of(["gap"]).idempotent(producer, 0, 5);
        assert_eq!(produce(&mut client, "topic", 0, &gap).error_code, OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_eq!(texts(&read_all(&mut client, "topic", 0, 0)), ["0", "1", "2", "3"]);
    }
}

#[test]
fn transactional_producers_are_told_at_once_that_they_may_not() {
    let gateway = Gateway::options().start();
    let mut client = gateway.connect();
    for version in 0..=5 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(str_bytes("t"))))
            .with_transaction_timeout_ms(60_000);
        assert_eq!(client.call(version, &request).error_code, TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
}

pub fn new_producer(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    // Kafka fetches a block of them from its controller when it has none.
    let response = eventually("a producer id", Duration::from_secs(5), || {
        Some(client.call(4, &request)).filter(|response| response.error_code != COORDINATOR_LOAD_IN_PROGRESS)
    });
    assert_eq!((response.error_code, response.producer_epoch), (0, 0), "{response:?}");
    assert!(response.producer_id.0 >= 0);
    response.producer_id.0
}

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
