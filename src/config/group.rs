//! Configs of one group of the consumer protocol (KIP-848; `org.apache.kafka.coordinator.group.GroupConfig`).
//!
//! What a group has no config for is the broker's `group.consumer.*`, whose bounds hold for groups, too.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use super::{
    alter::{ConfigOp, TopicConfigError, apply_ops},
    definition::{Check, ConfigType, Definition, Value},
    describe::{ConfigEntry, ConfigSource, ConfigSynonym},
    settings::ConsumerGroupSettings,
};

/// What a group has of its own, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupConfig {
    /// `consumer.session.timeout.ms`
    pub session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: Option<i32>,
}

impl GroupConfig {
    /// Of configs that were accepted once; the broker's bounds may have changed since, and Kafka does not look again.
    pub fn of(configs: &BTreeMap<String, String>) -> Self {
        let value = |definition: &Definition| parse(definition, configs.get(definition.name)?).ok();
        Self { session_timeout_ms: value(&SESSION_TIMEOUT), heartbeat_interval_ms: value(&HEARTBEAT_INTERVAL) }
    }

    /// Checks names and values as `GroupConfig.validate` does, in its order.
    pub fn validate(
        configs: &BTreeMap<String, String>,
        settings: &ConsumerGroupSettings,
    ) -> Result<(), TopicConfigError> {
        if let Some(unknown) = configs.keys().find(|name| group_config(name).is_none()) {
            return Err(TopicConfigError::InvalidConfig(format!("Unknown group config name: {unknown}")));
        }
        let value = |definition: &Definition, default: Duration| match configs.get(definition.name) {
            Some(raw) => parse(definition, raw).map(i64::from),
            None => Ok(millis(default)),
        };
        let session = value(&SESSION_TIMEOUT, settings.session_timeout)?;
        let interval = value(&HEARTBEAT_INTERVAL, settings.heartbeat_interval)?;
        let bounds = &settings.heartbeat_interval_bounds;
        within(interval, bounds, HEARTBEAT_INTERVAL.name, "heartbeat.interval.ms")?;
        within(session, &settings.session_timeout_bounds, SESSION_TIMEOUT.name, "session.timeout.ms")?;
        if session <= interval {
            let (session, interval) = (SESSION_TIMEOUT.name, HEARTBEAT_INTERVAL.name);
            return Err(TopicConfigError::InvalidConfig(format!("{session} must be greater than {interval}")));
        }
        Ok(())
    }

    /// `current` after `ops`, validated.
    pub fn apply(
        current: &BTreeMap<String, String>,
        ops: &[ConfigOp],
        settings: &ConsumerGroupSettings,
    ) -> Result<BTreeMap<String, String>, TopicConfigError> {
        let changed = apply_ops(current, ops, group_config)?;
        Self::validate(&changed, settings)?;
        Ok(changed)
    }

    /// What DescribeConfigs answers; the same for a group that does not exist.
    pub fn describe(configs: &BTreeMap<String, String>, settings: &ConsumerGroupSettings) -> Vec<ConfigEntry> {
        let defaults = [settings.heartbeat_interval, settings.session_timeout];
        let entry = |(definition, default): (&'static Definition, Duration)| {
            let (value, source) = match configs.get(definition.name) {
                Some(raw) => {
                    let value = definition.parse(raw).map_or_else(|_| raw.clone(), |value| value.to_string());
                    (value, ConfigSource::DynamicGroup)
                }
                None => (millis(default).to_string(), ConfigSource::Default),
            };
            ConfigEntry {
                name: definition.name,
                value: Some(value.clone()),
                source,
                is_sensitive: false,
                read_only: false,
                config_type: definition.kind,
                documentation: definition.doc,
                synonyms: vec![ConfigSynonym { name: definition.name, value: Some(value), source }],
            }
        };
        GROUP_CONFIGS.into_iter().zip(defaults).map(entry).collect()
    }
}

fn group_config(name: &str) -> Option<&'static Definition> {
    GROUP_CONFIGS.into_iter().find(|definition| definition.name == name)
}

