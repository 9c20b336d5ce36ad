//! OffsetFetch v0–9: a group's offsets. v2 added null for all partitions and an error for the whole group, KIP-320 (v5:
//! leader epoch), KIP-447 (v7: only stable offsets), KIP-709 (v8: several groups), KIP-848 (v9: member and epoch).
//!
//! A partition without an offset has -1, an unknown group has none, and neither is an error. In versions 0 and 1, which
//! have no null, an empty list asks for all. Without transactions every offset is stable. The member of a classic group
//! is not checked, as in Kafka. Asking twice for all offsets of a group answers once, and a request of too many partitions is
//! INVALID_REQUEST: the reads are made where the heartbeats of other groups wait.

use std::{collections::HashSet, future::Future, sync::Arc};

use futures_util::future::{Either, join_all, ready};
use kafka_protocol::{
    ResponseError,
    messages::{
        GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_fetch_request::OffsetFetchRequestGroup,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};

use crate::{
    api::{Handled, Outcome, Request, errors::KafkaError},
    broker::Broker,
    coordinator::{FetchOffsetsRequest, FetchedOffsets, GroupError, MemberEpoch},
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
    Ok(Outcome::Pending(Box::pin(
        async move { Ok(encode_offset_fetch_response(request.correlation_id, &response.await)?) },
    )))
}

fn fetch_groups(
    broker: &Broker,
    body: OffsetFetchRequest,
) -> impl Future<Output = Vec<OffsetFetchResponseGroup>> + Send + 'static + use<> {
    let groups = distinct(body.groups);
    let asked: usize =
        groups.iter().flat_map(|group| group.topics.iter().flatten()).map(|t| t.partition_indexes.len()).sum();
    let is_too_much = asked > PARTITIONS_MAX;
    let groups = groups.into_iter().map(|group| {
        if is_too_much {
            let code = ResponseError::InvalidRequest.code();
            return Either::Left(ready(
                OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_error_code(code),
            ));
        }
        let topics = group.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)));
        let member = MemberEpoch { member_id: group.member_id.as_ref().map(shared), epoch: group.member_epoch };
        let fetched = fetch(broker, &group.group_id, topics.map(Iterator::collect), member);
        Either::Right(async move {
            let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
            match fetched.await {
                Ok(topics) => response.with_topics(topics.into_iter().map(topic_of_group).collect()),
                Err(error) => response.with_error_code(error.code()),
            }
        })
    });
    join_all(groups.collect::<Vec<_>>())
}

/// Without the repetitions of groups whose offsets are all asked for: they would make a huge answer of a small request.
/// What is asked by name is bounded by its count.
fn distinct(mut groups: Vec<OffsetFetchRequestGroup>) -> Vec<OffsetFetchRequestGroup> {
    let mut asked_whole = HashSet::new();
    groups.retain(|group| group.topics.is_some() || asked_whole.insert(group.group_id.clone()));
    groups
}

fn fetch_one(
    broker: &Broker,
    version: i16,
    body: OffsetFetchRequest,
) -> impl Future<Output = OffsetFetchResponse> + Send + 'static + use<> {
    let topics = body.topics.filter(|topics| version >= FIRST_WITH_NULL || !topics.is_empty());
    let topics = topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
    // Before version 2 there is no place for a group's error but at its partitions.
    let asked: Vec<Topic> = if version < FIRST_WITH_NULL { without_offsets(&topics) } else { Vec::new() };
    let count: usize = topics.iter().flatten().map(|(_, indexes): &(TopicName, Vec<i32>)| indexes.len()).sum();
    let fetched = (count <= PARTITIONS_MAX).then(|| fetch(broker, &body.group_id, topics, MemberEpoch::default()));
    async move {
        let fetched = match fetched {
            Some(fetched) => fetched.await.map_err(|error| error.code()),
            None => Err(ResponseError::InvalidRequest.code()),
        };
        let (topics, code) = match fetched {
            Ok(topics) => (topics, 0),
            Err(code) => (asked, code),
        };
        let of_partition = if version < FIRST_WITH_NULL { code } else { 0 };
        OffsetFetchResponse::default()
            .with_topics(topics.into_iter().map(|one| topic(one, of_partition)).collect())
            .with_error_code(code)
    }
}

