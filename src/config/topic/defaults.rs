//! What topics use where they have no config of their own: the broker's settings, and Kafka's defaults below them.

use std::collections::BTreeMap;

use super::{TOPIC_CONFIGS, TopicConfig};
use crate::config::{
    definition::{Definition, Value},
    describe::{ConfigEntry, ConfigSource, ConfigSynonym, DynamicConfigs, synonyms_of},
    table,
};

/// The defaults of all topics, typed for logs and as entries for DescribeConfigs.
#[derive(Clone, Debug)]
pub struct TopicDefaults {
    config: TopicConfig,
    entries: Vec<ConfigEntry>,
}

impl TopicDefaults {
    /// `fixed`: the settings that the process was started with. Both were validated.
    pub(in crate::config) fn of(fixed: &BTreeMap<&'static str, String>, dynamic: &DynamicConfigs) -> Self {
        let mut config = TopicConfig::default();
        let mut entries = Vec::with_capacity(TOPIC_CONFIGS.len());
        for definition in TOPIC_CONFIGS.iter().filter(|definition| !definition.internal) {
            let setting = definition.synonyms.first().and_then(|name| table::setting(name));
            let value = setting
                .and_then(|setting| broker_value(setting, fixed, dynamic))
                .or_else(|| definition.default_value());
            if let Some(value) = &value {
                config.set(definition.name, value);
            }
            let synonyms = setting.map(|setting| synonyms_of(setting, dynamic, fixed)).unwrap_or_default();
            entries.push(entry(definition, value, synonyms));
        }
        Self { config, entries }
    }

    /// What a topic without configs of its own has.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    pub(super) fn entries(&self) -> &[ConfigEntry] {
        &self.entries
    }
}

/// Kafka's defaults, before any broker setting.
impl Default for TopicDefaults {
    fn default() -> Self {
        Self::of(&BTreeMap::new(), &DynamicConfigs::default())
    }
}

fn entry(definition: &'static Definition, value: Option<Value>, synonyms: Vec<ConfigSynonym>) -> ConfigEntry {
    ConfigEntry {
        name: definition.name,
        value: value.map(|value| value.to_string()),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        is_sensitive: false,
        read_only: false,
        config_type: definition.kind,
        documentation: definition.doc,
        synonyms,
    }
}

/// The effective value of a broker setting in the unit of its topic config: `log.retention.hours` in milliseconds.
fn broker_value(
    setting: &'static Definition,
    fixed: &BTreeMap<&'static str, String>,
    dynamic: &DynamicConfigs,
) -> Option<Value> {
    let names = std::iter::once(setting.name).chain(setting.synonyms.iter().copied());
    names.filter_map(table::setting).find_map(|definition| {
        let name = definition.name;
        let raw = dynamic.broker.get(name).or_else(|| dynamic.cluster.get(name)).or_else(|| fixed.get(name));
        let value = match raw {
            Some(raw) => definition.parse(raw).ok(),
            None => definition.default_value(),
        };
        value.map(|value| in_ms(name, value))
    })
}

fn in_ms(name: &str, value: Value) -> Value {
    let unit_ms = if name.ends_with(".hours") {
        3_600_000
    } else if name.ends_with(".minutes") {
        60_000
    } else {
        1
    };
    match value {
        // -1 is no limit in any unit.
        Value::Integer(number) if number >= 0 => Value::Integer(number.saturating_mul(unit_ms)),
        value => value,
    }
}
