//! What the coordinator is asked, in model types: one struct an API, and the events that the shard adds.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use super::{GroupError, Refusal};
use crate::model::{CommitMetadata, GroupId, OffsetMetadata, Partitions, TopicId, TopicName, TopicPartition, Topics};

/// Names a request whose answer may come with a later event; unique among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// The time of an event: wall time is written into records, monotonic time runs the timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub wall_ms: i64,
    pub monotonic_ms: u64,
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    pub group_id: GroupId,
    /// Empty for a member that has no id yet.
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    /// Version 0 has none and gives the session timeout.
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// Name and opaque metadata, in order of preference.
    pub protocols: Vec<(String, Bytes)>,
    /// Since version 4 a dynamic member without an id is sent back with one (KIP-394).
    pub requires_known_member_id: bool,
    /// Since version 9 a static leader that was replaced gets the members and is told to assign nothing (KIP-814).
    pub supports_skipping_assignment: bool,
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    pub group_id: GroupId,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    /// Since version 5 (KIP-559).
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// The leader's assignment by member id; empty from the others.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// Heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatRequest {
    pub group_id: GroupId,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
}

/// LeaveGroup; versions before 3 name exactly one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveRequest {
    pub group_id: GroupId,
    pub members: Vec<LeavingMember>,
}

/// One member of a [`LeaveRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// Empty when an administrator removes a static member by its instance id.
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
}

/// OffsetCommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRequest {
    pub group_id: GroupId,
    /// Negative for a client without group membership.
    pub generation: i32,
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    /// Since version 9 members of the consumer protocol may commit (KIP-848).
    pub knows_member_epochs: bool,
    /// Versions 2 to 4 may ask for a retention of their own.
    pub retention_ms: Option<i64>,
    pub partitions: Vec<PartitionCommit>,
}

/// One partition of a [`CommitRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionCommit {
    pub partition: TopicPartition,
    /// Nil when not known.
    pub topic_id: TopicId,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: CommitMetadata,
    /// Version 1 alone may give its own time of the commit.
    pub commit_timestamp_ms: Option<i64>,
}

/// ConsumerGroupHeartbeat (KIP-848); what is none has not changed since the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerHeartbeatRequest {
    pub group_id: GroupId,
    /// Since version 1 members make their own id (KIP-1082).
    pub requires_member_id: bool,
    /// Empty in version 0 when a member joins.
    pub member_id: Arc<str>,
    /// 0 to join, -1 to leave, -2 to leave for a while as a static member.
    pub member_epoch: i32,
    pub group_instance_id: Option<Arc<str>>,
    pub rack_id: Option<String>,
    pub rebalance_timeout_ms: Option<i32>,
    pub topics: Option<BTreeSet<TopicName>>,
    pub regex: Option<String>,
    pub assignor: Option<String>,
    /// What the member uses at the moment.
    pub owned: Option<Partitions>,
    pub client_id: String,
    pub client_host: String,
}

/// As what a client asks for a group's offsets, since OffsetFetch version 9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEpoch {
    pub member_id: Option<Arc<str>>,
    pub epoch: i32,
}

impl MemberEpoch {
    pub fn is_nobody(&self) -> bool {
        self.member_id.is_none() && self.epoch < 0
    }
}

impl Default for MemberEpoch {
    /// Somebody who is no member, or does not say.
    fn default() -> Self {
        Self { member_id: None, epoch: -1 }
    }
}

/// OffsetFetch, one group of it. The shard answers it; the machine only checks who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsetsRequest {
    pub group_id: GroupId,
    /// None: every partition that has an offset.
    pub partitions: Option<Vec<TopicPartition>>,
    pub member: MemberEpoch,
}

/// OffsetDelete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsRequest {
    pub group_id: GroupId,
    pub partitions: Vec<TopicPartition>,
}

/// ListGroups (KIP-518, KIP-848).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Names of states in any case; empty: all.
    pub states: Vec<String>,
    /// Names of group types in any case; empty: all.
    pub types: Vec<String>,
}

