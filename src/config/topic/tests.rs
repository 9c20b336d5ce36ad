use super::*;
use crate::config::{ConfigOpKind, ConfigType};

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(pairs: &[(&str, &str)]) -> Result<TopicConfig, TopicConfigError> {
    TopicConfig::resolve(&overrides(pairs), &TopicDefaults::default())
}

fn op(kind: ConfigOpKind, name: &str, value: &str) -> ConfigOp {
    ConfigOp { name: name.to_owned(), kind, value: Some(value.to_owned()) }
}

#[test]
fn a_topic_without_configs_has_kafkas_defaults() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config, TopicConfig::default());
    assert_eq!(config.cleanup_policy, CleanupPolicy { compact: false, delete: true });
    assert_eq!((config.retention_ms, config.retention_bytes), (Some(604_800_000), None));
    assert_eq!((config.segment_bytes, config.segment_ms), (1 << 30, 604_800_000));
    assert_eq!((config.max_message_bytes, config.index_interval_bytes), (1_048_588, 4096));
    assert_eq!(config.message_timestamp_before_max_ms, i64::MAX);
    assert_eq!(config.message_timestamp_after_max_ms, 3_600_000);
    assert_eq!((config.min_compaction_lag_ms, config.max_compaction_lag_ms), (0, i64::MAX));
    assert_eq!((config.min_insync_replicas, config.min_cleanable_dirty_ratio), (1, 0.5));
    assert_eq!((config.file_delete_delay_ms, config.delete_retention_ms), (60_000, 86_400_000));
    assert_eq!(config.segment_index_bytes, 10_485_760);
    assert_eq!(config.compression_type.codec(), None);
}