type AskedTopics = Vec<(TopicName, Vec<i32>)>;

/// A topic of the answer: its name, and each partition's index and offset.
type Topic = (TopicName, Vec<(i32, OffsetMetadata)>);

fn fetch(
    broker: &Broker,
    group_id: &GroupId,
    topics: Option<AskedTopics>,
    member: MemberEpoch,
) -> impl Future<Output = Result<Vec<Topic>, GroupError>> + Send + 'static + use<> {
    let partitions = topics.as_deref().map(|topics| topics.iter().flat_map(partitions).collect());
    let fetched = broker.fetch_offsets(FetchOffsetsRequest { group_id: shared(group_id), partitions, member });
    async move {
        let offsets = fetched.await?;
        Ok(match topics {
            Some(topics) => as_asked(topics, offsets),
            None => by_name(offsets),
        })
    }
}

fn partitions((name, indexes): &(TopicName, Vec<i32>)) -> impl Iterator<Item = TopicPartition> {
    let name = domain_name(name);
    indexes.iter().map(move |index| TopicPartition::new(Arc::clone(&name), *index))
}

/// The answers are in the order of the request: topics that it names twice, or without partitions, stay as they are.
fn as_asked(topics: AskedTopics, offsets: FetchedOffsets) -> Vec<Topic> {
    let mut offsets = offsets.into_iter().map(|(_, value)| value);
    let mut next = |index: i32| (index, offsets.next().flatten().unwrap_or_else(no_offset));
    topics.into_iter().map(|(name, indexes)| (name, indexes.into_iter().map(&mut next).collect())).collect()
}

/// All offsets of a group, ordered by topic.
fn by_name(offsets: FetchedOffsets) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for (TopicPartition { topic, partition }, value) in offsets {
        let offset = (partition, value.unwrap_or_else(no_offset));
        match topics.last_mut() {
            Some((name, partitions)) if name.as_str() == &*topic => partitions.push(offset),
            _ => topics.push((topic_name(&topic), vec![offset])),
        }
    }
    topics
}

fn without_offsets(topics: &Option<AskedTopics>) -> Vec<Topic> {
    topics.clone().map(|topics| as_asked(topics, Vec::new())).unwrap_or_default()
}

/// What stands for an offset that was never committed.
fn no_offset() -> OffsetMetadata {
    OffsetMetadata::at(-1)
}

fn topic_of_group((name, partitions): Topic) -> OffsetFetchResponseTopics {
    let partition = |(index, value): (i32, OffsetMetadata)| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(value.offset)
            .with_committed_leader_epoch(value.leader_epoch)
            .with_metadata(Some(text(&*value.metadata)))
    };
    OffsetFetchResponseTopics::default()
        .with_name(name)
        .with_partitions(partitions.into_iter().map(partition).collect())
}

fn topic((name, partitions): Topic, error_code: i16) -> OffsetFetchResponseTopic {
    let partition = |(index, value): (i32, OffsetMetadata)| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(value.offset)
            .with_committed_leader_epoch(value.leader_epoch)
            .with_metadata(Some(text(&*value.metadata)))
            .with_error_code(error_code)
    };
    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.into_iter().map(partition).collect())
}

const FIRST_IN_SCHEMA: i16 = 1;
const FIRST_WITH_NULL: i16 = 2;
const FIRST_WITH_GROUPS: i16 = 8;

/// Partitions that one request may name: far more than a consumer or a tool does, which ask for all with null.
const PARTITIONS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repetitions_of_a_whole_group_are_left_out() {
        let named = |id: &str| OffsetFetchRequestGroup::default().with_group_id(GroupId(text(id)));
        let whole = |id: &str| named(id).with_topics(None);
        let groups = vec![whole("b"), named("a"), named("b"), whole("a"), whole("b"), named("a")];
        assert_eq!(distinct(groups), [whole("b"), named("a"), named("b"), whole("a"), named("a")]);
    }
}
