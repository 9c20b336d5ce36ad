//! What a partition log needs of its topic's configs.

use super::compress::Compression;
use crate::model::batch::TimestampType;

/// Topic configs as values; the names in the comments are Kafka's. Replaceable while the log is open.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `max.message.bytes`: of a batch as it arrives, header included.
    pub max_message_bytes: u32,
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.index.bytes`
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `retention.ms`; none keeps records for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; none keeps any amount.
    pub retention_bytes: Option<u64>,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compact: bool,
    /// `cleanup.policy` contains `delete`: retention by time and size applies.
    pub delete: bool,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `compression.type` with its level; none keeps what producers send.
    pub compression: Option<Compression>,
}

impl LogConfig {
    /// When a segment rolls for its age: a record that waits for compaction must not wait in the active segment for longer
    /// (`LogConfig.maxSegmentMs`).
    pub(super) fn roll_ms(&self) -> i64 {
        if self.compact { self.segment_ms.min(self.max_compaction_lag_ms) } else { self.segment_ms }
    }
}

impl Default for LogConfig {
    /// Kafka 4.1's defaults.
    fn default() -> Self {
        Self {
            max_message_bytes: 1_048_588,
            segment_bytes: 1 << 30,
            segment_ms: SEVEN_DAYS_MS,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(SEVEN_DAYS_MS),
            retention_bytes: None,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compact: false,
            delete: true,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3_600_000,
            compression: None,
        }
    }
}

const SEVEN_DAYS_MS: i64 = 7 * 24 * 3_600_000;
