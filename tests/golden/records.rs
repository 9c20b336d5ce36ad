//! Records in and out.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    FetchRequest, InitProducerIdRequest, ListOffsetsRequest, ProduceRequest, ProduceResponse, ProducerId,
    TransactionalId,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use uuid::Uuid;

use crate::{
    requests::versions,
    support::{
        batch::{Batch, old_message},
        eventually, str_bytes,
        topics::{fetch_partition, produce, topic_name},
    },
    talk::Talk,
};

pub fn produces(talk: &mut Talk) {
    for version in versions::<ProduceRequest>() {
        let (topic, id) = talk.topic(&format!("topic-{version}"), 2);
        let unknown = talk.name("unknown.topic");
        let of = |name: &str, id: Uuid, partitions: Vec<(i32, Option<Bytes>)>| {
            let partitions = partitions
                .into_iter()
                .map(|(index, records)| PartitionProduceData::default().with_index(index).with_records(records));
            let topic = TopicProduceData::default().with_partition_data(partitions.collect());
            if version >= 13 { topic.with_topic_id(id) } else { topic.with_name(topic_name(name)) }
        };
        let request = |topics: Vec<TopicProduceData>| {
            ProduceRequest::default()
                .with_transactional_id(None)
                .with_acks(-1)
                .with_timeout_ms(5000)
                .with_topic_data(topics)
        };
        let one = |index: i32, records: Option<Bytes>| request(vec![of(&topic, id, vec![(index, records)])]);
        let good = || Some(Batch::of(["value"]).encode());
        let batch = |change: &dyn Fn(&mut Batch)| {
            let mut batch = Batch::of(["one", "two"]);
            change(&mut batch);
            one(0, Some(batch.encode()))
        };
        let mut produce = |step: &str, request: &ProduceRequest| {
            talk.send("one", version, step, request);
            talk.receive_with::<ProduceRequest>("one", true, without_messages);
        };
        produce("one record", &one(0, good()));
        produce("acks 1", &one(0, good()).with_acks(1));
        for acks in [2, -2, i16::MAX] {
            produce(&format!("acks {acks}"), &one(0, good()).with_acks(acks));
        }
        produce("timeout -1", &one(0, good()).with_timeout_ms(-1));
        produce("no topics", &request(vec![]));
        produce("no partitions", &request(vec![of(&topic, id, vec![])]));
        if version == 13 {
            // Kafka never answers.
            produce("no records", &one(0, None));
        }
        produce("empty records", &one(0, Some(Bytes::new())));
        produce("unknown topic", &request(vec![of(&unknown, Uuid::from_u128(7), vec![(0, good())])]));
        produce("zero topic id, or empty name", &request(vec![of("", Uuid::nil(), vec![(0, good())])]));
        produce("partition 2 of 2", &one(2, good()));
        produce("partition -1", &one(-1, good()));
        produce("two partitions, one not there", &request(vec![of(&topic, id, vec![(1, good()), (9, good())])]));
        produce("two batches", &one(0, Some([Batch::of(["a"]).encode(), Batch::of(["b"]).encode()].concat().into())));
        let flipped = || {
            let mut bytes = Batch::of(["value"]).encode().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            Some(Bytes::from(bytes))
        };
        produce("a wrong checksum", &one(0, flipped()));
        produce(
            "a wrong checksum, and a good batch elsewhere",
            &request(vec![of(&topic, id, vec![(0, flipped()), (1, good())])]),
        );
        produce("message of magic 1", &one(0, Some(old_message(1, b"value"))));
        produce("message of magic 0", &one(0, Some(old_message(0, b"value"))));
        produce("base offset 5", &batch(&|batch| batch.base_offset = 5));
        produce("count too high", &batch(&|batch| batch.count = 3));
        produce("count too low", &batch(&|batch| batch.count = 1));
        produce("count negative", &batch(&|batch| batch.count = -1));
        produce(
            "no records in a batch",
            &batch(&|batch| {
                batch.records.clear();
                batch.count = 0;
            }),
        );
        produce("unknown codec", &batch(&|batch| batch.attributes = 7));
        produce("says gzip and is not", &batch(&|batch| batch.attributes = 1));
        produce("a control batch", &batch(&|batch| batch.attributes = 0x20));
        produce("a transactional batch without a producer", &batch(&|batch| batch.attributes = 0x10));
        produce("timestamp -1", &batch(&|batch| batch.base_timestamp = -1));
        produce("timestamp -2", &batch(&|batch| batch.base_timestamp = -2));
        produce("timestamp in the year 3000", &batch(&|batch| batch.base_timestamp = 32_503_680_000_000));
        if version >= 7 {
            produce("zstd that is none", &batch(&|batch| batch.attributes = 4));
        }
        produce(
            "a batch and three more bytes",
            &one(0, Some([&Batch::of(["a"]).encode()[..], &[0, 0, 0]].concat().into())),
        );
    }
}

