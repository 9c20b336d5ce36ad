//! A group as it is stored: what outlives the process.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{consumer_group::ConsumerGroupMetadata, ids::GroupId};

/// States of a classic group (`org.apache.kafka.coordinator.group.classic.ClassicGroupState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
}

impl GroupState {
    /// The name that ListGroups and DescribeGroups put on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// One member of a completed generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberMetadata {
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub group_instance_id: Option<Arc<str>>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// Protocol name and its opaque metadata, in the member's order of preference.
    pub protocols: Vec<(String, Base64Bytes)>,
    /// What the leader assigned to the member; opaque.
    pub assignment: Base64Bytes,
}

impl MemberMetadata {
    /// Whether the two differ in nothing but what the leader assigned.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            member_id,
            group_instance_id,
            client_id,
            client_host,
            session_timeout_ms,
            rebalance_timeout_ms,
            protocols,
            assignment: _,
        } = other;
        self.member_id == *member_id
            && self.group_instance_id == *group_instance_id
            && self.client_id == *client_id
            && self.client_host == *client_host
            && self.session_timeout_ms == *session_timeout_ms
            && self.rebalance_timeout_ms == *rebalance_timeout_ms
            && self.protocols == *protocols
    }
}

/// Everything of a group that a restart must bring back: a completed generation of a classic one, or the whole of one of
/// the consumer protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMetadata {
    pub group_id: GroupId,
    /// `consumer`, `connect`, `sr`, …; empty for a group that only ever committed offsets.
    pub protocol_type: String,
    /// The protocol that the generation selected; none while the group is empty.
    pub protocol: Option<String>,
    /// The group's epoch in the consumer protocol.
    pub generation: i32,
    pub leader: Option<Arc<str>>,
    /// Only ever Empty or Stable in the consumer protocol.
    pub state: GroupState,
    /// Milliseconds since the epoch of the last change of state; offset retention counts from it.
    pub state_timestamp_ms: i64,
    /// Members of a classic group.
    pub members: Vec<Arc<MemberMetadata>>,
    /// What makes it a group of the consumer protocol (KIP-848); none for a classic one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<ConsumerGroupMetadata>,
}

impl GroupMetadata {
    /// A group of the consumer protocol.
    pub fn of_consumers(
        group_id: &GroupId,
        epoch: i32,
        consumer: ConsumerGroupMetadata,
        state_timestamp_ms: i64,
    ) -> Self {
        Self {
            group_id: Arc::clone(group_id),
            protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
            protocol: None,
            generation: epoch,
            leader: None,
            state: if consumer.members.is_empty() { GroupState::Empty } else { GroupState::Stable },
            state_timestamp_ms,
            members: Vec::new(),
            consumer: Some(consumer),
        }
    }
}

/// The protocol type of consumers, whichever protocol they speak (`ConsumerProtocol.PROTOCOL_TYPE`).
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Opaque bytes that are written as base64 in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base64Bytes(pub Bytes);

impl Serialize for Base64Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        base64::engine::general_purpose::STANDARD
            .decode(text.as_bytes())
            .map(|bytes| Self(Bytes::from(bytes)))
            .map_err(serde::de::Error::custom)
    }
}