fn parse(definition: &Definition, raw: &str) -> Result<i32, TopicConfigError> {
    let name = definition.name;
    let refused = |value: &str, reason: &str| {
        TopicConfigError::InvalidConfig(format!("Invalid value {value} for configuration {name}: {reason}"))
    };
    match definition.parse(raw) {
        Ok(Value::Integer(number)) => i32::try_from(number).map_err(|_| refused(raw, "Not a number of type INT")),
        Ok(value) => Err(refused(&value.to_string(), "Not a number of type INT")),
        Err(invalid) => Err(refused(&invalid.value, &invalid.reason)),
    }
}

/// `of_broker` ends the names of the broker's bounds.
fn within(value: i64, bounds: &RangeInclusive<Duration>, name: &str, of_broker: &str) -> Result<(), TopicConfigError> {
    let message = if value < millis(*bounds.start()) {
        format!("{name} must be greater than or equal to group.consumer.min.{of_broker}")
    } else if value > millis(*bounds.end()) {
        format!("{name} must be less than or equal to group.consumer.max.{of_broker}")
    } else {
        return Ok(());
    };
    Err(TopicConfigError::InvalidConfig(message))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// In the order of their names.
static GROUP_CONFIGS: [&Definition; 2] = [&HEARTBEAT_INTERVAL, &SESSION_TIMEOUT];
static HEARTBEAT_INTERVAL: Definition = Definition::new(
    "consumer.heartbeat.interval.ms",
    ConfigType::Int,
    "5000",
    Check::AtLeast(1),
    "How often members of the group are told to send heartbeats.",
);
static SESSION_TIMEOUT: Definition = Definition::new(
    "consumer.session.timeout.ms",
    ConfigType::Int,
    "45000",
    Check::AtLeast(1),
    "How long a member of the group may be silent.",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ConsumerGroupSettings {
        let millis = Duration::from_millis;
        ConsumerGroupSettings {
            session_timeout: millis(30_000),
            session_timeout_bounds: millis(1_000)..=millis(40_000),
            heartbeat_interval: millis(3_000),
            heartbeat_interval_bounds: millis(100)..=millis(35_000),
            size_max: 1,
            assignors: Vec::new(),
            upgrades: true,
            downgrades: true,
        }
    }

    fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_a_group_does_not_set_is_the_brokers() {
        let own = configs(&[("consumer.session.timeout.ms", " 2000 ")]);
        // Its session would be over before the broker's interval.
        let refused = GroupConfig::validate(&own, &settings()).unwrap_err().to_string();
        assert_eq!(refused, "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms");
        let both = configs(&[("consumer.session.timeout.ms", " 2000 "), ("consumer.heartbeat.interval.ms", "500")]);
        GroupConfig::validate(&both, &settings()).unwrap();
        let of_both = GroupConfig { session_timeout_ms: Some(2000), heartbeat_interval_ms: Some(500) };
        assert_eq!(GroupConfig::of(&both), of_both);
        let shown = |configs: &BTreeMap<String, String>| -> Vec<_> {
            let entries = GroupConfig::describe(configs, &settings());
            entries.into_iter().map(|entry| (entry.name, entry.value.unwrap(), entry.source.wire())).collect()
        };
        let interval = ("consumer.heartbeat.interval.ms", "3000".to_owned(), 5);
        assert_eq!(shown(&own), [interval.clone(), ("consumer.session.timeout.ms", "2000".to_owned(), 8)]);
        assert_eq!(shown(&configs(&[])), [interval, ("consumer.session.timeout.ms", "30000".to_owned(), 5)]);
    }

    #[test]
    fn the_brokers_bounds_hold_for_groups() {
        let refused = |name: &str, value: &str| {
            GroupConfig::validate(&configs(&[(name, value)]), &settings()).unwrap_err().to_string()
        };
        let expected =
            "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms";
        assert_eq!(refused("consumer.session.timeout.ms", "40001"), expected);
        let expected =
            "consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms";
        assert_eq!(refused("consumer.heartbeat.interval.ms", "99"), expected);
    }
}
