//! OffsetFetch v0–9: a group's offsets. v2 added null for all partitions and an error for the whole group, KIP-320 (v5:
//! leader epoch), KIP-447 (v7: only stable offsets), KIP-709 (v8: several groups), KIP-848 (v9: member and epoch).
//!
//! A partition without an offset has -1, an unknown group has none, and neither is an error. In versions 0 and 1, which
//! have no null, an empty list asks for all. Without transactions every offset is stable. The member of a classic group
//! is not checked, as in Kafka.

use std::{future::Future, sync::Arc};

use futures_util::future::join_all;
use kafka_protocol::messages::{
    OffsetFetchRequest, OffsetFetchResponse, TopicName,
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};

use crate::{
    api::{Handled, Outcome, Request, RequestError, errors::KafkaError},
    broker::Broker,
    coordinator::{FetchOffsetsRequest, FetchedOffsets},
    model::{OffsetMetadata, TopicPartition},
    wire::legacy::{decode_offset_fetch, encode_offset_fetch_response},
};

use super::{domain_name, shared, text, topic_name};

pub fn handle(request: Request) -> Handled {
    let version = request.version;
    if version >= FIRST_WITH_GROUPS {
        let body: OffsetFetchRequest = request.decode()?;
        let groups = fetch_groups(request.broker(), body);
        return request.pending(async move { OffsetFetchResponse::default().with_groups(groups.await) });
    }
    if version >= FIRST_IN_SCHEMA {
        let body: OffsetFetchRequest = request.decode()?;
        let response = fetch_one(request.broker(), version, body);
        return request.pending(response);
    }
    let body = decode_offset_fetch(&mut request.body.clone())?;
    let response = fetch_one(request.broker(), version, body);
    Ok(Outcome::Pending(Box::pin(async move {
        encode_offset_fetch_response(request.correlation_id, &response.await)
            .map_err(|error| RequestError::Unencodable(error.to_string()))
    })))
}

fn fetch_groups(
    broker: &Broker,
    body: OffsetFetchRequest,
) -> impl Future<Output = Vec<OffsetFetchResponseGroup>> + Send + 'static + use<> {
    let groups = body.groups.into_iter().map(|group| {
        let topics = group.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)));
        let fetched = broker.fetch_offsets(FetchOffsetsRequest {
            group_id: shared(&group.group_id),
            partitions: topics.map(partitions),
        });
        async move {
            let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
            match fetched.await {
                Ok(offsets) => response.with_topics(topics_of_group(offsets)),
                Err(error) => response.with_error_code(error.code()),
            }
        }
    });
    join_all(groups.collect::<Vec<_>>())
}

fn fetch_one(
    broker: &Broker,
    version: i16,
    body: OffsetFetchRequest,
) -> impl Future<Output = OffsetFetchResponse> + Send + 'static + use<> {
    let topics = body.topics.filter(|topics| version >= FIRST_WITH_NULL || !topics.is_empty());
    let topics = topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)));
    let partitions = topics.map(partitions);
    // Before version 2 there is no place for a group's error but at its partitions.
    let asked = if version < FIRST_WITH_NULL { partitions.clone().unwrap_or_default() } else { Vec::new() };
    let fetched = broker.fetch_offsets(FetchOffsetsRequest { group_id: shared(&body.group_id), partitions });
    async move {
        match fetched.await {
            Ok(offsets) => OffsetFetchResponse::default().with_topics(topics_alone(offsets, 0)),
            Err(error) => {
                let none = asked.into_iter().map(|partition| (partition, None)).collect();
                OffsetFetchResponse::default()
                    .with_topics(topics_alone(none, error.code()))
                    .with_error_code(if version < FIRST_WITH_NULL { 0 } else { error.code() })
            }
        }
    }
}

fn partitions(topics: impl IntoIterator<Item = (TopicName, Vec<i32>)>) -> Vec<TopicPartition> {
    let of_topic = |(name, indexes): (TopicName, Vec<i32>)| {
        let name = domain_name(&name);
        indexes.into_iter().map(move |index| TopicPartition::new(Arc::clone(&name), index))
    };
    topics.into_iter().flat_map(of_topic).collect()
}

fn topics_of_group(offsets: FetchedOffsets) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (TopicPartition { topic, partition }, value) in offsets {
        let value = value.unwrap_or_else(no_offset);
        let result = OffsetFetchResponsePartitions::default()
            .with_partition_index(partition)
            .with_committed_offset(value.offset)
            .with_committed_leader_epoch(value.leader_epoch)
            .with_metadata(Some(text(&value.metadata)));
        match topics.last_mut() {
            Some(last) if last.name.as_str() == &*topic => last.partitions.push(result),
            _ => topics
                .push(OffsetFetchResponseTopics::default().with_name(topic_name(&topic)).with_partitions(vec![result])),
        }
    }
    topics
}

fn topics_alone(offsets: FetchedOffsets, error_code: i16) -> Vec<OffsetFetchResponseTopic> {
    let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
    for (TopicPartition { topic, partition }, value) in offsets {
        let value = value.unwrap_or_else(no_offset);
        let result = OffsetFetchResponsePartition::default()
            .with_partition_index(partition)
            .with_committed_offset(value.offset)
            .with_committed_leader_epoch(value.leader_epoch)
            .with_metadata(Some(text(&value.metadata)))
            .with_error_code(error_code);
        match topics.last_mut() {
            Some(last) if last.name.as_str() == &*topic => last.partitions.push(result),
            _ => topics
                .push(OffsetFetchResponseTopic::default().with_name(topic_name(&topic)).with_partitions(vec![result])),
        }
    }
    topics
}

/// What stands for an offset that was never committed.
fn no_offset() -> OffsetMetadata {
    OffsetMetadata::at(-1)
}

const FIRST_IN_SCHEMA: i16 = 1;
const FIRST_WITH_NULL: i16 = 2;
const FIRST_WITH_GROUPS: i16 = 8;
