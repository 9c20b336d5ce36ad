//! What administrators ask, and above all what they ask wrongly: answered as Kafka answers it.

use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, MetadataRequest, TransactionalId,
    alter_configs_request::{AlterConfigsResource, AlterableConfig},
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::DescribeConfigsResult,
    describe_topic_partitions_request::{Cursor, TopicRequest},
    incremental_alter_configs_request as incremental,
    metadata_request::MetadataRequestTopic,
};

use crate::support::{
    Client, Gateway, str_bytes,
    topics::{self, create_with, produce_values, topic_name},
    unique,
};

#[test]
fn configs_are_described_all_or_by_name() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    create_with(&mut client, &topic, 1, &[("retention.ms", "7200000")]);
    let all = describe_configs(&mut client, &topic, None);
    assert!(all.configs.len() > 20, "{}", all.configs.len());
    let no_names = describe_configs(&mut client, &topic, Some(&[]));
    assert_eq!(no_names.configs.len(), all.configs.len(), "the empty list asks for all, as null does");
    let some = describe_configs(&mut client, &topic, Some(&["retention.ms", "cleanup.policy", "no.such.config"]));
    let mut found: Vec<_> = some
        .configs
        .iter()
        .map(|config| (config.name.to_string(), config.value.as_deref().map(str::to_owned), config.config_source))
        .collect();
    found.sort();
    let expected = [
        ("cleanup.policy".to_owned(), Some("delete".to_owned()), DEFAULT_CONFIG),
        ("retention.ms".to_owned(), Some("7200000".to_owned()), TOPIC_CONFIG),
    ];
    assert_eq!(found, expected);
    assert_eq!(describe_configs(&mut client, &unique("unknown"), None).error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(describe_configs(&mut client, "a/b", None).error_code, INVALID_TOPIC_EXCEPTION);
}

#[test]
fn configs_are_altered_one_by_one() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let alter = |name: &str, value: Option<&str>, operation: i8| {
        let config = incremental::AlterableConfig::default()
            .with_name(str_bytes(name))
            .with_value(value.map(str_bytes))
            .with_config_operation(operation);
        let request = incremental_request(vec![incremental_resource(&topic, vec![config])]);
        gateway.connect().call(1, &request).responses[0].error_code
    };
    let (set, delete, append, subtract) = (0, 1, 2, 3);
    assert_eq!(alter("retention.ms", Some("7200000"), set), 0);
    assert_eq!(value_of(&mut client, &topic, "retention.ms"), "7200000");
    assert_eq!(alter("cleanup.policy", Some("compact"), append), 0);
    assert_eq!(value_of(&mut client, &topic, "cleanup.policy"), "delete,compact");
    assert_eq!(alter("cleanup.policy", Some("delete"), subtract), 0);
    assert_eq!(value_of(&mut client, &topic, "cleanup.policy"), "compact");
    assert_eq!(alter("retention.ms", None, delete), 0);
    assert_eq!(value_of(&mut client, &topic, "retention.ms"), "604800000");
    assert_eq!(alter("retention.ms", Some("soon"), set), INVALID_CONFIG);
    assert_eq!(alter("no.such.config", Some("1"), set), INVALID_CONFIG);
    assert_eq!(alter("cleanup.policy", Some("zip"), append), INVALID_CONFIG);
    assert_eq!(alter("retention.ms", Some("5"), append), INVALID_CONFIG, "no list");
    assert_eq!(alter("retention.ms", None, set), INVALID_REQUEST);
    assert_eq!(value_of(&mut client, &topic, "retention.ms"), "604800000");
}