pub fn idempotent_producers(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 1);
    let numbered = |id: i64, epoch: i16, sequence: i32, records: usize| {
        let mut batch = Batch::of(vec!["value"; records]);
        (batch.producer_id, batch.producer_epoch, batch.base_sequence) = (id, epoch, sequence);
        let data = PartitionProduceData::default().with_index(0).with_records(Some(batch.encode()));
        let topic = TopicProduceData::default().with_name(topic_name(&topic)).with_partition_data(vec![data]);
        ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(5000)
            .with_topic_data(vec![topic])
    };
    let id = producer_id(talk);
    for version in [3, 9, 12] {
        let epoch = version;
        let mut send = |step: &str, request: &ProduceRequest| {
            talk.send("one", version, step, request);
            talk.receive_with::<ProduceRequest>("one", true, without_messages);
        };
        send("two records", &numbered(id, epoch, 0, 2));
        send("the same again", &numbered(id, epoch, 0, 2));
        send("a gap", &numbered(id, epoch, 5, 1));
        send("the next", &numbered(id, epoch, 2, 1));
        send("an overlap", &numbered(id, epoch, 1, 3));
        send("the first again", &numbered(id, epoch, 0, 2));
        send("the epoch before", &numbered(id, epoch - 1, 0, 1));
        send("the epoch after, not from 0", &numbered(id, epoch + 1, 4, 1));
        send("a producer that is not known, not from 0", &numbered(id + 1_000_000 + i64::from(version), 0, 7, 1));
        send("no sequence", &numbered(id, epoch, -1, 1));
        send("negative sequence", &numbered(id, epoch, -2, 1));
        send("negative epoch", &numbered(id, -1, 0, 1));
        send("negative producer", &numbered(-2, epoch, 0, 1));
    }
}

pub fn producer_ids(talk: &mut Talk) {
    producer_id(talk);
    for version in versions::<InitProducerIdRequest>() {
        let init = |id: Option<&str>, timeout| {
            InitProducerIdRequest::default()
                .with_transactional_id(id.map(|id| TransactionalId(str_bytes(id))))
                .with_transaction_timeout_ms(timeout)
        };
        let mut call = |step: &str, request: &InitProducerIdRequest| {
            talk.call("one", version, step, request);
        };
        call("idempotent", &init(None, 60_000));
        call("timeout 0", &init(None, 0));
        call("timeout -1", &init(None, -1));
        call("empty transactional id", &init(Some(""), 60_000));
        if version >= 3 {
            let with = |id, epoch| init(None, 60_000).with_producer_id(ProducerId(id)).with_producer_epoch(epoch);
            call("a producer without a transactional id", &with(7, 0));
            call("a producer id without an epoch", &with(7, -1));
            call("an epoch without a producer id", &with(-1, 3));
            call("producer id -2", &with(-2, -2));
        }
    }
}

