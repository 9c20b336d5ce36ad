//! OffsetCommit v0–9: stores a group's offsets, durably before it answers. v1 added generation, member and a commit
//! time, v2 to v4 had a retention of their own (KIP-211 ended it), KIP-320 (v6: leader epoch), KIP-345 (v7: static
//! members), KIP-848 (v9: GROUP_ID_NOT_FOUND, members of the consumer protocol).
//!
//! Versions 0 and 1 left Kafka's schemas; `wire::legacy` has them. Version 0 wrote to ZooKeeper and had no members: here
//! it is a commit without membership. Topic ids (v10) are not done.

use std::sync::Arc;

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};
use tracing::debug;

use crate::{
    api::{
        Handled, Outcome, Request,
        errors::{KafkaError, code_of},
    },
    broker::OffsetResults,
    coordinator::{CommitRequest, GroupError, PartitionCommit},
    model::{CommitMetadata, TopicId, TopicPartition},
    wire::legacy::{decode_offset_commit, encode_offset_commit_response},
};

use super::{domain_name, shared, topic_name};

pub fn handle(request: Request) -> Handled {
    let version = request.version;
    if version >= FIRST_IN_SCHEMA {
        let body: OffsetCommitRequest = request.decode()?;
        let (commit, asked) = commit_request(version, body, |_, _| None);
        if asked.len() > PARTITIONS_MAX {
            return request.ready(&refuse(asked));
        }
        let committed = request.broker().commit_offsets(commit);
        return request.pending(async move { respond(version, asked, committed.await) });
    }
    let legacy = decode_offset_commit(version, &request.body)?;
    let (commit, asked) = commit_request(version, legacy.request.clone(), |topic, partition| {
        legacy.commit_timestamp_ms(topic, partition)
    });
    if asked.len() > PARTITIONS_MAX {
        return Ok(Outcome::Ready(encode_offset_commit_response(request.correlation_id, &refuse(asked))?));
    }
    let committed = request.broker().commit_offsets(commit);
    Ok(Outcome::Pending(Box::pin(async move {
        let response = respond(version, asked, committed.await);
        Ok(encode_offset_commit_response(request.correlation_id, &response)?)
    })))
}

/// The request in the domain, and how its partitions are spread over topics.
fn commit_request(
    version: i16,
    body: OffsetCommitRequest,
    commit_timestamp_ms: impl Fn(usize, usize) -> Option<i64>,
) -> (CommitRequest, Vec<TopicPartition>) {
    debug!(
        group = %*body.group_id,
        member = %body.member_id,
        generation = body.generation_id_or_member_epoch,
        topics = body.topics.len(),
        "commit"
    );
    let mut partitions = Vec::with_capacity(body.topics.iter().map(|topic| topic.partitions.len()).sum());
    for (topic_index, topic) in body.topics.into_iter().enumerate() {
        let name = domain_name(&topic.name);
        for (index, partition) in topic.partitions.into_iter().enumerate() {
            partitions.push(PartitionCommit {
                partition: TopicPartition::new(Arc::clone(&name), partition.partition_index),
                topic_id: TopicId::nil(),
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_deref().map(CommitMetadata::from).unwrap_or_default(),
                commit_timestamp_ms: commit_timestamp_ms(topic_index, index),
            });
        }
    }
    let asked = partitions.iter().map(|commit| commit.partition.clone()).collect();
    let commit = CommitRequest {
        group_id: shared(&body.group_id),
        generation: body.generation_id_or_member_epoch,
        member_id: shared(&body.member_id),
        group_instance_id: body.group_instance_id.as_ref().map(shared),
        knows_member_epochs: version >= FIRST_WITH_MEMBER_EPOCHS,
        retention_ms: (body.retention_time_ms != DEFAULT_RETENTION_MS).then_some(body.retention_time_ms),
        partitions,
    };
    (commit, asked)
}

fn respond(
    version: i16,
    asked: Vec<TopicPartition>,
    committed: Result<OffsetResults, GroupError>,
) -> OffsetCommitResponse {
    let codes: Vec<(TopicPartition, i16)> = match committed {
        Ok(results) => results.into_iter().map(|(partition, result)| (partition, code_of(&result))).collect(),
        Err(error) => {
            let code = of_version(version, error).code();
            asked.into_iter().map(|partition| (partition, code)).collect()
        }
    };
    by_topic(&codes)
}

/// A request of too many partitions is refused as a whole: it would be one step of the group's shard.
fn refuse(asked: Vec<TopicPartition>) -> OffsetCommitResponse {
    let code = ResponseError::InvalidRequest.code();
    by_topic(&asked.into_iter().map(|partition| (partition, code)).collect::<Vec<_>>())
}

fn by_topic(codes: &[(TopicPartition, i16)]) -> OffsetCommitResponse {
    let result = |(TopicPartition { partition, .. }, code): &(TopicPartition, i16)| {
        OffsetCommitResponsePartition::default().with_partition_index(*partition).with_error_code(*code)
    };
    let topics = codes.chunk_by(|(one, _), (next, _)| one.topic == next.topic).filter_map(|of_topic| {
        let (TopicPartition { topic, .. }, _) = of_topic.first()?;
        let topic = OffsetCommitResponseTopic::default().with_name(topic_name(topic));
        Some(topic.with_partitions(of_topic.iter().map(result).collect()))
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// Clients before version 9 do not know the error of a group that does not exist.
fn of_version(version: i16, error: GroupError) -> GroupError {
    match error {
        GroupError::GroupIdNotFound if version < FIRST_WITH_MEMBER_EPOCHS => GroupError::IllegalGeneration,
        error => error,
    }
}

/// Partitions that one request may commit: far more than a consumer has.
const PARTITIONS_MAX: usize = 100_000;

const FIRST_IN_SCHEMA: i16 = 2;
const FIRST_WITH_MEMBER_EPOCHS: i16 = 9;

/// `OffsetCommitRequest.DEFAULT_RETENTION_TIME`
const DEFAULT_RETENTION_MS: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_is_answered_for_each_partition() {
        let asked = [("a", 0), ("a", 1), ("b", 0)].map(|(topic, index)| TopicPartition::new(topic, index));
        let topics = refuse(asked.to_vec()).topics;
        assert_eq!(topics.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(topics.iter().flat_map(|topic| &topic.partitions).all(|partition| partition.error_code == 42));
    }
}
