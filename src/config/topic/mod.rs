//! Configs of topics: Kafka 4.1's table, and the values that a partition log works with.

mod defaults;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use defaults::TopicDefaults;
pub use table::{TOPIC_CONFIGS, topic_config};

use super::{
    alter::{ConfigOp, TopicConfigError, apply_ops},
    definition::{Definition, Value},
    describe::{ConfigEntry, ConfigSource, ConfigSynonym},
};

/// The effective configs of a topic; every field is named as its config, units last.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_policy: CleanupPolicy,
    pub compression_type: CompressionType,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: i64,
    /// Of a record batch.
    pub max_message_bytes: u32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    /// None: no limit.
    pub retention_bytes: Option<u64>,
    /// None: no limit.
    pub retention_ms: Option<i64>,
    /// `internal.segment.bytes` where that is set.
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
}

impl TopicConfig {
    /// What `overrides`, a topic's own configs, and `defaults` amount to; every override is validated, and how they
    /// fit together.
    pub fn resolve(overrides: &BTreeMap<String, String>, defaults: &TopicDefaults) -> Result<Self, TopicConfigError> {
        if let Some(unknown) = overrides.keys().find(|name| topic_config(name).is_none()) {
            return Err(unknown_name(unknown));
        }
        let mut config = defaults.config().clone();
        // In the order of the table, so that internal.segment.bytes must be laid over segment.bytes afterwards.
        let mut internal = None;
        for definition in TOPIC_CONFIGS {
            let Some(raw) = overrides.get(definition.name) else { continue };
            let value = parse(definition, raw)?;
            if definition.internal {
                internal = Some((definition.name, value));
            } else {
                config.set(definition.name, &value);
            }
        }
        if let Some((name, value)) = internal {
            config.set(name, &value);
        }
        config.refuse_conflicts()?;
        Ok(config)
    }

    /// Lays one parsed config over the others. Those that mean nothing to a single node without tiers have no field.
    fn set(&mut self, name: &str, value: &Value) {
        match value {
            Value::Boolean(value) => match name {
                "preallocate" => self.preallocate = *value,
                "unclean.leader.election.enable" => self.unclean_leader_election_enable = *value,
                _ => {}
            },
            Value::Integer(value) => self.set_integer(name, *value),
            Value::Double(value) => {
                if name == "min.cleanable.dirty.ratio" {
                    self.min_cleanable_dirty_ratio = *value;
                }
            }
            Value::Text(value) => match name {
                "compression.type" => self.compression_type = CompressionType::from_name(value),
                "message.timestamp.type" => self.message_timestamp_type = TimestampType::from_name(value),
                _ => {}
            },
            Value::List(items) => {
                if name == "cleanup.policy" {
                    self.cleanup_policy = CleanupPolicy::from_items(items);
                }
            }
        }
    }

    fn set_integer(&mut self, name: &str, value: i64) {
        match name {
            "compression.gzip.level" => self.compression_gzip_level = level(value),
            "compression.lz4.level" => self.compression_lz4_level = level(value),
            "compression.zstd.level" => self.compression_zstd_level = level(value),
            "delete.retention.ms" => self.delete_retention_ms = value,
            "file.delete.delay.ms" => self.file_delete_delay_ms = value,
            "flush.messages" => self.flush_messages = value,
            "flush.ms" => self.flush_ms = value,
            "index.interval.bytes" => self.index_interval_bytes = size(value),
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = value,
            "max.message.bytes" => self.max_message_bytes = size(value),
            "message.timestamp.after.max.ms" => self.message_timestamp_after_max_ms = value,
            "message.timestamp.before.max.ms" => self.message_timestamp_before_max_ms = value,
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = value,
            "min.insync.replicas" => self.min_insync_replicas = level(value),
            "retention.bytes" => self.retention_bytes = u64::try_from(value).ok(),
            "retention.ms" => self.retention_ms = (value >= 0).then_some(value),
            "segment.bytes" | "internal.segment.bytes" => self.segment_bytes = size(value),
            "segment.index.bytes" => self.segment_index_bytes = size(value),
            "segment.jitter.ms" => self.segment_jitter_ms = value,
            "segment.ms" => self.segment_ms = value,
            _ => {}
        }
    }

    fn refuse_conflicts(&self) -> Result<(), TopicConfigError> {
        let (min, max) = (self.min_compaction_lag_ms, self.max_compaction_lag_ms);
        if min > max {
            return Err(TopicConfigError::InvalidConfig(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
            )));
        }
        Ok(())
    }
}

