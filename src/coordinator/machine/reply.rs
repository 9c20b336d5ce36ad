//! What the coordinator answers, in model types, and its errors.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    GroupId, GroupState, MemberMetadata, OffsetMetadata, Partitions, TopicId, TopicName, TopicPartition,
};

/// Why a request of a group was refused; the variants are Kafka's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    #[error("the coordinator is loading the group")]
    CoordinatorLoadInProgress,
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    #[error("the coordinator of the group has moved or begins anew")]
    NotCoordinator,
    #[error("the group id is invalid")]
    InvalidGroupId,
    #[error("the session timeout is outside the broker's range")]
    InvalidSessionTimeout,
    #[error("the member's protocols are inconsistent with those of the group")]
    InconsistentGroupProtocol,
    #[error("the group has reached its maximum size")]
    GroupMaxSizeReached,
    #[error("the member must join again with the id that it was given")]
    MemberIdRequired,
    #[error("the coordinator does not know the member")]
    UnknownMemberId,
    #[error("another member has taken the group instance id")]
    FencedInstanceId,
    #[error("the generation is not the group's")]
    IllegalGeneration,
    #[error("the group is rebalancing, so a rejoin is needed")]
    RebalanceInProgress,
    #[error("the group id does not exist")]
    GroupIdNotFound,
    #[error("the group is not empty")]
    NonEmptyGroup,
    #[error("a member of the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    #[error("the metadata field of the offset is too large")]
    OffsetMetadataTooLarge,
    #[error("the request cannot be understood")]
    InvalidRequest,
    #[error("the version of the request is too old for members of the consumer protocol")]
    UnsupportedVersion,
    #[error("the member's epoch is fenced, so it must give up its partitions and rejoin")]
    FencedMemberEpoch,
    #[error("the instance id is still used by another member")]
    UnreleasedInstanceId,
    #[error("the assignor is not supported")]
    UnsupportedAssignor,
    #[error("the member's epoch is stale")]
    StaleMemberEpoch,
    #[error("the regular expression is invalid")]
    InvalidRegularExpression,
}

/// A refusal with a text for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub error: GroupError,
    pub message: String,
}

/// JoinGroup's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: Option<String>,
    pub leader: Arc<str>,
    pub skip_assignment: bool,
    pub member_id: Arc<str>,
    /// Every member, to the leader alone.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    /// The member's metadata for the selected protocol.
    pub metadata: Bytes,
}

/// A refused JoinGroup; with MEMBER_ID_REQUIRED the id is the one to come back with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct JoinError {
    pub error: GroupError,
    pub member_id: Arc<str>,
}

/// ConsumerGroupHeartbeat's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeatReply {
    pub member_id: Arc<str>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// What the member may use from now on; none when that has not changed.
    pub assignment: Option<Partitions>,
}

/// SyncGroup's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReply {
    pub protocol_type: String,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

/// LeaveGroup's answer for one member, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub result: Result<(), GroupError>,
}

/// OffsetCommit's and OffsetDelete's answer for one partition, in the order of the request.
pub type PartitionResults = Vec<(TopicPartition, Result<(), GroupError>)>;

/// OffsetFetch's answer: the partitions asked for in their order, or all that have an offset.
pub type FetchedOffsets = Vec<(TopicPartition, Option<OffsetMetadata>)>;

/// DescribeGroups' answer for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    pub group_id: GroupId,
    /// Dead for a group that does not exist.
    pub state: GroupState,
    pub protocol_type: String,
    /// Empty unless the group is stable.
    pub protocol: String,
    pub members: Vec<DescribedMember>,
    /// The group is there, but of the consumer protocol.
    pub is_consumer: bool,
}

/// A member of a [`DescribedGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub client_id: String,
    pub client_host: String,
    /// For the selected protocol; empty unless the group is stable.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// States of a group of the consumer protocol (`ConsumerGroup.ConsumerGroupState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerGroupState {
    Empty,
    /// The group has changed, and nobody was assigned anything for it.
    Assigning,
    /// Members are on the way to what they were assigned.
    Reconciling,
    Stable,
}

/// ConsumerGroupDescribe's answer for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    pub group_id: GroupId,
    pub state: ConsumerGroupState,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: &'static str,
    pub members: Vec<DescribedConsumerMember>,
}

/// A member of a [`DescribedConsumerGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumerMember {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub rack_id: Option<String>,
    pub member_epoch: i32,
    pub client_id: String,
    pub client_host: String,
    pub topics: Vec<TopicName>,
    /// Empty for none.
    pub regex: String,
    pub assigned: NamedPartitions,
    pub target: NamedPartitions,
    /// Speaks the classic protocol.
    pub is_classic: bool,
}

/// Topics with their names and some of their partitions.
pub type NamedPartitions = Vec<(TopicId, TopicName, Vec<i32>)>;