/// A number of its own, once there are any: Kafka fetches a block of them when it is first asked.
fn producer_id(talk: &Talk) -> i64 {
    let init = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(0);
    let mut client = talk.unrecorded();
    eventually("a producer id", Duration::from_secs(10), || {
        let reply = client.call(3, &init);
        (reply.error_code == 0).then_some(reply.producer_id.0)
    })
}

/// What an error says besides its code is each broker's own.
fn without_messages(reply: &mut ProduceResponse) {
    let partitions = reply.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses);
    for partition in partitions {
        partition.error_message = None;
        if partition.error_code != 0 {
            partition.log_start_offset = -1;
        }
        partition.record_errors.iter_mut().for_each(|error| error.batch_index_error_message = None);
    }
}

pub fn fetches(talk: &mut Talk) {
    let (topic, id) = talk.topic("topic", 2);
    let unknown = talk.name("unknown");
    let mut batch = Batch::of(["one", "two"]);
    batch.base_timestamp = 1_500_000_000_000;
    produce(&mut talk.unrecorded(), &topic, 0, &batch);
    produce(&mut talk.unrecorded(), &topic, 0, &batch);
    for version in [4, 7, 11, 12, 13, 18] {
        let of = |name: &str, id: Uuid, partitions: Vec<FetchPartition>| {
            let topic = FetchTopic::default().with_partitions(partitions);
            if version >= 13 { topic.with_topic_id(id) } else { topic.with_topic(topic_name(name)) }
        };
        let request = |topics: Vec<FetchTopic>| {
            let request = FetchRequest::default()
                .with_max_wait_ms(0)
                .with_min_bytes(1)
                .with_max_bytes(1 << 20)
                .with_session_id(0)
                .with_session_epoch(-1)
                .with_topics(topics);
            if version >= 15 { request } else { request.with_replica_id((-1).into()) }
        };
        let one = |partition: FetchPartition| request(vec![of(&topic, id, vec![partition])]);
        let mut fetch = |step: &str, request: &FetchRequest| {
            talk.call("one", version, step, request);
        };
        fetch("from 0", &one(fetch_partition(0, 0)));
        fetch("from the middle of a batch", &one(fetch_partition(0, 3)));
        fetch("from the end", &one(fetch_partition(0, 4)));
        fetch("behind the end", &one(fetch_partition(0, 5)));
        fetch("offset -1", &one(fetch_partition(0, -1)));
        fetch("offset -2", &one(fetch_partition(0, -2)));
        fetch("empty partition", &one(fetch_partition(1, 0)));
        fetch("partition that is not there", &one(fetch_partition(2, 0)));
        fetch("partition -1", &one(fetch_partition(-1, 0)));
        fetch("unknown topic", &request(vec![of(&unknown, Uuid::from_u128(7), vec![fetch_partition(0, 0)])]));
        fetch("zero topic id, or empty name", &request(vec![of("", Uuid::nil(), vec![fetch_partition(0, 0)])]));
        fetch("one byte of a partition", &one(fetch_partition(0, 0).with_partition_max_bytes(1)));
        fetch("no bytes of a partition", &one(fetch_partition(0, 0).with_partition_max_bytes(0)));
        fetch("negative bytes of a partition", &one(fetch_partition(0, 0).with_partition_max_bytes(-1)));
        fetch("no bytes", &one(fetch_partition(0, 0)).with_max_bytes(0));
        fetch("negative bytes", &one(fetch_partition(0, 0)).with_max_bytes(-1));
        fetch("negative wait", &one(fetch_partition(0, 4)).with_max_wait_ms(-1));
        fetch("negative least bytes", &one(fetch_partition(0, 4)).with_min_bytes(-1).with_max_wait_ms(500));
        fetch("a partition twice", &request(vec![of(&topic, id, vec![fetch_partition(0, 0), fetch_partition(0, 4)])]));
        fetch("nothing", &request(vec![]));
        fetch("isolation level 1", &one(fetch_partition(0, 0)).with_isolation_level(1));
        fetch("isolation level 5", &one(fetch_partition(0, 4)).with_isolation_level(5));
        if version >= 9 {
            for epoch in [0, 1, -2] {
                fetch(
                    &format!("current leader epoch {epoch}"),
                    &one(fetch_partition(0, 4).with_current_leader_epoch(epoch)),
                );
            }
        }
        if version >= 12 {
            for epoch in [0, 1] {
                fetch(
                    &format!("last fetched epoch {epoch}"),
                    &one(fetch_partition(0, 4).with_last_fetched_epoch(epoch)),
                );
            }
        }
        if version >= 7 {
            let session =
                |session, epoch| one(fetch_partition(0, 4)).with_session_id(session).with_session_epoch(epoch);
            fetch("a new session", &session(0, 0));
            fetch("a session that is not there", &session(12345, 1));
            fetch("a session that is not there ends", &session(12345, -1));
            fetch("no session, epoch 5", &session(0, 5));
            fetch("epoch -2", &session(0, -2));
            let forgotten = ForgottenTopic::default().with_partitions(vec![0]);
            let forgotten =
                if version >= 13 { forgotten.with_topic_id(id) } else { forgotten.with_topic(topic_name(&topic)) };
            fetch("forgotten without a session", &session(0, -1).with_forgotten_topics_data(vec![forgotten]));
        }
    }
}

