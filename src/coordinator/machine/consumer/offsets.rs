//! Who may commit, fetch and delete offsets of a group of the consumer protocol, and when they expire.

use super::super::{
    CommitRequest, Cx, GroupError, MemberEpoch, PartitionResults,
    offsets::{self, ExpiryBase},
};
use super::ConsumerGroup;
use crate::model::{OffsetMetadata, TopicPartition};

impl ConsumerGroup {
    /// Takes an OffsetCommit (`ConsumerGroup.validateOffsetCommit`).
    pub fn commit(&mut self, request: CommitRequest, cx: &mut Cx<'_>) -> Result<PartitionResults, GroupError> {
        // An administrator, or a consumer that assigns its partitions itself.
        if request.generation >= 0 || !self.is_empty() {
            let (_, member) = self.member(&request.member_id).ok_or(GroupError::UnknownMemberId)?;
            if member.classic.is_none() && !request.knows_member_epochs {
                return Err(GroupError::UnsupportedVersion);
            }
            self.check_epoch(&request.member_id, request.generation)?;
        }
        let (results, any) = offsets::commit(&self.id, request, cx);
        self.has_offsets |= any;
        Ok(results)
    }

    /// Checks who asks for offsets (`ConsumerGroup.validateOffsetFetch`); tools and old clients do not say.
    pub fn validate_fetch(&self, member: &MemberEpoch) -> Result<(), GroupError> {
        if member.is_nobody() {
            return Ok(());
        }
        self.check_epoch(member.member_id.as_deref().unwrap_or_default(), member.epoch)
    }

    /// Takes an OffsetDelete: topics that a member subscribes to keep their offsets.
    pub fn delete_offsets(&mut self, partitions: Vec<TopicPartition>, cx: &mut Cx<'_>) -> PartitionResults {
        let delete = |partition: TopicPartition| {
            if self.data.topics.contains_key(&partition.topic) {
                return (partition, Err(GroupError::GroupSubscribedToTopic));
            }
            cx.offset(&self.id, partition.clone(), None);
            (partition, Ok(()))
        };
        partitions.into_iter().map(delete).collect()
    }

    /// Forgets the offsets of partitions, whoever uses them.
    pub fn forget_offsets(&mut self, partitions: Vec<TopicPartition>, cx: &mut Cx<'_>) {
        partitions.into_iter().for_each(|partition| cx.offset(&self.id, partition, None));
    }

    /// Forgets offsets of topics without a subscriber that are past their retention; says whether none is left.
    pub fn expire_offsets(&mut self, offsets: Vec<(TopicPartition, OffsetMetadata)>, cx: &mut Cx<'_>) -> bool {
        let topics = &self.data.topics;
        offsets::expire(&self.id, offsets, &ExpiryBase::Commit, |topic| topics.contains_key(topic), cx)
    }

    fn check_epoch(&self, member_id: &str, received: i32) -> Result<(), GroupError> {
        let (_, member) = self.member(member_id).ok_or(GroupError::UnknownMemberId)?;
        match member.epoch == received {
            true => Ok(()),
            false if member.classic.is_some() => Err(GroupError::IllegalGeneration),
            false => Err(GroupError::StaleMemberEpoch),
        }
    }
}
