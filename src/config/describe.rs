//! What DescribeConfigs answers, before it becomes a response.

use std::collections::BTreeMap;

use super::{
    definition::{ConfigType, Definition},
    table,
};

/// One config of a topic, broker or group (`org.apache.kafka.clients.admin.ConfigEntry`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: &'static str,
    /// None when it is not set, or sensitive.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_sensitive: bool,
    /// Cannot change at run time.
    pub read_only: bool,
    pub config_type: ConfigType,
    pub documentation: &'static str,
    /// Where the value came from and what it would be otherwise, in order of precedence (v1 and later).
    pub synonyms: Vec<ConfigSynonym>,
}

/// One place that a value may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: &'static str,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// Who set a value, numbered as on the wire (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicGroup = 8,
}

impl ConfigSource {
    pub fn wire(self) -> i8 {
        self as i8
    }
}

/// Broker configs that were changed at run time; what the catalogue stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicConfigs {
    /// Of this broker: `--entity-name 1`.
    pub broker: BTreeMap<String, String>,
    /// Of all brokers: `--entity-default`.
    pub cluster: BTreeMap<String, String>,
}

/// The places that set broker setting `definition` or one that stands in for it, first wins.
///
/// Kafka drops what precedes the setting's own first mention (`ConfigHelper.configSynonyms`), so that
/// `log.retention.ms` shows no synonyms while only `log.retention.hours` is set.
pub(super) fn synonyms_of(
    definition: &'static Definition,
    dynamic: &DynamicConfigs,
    fixed: &BTreeMap<&'static str, String>,
) -> Vec<ConfigSynonym> {
    let names = || std::iter::once(definition.name).chain(definition.synonyms.iter().copied());
    let mut found = Vec::new();
    let mut add = |name, value: Option<String>, source| {
        if let Some(value) = value {
            found.push(ConfigSynonym { name, value: Some(value), source });
        }
    };
    for name in names() {
        add(name, dynamic.broker.get(name).map(|raw| canonical(name, raw)), ConfigSource::DynamicBroker);
    }
    for name in names() {
        add(name, dynamic.cluster.get(name).map(|raw| canonical(name, raw)), ConfigSource::DynamicDefaultBroker);
    }
    for name in names() {
        add(name, fixed.get(name).map(|raw| canonical(name, raw)), ConfigSource::StaticBroker);
    }
    for name in names() {
        let default = table::setting(name).and_then(Definition::default_value);
        add(name, default.map(|value| value.to_string()), ConfigSource::Default);
    }
    found.into_iter().skip_while(|synonym| synonym.name != definition.name).collect()
}

/// `raw` as Kafka prints it, without blanks; unchanged when it no longer parses.
fn canonical(name: &str, raw: &str) -> String {
    let value = table::setting(name).and_then(|definition| definition.parse(raw).ok());
    value.map_or_else(|| raw.to_owned(), |value| value.to_string())
}
