//! CreateTopics v2–7: KIP-464 (v4: defaults by -1), KIP-525 (v5: the effective configs in the answer), KIP-516 (v7:
//! topic ids).
//!
//! A name that a request names twice is refused for all its places, as Kafka does.

use std::sync::Arc;

use kafka_protocol::{
    ResponseError,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, TopicName,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::{Broker, CreateTopicError, NewTopicRequest},
    catalog::Topic,
};

use super::{domain_name, split_repeated, text};

pub fn handle(request: Request) -> Handled {
    let body: CreateTopicsRequest = request.decode()?;
    request.alone(|request| async move { create(request.broker(), body).await })
}

async fn create(broker: &Broker, body: CreateTopicsRequest) -> CreateTopicsResponse {
    let (single, repeated) = split_repeated(body.topics, |topic| topic.name.clone());
    let names: Vec<_> = single.iter().map(|topic| topic.name.clone()).collect();
    let requests = single.into_iter().map(new_topic).collect();
    let results = broker.create_topics(requests, body.validate_only).await;
    let mut topics: Vec<_> =
        names.into_iter().zip(results).map(|(name, result)| respond(broker, name, result)).collect();
    let mut repeated: Vec<_> = repeated.into_iter().map(|topic| topic.name).collect();
    repeated.sort();
    repeated.dedup();
    topics.extend(repeated.into_iter().map(|name| {
        failed(name, ResponseError::InvalidRequest, Some(StrBytes::from_static_str("Duplicate topic name.")))
    }));
    CreateTopicsResponse::default().with_topics(topics)
}

fn new_topic(topic: CreatableTopic) -> NewTopicRequest {
    NewTopicRequest {
        name: domain_name(&topic.name),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .into_iter()
            .map(|assignment| (assignment.partition_index, assignment.broker_ids.into_iter().map(|id| id.0).collect()))
            .collect(),
        configs: topic
            .configs
            .into_iter()
            .map(|config| (config.name.to_string(), config.value.map(|value| value.to_string())))
            .collect(),
    }
}

fn respond(broker: &Broker, name: TopicName, result: Result<Arc<Topic>, CreateTopicError>) -> CreatableTopicResult {
    match result {
        Ok(topic) => CreatableTopicResult::default()
            .with_name(name)
            .with_topic_id(topic.id)
            .with_error_message(None)
            .with_num_partitions(topic.partitions)
            .with_replication_factor(1)
            .with_configs(Some(effective_configs(broker, &topic))),
        Err(error) => failed(name, error.kafka(), error.message()),
    }
}

fn effective_configs(broker: &Broker, topic: &Topic) -> Vec<CreatableTopicConfigs> {
    broker
        .describe_topic_configs(topic)
        .into_iter()
        .map(|entry| {
            CreatableTopicConfigs::default()
                .with_name(text(entry.name))
                .with_value(entry.value.map(StrBytes::from_string))
                .with_read_only(entry.read_only)
                .with_config_source(entry.source.wire())
                .with_is_sensitive(entry.is_sensitive)
        })
        .collect()
}

fn failed(name: TopicName, error: ResponseError, message: Option<StrBytes>) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(error.code())
        .with_error_message(message)
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}
