//! Metadata v0–13: brokers, topics and who leads what. KIP-516 (v10: topic ids), KIP-700 (v11: no more cluster
//! operations), v12 asks by id, v13 has a top-level error.
//!
//! A topic that does not exist is created with the defaults when both the broker and the client allow it. The cluster
//! is one node: it leads every partition, and is the controller.

use std::{collections::HashSet, sync::Arc};

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, MetadataRequest, MetadataResponse,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};
use uuid::Uuid;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::{Broker, LEADER_EPOCH, in_place},
    catalog::{CatalogError, Topic},
    model::{TopicName, validate_topic_name},
};

use super::{
    AUTHORIZED_CLUSTER_OPERATIONS, AUTHORIZED_OPERATIONS_OMITTED, AUTHORIZED_TOPIC_OPERATIONS, broker_ids, domain_name,
    operations_if, text, topic_name, why_unknown,
};

pub fn handle(request: Request) -> Handled {
    let body: MetadataRequest = request.decode()?;
    let asked = Asked {
        topic_operations: operations_if(body.include_topic_authorized_operations, AUTHORIZED_TOPIC_OPERATIONS),
        cluster_operations: operations_if(body.include_cluster_authorized_operations, AUTHORIZED_CLUSTER_OPERATIONS),
    };
    let wanted = match body.topics {
        // Version 0 has no null: an empty list asks for all.
        Some(topics) if topics.is_empty() && request.version == 0 => None,
        topics => topics,
    };
    let wanted = wanted.map(each_once);
    if request.version < FIRST_VERSION_BY_ID && wanted.iter().flatten().any(is_by_id) {
        let refused = wanted.iter().flatten().map(|topic| {
            let name = topic.name.as_ref().map_or_else(|| "".into(), domain_name);
            failed(Some(&name), Uuid::nil(), ResponseError::InvalidRequest)
        });
        return request.ready(&response(request.broker(), refused.collect(), asked));
    }
    let may_create = body.allow_auto_topic_creation && request.broker().settings().broker.auto_create_topics;
    if !may_create || !names_unknown_topic(request.broker(), wanted.as_deref()) {
        let topics = describe(request.broker(), wanted.as_deref());
        let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
        let encode = || request.ready(&response(request.broker(), topics, asked));
        return in_place(partitions > PARTITIONS_AT_HAND, encode);
    }
    request.alone(|request| async move {
        let broker = request.broker();
        let topics = create_and_describe(broker, wanted.unwrap_or_default()).await;
        response(broker, topics, asked)
    })
}

/// What the response says of operations.
#[derive(Clone, Copy)]
struct Asked {
    topic_operations: i32,
    cluster_operations: i32,
}

fn names_unknown_topic(broker: &Broker, wanted: Option<&[MetadataRequestTopic]>) -> bool {
    let snapshot = broker.topics();
    wanted
        .into_iter()
        .flatten()
        .filter_map(asked_name)
        .any(|name| snapshot.topic(name).is_none() && validate_topic_name(name).is_ok())
}

/// Each topic where it is first named; others may not make the answer any longer.
fn each_once(mut topics: Vec<MetadataRequestTopic>) -> Vec<MetadataRequestTopic> {
    let mut seen = HashSet::new();
    topics.retain(|topic| seen.insert((topic.name.clone(), topic.topic_id)));
    topics
}

fn is_by_id(topic: &MetadataRequestTopic) -> bool {
    topic.name.is_none() || !topic.topic_id.is_nil()
}

/// The name that is asked for; none when an id is. An id counts first: clients that ask by id send an empty name.
fn asked_name(wanted: &MetadataRequestTopic) -> Option<&kafka_protocol::messages::TopicName> {
    wanted.name.as_ref().filter(|_| wanted.topic_id.is_nil())
}

fn describe(broker: &Broker, wanted: Option<&[MetadataRequestTopic]>) -> Vec<MetadataResponseTopic> {
    let snapshot = broker.topics();
    let node = broker.node_id();
    let Some(wanted) = wanted else {
        return snapshot.topics().map(|topic| described(topic, node)).collect();
    };
    wanted
        .iter()
        .map(|wanted| match asked_name(wanted) {
            Some(name) => match snapshot.topic(name) {
                Some(topic) => described(topic, node),
                None => unknown_name(&domain_name(name)),
            },
            None => match snapshot.topic_by_id(wanted.topic_id) {
                Some(topic) => described(topic, node),
                None => failed(None, wanted.topic_id, ResponseError::UnknownTopicId),
            },
        })
        .collect()
}

async fn create_and_describe(broker: &Broker, wanted: Vec<MetadataRequestTopic>) -> Vec<MetadataResponseTopic> {
    let missing: HashSet<TopicName> = {
        let snapshot = broker.topics();
        wanted
            .iter()
            .filter_map(asked_name)
            .filter(|name| snapshot.topic(name).is_none() && validate_topic_name(name).is_ok())
            .map(domain_name)
            .collect()
    };
    let missing: Vec<_> = missing.into_iter().collect();
    let created = broker.auto_create(missing.clone()).await;
    let mut topics = describe(broker, Some(&wanted));
    for (name, result) in missing.iter().zip(created) {
        let Err(error) = result else { continue };
        if matches!(&error, crate::broker::CreateTopicError::Catalog(CatalogError::TopicExists(_))) {
            continue;
        }
        for topic in topics.iter_mut().filter(|topic| topic.name.as_ref().is_some_and(|known| **known == **name)) {
            topic.error_code = error.code();
        }
    }
    topics
}

fn response(broker: &Broker, mut topics: Vec<MetadataResponseTopic>, asked: Asked) -> MetadataResponse {
    for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
        topic.topic_authorized_operations = asked.topic_operations;
    }
    let advertised = broker.advertised();
    let node = MetadataResponseBroker::default()
        .with_node_id(BrokerId(broker.node_id()))
        .with_host(text(&advertised.host))
        .with_port(i32::from(advertised.port))
        .with_rack(broker.settings().broker.rack.as_ref().map(text));
    MetadataResponse::default()
        .with_brokers(vec![node])
        .with_cluster_id(Some(text(broker.cluster_id())))
        .with_controller_id(BrokerId(broker.node_id()))
        .with_topics(topics)
        .with_cluster_authorized_operations(asked.cluster_operations)
}

fn described(topic: &Arc<Topic>, node: i32) -> MetadataResponseTopic {
    let partitions = (0..topic.partitions)
        .map(|index| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(node))
                .with_leader_epoch(LEADER_EPOCH)
                .with_replica_nodes(broker_ids(node))
                .with_isr_nodes(broker_ids(node))
        })
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions)
        .with_topic_authorized_operations(AUTHORIZED_OPERATIONS_OMITTED)
}

fn unknown_name(name: &TopicName) -> MetadataResponseTopic {
    failed(Some(name), Uuid::nil(), why_unknown(name))
}

fn failed(name: Option<&TopicName>, id: Uuid, error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(name.map(topic_name))
        .with_topic_id(id)
        .with_topic_authorized_operations(AUTHORIZED_OPERATIONS_OMITTED)
}

/// Partitions that an answer names without leaving its thread to others meanwhile.
const PARTITIONS_AT_HAND: usize = 500;
const FIRST_VERSION_BY_ID: i16 = 12;
