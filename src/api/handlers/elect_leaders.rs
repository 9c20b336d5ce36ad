//! ElectLeaders v0–2: every partition is led by its only replica, so no election is ever needed (KIP-183, KIP-460).

use kafka_protocol::{
    ResponseError,
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders_request::TopicPartitions,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request},
    catalog::{Snapshot, Topic},
};

use super::{excerpt, text, topic_name};

pub fn handle(request: Request) -> Handled {
    let body: ElectLeadersRequest = request.decode()?;
    let response = ElectLeadersResponse::default();
    if !matches!(body.election_type, PREFERRED | UNCLEAN) {
        let message = text(format!("Unknown election type {}", body.election_type));
        let refused = |_| (ResponseError::InvalidRequest, message.clone());
        let results = body.topic_partitions.unwrap_or_default().into_iter().map(|topic| results(topic, refused));
        return request.ready(
            &response
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_replica_election_results(results.collect()),
        );
    }
    let topics = request.broker().topics();
    let results = match body.topic_partitions {
        Some(wanted) => wanted.into_iter().map(|topic| elect(&topics, topic)).collect(),
        // Of all partitions those are named whose leader changed, below the name of every topic.
        None => {
            topics.topics().map(|topic| ReplicaElectionResult::default().with_topic(topic_name(&topic.name))).collect()
        }
    };
    request.ready(&response.with_replica_election_results(results))
}

fn elect(topics: &Snapshot, wanted: TopicPartitions) -> ReplicaElectionResult {
    let found: Option<&Topic> = topics.topic(&wanted.topic).map(AsRef::as_ref);
    let name = excerpt(&wanted.topic);
    let unknown_topic = text(format!("No such topic as {name}"));
    results(wanted, |partition| match found {
        None => (ResponseError::UnknownTopicOrPartition, unknown_topic.clone()),
        Some(topic) if topic.has_partition(partition) => {
            (ResponseError::ElectionNotNeeded, StrBytes::from_static_str(NOT_NEEDED))
        }
        Some(_) => (ResponseError::UnknownTopicOrPartition, text(format!("No such partition as {name}-{partition}"))),
    })
}

fn results(wanted: TopicPartitions, result: impl Fn(i32) -> (ResponseError, StrBytes)) -> ReplicaElectionResult {
    let partitions = wanted.partitions.into_iter().map(|partition| {
        let (error, message) = result(partition);
        PartitionResult::default()
            .with_partition_id(partition)
            .with_error_code(error.code())
            .with_error_message(Some(message))
    });
    ReplicaElectionResult::default().with_topic(wanted.topic).with_partition_result(partitions.collect())
}

/// `ElectionType`
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
/// `Errors.ELECTION_NOT_NEEDED`
const NOT_NEEDED: &str = "Leader election not needed for topic partition.";
