//! DescribeTopicPartitions v0 (KIP-966): topics and their partitions, page by page.
//!
//! Topics are answered in the order of their names. A page ends at the partition limit; its cursor names the first
//! partition that did not fit.

use std::{collections::BTreeSet, sync::Arc};

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
};

use crate::{
    api::{Handled, Request},
    broker::LEADER_EPOCH,
    catalog::{Snapshot, Topic},
    model::TopicName,
};

use super::{
    AUTHORIZED_OPERATIONS_OMITTED, AUTHORIZED_TOPIC_OPERATIONS, broker_ids, domain_name, topic_name, why_unknown,
};

pub fn handle(request: Request) -> Handled {
    let body: DescribeTopicPartitionsRequest = request.decode()?;
    let snapshot = request.broker().topics();
    let cursor = body.cursor.map(|cursor| (domain_name(&cursor.topic_name), cursor.partition_index));
    let from: &str = cursor.as_ref().map_or("", |cursor| &cursor.0);
    let names: BTreeSet<TopicName> = if body.topics.is_empty() {
        snapshot.topics_from(from).map(|topic| topic.name.clone()).collect()
    } else {
        body.topics.iter().map(|topic| domain_name(&topic.name)).filter(|name| &**name >= from).collect()
    };
    let first_partition = |name: &TopicName| match &cursor {
        Some((topic, partition)) if topic == name => *partition,
        _ => 0,
    };
    if let Some((name, _)) = cursor.as_ref().filter(|cursor| cursor.1 < 0) {
        let refused = failed(name, ResponseError::InvalidRequest);
        return request.ready(&end(vec![refused], None));
    }
    let limit = usize::try_from(body.response_partition_limit).unwrap_or(0).clamp(1, PARTITIONS_MAX);
    request.ready(&page(&snapshot, &names, first_partition, limit, request.broker().node_id()))
}

fn page(
    snapshot: &Snapshot,
    names: &BTreeSet<TopicName>,
    first_partition: impl Fn(&TopicName) -> i32,
    limit: usize,
    node: i32,
) -> DescribeTopicPartitionsResponse {
    let mut room = limit;
    let mut topics = Vec::new();
    for name in names {
        let Some(topic) = snapshot.topic(name) else {
            topics.push(unknown(name));
            continue;
        };
        let first = first_partition(name);
        if room == 0 && first < topic.partitions {
            return end(topics, Some((name, first)));
        }
        let end_of_page = first.saturating_add(i32::try_from(room).unwrap_or(i32::MAX)).min(topic.partitions);
        topics.push(described(topic, first..end_of_page, node));
        room -= usize::try_from(end_of_page - first).unwrap_or(0).min(room);
        if end_of_page < topic.partitions {
            return end(topics, Some((name, end_of_page)));
        }
    }
    end(topics, None)
}

fn end(
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<(&TopicName, i32)>,
) -> DescribeTopicPartitionsResponse {
    let cursor = next
        .map(|(name, partition)| Cursor::default().with_topic_name(topic_name(name)).with_partition_index(partition));
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(cursor)
}

fn described(topic: &Arc<Topic>, partitions: std::ops::Range<i32>, node: i32) -> DescribeTopicPartitionsResponseTopic {
    let partitions = partitions
        .map(|index| {
            DescribeTopicPartitionsResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(node))
                .with_leader_epoch(LEADER_EPOCH)
                .with_replica_nodes(broker_ids(node))
                .with_isr_nodes(broker_ids(node))
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
        })
        .collect();
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions)
        .with_topic_authorized_operations(AUTHORIZED_TOPIC_OPERATIONS)
}

fn unknown(name: &TopicName) -> DescribeTopicPartitionsResponseTopic {
    failed(name, why_unknown(name)).with_topic_authorized_operations(AUTHORIZED_TOPIC_OPERATIONS)
}

fn failed(name: &TopicName, error: ResponseError) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(topic_name(name)))
        .with_topic_authorized_operations(AUTHORIZED_OPERATIONS_OMITTED)
}

/// `max.request.partition.size.limit`
const PARTITIONS_MAX: usize = 2000;
