//! Values that cross the layers: ids, offsets, group state and the view of a record batch. No clock, and no IO but that of
//! a [`FileRange`], which is sent as it is.

pub mod batch;
pub mod chunk;
pub mod consumer_group;
pub mod group;
pub mod ids;
pub mod offsets;
pub mod record;
pub mod topic_name;

pub use chunk::{Chunk, FileRange, Records};
pub use consumer_group::{
    ClassicMember, ConsumerGroupMetadata, ConsumerMember, MemberState, Partitions, TopicShape, Topics,
};
pub use group::{GroupMetadata, GroupState, MemberMetadata};
pub use ids::{GroupId, TopicId, TopicName, TopicPartition};
pub use offsets::{CommitMetadata, OffsetMetadata};
pub use record::CoordinatorRecord;
pub use topic_name::{InvalidTopicName, validate_topic_name};