/// A request that the machine answers under its token, now or with a later event.
#[derive(Clone, Debug)]
pub enum Request {
    /// The id becomes part of the member's, if it needs one. The topics matter to a group of the consumer protocol.
    Join(JoinRequest, Uuid, Arc<dyn Topics>),
    Sync(SyncRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveRequest),
    Commit(CommitRequest),
    DeleteOffsets(DeleteOffsetsRequest),
    /// The id is the member's, if it has none.
    ConsumerHeartbeat(Box<ConsumerHeartbeatRequest>, Uuid, Arc<dyn Topics>),
    DescribeConsumer(Vec<GroupId>, Arc<dyn Topics>),
    Describe(Vec<GroupId>),
    List(ListRequest),
    /// DeleteGroups, one of them, with the partitions that have an offset now.
    DeleteGroup(GroupId, Vec<TopicPartition>),
    /// How many groups are in each state.
    CountStates,
}

/// Everything that moves the machine.
#[derive(Clone, Debug)]
pub enum Event {
    Request(Token, Request),
    /// Some deadline may have passed.
    Timers,
    /// Topics were deleted: the group's offsets of these partitions go.
    ForgetOffsets(GroupId, Vec<TopicPartition>),
    /// All that the group has committed; what is past its retention goes, and with the last offset an empty group.
    ExpireOffsets(GroupId, Vec<(TopicPartition, OffsetMetadata)>),
}

impl Request {
    /// The one group that the request is about, where that is so.
    pub fn group_id(&self) -> Option<&GroupId> {
        match self {
            Self::Join(request, ..) => Some(&request.group_id),
            Self::ConsumerHeartbeat(request, ..) => Some(&request.group_id),
            Self::Sync(request) => Some(&request.group_id),
            Self::Heartbeat(request) => Some(&request.group_id),
            Self::Leave(request) => Some(&request.group_id),
            Self::Commit(request) => Some(&request.group_id),
            Self::DeleteOffsets(request) => Some(&request.group_id),
            Self::DeleteGroup(group_id, _) => Some(group_id),
            Self::Describe(_) | Self::DescribeConsumer(..) | Self::List(_) | Self::CountStates => None,
        }
    }
}

impl ConsumerHeartbeatRequest {
    /// What no state of a group makes valid (`GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid`).
    pub(super) fn validate(&self) -> Result<(), Refusal> {
        let joins = self.member_epoch == 0;
        // Java's `isBlank`.
        let is_blank = |value: Option<&str>| value.is_some_and(|value| value.trim().is_empty());
        let needs_member_id = self.requires_member_id || self.member_epoch > 0 || self.member_epoch == -1;
        let wrong = if needs_member_id && is_blank(Some(&self.member_id)) {
            "MemberId can't be empty."
        } else if is_blank(Some(&self.group_id)) {
            "GroupId can't be empty."
        } else if is_blank(self.group_instance_id.as_deref()) {
            "InstanceId can't be empty."
        } else if is_blank(self.rack_id.as_deref()) {
            "RackId can't be empty."
        } else if joins && self.rebalance_timeout_ms.is_none() {
            "RebalanceTimeoutMs must be provided in first request."
        } else if joins && self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            "TopicPartitions must be empty when (re-)joining."
        } else if joins && self.topics.is_none() && self.regex.is_none() {
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
        } else if self.member_epoch == -2 && self.group_instance_id.is_none() {
            "InstanceId can't be null."
        } else if self.member_epoch < -2 {
            "MemberEpoch is invalid."
        } else {
            return Ok(());
        };
        Err(Refusal::new(GroupError::InvalidRequest, wrong))
    }

    /// Whether the member says all that there is to say: it does so when it joins, and after errors.
    pub(super) fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.rebalance_timeout_ms.is_some() && subscribes && self.owned.is_some()
    }
}

impl ListRequest {
    pub(super) fn wants(&self, group_type: &str, state: &str) -> bool {
        names(&self.types, group_type) && names(&self.states, state)
    }
}

fn names(filter: &[String], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}
