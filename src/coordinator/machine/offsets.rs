//! Offsets: who may commit or delete them, and when they expire. The offsets themselves are in storage.

use std::sync::Arc;

use super::{
    CommitRequest, Config, Cx, GroupError, PartitionCommit, PartitionResults, group::Group, subscription::Subscription,
};
use crate::model::{CoordinatorRecord, GroupId, GroupState, OffsetMetadata, TopicPartition};

impl Group {
    /// Takes an OffsetCommit; partitions whose metadata is too long are refused one by one.
    pub fn commit(&mut self, request: CommitRequest, cx: &mut Cx<'_>) -> Result<PartitionResults, GroupError> {
        self.validate_commit(&request)?;
        // A commit keeps the member alive as a heartbeat does.
        if matches!(self.state, GroupState::Stable | GroupState::PreparingRebalance) {
            self.schedule_session(&request.member_id, cx);
        }
        let (results, any) = commit(&self.id, request, cx);
        self.has_offsets |= any;
        Ok(results)
    }

    /// Takes an OffsetDelete (KIP-496): topics that a member subscribes to keep their offsets.
    pub fn delete_offsets(
        &mut self,
        partitions: Vec<TopicPartition>,
        cx: &mut Cx<'_>,
    ) -> Result<PartitionResults, GroupError> {
        if self.state != GroupState::Empty && !self.uses_consumer_protocol() {
            return Err(GroupError::NonEmptyGroup);
        }
        let subscription = self.subscription();
        let mut delete = |partition: TopicPartition| {
            if subscription.contains(&partition.topic) {
                return (partition, Err(GroupError::GroupSubscribedToTopic));
            }
            cx.offset(&self.id, partition.clone(), None);
            (partition, Ok(()))
        };
        Ok(partitions.into_iter().map(&mut delete).collect())
    }

    /// Forgets the offsets of partitions, whoever uses them.
    pub fn forget_offsets(&mut self, partitions: Vec<TopicPartition>, cx: &mut Cx<'_>) {
        for partition in partitions {
            cx.offset(&self.id, partition, None);
        }
    }

    /// Whether any offset of the group can expire in its present state.
    pub fn may_expire_offsets(&self) -> bool {
        self.expiry_base().is_some()
    }

    /// Forgets offsets that are past their retention; says whether none is left.
    pub fn expire_offsets(&mut self, offsets: Vec<(TopicPartition, OffsetMetadata)>, cx: &mut Cx<'_>) -> bool {
        let Some(base) = self.expiry_base() else { return offsets.is_empty() };
        let subscription = self.subscription();
        expire(&self.id, offsets, &base, |topic| subscription.contains(topic), cx)
    }

    /// `ClassicGroup.validateOffsetCommit`.
    fn validate_commit(&self, request: &CommitRequest) -> Result<(), GroupError> {
        let is_empty = self.state == GroupState::Empty;
        // An administrator, or a consumer that assigns its partitions itself.
        if request.generation < 0 && is_empty {
            return Ok(());
        }
        if request.generation >= 0 || !request.member_id.is_empty() || request.group_instance_id.is_some() {
            self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
            if request.generation != self.generation {
                return Err(GroupError::IllegalGeneration);
            }
        } else if !is_empty {
            return Err(GroupError::UnknownMemberId);
        }
        // The member knows the generation from its join: it is to finish the rebalance first.
        if self.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// `ClassicGroup.offsetExpirationCondition`.
    fn expiry_base(&self) -> Option<ExpiryBase> {
        if self.protocol_type.is_empty() {
            return Some(ExpiryBase::Commit);
        }
        match self.state {
            GroupState::Empty => Some(ExpiryBase::Since(self.state_timestamp_ms)),
            GroupState::Stable => matches!(self.subscription(), Subscription::Topics(_)).then_some(ExpiryBase::Commit),
            GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Dead => None,
        }
    }
}

/// Writes what a permitted commit says, but for metadata that is too long; says whether anything was left to write.
pub(super) fn commit(group_id: &GroupId, request: CommitRequest, cx: &mut Cx<'_>) -> (PartitionResults, bool) {
    let now_ms = cx.now.wall_ms;
    let expire_timestamp_ms = request.retention_ms.map(|retention_ms| now_ms.saturating_add(retention_ms));
    let mut results = Vec::with_capacity(request.partitions.len());
    let mut any = false;
    for commit in request.partitions {
        if is_too_long(&commit.metadata, cx.config.offset_metadata_max) {
            results.push((commit.partition, Err(GroupError::OffsetMetadataTooLarge)));
            continue;
        }
        let PartitionCommit { partition, topic_id, offset, leader_epoch, metadata, commit_timestamp_ms } = commit;
        let commit_timestamp_ms = commit_timestamp_ms.unwrap_or(now_ms);
        let value =
            OffsetMetadata { offset, leader_epoch, metadata, commit_timestamp_ms, expire_timestamp_ms, topic_id };
        any = true;
        cx.offset(group_id, partition.clone(), Some(value));
        results.push((partition, Ok(())));
    }
    (results, any)
}

/// Forgets offsets past their retention of topics that nobody subscribes to; says whether none is left.
pub(super) fn expire(
    group_id: &GroupId,
    offsets: Vec<(TopicPartition, OffsetMetadata)>,
    base: &ExpiryBase,
    is_subscribed: impl Fn(&str) -> bool,
    cx: &mut Cx<'_>,
) -> bool {
    let mut none_left = true;
    for (partition, value) in offsets {
        if is_subscribed(&partition.topic) || !base.is_expired(&value, cx.now.wall_ms, cx.config) {
            none_left = false;
        } else {
            cx.offset(group_id, partition, None);
        }
    }
    none_left
}

/// What `offsets.retention.minutes` counts from.
pub(super) enum ExpiryBase {
    /// When the group became empty.
    Since(i64),
    /// Each offset's commit.
    Commit,
}

impl ExpiryBase {
    fn is_expired(&self, value: &OffsetMetadata, now_ms: i64, config: &Config) -> bool {
        if let Some(expire_timestamp_ms) = value.expire_timestamp_ms {
            return now_ms >= expire_timestamp_ms;
        }
        let base_ms = match self {
            Self::Since(timestamp_ms) => *timestamp_ms,
            Self::Commit => value.commit_timestamp_ms,
        };
        now_ms.saturating_sub(base_ms) >= config.offsets_retention_ms
    }
}

impl Cx<'_> {
    pub(super) fn offset(&mut self, group: &GroupId, partition: TopicPartition, value: Option<OffsetMetadata>) {
        self.out.records.push(CoordinatorRecord::Offset { group: Arc::clone(group), partition, value });
    }
}

/// `offset.metadata.max.bytes` counts Java's chars.
fn is_too_long(metadata: &str, max: usize) -> bool {
    metadata.len() > max && metadata.encode_utf16().count() > max
}
