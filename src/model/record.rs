//! Changes of the coordinator's durable state.

use super::{GroupId, GroupMetadata, OffsetMetadata, TopicPartition};

/// A change of a coordinator's durable state. Replaying these is the only way that such state changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorRecord {
    /// A committed offset, or its deletion.
    Offset { group: GroupId, partition: TopicPartition, value: Option<OffsetMetadata> },
    /// A group's generation, or its deletion.
    Group { group: GroupId, value: Option<GroupMetadata> },
}

impl CoordinatorRecord {
    /// The group that changes.
    pub fn group(&self) -> &GroupId {
        match self {
            Self::Offset { group, .. } | Self::Group { group, .. } => group,
        }
    }
}
