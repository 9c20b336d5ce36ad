//! DescribeQuorum v0–2: the quorum of the metadata, which is this broker alone. KIP-595, KIP-836 (v1: times), KIP-853
//! (v2: directories, nodes).

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, describe_quorum_request,
        describe_quorum_response::{Node, PartitionData, ReplicaState, TopicData},
    },
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request},
    broker::Broker,
    model::Topics as _,
};

use super::UNKNOWN_TOPIC_OR_PARTITION;

pub fn handle(request: Request) -> Handled {
    let body: DescribeQuorumRequest = request.decode()?;
    let is_metadata = is_metadata(&body.topics);
    let topics = body.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| match is_metadata {
            true => metadata(request.broker()),
            false => unknown(partition.partition_index),
        });
        TopicData::default().with_partitions(partitions.collect()).with_topic_name(topic.topic_name)
    });
    let mut response =
        DescribeQuorumResponse::default().with_error_message(Some(StrBytes::new())).with_topics(topics.collect());
    if is_metadata && request.version >= FIRST_WITH_NODES {
        // Without a listener: controllers have none here.
        response.nodes.push(Node::default().with_node_id(BrokerId(request.broker().node_id())));
    }
    request.ready(&response)
}

/// Whether the metadata is asked for and nothing else (`KafkaRaftClient.handleDescribeQuorumRequest`).
fn is_metadata(topics: &[describe_quorum_request::TopicData]) -> bool {
    match topics {
        [topic] if topic.topic_name.as_str() == METADATA_TOPIC => {
            matches!(topic.partitions.as_slice(), [partition] if partition.partition_index == METADATA_PARTITION)
        }
        _ => false,
    }
}

/// The catalogue is what Kafka's metadata log is replayed into: an offset is a change of it.
fn metadata(broker: &Broker) -> PartitionData {
    let node = BrokerId(broker.node_id());
    let offset = i64::try_from(broker.topics().version()).unwrap_or(i64::MAX);
    let now_ms = broker.clock.wall_ms();
    let voter = ReplicaState::default()
        .with_replica_id(node)
        .with_log_end_offset(offset)
        .with_last_fetch_timestamp(now_ms)
        .with_last_caught_up_timestamp(now_ms);
    PartitionData::default()
        .with_partition_index(METADATA_PARTITION)
        .with_error_message(Some(StrBytes::new()))
        .with_leader_id(node)
        .with_leader_epoch(LEADER_EPOCH)
        .with_high_watermark(offset)
        .with_current_voters(vec![voter])
}

fn unknown(partition: i32) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_error_code(ResponseError::UnknownTopicOrPartition.code())
        .with_error_message(Some(StrBytes::from_static_str(UNKNOWN_TOPIC_OR_PARTITION)))
}

const FIRST_WITH_NODES: i16 = 2;
const METADATA_TOPIC: &str = "__cluster_metadata";
const METADATA_PARTITION: i32 = 0;
/// That of the first leader.
const LEADER_EPOCH: i32 = 1;
