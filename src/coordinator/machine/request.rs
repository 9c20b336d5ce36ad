//! What the coordinator is asked, in model types: one struct an API, and the events that the shard adds.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::model::{GroupId, GroupState, OffsetMetadata, TopicId, TopicPartition};

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
    pub metadata: Arc<str>,
    /// Version 1 alone may give its own time of the commit.
    pub commit_timestamp_ms: Option<i64>,
}

/// OffsetFetch, one group of it. The shard answers it; the machine never sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsetsRequest {
    pub group_id: GroupId,
    /// None: every partition that has an offset.
    pub partitions: Option<Vec<TopicPartition>>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The id becomes part of the member's, if it needs one.
    Join(JoinRequest, Uuid),
    Sync(SyncRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveRequest),
    Commit(CommitRequest),
    DeleteOffsets(DeleteOffsetsRequest),
    Describe(Vec<GroupId>),
    List(ListRequest),
    /// DeleteGroups, one of them, with the partitions that have an offset now.
    DeleteGroup(GroupId, Vec<TopicPartition>),
    /// How many groups are in each state.
    CountStates,
}

/// Everything that moves the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
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
            Self::Join(request, _) => Some(&request.group_id),
            Self::Sync(request) => Some(&request.group_id),
            Self::Heartbeat(request) => Some(&request.group_id),
            Self::Leave(request) => Some(&request.group_id),
            Self::Commit(request) => Some(&request.group_id),
            Self::DeleteOffsets(request) => Some(&request.group_id),
            Self::DeleteGroup(group_id, _) => Some(group_id),
            Self::Describe(_) | Self::List(_) | Self::CountStates => None,
        }
    }
}

impl ListRequest {
    pub(super) fn wants(&self, state: GroupState) -> bool {
        self.states.is_empty() || self.states.iter().any(|name| name.eq_ignore_ascii_case(state.as_str()))
    }

    pub(super) fn wants_classic(&self) -> bool {
        self.types.is_empty() || self.types.iter().any(|name| name.eq_ignore_ascii_case(GROUP_TYPE))
    }
}

const GROUP_TYPE: &str = "classic";
