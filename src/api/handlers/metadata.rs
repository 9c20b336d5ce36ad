//! Metadata v0–13: brokers, topics and who leads what. KIP-516 (v10: topic ids), KIP-700 (v11: no more cluster
//! operations), v12 asks by id, v13 has a top-level error.
//!
//! A topic that does not exist is created with the defaults when both the broker and the client allow it. The cluster
//! is one node: it leads every partition, and is the controller.

use std::{collections::HashSet, sync::Arc};

use kafka_protocol::{
    ResponseError,
    messages::{MetadataRequest, metadata_request::MetadataRequestTopic},
};
use uuid::Uuid;

use crate::{
    api::{Handled, Outcome, Request, RequestError, errors::KafkaError},
    broker::{Broker, LEADER_EPOCH, in_place},
    catalog::{CatalogError, Topic},
    model::{TopicName, validate_topic_name},
    wire::{
        frame::ResponseFrame,
        metadata::{MetadataNode, MetadataResponse, MetadataTopic},
    },
};

use super::{
    AUTHORIZED_CLUSTER_OPERATIONS, AUTHORIZED_OPERATIONS_OMITTED, AUTHORIZED_TOPIC_OPERATIONS, domain_name,
    operations_if, why_unknown,
};

pub fn handle(mut request: Request) -> Handled {
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
        return respond(&request, refused.collect(), asked).map(Outcome::Ready);
    }
    let may_create = body.allow_auto_topic_creation && request.broker().settings().broker.auto_create_topics;
    if !may_create || !names_unknown_topic(request.broker(), wanted.as_deref()) {
        let topics = wanted.as_ref().map_or_else(|| request.broker().topics().topics().len(), Vec::len);
        let responded = in_place(topics > TOPICS_AT_HAND, || {
            let topics = describe(request.broker(), wanted.as_deref());
            let partitions: i64 = topics.iter().map(|topic| i64::from(topic.partitions)).sum();
            in_place(partitions > PARTITIONS_AT_HAND, || respond(&request, topics, asked))
        });
        return responded.map(Outcome::Ready);
    }
    request.release_frame();
    Ok(Outcome::Alone(Box::pin(async move {
        let topics = create_and_describe(request.broker(), wanted.unwrap_or_default()).await;
        respond(&request, topics, asked)
    })))
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

fn describe(broker: &Broker, wanted: Option<&[MetadataRequestTopic]>) -> Vec<MetadataTopic> {
    let snapshot = broker.topics();
    let Some(wanted) = wanted else {
        return snapshot.topics().map(described).collect();
    };
    wanted
        .iter()
        .map(|wanted| match asked_name(wanted) {
            Some(name) => match snapshot.topic(name) {
                Some(topic) => described(topic),
                None => unknown_name(&domain_name(name)),
            },
            None => match snapshot.topic_by_id(wanted.topic_id) {
                Some(topic) => described(topic),
                None => failed(None, wanted.topic_id, ResponseError::UnknownTopicId),
            },
        })
        .collect()
}

async fn create_and_describe(broker: &Broker, wanted: Vec<MetadataRequestTopic>) -> Vec<MetadataTopic> {
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

fn respond(request: &Request, mut topics: Vec<MetadataTopic>, asked: Asked) -> Result<ResponseFrame, RequestError> {
    for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
        topic.operations = asked.topic_operations;
    }
    let broker = request.broker();
    let advertised = broker.advertised();
    let response = MetadataResponse {
        node: MetadataNode {
            id: broker.node_id(),
            host: &advertised.host,
            port: advertised.port,
            rack: broker.settings().broker.rack.as_deref(),
        },
        cluster_id: broker.cluster_id(),
        leader_epoch: LEADER_EPOCH,
        topics,
        cluster_operations: asked.cluster_operations,
    };
    Ok(response.encode(request.version, request.correlation_id)?)
}

fn described(topic: &Arc<Topic>) -> MetadataTopic {
    MetadataTopic {
        error_code: 0,
        name: Some(Arc::clone(&topic.name)),
        id: topic.id,
        partitions: topic.partitions,
        operations: AUTHORIZED_OPERATIONS_OMITTED,
    }
}

fn unknown_name(name: &TopicName) -> MetadataTopic {
    failed(Some(name), Uuid::nil(), why_unknown(name))
}

fn failed(name: Option<&TopicName>, id: Uuid, error: ResponseError) -> MetadataTopic {
    MetadataTopic {
        error_code: error.code(),
        name: name.cloned(),
        id,
        partitions: 0,
        operations: AUTHORIZED_OPERATIONS_OMITTED,
    }
}

/// Topics and partitions that an answer names without leaving its thread to others meanwhile.
const TOPICS_AT_HAND: usize = 1000;
const PARTITIONS_AT_HAND: i64 = 20_000;
const FIRST_VERSION_BY_ID: i16 = 12;
