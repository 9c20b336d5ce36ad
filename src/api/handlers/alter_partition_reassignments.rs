//! AlterPartitionReassignments v0–1: a partition may be moved to where it is, which is this broker, and nowhere else
//! (KIP-455).

use kafka_protocol::{
    ResponseError,
    messages::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse},
    },
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request, errors::KafkaError},
    broker::Broker,
};

use super::{excerpt, text};

pub fn handle(request: Request) -> Handled {
    let body: AlterPartitionReassignmentsRequest = request.decode()?;
    let response = AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(body.allow_replication_factor_change);
    if body.topics.is_empty() {
        // With the empty message that Kafka has here and nowhere else.
        return request.ready(&response.with_error_message(Some(StrBytes::new())));
    }
    let topics = body.topics.into_iter().map(|topic| reassign(request.broker(), topic)).collect();
    request.ready(&response.with_error_message(None).with_responses(topics))
}

fn reassign(broker: &Broker, wanted: ReassignableTopic) -> ReassignableTopicResponse {
    let topics = broker.topics();
    let found = topics.topic(&wanted.name);
    let name = excerpt(&wanted.name);
    let unknown_topic = text(format!("Unable to find a topic named {name}."));
    let partitions = wanted.partitions.into_iter().map(|partition| {
        let index = partition.partition_index;
        let moved = match found {
            None => Err((ResponseError::UnknownTopicOrPartition, Some(unknown_topic.clone()))),
            Some(topic) if !topic.has_partition(index) => {
                let message = text(format!("Unable to find partition {name}:{index}."));
                Err((ResponseError::UnknownTopicOrPartition, Some(message)))
            }
            Some(_) => reassign_partition(broker, partition),
        };
        let result = ReassignablePartitionResponse::default().with_partition_index(index).with_error_message(None);
        match moved {
            Ok(()) => result,
            Err((error, message)) => result.with_error_code(error.code()).with_error_message(message),
        }
    });
    ReassignableTopicResponse::default().with_name(wanted.name.clone()).with_partitions(partitions.collect())
}

/// No replicas: the reassignment is to be cancelled.
fn reassign_partition(broker: &Broker, wanted: ReassignablePartition) -> Result<(), (ResponseError, Option<StrBytes>)> {
    let replicas = wanted.replicas.ok_or((ResponseError::NoReassignmentInProgress, None))?;
    let ids: Vec<i32> = replicas.into_iter().map(|id| id.0).collect();
    broker.check_replicas(&ids).map_err(|error| (error.kafka(), error.message()))
}