pub fn list_offsets(talk: &mut Talk) {
    let (topic, _) = talk.topic("topic", 2);
    let unknown = talk.name("unknown");
    let mut batch = Batch::of(["one", "two"]);
    for timestamp in [1_500_000_000_000, 1_400_000_000_000, 1_500_000_000_001] {
        batch.base_timestamp = timestamp;
        produce(&mut talk.unrecorded(), &topic, 0, &batch);
    }
    for version in [1, 4, 7, 10] {
        let of = |topic: &str, partitions: Vec<ListOffsetsPartition>| {
            let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(partitions);
            let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
            if version >= 10 { request.with_timeout_ms(1000) } else { request }
        };
        let partition =
            |index, timestamp| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(timestamp);
        let mut list = |step: &str, request: &ListOffsetsRequest| {
            talk.call_sorted("one", version, step, request);
        };
        for timestamp in [
            -1,
            -2,
            -3,
            -4,
            -5,
            -6,
            -7,
            i64::MIN,
            0,
            1_400_000_000_000,
            1_500_000_000_000,
            1_500_000_000_001,
            1_500_000_000_002,
            i64::MAX,
        ] {
            list(&format!("timestamp {timestamp}"), &of(&topic, vec![partition(0, timestamp)]));
        }
        list(
            "an empty partition",
            &of(&topic, vec![partition(1, -1), partition(1, -2), partition(1, -3), partition(1, 0)]),
        );
        list("a partition twice", &of(&topic, vec![partition(0, -1), partition(0, -2)]));
        list("a partition that is not there", &of(&topic, vec![partition(2, -1), partition(-1, -1), partition(0, -1)]));
        list("an unknown topic", &of(&unknown, vec![partition(0, -1)]));
        list("an empty name", &of("", vec![partition(0, -1)]));
        list("no partitions", &of(&topic, vec![]));
        if version >= 2 {
            list("isolation level 1", &of(&topic, vec![partition(0, -1)]).with_isolation_level(1));
        }
        if version >= 4 {
            list(
                "current leader epochs",
                &of(
                    &topic,
                    vec![partition(0, -1).with_current_leader_epoch(0), partition(1, -1).with_current_leader_epoch(3)],
                ),
            );
        }
        if version == 10 {
            list("timeout -1", &of(&topic, vec![partition(0, -1)]).with_timeout_ms(-1));
        }
    }
}