#[test]
fn a_resource_named_twice_is_not_altered() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let config = || {
        incremental::AlterableConfig::default().with_name(str_bytes("retention.ms")).with_value(Some(str_bytes("5000")))
    };
    let twice = vec![incremental_resource(&topic, vec![config()]), incremental_resource(&topic, vec![config()])];
    let response = client.call(1, &incremental_request(twice));
    assert!(response.responses.iter().all(|answer| answer.error_code == INVALID_REQUEST), "{response:?}");
    let response = client.call(1, &incremental_request(vec![incremental_resource(&topic, vec![config(), config()])]));
    assert_eq!(response.responses[0].error_code, INVALID_REQUEST, "a key twice");
    assert_eq!(value_of(&mut client, &topic, "retention.ms"), "604800000");
}

#[test]
fn a_null_value_is_no_value_for_a_config() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let config = AlterableConfig::default().with_name(str_bytes("segment.ms")).with_value(None);
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(str_bytes(&*topic))
        .with_configs(vec![config]);
    let response = client.call(2, &AlterConfigsRequest::default().with_resources(vec![resource]));
    assert_eq!(response.responses[0].error_code, INVALID_REQUEST);

    let config = CreatableTopicConfig::default().with_name(str_bytes("retention.ms")).with_value(None);
    let asked = creatable(&unique("topic")).with_configs(vec![config]);
    let request = CreateTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(TIMEOUT_MS);
    assert_eq!(client.call(7, &request).topics[0].error_code, INVALID_CONFIG);
}

#[test]
fn a_topic_that_was_created_has_no_error_message() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    for version in 2..=7 {
        let topics = vec![creatable(&unique("topic"))];
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS);
        let response = client.call(version, &request);
        assert_eq!((response.topics[0].error_code, &response.topics[0].error_message), (0, &None), "{version}");
    }
}

#[test]
fn what_is_named_twice_is_refused_and_nothing_done() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);

    let more = || CreatePartitionsTopic::default().with_name(topic_name(&topic)).with_count(4).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![more(), more()]).with_timeout_ms(TIMEOUT_MS);
    let response = client.call(3, &request);
    assert!(response.results.iter().all(|result| result.error_code == INVALID_REQUEST), "{response:?}");
    assert_eq!(topics::describe(&mut client, &topic).partitions.len(), 1);

    let gone = || DeleteTopicState::default().with_name(Some(topic_name(&topic)));
    let request = DeleteTopicsRequest::default().with_topics(vec![gone(), gone()]).with_timeout_ms(TIMEOUT_MS);
    let response = client.call(6, &request);
    assert!(response.responses.iter().all(|result| result.error_code == INVALID_REQUEST), "{response:?}");
    let neither = DeleteTopicState::default().with_name(None);
    let request = DeleteTopicsRequest::default().with_topics(vec![neither]).with_timeout_ms(TIMEOUT_MS);
    assert_eq!(client.call(6, &request).responses[0].error_code, INVALID_REQUEST);
    assert_eq!(topics::describe(&mut client, &topic).error_code, 0);

    let new = unique("topic");
    let request =
        CreateTopicsRequest::default().with_topics(vec![creatable(&new), creatable(&new)]).with_timeout_ms(TIMEOUT_MS);
    let response = client.call(7, &request);
    assert!(response.topics.iter().all(|topic| topic.error_code == INVALID_REQUEST), "{response:?}");
    assert_eq!(topics::describe(&mut client, &new).error_code, UNKNOWN_TOPIC_OR_PARTITION);

    let asked = || MetadataRequestTopic::default().with_name(Some(topic_name(&topic)));
    let response = client.call(12, &MetadataRequest::default().with_topics(Some(vec![asked(), asked()])));
    assert_eq!(response.topics.len(), 1, "Metadata answers once");
}

