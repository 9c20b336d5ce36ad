//! Names that every layer uses for topics, partitions, groups and offsets.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A topic's name; shared, because every request repeats it.
pub type TopicName = Arc<str>;

/// A consumer group's id: any string, up to 32 KiB.
pub type GroupId = Arc<str>;

/// KIP-516 topic id: changes when a topic is deleted and created again under the same name.
pub type TopicId = uuid::Uuid;

/// One partition of a topic (`org.apache.kafka.common.TopicPartition`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<TopicName>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
