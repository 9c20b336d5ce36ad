//! What a consumer group commits for one partition.

use std::{ops::Deref, sync::Arc};

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
    pub metadata: CommitMetadata,
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
            metadata: CommitMetadata::default(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: TopicId::nil(),
        }
    }
}

/// A client's string. Nearly all are empty, and the empty one is nobody's: a shared one would make every thread that reads
/// offsets write to the same counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Arc<str>", into = "Arc<str>")]
pub struct CommitMetadata(Option<Arc<str>>);

impl Deref for CommitMetadata {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Arc<str>> for CommitMetadata {
    fn from(text: Arc<str>) -> Self {
        Self((!text.is_empty()).then_some(text))
    }
}

impl From<CommitMetadata> for Arc<str> {
    fn from(text: CommitMetadata) -> Self {
        text.0.unwrap_or_default()
    }
}

impl From<&str> for CommitMetadata {
    fn from(text: &str) -> Self {
        Self((!text.is_empty()).then(|| Arc::from(text)))
    }
}

impl From<String> for CommitMetadata {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}