/// Kafka's defaults, before any broker setting.
impl Default for TopicConfig {
    fn default() -> Self {
        let mut config = Self {
            cleanup_policy: CleanupPolicy::default(),
            compression_type: CompressionType::Producer,
            compression_gzip_level: 0,
            compression_lz4_level: 0,
            compression_zstd_level: 0,
            delete_retention_ms: 0,
            file_delete_delay_ms: 0,
            flush_messages: 0,
            flush_ms: 0,
            index_interval_bytes: 0,
            max_compaction_lag_ms: 0,
            max_message_bytes: 0,
            message_timestamp_after_max_ms: 0,
            message_timestamp_before_max_ms: 0,
            message_timestamp_type: TimestampType::CreateTime,
            min_cleanable_dirty_ratio: 0.0,
            min_compaction_lag_ms: 0,
            min_insync_replicas: 0,
            preallocate: false,
            retention_bytes: None,
            retention_ms: None,
            segment_bytes: 0,
            segment_index_bytes: 0,
            segment_jitter_ms: 0,
            segment_ms: 0,
            unclean_leader_election_enable: false,
        };
        for definition in TOPIC_CONFIGS {
            if let Some(value) = definition.default_value() {
                config.set(definition.name, &value);
            }
        }
        config
    }
}

/// What becomes of old segments; with neither, as an empty `cleanup.policy` means, nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub compact: bool,
    pub delete: bool,
}

impl CleanupPolicy {
    fn from_items(items: &[String]) -> Self {
        let has = |name: &str| items.iter().any(|item| item == name);
        Self { compact: has("compact"), delete: has("delete") }
    }
}

/// Codec of stored batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// Whatever each batch arrived with.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl CompressionType {
    /// The number in a batch's attributes; none for `producer`.
    pub fn codec(self) -> Option<u8> {
        match self {
            Self::Producer => None,
            Self::Uncompressed => Some(0),
            Self::Gzip => Some(1),
            Self::Snappy => Some(2),
            Self::Lz4 => Some(3),
            Self::Zstd => Some(4),
        }
    }

    /// Of a validated name.
    fn from_name(name: &str) -> Self {
        match name {
            "uncompressed" => Self::Uncompressed,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => Self::Producer,
        }
    }
}

/// Whose clock a record's timestamp is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

impl TimestampType {
    /// Of a validated name.
    fn from_name(name: &str) -> Self {
        if name == "LogAppendTime" { Self::LogAppendTime } else { Self::CreateTime }
    }
}

/// Checks one config of a topic by itself.
pub fn validate(name: &str, value: &str) -> Result<(), TopicConfigError> {
    let definition = topic_config(name).ok_or_else(|| unknown_name(name))?;
    parse(definition, value).map(|_| ())
}

/// A topic's configs after `ops`, validated by themselves and together.
pub fn apply(
    overrides: &BTreeMap<String, String>,
    ops: &[ConfigOp],
    defaults: &TopicDefaults,
) -> Result<BTreeMap<String, String>, TopicConfigError> {
    let result = apply_ops(overrides, ops, topic_config)?;
    TopicConfig::resolve(&result, defaults)?;
    Ok(result)
}

/// What DescribeConfigs answers for a topic: every config but the internal ones, in alphabetical order.
pub fn describe(overrides: &BTreeMap<String, String>, defaults: &TopicDefaults) -> Vec<ConfigEntry> {
    let entries = defaults.entries().iter().map(|default| {
        let mut entry = default.clone();
        if let Some(raw) = overrides.get(entry.name) {
            let value = topic_config(entry.name).and_then(|definition| definition.parse(raw).ok());
            let value = Some(value.map_or_else(|| raw.clone(), |value| value.to_string()));
            let own = ConfigSynonym { name: entry.name, value: value.clone(), source: ConfigSource::DynamicTopic };
            entry.source = own.source;
            entry.value = value;
            entry.synonyms.insert(0, own);
        }
        entry
    });
    entries.collect()
}

fn parse(definition: &Definition, raw: &str) -> Result<Value, TopicConfigError> {
    let name = definition.name;
    let value = definition.parse(raw).map_err(|invalid| {
        let message = format!("Invalid value {} for configuration {name}: {}", invalid.value, invalid.reason);
        TopicConfigError::InvalidConfig(message)
    })?;
    if name == "remote.storage.enable" && value == Value::Boolean(true) {
        return Err(TopicConfigError::InvalidConfig(NO_TIERS.to_owned()));
    }
    Ok(value)
}

fn unknown_name(name: &str) -> TopicConfigError {
    TopicConfigError::InvalidConfig(format!("Unknown topic config name: {name}"))
}

/// Of a number that its check keeps within 0 to 2^31-1.
fn size(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

/// Of a number that its type keeps within 32 bits.
fn level(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

const NO_TIERS: &str = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with \
                        remote log storage.";
