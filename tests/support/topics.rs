//! Topics, and records in and out of them, one request at a time.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
    TopicName,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::PartitionData,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    metadata_request::MetadataRequestTopic,
    produce_request::{PartitionProduceData, TopicProduceData},
    produce_response::PartitionProduceResponse,
};
use uuid::Uuid;

use super::{
    Client,
    batch::{self, Batch, Record},
    eventually, str_bytes,
};

pub fn topic_name(name: &str) -> TopicName {
    TopicName(str_bytes(name))
}

/// Creates a topic and waits until it is served. Answers its id.
pub fn create(client: &mut Client, name: &str, partitions: i32) -> Uuid {
    create_with(client, name, partitions, &[])
}

pub fn create_with(client: &mut Client, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
    let configs = configs
        .iter()
        .map(|(name, value)| {
            CreatableTopicConfig::default().with_name(str_bytes(*name)).with_value(Some(str_bytes(*value)))
        })
        .collect();
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs);
    let response =
        client.call(7, &CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(REQUEST_TIMEOUT_MS));
    let created = &response.topics[0];
    assert_eq!(created.error_code, 0, "{name}: {created:?}");
    await_served(client, name, partitions);
    created.topic_id
}

pub fn delete(client: &mut Client, name: &str) {
    use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
    let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
    let response =
        client.call(6, &DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(REQUEST_TIMEOUT_MS));
    assert_eq!(response.responses[0].error_code, 0, "{response:?}");
    eventually("the topic is gone", PATIENCE, || (describe(client, name).error_code == 3).then_some(()));
}

pub fn describe(client: &mut Client, name: &str) -> kafka_protocol::messages::metadata_response::MetadataResponseTopic {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    client.call(12, &request).topics.remove(0)
}

fn await_served(client: &mut Client, name: &str, partitions: i32) {
    eventually("the topic is served", PATIENCE, || {
        let topic = describe(client, name);
        let served =
            topic.partitions.iter().filter(|partition| partition.error_code == 0 && partition.leader_id.0 >= 0);
        (topic.error_code == 0 && served.count() == usize::try_from(partitions).unwrap()).then_some(())
    });
    // Kafka tells of a leader a moment before that one leads.
    for partition in 0..partitions {
        eventually("the partition is led", PATIENCE, || try_list_offset(client, name, partition, -1));
    }
}

/// Produces by name with acks=all.
pub fn produce(client: &mut Client, topic: &str, partition: i32, batch: &Batch) -> PartitionProduceResponse {
    produce_bytes(client, topic, partition, batch.encode())
}

pub fn produce_bytes(client: &mut Client, topic: &str, partition: i32, records: Bytes) -> PartitionProduceResponse {
    let response = client.call(12, &produce_request(topic, partition, records));
    response.responses.into_iter().next().unwrap().partition_responses.remove(0)
}

/// Produces records with these values, which must be taken; answers the first offset.
pub fn produce_values<T: AsRef<[u8]>>(
    client: &mut Client,
    topic: &str,
    partition: i32,
    values: impl IntoIterator<Item = T>,
) -> i64 {
    let response = produce(client, topic, partition, &Batch::of(values));
    assert_eq!(response.error_code, 0, "{response:?}");
    response.base_offset
}

pub fn produce_request(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_timeout_ms(REQUEST_TIMEOUT_MS)
        .with_topic_data(vec![TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data])])
}

/// What one partition answers to a fetch outside of any session.
pub fn fetch(client: &mut Client, topic: &str, partition: i32, offset: i64) -> PartitionData {
    let response = client.call(12, &fetch_request(topic, partition, offset));
    assert_eq!(response.error_code, 0, "{response:?}");
    response.responses.into_iter().next().unwrap().partitions.remove(0)
}

/// A fetch by name that does not wait.
pub fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let topic =
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![fetch_partition(partition, offset)]);
    sessionless(vec![topic])
}

/// A fetch by topic id that does not wait.
pub fn fetch_request_by_id(topic_id: Uuid, partition: i32, offset: i64) -> FetchRequest {
    let topic = FetchTopic::default().with_topic_id(topic_id).with_partitions(vec![fetch_partition(partition, offset)]);
    sessionless(vec![topic])
}

pub fn fetch_partition(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20)
}

fn sessionless(topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(i32::MAX)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics)
}

/// Reads from `offset` to the high watermark.
pub fn read_all(client: &mut Client, topic: &str, partition: i32, offset: i64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut next = offset;
    loop {
        let answer = fetch(client, topic, partition, next);
        assert_eq!(answer.error_code, 0, "{answer:?}");
        if next >= answer.high_watermark {
            return records;
        }
        // A batch comes whole, also from its middle.
        let read = batch::records_of(answer.records.as_ref());
        let read: Vec<_> = read.into_iter().filter(|record| record.offset >= next).collect();
        next = read.last().unwrap_or_else(|| panic!("nothing at {next}: {answer:?}")).offset + 1;
        records.extend(read);
    }
}

pub fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(Record::text).collect()
}

pub fn log_start_offset(client: &mut Client, topic: &str, partition: i32) -> i64 {
    list_offset(client, topic, partition, -2)
}

pub fn log_end_offset(client: &mut Client, topic: &str, partition: i32) -> i64 {
    list_offset(client, topic, partition, -1)
}

fn list_offset(client: &mut Client, topic: &str, partition: i32, timestamp: i64) -> i64 {
    try_list_offset(client, topic, partition, timestamp).expect("an offset")
}

fn try_list_offset(client: &mut Client, topic: &str, partition: i32, timestamp: i64) -> Option<i64> {
    let partition = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let answer = client.call(7, &request).topics.remove(0).partitions.remove(0);
    (answer.error_code == 0).then_some(answer.offset)
}

/// Moves the log start up to `offset`.
pub fn delete_records(client: &mut Client, topic: &str, partition: i32, offset: i64) {
    use kafka_protocol::messages::{
        DeleteRecordsRequest,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    };
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(REQUEST_TIMEOUT_MS);
    let answer = client.call(2, &request).topics.remove(0).partitions.remove(0);
    assert_eq!((answer.error_code, answer.low_watermark), (0, offset), "{answer:?}");
}

pub const REQUEST_TIMEOUT_MS: i32 = 10_000;
const PATIENCE: Duration = Duration::from_secs(10);