/// One group of ListGroups' answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub group_id: GroupId,
    pub protocol_type: String,
    pub state: &'static str,
    /// `classic` or `consumer`.
    pub group_type: &'static str,
}

/// How many groups are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts {
    pub empty: u64,
    pub preparing_rebalance: u64,
    pub completing_rebalance: u64,
    pub stable: u64,
    pub dead: u64,
    pub assigning: u64,
    pub reconciling: u64,
    /// Members of all groups.
    pub members: u64,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Join(Result<JoinReply, JoinError>),
    Sync(Result<SyncReply, GroupError>),
    Heartbeat(Result<(), GroupError>),
    Leave(Result<Vec<LeftMember>, GroupError>),
    Commit(Result<PartitionResults, GroupError>),
    FetchOffsets(Result<FetchedOffsets, GroupError>),
    DeleteOffsets(Result<PartitionResults, GroupError>),
    ConsumerHeartbeat(Result<ConsumerHeartbeatReply, Refusal>),
    DescribeConsumer(Result<Vec<Result<DescribedConsumerGroup, Refusal>>, GroupError>),
    Describe(Result<Vec<DescribedGroup>, GroupError>),
    List(Result<Vec<ListedGroup>, GroupError>),
    DeleteGroup(Result<(), GroupError>),
    CountStates(Result<StateCounts, GroupError>),
}

impl Reply {
    /// The error that the whole request was refused with.
    pub fn error(&self) -> Option<GroupError> {
        match self {
            Self::Join(result) => result.as_ref().err().map(|refused| refused.error),
            Self::Sync(result) => result.as_ref().err().copied(),
            Self::Leave(result) => result.as_ref().err().copied(),
            Self::Commit(result) | Self::DeleteOffsets(result) => result.as_ref().err().copied(),
            Self::FetchOffsets(result) => result.as_ref().err().copied(),
            Self::Describe(result) => result.as_ref().err().copied(),
            Self::ConsumerHeartbeat(result) => result.as_ref().err().map(|refusal| refusal.error),
            Self::DescribeConsumer(result) => result.as_ref().err().copied(),
            Self::List(result) => result.as_ref().err().copied(),
            Self::CountStates(result) => result.as_ref().err().copied(),
            Self::Heartbeat(result) | Self::DeleteGroup(result) => result.err(),
        }
    }
}

impl JoinError {
    pub(super) fn new(error: GroupError, member_id: &Arc<str>) -> Self {
        Self { error, member_id: Arc::clone(member_id) }
    }

    /// For errors that give no member id back.
    pub(super) fn anonymous(error: GroupError) -> Self {
        Self { error, member_id: Arc::from("") }
    }
}

impl Refusal {
    pub(super) fn new(error: GroupError, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl From<GroupError> for Refusal {
    fn from(error: GroupError) -> Self {
        Self { error, message: error.to_string() }
    }
}

impl ConsumerGroupState {
    /// The name that ListGroups and ConsumerGroupDescribe put on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl StateCounts {
    pub(super) fn count_consumer(&mut self, state: ConsumerGroupState) {
        let counter = match state {
            ConsumerGroupState::Empty => &mut self.empty,
            ConsumerGroupState::Assigning => &mut self.assigning,
            ConsumerGroupState::Reconciling => &mut self.reconciling,
            ConsumerGroupState::Stable => &mut self.stable,
        };
        *counter += 1;
    }

    pub(super) fn count(&mut self, state: GroupState) {
        let counter = match state {
            GroupState::Empty => &mut self.empty,
            GroupState::PreparingRebalance => &mut self.preparing_rebalance,
            GroupState::CompletingRebalance => &mut self.completing_rebalance,
            GroupState::Stable => &mut self.stable,
            GroupState::Dead => &mut self.dead,
        };
        *counter += 1;
    }

    /// Adds the counts of another shard.
    pub fn add(&mut self, other: Self) {
        self.empty += other.empty;
        self.preparing_rebalance += other.preparing_rebalance;
        self.completing_rebalance += other.completing_rebalance;
        self.stable += other.stable;
        self.dead += other.dead;
        self.assigning += other.assigning;
        self.reconciling += other.reconciling;
        self.members += other.members;
    }
}

impl DescribedGroup {
    /// What is said of a group that does not exist.
    pub(super) fn dead(group_id: GroupId) -> Self {
        Self {
            group_id,
            state: GroupState::Dead,
            protocol_type: String::new(),
            protocol: String::new(),
            members: Vec::new(),
            is_consumer: false,
        }
    }
}

impl From<&MemberMetadata> for DescribedMember {
    /// The member without its protocol's metadata.
    fn from(member: &MemberMetadata) -> Self {
        Self {
            member_id: Arc::clone(&member.member_id),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: Bytes::new(),
            assignment: member.assignment.0.clone(),
        }
    }
}
