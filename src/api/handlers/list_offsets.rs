//! ListOffsets v1–10: offsets by position or by time. KIP-79 (v1), KIP-98 (v2: isolation), KIP-320 (v4: leader epoch),
//! KIP-734 (v7: max timestamp), KIP-405 (v8: earliest local), KIP-1005 (v9: latest tiered), KIP-1075 (v10: timeout).

use std::sync::Arc;

use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
};
use tracing::warn;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::{Broker, OffsetQuery, TopicRef},
};

use super::domain_name;

pub fn handle(request: Request) -> Handled {
    let body: ListOffsetsRequest = request.decode()?;
    let by_time =
        body.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| is_search(partition.timestamp));
    if !by_time {
        return request.ready(&respond(request.broker(), body, request.version));
    }
    request.alone(|request| async move {
        let (broker, version) = (Arc::clone(request.broker()), request.version);
        // A search by time reads segments.
        tokio::task::spawn_blocking(move || respond(&broker, body, version)).await.unwrap_or_else(|error| {
            warn!(%error, "a search by time failed");
            ListOffsetsResponse::default()
        })
    })
}

fn respond(broker: &Broker, body: ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    let read_committed = body.isolation_level == READ_COMMITTED;
    let topics = body
        .topics
        .into_iter()
        .map(|topic| {
            let target = TopicRef::Name(domain_name(&topic.name));
            let partitions = topic
                .partitions
                .iter()
                .map(|partition| find(broker, &target, partition, read_committed, version))
                .collect();
            ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
        })
        .collect();
    ListOffsetsResponse::default().with_topics(topics)
}

fn find(
    broker: &Broker,
    topic: &TopicRef,
    partition: &ListOffsetsPartition,
    read_committed: bool,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let index = partition.partition_index;
    let query = OffsetQuery::from_timestamp(partition.timestamp);
    let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match broker.find_offset(topic, index, partition.current_leader_epoch, query, read_committed) {
        Ok(found) => {
            let leader_epoch = if version >= FIRST_VERSION_WITH_EPOCH { found.leader_epoch } else { -1 };
            response.with_offset(found.offset).with_timestamp(found.timestamp_ms).with_leader_epoch(leader_epoch)
        }
        Err(error) => response.with_error_code(error.code()),
    }
}

fn is_search(timestamp: i64) -> bool {
    matches!(OffsetQuery::from_timestamp(timestamp), OffsetQuery::At(_) | OffsetQuery::MaxTimestamp)
}

const READ_COMMITTED: i8 = 1;
const FIRST_VERSION_WITH_EPOCH: i16 = 4;
