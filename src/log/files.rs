//! Names of the files in a partition's directory: Kafka's, and one of our own.

use crate::model::TopicId;

use base64::Engine as _;

/// Records.
pub(super) fn log_name(base_offset: i64) -> String {
    format!("{base_offset:020}.log")
}

/// Offset index.
pub(super) fn index_name(base_offset: i64) -> String {
    format!("{base_offset:020}.index")
}

/// Time index.
pub(super) fn time_index_name(base_offset: i64) -> String {
    format!("{base_offset:020}.timeindex")
}

/// Producer snapshot: the state before the record with this offset.
pub(super) fn snapshot_name(offset: i64) -> String {
    format!("{offset:020}.snapshot")
}

/// The offset in a file's name when it ends in `suffix`.
pub(super) fn offset_of(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?.strip_suffix('.')?;
    if digits.len() != 20 {
        return None;
    }
    digits.parse().ok()
}

/// Contents of `partition.metadata` (`PartitionMetadataFile`): the id in Kafka's base64.
pub(super) fn partition_metadata(topic_id: TopicId) -> String {
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(topic_id.as_bytes());
    format!("version: 0\ntopic_id: {id}\n")
}

/// The id in a `partition.metadata`; none when it cannot be read.
pub(super) fn parse_partition_metadata(contents: &[u8]) -> Option<TopicId> {
    let text = std::str::from_utf8(contents).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id:"))?.trim();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(id).ok()?;
    TopicId::from_slice(&bytes).ok()
}

pub(super) const PARTITION_METADATA: &str = "partition.metadata";
pub(super) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// Compaction's own; written before it replaces the first segment, and it stays when the topic's policy becomes
/// `delete`. Where it is, missing offsets mean nothing.
pub(super) const CLEANER_POINT: &str = "cleaner-offset-checkpoint";
pub(super) const CHECKPOINT: &str = "recovery-checkpoint";
pub(super) const PROGRESS: &str = "recovery-progress";
