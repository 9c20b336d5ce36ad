//! Topics come, go, and come again.

use kafka_protocol::messages::{
    CreateTopicsRequest, MetadataRequest, create_topics_request::CreatableTopic, metadata_request::MetadataRequestTopic,
};

use crate::support::{
    Gateway, offsets, str_bytes,
    topics::{self, fetch, fetch_request_by_id, produce_values, read_all, texts, topic_name},
    unique,
};

#[test]
fn a_topic_created_again_has_none_of_the_old_records() {
    let mut gateways = vec![Gateway::start()];
    if !gateways[0].is_kafka() {
        gateways.push(Gateway::options().storage("memory").start());
    }
    for gateway in gateways {
        let mut client = gateway.connect();
        let (topic, group) = (unique("topic"), unique("group"));
        let old = topics::create(&mut client, &topic, 2);
        produce_values(&mut client, &topic, 0, ["old 1", "old 2"]);
        produce_values(&mut client, &topic, 1, ["old 3"]);
        offsets::await_coordinator(&mut client, &group);
        offsets::commit(&mut client, &group, &topic, 0, 2);

        topics::delete(&mut client, &topic);
        assert_eq!(fetch(&mut client, &topic, 0, 0).error_code, UNKNOWN_TOPIC_OR_PARTITION);
        let new = topics::create(&mut client, &topic, 1);
        assert_ne!(old, new, "topic ids are never used again");

        let answer = fetch(&mut client, &topic, 0, 0);
        assert_eq!((answer.error_code, answer.high_watermark, answer.log_start_offset), (0, 0, 0));
        assert_eq!(fetch(&mut client, &topic, 1, 0).error_code, UNKNOWN_TOPIC_OR_PARTITION, "one partition now");
        let by_old_id = client.call(13, &fetch_request_by_id(old, 0, 0));
        assert_eq!(by_old_id.responses[0].partitions[0].error_code, UNKNOWN_TOPIC_ID);
        assert_eq!(produce_values(&mut client, &topic, 0, ["new"]), 0);
        assert_eq!(texts(&read_all(&mut client, &topic, 0, 0)), ["new"]);
        assert_eq!(offsets::fetch_all(&mut client, &group), [], "a deleted topic takes its offsets with it");
    }
}