#[test]
fn records_of_a_compacted_topic_are_not_deleted_by_offset() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let (compacted, both) = (unique("compacted"), unique("both"));
    create_with(&mut client, &compacted, 1, &[("cleanup.policy", "compact")]);
    create_with(&mut client, &both, 1, &[("cleanup.policy", "compact,delete")]);
    assert_eq!(delete_records(&mut client, &compacted, 0, 0), (POLICY_VIOLATION, -1));
    assert_eq!(delete_records(&mut client, &both, 0, 0), (0, 0));
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    produce_values(&mut client, &topic, 0, ["a", "b", "c", "d"]);
    assert_eq!(delete_records(&mut client, &topic, 0, 1), (0, 1));
    assert_eq!(delete_records(&mut client, &topic, 0, 0), (0, 1), "never back");
    assert_eq!(delete_records(&mut client, &topic, 0, 5), (OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete_records(&mut client, &topic, 0, -2), (OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete_records(&mut client, &topic, 7, 0), (UNKNOWN_TOPIC_OR_PARTITION, -1));
    assert_eq!(delete_records(&mut client, &unique("unknown"), 0, 0), (UNKNOWN_TOPIC_OR_PARTITION, -1));
    assert_eq!(delete_records(&mut client, &topic, 0, -1), (0, 4), "-1 is the high watermark");
    assert_eq!(topics::log_start_offset(&mut client, &topic, 0), 4);
    assert_eq!(produce_values(&mut client, &topic, 0, ["e"]), 4);
}

#[test]
fn who_may_do_what_is_told_when_asked_for() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 1);
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(&topic)));
    for version in 8..=13 {
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked.clone()]))
            .with_include_topic_authorized_operations(true)
            .with_include_cluster_authorized_operations(version <= 10);
        let response = client.call(version, &request);
        assert_eq!(response.topics[0].topic_authorized_operations, EVERY_TOPIC_OPERATION, "version {version}");
        if version <= 10 {
            assert_eq!(response.cluster_authorized_operations, EVERY_CLUSTER_OPERATION, "version {version}");
        }
        let silent = client.call(version, &MetadataRequest::default().with_topics(Some(vec![asked.clone()])));
        assert_eq!(silent.topics[0].topic_authorized_operations, i32::MIN, "not asked for");
    }
    for version in 0..=2 {
        let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        assert_eq!(client.call(version, &request).cluster_authorized_operations, EVERY_CLUSTER_OPERATION);
    }
    let response = client.call(0, &describe_partitions(&[&topic]));
    assert_eq!(response.topics[0].topic_authorized_operations, EVERY_TOPIC_OPERATION);
}

#[test]
fn partitions_are_described_in_pages() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    // In the order of their names, whatever the order in which they are asked for.
    let prefix = unique("t");
    let (first, second) = (format!("{prefix}-a"), format!("{prefix}-b"));
    topics::create(&mut client, &first, 3);
    topics::create(&mut client, &second, 2);
    let names = [&*second, &*first];
    let mut cursor = None;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let request = describe_partitions(&names).with_response_partition_limit(2).with_cursor(cursor);
        let response = client.call(0, &request);
        let page: Vec<_> = response
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.clone(), partition.partition_index)))
            .collect();
        assert!(page.len() <= 2, "{page:?}");
        seen.extend(page);
        let Some(next) = response.next_cursor else { break };
        cursor = Some(Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index));
    }
    let expected: Vec<_> = [(&first, 0), (&first, 1), (&first, 2), (&second, 0), (&second, 1)]
        .map(|(name, index)| (Some(topic_name(name)), index))
        .into();
    assert_eq!(seen, expected);
    let response = client.call(0, &describe_partitions(&[&unique("unknown")]));
    assert_eq!(response.topics[0].error_code, UNKNOWN_TOPIC_OR_PARTITION);
    let negative = Cursor::default().with_topic_name(topic_name(&first)).with_partition_index(-1);
    let response = client.call(0, &describe_partitions(&[&first]).with_cursor(Some(negative)));
    assert_eq!(response.topics[0].error_code, INVALID_REQUEST);
}

#[test]
fn wrong_producer_id_requests_are_refused() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    super::idempotence::new_producer(&mut client);
    let request = || InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1000);
    let mut code = |request: &InitProducerIdRequest| client.call(4, request).error_code;
    assert_eq!(code(&request().with_transactional_id(Some(TransactionalId(str_bytes(""))))), INVALID_REQUEST);
    assert_eq!(code(&request().with_producer_id(5.into()).with_producer_epoch(-1)), INVALID_REQUEST);
    assert_eq!(code(&request().with_producer_id((-1).into()).with_producer_epoch(3)), INVALID_REQUEST);
    assert_eq!(code(&request()), 0);
}

