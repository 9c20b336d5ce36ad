//! Committed offsets, in and out, at every version that kafka-protocol speaks.

use std::time::Duration;

use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
};

use super::{Client, eventually, str_bytes, topics::topic_name};

/// A committed offset as OffsetFetch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<String>,
    pub error_code: i16,
}

impl Committed {
    pub fn new(partition: i32, offset: i64, leader_epoch: i32, metadata: &str) -> Self {
        Self { partition, offset, leader_epoch, metadata: Some(metadata.to_owned()), error_code: 0 }
    }

    /// What is answered for a partition without an offset.
    pub fn none(partition: i32) -> Self {
        Self::new(partition, -1, -1, "")
    }
}

/// Committed offsets by topic, in the order of the response.
pub type ByTopic = Vec<(String, Vec<Committed>)>;

/// Waits until the broker answers for `group`: Kafka creates its offsets topic when it is first asked.
pub fn await_coordinator(client: &mut Client, group: &str) {
    let request = FindCoordinatorRequest::default().with_key(str_bytes(group));
    eventually("a coordinator", Duration::from_secs(15), || (client.call(3, &request).error_code == 0).then_some(()));
    let probe = fetch_request(7, group, None);
    eventually("offsets loaded", Duration::from_secs(15), || (client.call(7, &probe).error_code == 0).then_some(()));
}

/// A commit from outside of any generation.
pub fn commit_request(group: &str, topics: Vec<OffsetCommitRequestTopic>) -> OffsetCommitRequest {
    OffsetCommitRequest::default()
        .with_group_id(GroupId(str_bytes(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_group_instance_id(None)
        .with_topics(topics)
}

pub fn commit_topic(name: &str, partitions: Vec<OffsetCommitRequestPartition>) -> OffsetCommitRequestTopic {
    OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
}

pub fn commit_partition(partition: i32, offset: i64, metadata: Option<&str>) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(metadata.map(str_bytes))
}

/// Commits one offset, which must be taken.
pub fn commit(client: &mut Client, group: &str, topic: &str, partition: i32, offset: i64) {
    let topics = vec![commit_topic(topic, vec![commit_partition(partition, offset, None)])];
    assert_eq!(commit_codes(client, 8, &commit_request(group, topics)), [0]);
}

/// The error code of each partition, over all topics.
pub fn commit_codes(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> Vec<i16> {
    let response = client.call(version, request);
    let asked: Vec<_> = request.topics.iter().map(|topic| (&topic.name, topic.partitions.len())).collect();
    let answered: Vec<_> = response.topics.iter().map(|topic| (&topic.name, topic.partitions.len())).collect();
    assert_eq!(answered, asked, "topics and partitions of the response");
    response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect()
}

/// Versions 1 to 7. `topics`: none asks for all.
pub fn fetch_request(version: i16, group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequest {
    assert!((1..=7).contains(&version));
    let topics = topics.map(|topics| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            OffsetFetchRequestTopic::default().with_name(topic_name(name)).with_partition_indexes(partitions.to_vec())
        };
        topics.iter().map(topic).collect()
    });
    OffsetFetchRequest::default().with_group_id(GroupId(str_bytes(group))).with_topics(topics)
}

/// One group of a request from version 8 on.
pub fn fetch_group(group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequestGroup {
    let topics = topics.map(|topics| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            OffsetFetchRequestTopics::default().with_name(topic_name(name)).with_partition_indexes(partitions.to_vec())
        };
        topics.iter().map(topic).collect()
    });
    OffsetFetchRequestGroup::default().with_group_id(GroupId(str_bytes(group))).with_member_id(None).with_topics(topics)
}

/// Asks at any version from 1 on; the group must have no error of its own.
pub fn fetch(client: &mut Client, version: i16, group: &str, topics: Option<&[(&str, &[i32])]>) -> ByTopic {
    if version < 8 {
        let response = client.call(version, &fetch_request(version, group, topics));
        assert_eq!(response.error_code, 0, "{response:?}");
        let topics = response.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| Committed {
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata.map(|text| text.to_string()),
                error_code: partition.error_code,
            });
            (topic.name.to_string(), partitions.collect())
        });
        return topics.collect();
    }
    let (code, found) = fetch_groups(client, version, vec![fetch_group(group, topics)]).remove(0);
    assert_eq!(code, 0, "{found:?}");
    found
}

/// Error code and offsets of each group, which come in the order in which they were asked for.
pub fn fetch_groups(client: &mut Client, version: i16, groups: Vec<OffsetFetchRequestGroup>) -> Vec<(i16, ByTopic)> {
    let asked: Vec<_> = groups.iter().map(|group| group.group_id.clone()).collect();
    let response = client.call(version, &OffsetFetchRequest::default().with_groups(groups));
    let answered: Vec<_> = response.groups.iter().map(|group| group.group_id.clone()).collect();
    assert_eq!(answered, asked);
    let groups = response.groups.into_iter().map(|group| {
        let topics = group.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| Committed {
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata.map(|text| text.to_string()),
                error_code: partition.error_code,
            });
            (topic.name.to_string(), partitions.collect())
        });
        (group.error_code, topics.collect())
    });
    groups.collect()
}

/// Everything of a group, ordered by name and partition.
pub fn fetch_all(client: &mut Client, group: &str) -> ByTopic {
    sorted(fetch(client, 8, group, None))
}

/// The order of topics and partitions is the broker's own when all are asked for.
pub fn sorted(mut topics: ByTopic) -> ByTopic {
    topics.sort_by(|left, right| left.0.cmp(&right.0));
    topics.iter_mut().for_each(|(_, partitions)| partitions.sort_by_key(|committed| committed.partition));
    topics
}
