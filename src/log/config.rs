//! What a partition log needs of its topic's configs.

use crate::model::batch::TimestampType;

/// Topic configs as values; the names in the comments are Kafka's. Replaceable while the log is open.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        }
    }
}

const SEVEN_DAYS_MS: i64 = 7 * 24 * 3_600_000;
