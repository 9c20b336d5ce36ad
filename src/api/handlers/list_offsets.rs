//! ListOffsets v1–10: offsets by position or by time. KIP-79 (v1), KIP-98 (v2: isolation), KIP-320 (v4: leader epoch),
//! KIP-734 (v7: max timestamp), KIP-405 (v8: earliest local), KIP-1005 (v9: latest tiered), KIP-1075 (v10: timeout).

use std::{collections::HashSet, sync::Arc};

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse, TopicName,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};
use tracing::warn;

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::{Broker, OffsetQuery, TopicRef},
};

use super::domain_name;

pub fn handle(request: Request) -> Handled {
    let body: ListOffsetsRequest = request.decode()?;
    let version = request.version;
    let by_time =
        body.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| is_search(partition.timestamp, version));
    if !by_time {
        return request.ready(&respond(request.broker(), &body, version));
    }
    request.alone(move |request| async move {
        let broker = Arc::clone(request.broker());
        let body = Arc::new(body);
        let asked = Arc::clone(&body);
        // A search by time reads segments.
        tokio::task::spawn_blocking(move || respond(&broker, &asked, version)).await.unwrap_or_else(|error| {
            warn!(%error, "a search by time failed");
            answer(&body, |_, partition| failed(partition, ResponseError::UnknownServerError))
        })
    })
}

fn respond(broker: &Broker, body: &ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    let read_committed = body.isolation_level == READ_COMMITTED;
    let duplicates = duplicates(body);
    answer(body, |topic, partition| {
        if duplicates.contains(&(topic, partition.partition_index)) {
            return failed(partition, ResponseError::InvalidRequest);
        }
        let target = TopicRef::Name(domain_name(topic));
        find(broker, &target, partition, read_committed, version)
    })
}

/// One answer for each partition that was asked for, in topics that have any.
fn answer<'a>(
    body: &'a ListOffsetsRequest,
    mut one: impl FnMut(&'a TopicName, &'a ListOffsetsPartition) -> ListOffsetsPartitionResponse,
) -> ListOffsetsResponse {
    let mut answered = HashSet::new();
    let topics = body
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .filter(|partition| answered.insert((&topic.name, partition.partition_index)))
                .map(|partition| one(&topic.name, partition))
                .collect();
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
        })
        .filter(|topic| !topic.partitions.is_empty())
        .collect();
    ListOffsetsResponse::default().with_topics(topics)
}

/// The partitions that a request names more than once.
fn duplicates(body: &ListOffsetsRequest) -> HashSet<(&TopicName, i32)> {
    let mut seen = HashSet::new();
    let all = body
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |partition| (&topic.name, partition.partition_index)));
    all.filter(|named| !seen.insert(*named)).collect()
}

fn find(
    broker: &Broker,
    topic: &TopicRef,
    partition: &ListOffsetsPartition,
    read_committed: bool,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let index = partition.partition_index;
    let Some(query) = OffsetQuery::from_timestamp(partition.timestamp, version) else {
        return failed(partition, ResponseError::UnsupportedVersion);
    };
    let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match broker.find_offset(topic, index, partition.current_leader_epoch, query, read_committed) {
        Ok(found) => {
            let leader_epoch = if version >= FIRST_VERSION_WITH_EPOCH { found.leader_epoch } else { -1 };
            response.with_offset(found.offset).with_timestamp(found.timestamp_ms).with_leader_epoch(leader_epoch)
        }
        Err(error) => response.with_error_code(error.code()),
    }
}

fn failed(partition: &ListOffsetsPartition, error: ResponseError) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(partition.partition_index)
        .with_error_code(error.code())
}

fn is_search(timestamp: i64, version: i16) -> bool {
    matches!(OffsetQuery::from_timestamp(timestamp, version), Some(OffsetQuery::At(_) | OffsetQuery::MaxTimestamp))
}

const READ_COMMITTED: i8 = 1;
const FIRST_VERSION_WITH_EPOCH: i16 = 4;
