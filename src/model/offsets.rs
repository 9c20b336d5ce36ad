//! What a consumer group commits for one partition.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::TopicId;

/// A committed offset with all that travels with it (`org.apache.kafka.coordinator.group.OffsetAndMetadata`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetMetadata {
    /// The next offset that the group will read.
    pub offset: i64,
    /// Leader epoch of the last consumed record (KIP-320); -1 when the client gave none.
    pub leader_epoch: i32,
    /// The client's own string; never null, empty when it gave none.
    pub metadata: Arc<str>,
    /// Milliseconds since the epoch, broker's clock, when the commit was taken.
    pub commit_timestamp_ms: i64,
    /// Set only by OffsetCommit v2 to v4 with an explicit retention.
    pub expire_timestamp_ms: Option<i64>,
    /// Id of the topic at the time of the commit; nil when the client's version names no ids and none is known.
    pub topic_id: TopicId,
}

impl OffsetMetadata {
    /// A plain commit of `offset`, without epoch, metadata or expiry.
    pub fn at(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: -1,
            metadata: Arc::from(""),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: TopicId::nil(),
        }
    }
}