#[test]
fn overrides_are_laid_over_the_defaults() {
    let config = resolve(&[
        ("cleanup.policy", " compact , delete "),
        ("retention.ms", "-1"),
        ("retention.bytes", "1024"),
        ("message.timestamp.type", "LogAppendTime"),
        ("compression.type", "zstd"),
        ("min.cleanable.dirty.ratio", "1e-3"),
        ("preallocate", "TRUE"),
        ("segment.bytes", "1048576"),
        ("max.message.bytes", "+5"),
    ])
    .unwrap();
    assert_eq!(config.cleanup_policy, CleanupPolicy { compact: true, delete: true });
    assert_eq!((config.retention_ms, config.retention_bytes), (None, Some(1024)));
    assert_eq!(config.message_timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(config.compression_type.codec(), Some(4));
    assert_eq!(config.min_cleanable_dirty_ratio, 0.001);
    assert!(config.preallocate);
    assert_eq!((config.segment_bytes, config.max_message_bytes), (1_048_576, 5));
}

#[test]
fn an_empty_cleanup_policy_removes_nothing_and_negative_retention_bytes_are_no_limit() {
    let config = resolve(&[("cleanup.policy", ""), ("retention.bytes", "-5")]).unwrap();
    assert_eq!((config.cleanup_policy, config.retention_bytes), (CleanupPolicy::default(), None));
}

#[test]
fn the_internal_segment_size_has_no_lower_bound_and_is_not_described() {
    let small = overrides(&[("internal.segment.bytes", "100"), ("segment.bytes", "2000000")]);
    assert_eq!(TopicConfig::resolve(&small, &TopicDefaults::default()).unwrap().segment_bytes, 100);
    assert!(describe(&small, &TopicDefaults::default()).iter().all(|entry| entry.name != "internal.segment.bytes"));
}

/// Each message is what Kafka 4.1.0 answered to IncrementalAlterConfigs.
#[test]
fn wrong_values_are_refused_in_kafkas_words() {
    let cases = [
        ("cleanup.policy", "delete,foo", "foo", "String must be one of: compact, delete"),
        ("cleanup.policy", "compact,,delete", "", "String must be one of: compact, delete"),
        ("cleanup.policy", "Compact", "Compact", "String must be one of: compact, delete"),
        ("compression.type", "GZIP", "GZIP", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("compression.gzip.level", "0", "0", "Value must be between 1 and 9 or equal to -1"),
        ("compression.lz4.level", "18", "18", "Value must be no more than 17"),
        ("compression.zstd.level", "-131073", "-131073", "Value must be at least -131072"),
        ("delete.retention.ms", "-1", "-1", "Value must be at least 0"),
        ("delete.retention.ms", "abc", "abc", "Not a number of type LONG"),
        ("delete.retention.ms", "9223372036854775808", "9223372036854775808", "Not a number of type LONG"),
        ("delete.retention.ms", "", "", "Not a number of type LONG"),
        ("max.message.bytes", "2147483648", "2147483648", "Not a number of type INT"),
        ("max.message.bytes", "1.5", "1.5", "Not a number of type INT"),
        ("message.timestamp.type", "X", "X", "String must be one of: CreateTime, LogAppendTime"),
        ("min.cleanable.dirty.ratio", "1.5", "1.5", "Value must be no more than 1"),
        ("min.cleanable.dirty.ratio", "-0.1", "-0.1", "Value must be at least 0"),
        ("min.cleanable.dirty.ratio", "Infinity", "Infinity", "Value must be no more than 1"),
        ("min.cleanable.dirty.ratio", "abc", "abc", "Not a number of type DOUBLE"),
        ("min.insync.replicas", "0", "0", "Value must be at least 1"),
        ("preallocate", "yes", "yes", "Expected value to be either true or false"),
        ("retention.ms", "-2", "-2", "Value must be at least -1"),
        ("segment.bytes", "1000", "1000", "Value must be at least 1048576"),
        ("segment.index.bytes", "3", "3", "Value must be at least 4"),
        ("segment.ms", "0", "0", "Value must be at least 1"),
        ("max.compaction.lag.ms", "0", "0", "Value must be at least 1"),
        ("local.retention.ms", "-3", "-3", "Value must be at least -2"),
        ("flush.messages", "0", "0", "Value must be at least 1"),
        ("index.interval.bytes", "-1", "-1", "Value must be at least 0"),
        (
            "leader.replication.throttled.replicas",
            "*,0:1",
            "[*, 0:1]",
            "leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following \
             format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
    ];
    for (name, value, shown, reason) in cases {
        let expected =
            TopicConfigError::InvalidConfig(format!("Invalid value {shown} for configuration {name}: {reason}"));
        assert_eq!(validate(name, value).unwrap_err(), expected);
        assert_eq!(resolve(&[(name, value)]).unwrap_err(), expected);
    }
    assert_eq!(validate("nope", "1").unwrap_err().to_string(), "Unknown topic config name: nope");
    assert!(resolve(&[("remote.storage.enable", "true")]).unwrap_err().to_string().starts_with("Tiered Storage"));
    assert_eq!(validate("remote.storage.enable", "false"), Ok(()));
    for replicas in ["*", "", "0:1,1:2", " 0:1 , 1:2 ", "0:1,"] {
        assert_eq!(validate("leader.replication.throttled.replicas", replicas), Ok(()));
    }
}

#[test]
fn an_unknown_name_is_reported_before_a_wrong_value() {
    let error = resolve(&[("nope", "1"), ("a.retention", "1"), ("retention.ms", "-5")]).unwrap_err();
    assert_eq!(error.to_string(), "Unknown topic config name: a.retention");
}

#[test]
fn compaction_lags_must_be_in_order() {
    let error = resolve(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]).unwrap_err();
    let text = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)";
    assert_eq!(error, TopicConfigError::InvalidConfig(text.to_owned()));
}

/// The sequence and each result as with Kafka 4.1.0.
#[test]
fn lists_grow_and_shrink_by_append_and_subtract() {
    use ConfigOpKind::{Append, Subtract};
    let defaults = TopicDefaults::default();
    let steps = [
        (Append, "compact", "delete,compact"),
        (Append, "compact", "delete,compact"),
        (Subtract, "delete", "compact"),
        (Subtract, "delete", "compact"),
        (Subtract, "compact", ""),
        (Append, "compact,delete", "compact,delete"),
        (Subtract, "compact,delete", ""),
        (Append, "", ""),
    ];
    let mut configs = BTreeMap::new();
    for (kind, value, expected) in steps {
        configs = apply(&configs, &[op(kind, "cleanup.policy", value)], &defaults).unwrap();
        assert_eq!(configs["cleanup.policy"], expected);
    }
    let gone = ConfigOp { name: "cleanup.policy".to_owned(), kind: ConfigOpKind::Delete, value: None };
    assert!(apply(&configs, &[gone], &defaults).unwrap().is_empty());
}

#[test]
fn operations_that_mean_nothing_are_refused_in_kafkas_words() {
    use ConfigOpKind::{Append, Delete, Set, Subtract};
    let error = |ops: &[ConfigOp]| apply(&BTreeMap::new(), ops, &TopicDefaults::default()).unwrap_err();
    let null = |name: &str| ConfigOp { name: name.to_owned(), kind: Set, value: None };
    assert_eq!(
        error(&[op(Append, "retention.ms", "1")]),
        TopicConfigError::InvalidConfig("Can't APPEND to key retention.ms because its type is not LIST.".to_owned())
    );
    assert_eq!(
        error(&[op(Subtract, "nope", "1")]).to_string(),
        "Can't SUBTRACT to key nope because its type is not LIST."
    );
    assert_eq!(
        error(&[null("retention.ms"), null("segment.ms")]),
        TopicConfigError::InvalidRequest("Null value not supported for : retention.ms, segment.ms".to_owned())
    );
    assert_eq!(
        error(&[op(Set, "retention.ms", "5"), op(Set, "retention.ms", "6")]),
        TopicConfigError::InvalidRequest("Error due to duplicate config keys".to_owned())
    );
    assert_eq!(
        error(&[op(Set, "leader.replication.throttled.replicas", &"0:1,".repeat(10_000))]).to_string(),
        "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes."
    );
    assert_eq!(
        error(&[op(Append, "cleanup.policy", "foo")]).to_string().split(':').next_back(),
        Some(" compact, delete")
    );
    let unknown = ConfigOp { name: "nope".to_owned(), kind: Delete, value: None };
    assert_eq!(apply(&BTreeMap::new(), &[unknown], &TopicDefaults::default()), Ok(BTreeMap::new()));
}

#[test]
fn values_are_described_as_kafka_prints_them() {
    let described = |name: &str, value: &str| {
        let entries = describe(&overrides(&[(name, value)]), &TopicDefaults::default());
        entries.into_iter().find(|entry| entry.name == name).unwrap().value.unwrap()
    };
    for (value, printed) in [("1", "1.0"), ("0.50", "0.5"), ("0.00001", "1.0E-5"), ("1.5e-4", "1.5E-4"), ("0", "0.0")] {
        assert_eq!(described("min.cleanable.dirty.ratio", value), printed);
    }
    assert_eq!(described("cleanup.policy", " compact , delete "), "compact,delete");
    assert_eq!(described("preallocate", " TRUE "), "true");
    assert_eq!(described("compression.type", " gzip "), "gzip");
    assert_eq!(described("retention.ms", "+5"), "5");
}

#[test]
fn a_described_config_says_where_its_value_comes_from() {
    let entries = describe(&overrides(&[("cleanup.policy", "compact")]), &TopicDefaults::default());
    let find = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
    let own = find("cleanup.policy");
    assert_eq!((own.source, own.config_type, own.read_only), (ConfigSource::DynamicTopic, ConfigType::List, false));
    let chain: Vec<_> = own.synonyms.iter().map(|s| (s.name, s.value.as_deref().unwrap(), s.source.wire())).collect();
    assert_eq!(chain, [("cleanup.policy", "compact", 1), ("log.cleanup.policy", "delete", 5)]);
    // Kafka shows no synonym while log.retention.ms is not set, whatever log.retention.hours says.
    assert!(find("retention.ms").synonyms.is_empty());
    assert_eq!(find("retention.ms").value.as_deref(), Some("604800000"));
    assert_eq!(find("leader.replication.throttled.replicas").value.as_deref(), Some(""));
    assert!(entries.is_sorted_by_key(|entry| entry.name));
    assert!(entries.iter().all(|entry| !entry.documentation.is_empty()));
}

#[test]
fn each_broker_setting_that_a_topic_config_names_exists_and_agrees() {
    for definition in TOPIC_CONFIGS {
        for name in definition.synonyms {
            let setting = crate::config::setting(name).unwrap();
            assert_eq!(setting.kind, definition.kind, "{name}");
            assert!(setting.default.is_none() || setting.default == definition.default, "{name}");
        }
        if let Some(default) = definition.default {
            assert!(definition.parse(default).is_ok(), "{}", definition.name);
        }
    }
    assert!(TOPIC_CONFIGS.is_sorted_by_key(|definition| definition.name));
}