#[test]
fn a_deleted_topic_stays_deleted_after_a_crash() {
    for durability in ["sync", "os"] {
        let mut gateway = Gateway::options().storage("disk").durability(durability).start();
        let mut client = gateway.connect();
        let first = topics::create(&mut client, "kept", 1);
        let old = topics::create(&mut client, "again", 1);
        topics::create(&mut client, "deleted", 1);
        for topic in ["kept", "again", "deleted"] {
            produce_values(&mut client, topic, 0, ["old"]);
            offsets::commit(&mut client, "group", topic, 0, 1);
        }
        topics::delete(&mut client, "deleted");
        topics::delete(&mut client, "again");
        let new = topics::create(&mut client, "again", 1);
        gateway.crash_and_restart();
        let mut client = gateway.connect();
        assert_eq!(topics::describe(&mut client, "deleted").error_code, UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(topics::describe(&mut client, "kept").topic_id, first);
        assert_eq!(topics::describe(&mut client, "again").topic_id, new);
        assert_ne!(old, new);
        assert_eq!(texts(&read_all(&mut client, "kept", 0, 0)), ["old"]);
        assert_eq!(texts(&read_all(&mut client, "again", 0, 0)), [""; 0]);
        assert_eq!(offsets::fetch_all(&mut client, "group").len(), 1);
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let (most, more) = ("x".repeat(249), "x".repeat(250));
    for name in ["", ".", "..", "a/b", "../../etc/passwd", "a b", "ü", "a\0b", "a\\b", "a:b", &more] {
        // Metadata must not make such a topic either.
        for version in [1, 4, 12] {
            let asked = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
            let request =
                MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(true);
            let topic = client.call(version, &request).topics.remove(0);
            assert_eq!(topic.error_code, INVALID_TOPIC_EXCEPTION, "Metadata {version} {name:?}: {topic:?}");
        }
        let asked =
            CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1);
        for version in [2, 7] {
            let request = CreateTopicsRequest::default().with_topics(vec![asked.clone()]).with_timeout_ms(5000);
            let topic = client.call(version, &request).topics.remove(0);
            assert_eq!(topic.error_code, INVALID_TOPIC_EXCEPTION, "CreateTopics {version} {name:?}: {topic:?}");
        }
        let records = crate::support::batch::Batch::of(["value"]).encode();
        let produced = topics::produce_bytes(&mut client, name, 0, records);
        assert_eq!(produced.error_code, UNKNOWN_TOPIC_OR_PARTITION, "Produce {name:?}");
        assert_eq!(fetch(&mut client, name, 0, 0).error_code, UNKNOWN_TOPIC_OR_PARTITION, "Fetch {name:?}");
    }
    if !gateway.is_kafka() {
        // A whole file name of 249 characters and the partition's number is fine on our side.
        topics::create(&mut client, &most, 1);
        assert_eq!(produce_values(&mut client, &most, 0, ["value"]), 0);
        assert_eq!(texts(&read_all(&mut client, &most, 0, 0)), ["value"]);
    }
}

#[test]
fn topics_are_created_as_they_were_asked_for() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let name = unique("topic");
    let asked = |name: &str| {
        CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1)
    };
    let mut code = |topic: CreatableTopic| {
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        client.call(7, &request).topics[0].error_code
    };
    assert_eq!(code(asked(&name)), 0);
    assert_eq!(code(asked(&name)), TOPIC_ALREADY_EXISTS);
    assert_eq!(code(asked(&unique("t")).with_num_partitions(0)), INVALID_PARTITIONS);
    assert_eq!(code(asked(&unique("t")).with_num_partitions(-2)), INVALID_PARTITIONS);
    assert_eq!(code(asked(&unique("t")).with_replication_factor(0)), INVALID_REPLICATION_FACTOR);
    assert_eq!(code(asked(&unique("t")).with_replication_factor(2)), INVALID_REPLICATION_FACTOR);
    assert_eq!(code(asked(&unique("t")).with_num_partitions(-1).with_replication_factor(-1)), 0, "the defaults");
    let config = |key: &str, value: &str| {
        use kafka_protocol::messages::create_topics_request::CreatableTopicConfig;
        vec![CreatableTopicConfig::default().with_name(str_bytes(key)).with_value(Some(str_bytes(value)))]
    };
    assert_eq!(code(asked(&unique("t")).with_configs(config("retention.ms", "soon"))), INVALID_CONFIG);
    assert_eq!(code(asked(&unique("t")).with_configs(config("no.such.config", "1"))), INVALID_CONFIG);
    assert_eq!(code(asked(&unique("t")).with_configs(config("cleanup.policy", "compact"))), 0);
    // Only asked, not done.
    let only = unique("t");
    let request = CreateTopicsRequest::default().with_topics(vec![asked(&only)]).with_validate_only(true);
    assert_eq!(client.call(7, &request).topics[0].error_code, 0);
    assert_eq!(topics::describe(&mut client, &only).error_code, UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn metadata_finds_topics_by_id() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let name = unique("topic");
    let id = topics::create(&mut client, &name, 2);
    let unknown = uuid::Uuid::from_u128(77);
    for version in [12, 13] {
        // Java leaves the name empty, others say null.
        for no_name in [None, Some(topic_name(""))] {
            let asked = |id| MetadataRequestTopic::default().with_topic_id(id).with_name(no_name.clone());
            let request = MetadataRequest::default().with_topics(Some(vec![asked(id), asked(unknown)]));
            let found = client.call(version, &request).topics;
            let of = |id| found.iter().find(|topic| topic.topic_id == id).unwrap_or_else(|| panic!("{id}: {found:?}"));
            assert_eq!((of(id).error_code, of(id).partitions.len()), (0, 2));
            assert_eq!(of(id).name.as_ref().map(|found| found.to_string()), Some(name.clone()));
            assert_eq!((of(unknown).error_code, of(unknown).name.clone()), (UNKNOWN_TOPIC_ID, None));
        }
    }
}

#[test]
fn metadata_creates_a_topic_when_asked_to() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let name = unique("auto");
    assert_eq!(topics::describe(&mut client, &name).error_code, UNKNOWN_TOPIC_OR_PARTITION, "not unless allowed");
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
    let request = MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(true);
    crate::support::eventually("the topic is there", std::time::Duration::from_secs(10), || {
        let topic = client.call(12, &request).topics.remove(0);
        (topic.error_code == 0 && topic.partitions.len() == 1).then_some(())
    });
    assert_eq!(produce_values(&mut client, &name, 0, ["value"]), 0);
}

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_CONFIG: i16 = 40;
const UNKNOWN_TOPIC_ID: i16 = 100;