#[test]
fn log_dirs_tell_the_size_of_partitions_and_of_the_file_system() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let topic = unique("topic");
    topics::create(&mut client, &topic, 3);
    produce_values(&mut client, &topic, 0, ["x".repeat(1000)]);
    let response = client.call(4, &DescribeLogDirsRequest::default().with_topics(None));
    let directory = &response.results[0];
    assert_eq!((response.error_code, directory.error_code), (0, 0));
    let found = directory.topics.iter().find(|found| *found.name == *topic).unwrap();
    assert!(found.partitions[0].partition_size > 1000, "{found:?}");
    let empty: Vec<_> = found.partitions[1..].iter().map(|p| (p.partition_index, p.partition_size)).collect();
    assert_eq!(empty, [(1, 0), (2, 0)], "partitions that were never written to");
    assert_eq!((found.partitions[0].offset_lag, found.partitions[0].is_future_key), (0, false));
    // Only the disk has a volume of its own.
    if std::env::var("TEST_STORAGE").is_ok_and(|storage| storage != "disk") {
        assert_eq!((directory.total_bytes, directory.usable_bytes), (-1, -1), "{directory:?}");
        return;
    }
    assert!(directory.total_bytes > 0 && directory.usable_bytes > 0, "{directory:?}");
}

#[test]
fn a_broker_has_no_loggers() {
    let gateway = Gateway::options().start();
    let mut client = gateway.connect();
    let mut describe = |broker: &str| {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(8)
            .with_resource_name(str_bytes(broker))
            .with_configuration_keys(None);
        client.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).results.remove(0)
    };
    let described = describe("1");
    assert_eq!((described.error_code, described.configs.len()), (0, 0), "{described:?}");
    for broker in ["", "2", "one"] {
        assert_eq!(describe(broker).error_code, 42, "{broker}");
    }
}

fn describe_configs(client: &mut Client, topic: &str, names: Option<&[&str]>) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(str_bytes(topic))
        .with_configuration_keys(names.map(|names| names.iter().map(|name| str_bytes(*name)).collect()));
    client.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).results.remove(0)
}

fn value_of(client: &mut Client, topic: &str, name: &str) -> String {
    // Kafka tells the new value a moment later.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let described = describe_configs(client, topic, Some(&[name]));
    described.configs[0].value.as_ref().unwrap().to_string()
}

fn incremental_resource(topic: &str, configs: Vec<incremental::AlterableConfig>) -> incremental::AlterConfigsResource {
    incremental::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(str_bytes(topic))
        .with_configs(configs)
}

fn incremental_request(resources: Vec<incremental::AlterConfigsResource>) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest::default().with_resources(resources)
}

fn creatable(name: &str) -> CreatableTopic {
    CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1)
}

fn delete_records(client: &mut Client, topic: &str, partition: i32, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS);
    let answer = &client.call(2, &request).topics[0].partitions[0];
    (answer.error_code, answer.low_watermark)
}

fn describe_partitions(topics: &[&str]) -> DescribeTopicPartitionsRequest {
    let topics = topics.iter().map(|name| TopicRequest::default().with_name(topic_name(name))).collect();
    DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(2000).with_cursor(None)
}

const TOPIC: i8 = 2;
const TOPIC_CONFIG: i8 = 1;
const DEFAULT_CONFIG: i8 = 5;
/// Bits of the operations that a topic and a cluster have, all of them when nobody is kept out.
const EVERY_TOPIC_OPERATION: i32 = 3576;
const EVERY_CLUSTER_OPERATION: i32 = 8096;
const TIMEOUT_MS: i32 = topics::REQUEST_TIMEOUT_MS;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const POLICY_VIOLATION: i16 = 44;
