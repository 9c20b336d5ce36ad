//! Groups: what concerns the coordinator and the catalogue together.

use std::{future::Future, sync::Arc};

use crate::{
    catalog::Topic,
    coordinator::{
        CommitRequest, DeleteOffsetsRequest, FetchOffsetsRequest, FetchedOffsets, GroupError, PartitionResults,
    },
    model::{OffsetMetadata, TopicName, TopicPartition},
};

use super::Broker;

/// Why the offset of one partition was not committed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    #[error("This server does not host this topic-partition.")]
    UnknownTopicOrPartition,
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// One result a partition, in the order of the request.
pub type OffsetResults = Vec<(TopicPartition, Result<(), OffsetError>)>;

impl Broker {
    /// OffsetCommit. Partitions that do not exist are refused one by one; the coordinator is asked at once for the
    /// others, and not at all when there are none.
    pub fn commit_offsets(
        &self,
        request: CommitRequest,
    ) -> impl Future<Output = Result<OffsetResults, GroupError>> + Send + 'static + use<> {
        let timer = self.metrics.offset_commit_seconds.start_timer();
        let committed = self.metrics.offsets_committed.clone();
        let snapshot = self.topics();
        let count = request.partitions.len();
        let (mut asked, mut known) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut looked_up: Option<(TopicName, Option<&Arc<Topic>>)> = None;
        for mut commit in request.partitions {
            // Neighbours are mostly of one topic: it is looked up once.
            let name = &commit.partition.topic;
            let topic = match &looked_up {
                Some((last, topic)) if Arc::ptr_eq(last, name) => *topic,
                _ => looked_up.insert((Arc::clone(name), snapshot.topic(name))).1,
            };
            let topic = existing(topic, &commit.partition);
            asked.push((commit.partition.clone(), topic.is_some()));
            if let Some(topic) = topic {
                commit.topic_id = topic.id;
                known.push(commit);
            }
        }
        let request = CommitRequest { partitions: known, ..request };
        let results = (!request.partitions.is_empty()).then(|| self.coordinator.commit_offsets(request));
        async move {
            let results = match results {
                Some(results) => results.await?,
                None => Vec::new(),
            };
            committed.inc_by(u64::try_from(results.iter().filter(|(_, result)| result.is_ok()).count()).unwrap_or(0));
            timer.observe_duration();
            Ok(merge(asked, results))
        }
    }

    /// OffsetDelete, with the same care for partitions that do not exist.
    pub fn delete_offsets(
        &self,
        request: DeleteOffsetsRequest,
    ) -> impl Future<Output = Result<OffsetResults, GroupError>> + Send + 'static + use<> {
        let snapshot = self.topics();
        let exists = |partition: &TopicPartition| existing(snapshot.topic(&partition.topic), partition).is_some();
        let asked: Vec<_> = request.partitions.iter().map(|partition| (partition.clone(), exists(partition))).collect();
        let known = asked.iter().filter(|(_, exists)| *exists).map(|(partition, _)| partition.clone()).collect();
        let results = self.coordinator.delete_offsets(DeleteOffsetsRequest { partitions: known, ..request });
        async move { Ok(merge(asked, results.await?)) }
    }

    /// OffsetFetch of one group. Offsets of a deleted topic do not show under a new topic of its name.
    pub fn fetch_offsets(
        &self,
        request: FetchOffsetsRequest,
    ) -> impl Future<Output = Result<FetchedOffsets, GroupError>> + Send + 'static + use<> {
        let timer = self.metrics.offset_fetch_seconds.start_timer();
        let all = request.partitions.is_none();
        let snapshot = Arc::clone(&self.topics());
        let offsets = self.coordinator.fetch_offsets(request);
        async move {
            let mut offsets = offsets.await?;
            // Neighbours are mostly of one topic: it is looked up once.
            for of_topic in offsets.chunk_by_mut(|(one, _), (next, _)| Arc::ptr_eq(&one.topic, &next.topic)) {
                let Some(topic) = of_topic.first().and_then(|(partition, _)| snapshot.topic(&partition.topic)) else {
                    continue;
                };
                for (_, value) in of_topic {
                    value.take_if(|value| is_of_another(topic, value));
                }
            }
            if all {
                offsets.retain(|(_, value)| value.is_some());
            }
            timer.observe_duration();
            Ok(offsets)
        }
    }
}

fn existing<'a>(topic: Option<&'a Arc<Topic>>, partition: &TopicPartition) -> Option<&'a Arc<Topic>> {
    topic.filter(|topic| topic.has_partition(partition.partition))
}

pub(super) fn is_of_another(topic: &Topic, value: &OffsetMetadata) -> bool {
    !value.topic_id.is_nil() && value.topic_id != topic.id
}

/// The coordinator's results where it was asked, in the order of the request.
fn merge(asked: Vec<(TopicPartition, bool)>, results: PartitionResults) -> OffsetResults {
    let mut results = results.into_iter().map(|(_, result)| result);
    let merged = asked.into_iter().map(|(partition, known)| {
        let result = if known { results.next() } else { None };
        let result =
            result.map_or(Err(OffsetError::UnknownTopicOrPartition), |result| result.map_err(OffsetError::from));
        (partition, result)
    });
    merged.collect()
}
