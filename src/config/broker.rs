//! The broker as DescribeConfigs shows it, and what of it can change at run time.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    address::HostPort,
    alter::{ConfigOp, TopicConfigError, apply_ops},
    definition::{Check, ConfigType, Definition},
    describe::{ConfigEntry, ConfigSource, ConfigSynonym, DynamicConfigs, synonyms_of},
    table,
    topic::{TopicConfig, TopicDefaults},
};

/// Which of the two sets of dynamic broker configs is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerScope {
    /// `--entity-name 1`: the resource names this broker.
    Broker,
    /// `--entity-default`: the resource has an empty name.
    Cluster,
}

/// The settings that the process was started with, as text.
#[derive(Clone, Debug, Default)]
pub struct BrokerConfigs {
    /// What the file, the environment and the command line set, by setting.
    fixed: BTreeMap<&'static str, String>,
    /// What Kafka's tools look for under names that are not ours.
    derived: BTreeMap<&'static str, String>,
}

impl BrokerConfigs {
    /// `fixed` holds validated settings only.
    pub(super) fn new(fixed: BTreeMap<&'static str, String>) -> Self {
        Self { fixed, derived: BTreeMap::new() }
    }

    /// States what is known only once the listener is bound, or under another name.
    pub fn set_derived(&mut self, node_id: i32, listen: SocketAddr, advertised: &HostPort, log_dirs: &str) {
        self.derived.insert("broker.id", node_id.to_string());
        self.derived.insert("listeners", format!("PLAINTEXT://{listen}"));
        self.derived.insert("advertised.listeners", format!("PLAINTEXT://{advertised}"));
        self.derived.insert("log.dirs", log_dirs.to_owned());
    }

    /// What topics use where they have no config of their own.
    pub fn topic_defaults(&self, dynamic: &DynamicConfigs) -> TopicDefaults {
        TopicDefaults::of(&self.fixed, dynamic)
    }

    /// What DescribeConfigs answers for a broker resource. With [`BrokerScope::Cluster`] that is what was set for all
    /// brokers, as in Kafka.
    pub fn describe(&self, scope: BrokerScope, dynamic: &DynamicConfigs) -> Vec<ConfigEntry> {
        let mut entries: Vec<ConfigEntry> =
            table::settings().filter_map(|definition| self.entry(definition, scope, dynamic)).collect();
        if scope == BrokerScope::Broker {
            entries.extend(DERIVED.iter().map(|definition| self.derived_entry(definition)));
        }
        entries.sort_unstable_by_key(|entry| entry.name);
        entries
    }

    /// The dynamic configs after `ops` on one of their sets; all validated.
    pub fn alter(
        &self,
        scope: BrokerScope,
        dynamic: &DynamicConfigs,
        ops: &[ConfigOp],
    ) -> Result<DynamicConfigs, TopicConfigError> {
        let mut result = dynamic.clone();
        let set = match scope {
            BrokerScope::Broker => &mut result.broker,
            BrokerScope::Cluster => &mut result.cluster,
        };
        *set = apply_ops(set, ops, table::setting)?;
        validate_dynamic(set)?;
        TopicConfig::resolve(&BTreeMap::new(), &self.topic_defaults(&result))?;
        Ok(result)
    }

    fn entry(
        &self,
        definition: &'static Definition,
        scope: BrokerScope,
        dynamic: &DynamicConfigs,
    ) -> Option<ConfigEntry> {
        let mut synonyms = synonyms_of(definition, dynamic, &self.fixed);
        if scope == BrokerScope::Cluster {
            synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
            if synonyms.is_empty() {
                return None;
            }
        }
        let own = synonyms.first();
        Some(entry(definition, own.and_then(|own| own.value.clone()), own.map(|own| own.source), synonyms))
    }

    fn derived_entry(&self, definition: &'static Definition) -> ConfigEntry {
        let found = self.derived.get(definition.name).cloned();
        let source = if found.is_some() { ConfigSource::StaticBroker } else { ConfigSource::Default };
        let value = found.or_else(|| definition.default.map(str::to_owned));
        let synonyms = match &value {
            Some(value) => vec![ConfigSynonym { name: definition.name, value: Some(value.clone()), source }],
            None => Vec::new(),
        };
        entry(definition, value, Some(source), synonyms)
    }
}

fn entry(
    definition: &'static Definition,
    value: Option<String>,
    source: Option<ConfigSource>,
    synonyms: Vec<ConfigSynonym>,
) -> ConfigEntry {
    ConfigEntry {
        name: definition.name,
        value,
        source: source.unwrap_or(ConfigSource::Default),
        is_sensitive: false,
        read_only: !definition.dynamic,
        config_type: definition.kind,
        documentation: definition.doc,
        synonyms,
    }
}

/// Kafka stores names that it does not know and shows them as sensitive; a misspelt name is refused here instead.
fn validate_dynamic(configs: &BTreeMap<String, String>) -> Result<(), TopicConfigError> {
    let mut fixed = Vec::new();
    for name in configs.keys() {
        match table::setting(name) {
            None => {
                return Err(TopicConfigError::InvalidConfig(format!("Unknown broker config name: {name}")));
            }
            Some(definition) if !definition.dynamic => fixed.push(name.as_str()),
            Some(_) => {}
        }
    }
    if !fixed.is_empty() {
        let names = fixed.join(", ");
        return Err(TopicConfigError::InvalidRequest(format!("Cannot update these configs dynamically: Set({names})")));
    }
    for (name, raw) in configs {
        let Some(definition) = table::setting(name) else { continue };
        definition.parse(raw).map_err(|invalid| {
            let message = format!("Invalid value {} for configuration {name}: {}", invalid.value, invalid.reason);
            TopicConfigError::InvalidRequest(message)
        })?;
    }
    Ok(())
}

static DERIVED: &[Definition] = &[
    Definition::unset("broker.id", ConfigType::Int, "1", Check::Any, "Id of this broker; node.id sets it."),
    Definition::unset("listeners", ConfigType::String, "", Check::Any, "Where this broker listens; listen sets it."),
    Definition::unset(
        "advertised.listeners",
        ConfigType::String,
        "",
        Check::Any,
        "What clients are told to connect to; advertise sets it.",
    ),
    Definition::unset("log.dirs", ConfigType::String, "", Check::Any, "Where records are kept; data.dir sets it."),
    Definition::new("default.replication.factor", ConfigType::Int, "1", Check::Any, "There is one replica."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigOpKind;

    #[test]
    fn a_dynamic_config_comes_before_the_static_one_and_the_cluster_wide_one() {
        let configs = BrokerConfigs::new(BTreeMap::from([("message.max.bytes", "7".to_owned())]));
        let dynamic = configs.alter(BrokerScope::Cluster, &DynamicConfigs::default(), &[set("message.max.bytes", "8")]);
        let dynamic = configs.alter(BrokerScope::Broker, &dynamic.unwrap(), &[set("message.max.bytes", "9")]).unwrap();
        let entry = find(configs.describe(BrokerScope::Broker, &dynamic), "message.max.bytes").unwrap();
        assert_eq!((entry.value.as_deref(), entry.source), (Some("9"), ConfigSource::DynamicBroker));
        assert!(!entry.read_only);
        let chain: Vec<_> = entry.synonyms.iter().map(|s| (s.value.as_deref().unwrap(), s.source.wire())).collect();
        assert_eq!(chain, [("9", 2), ("8", 3), ("7", 4), ("1048588", 5)]);
        assert_eq!(configs.topic_defaults(&dynamic).config().max_message_bytes, 9);
        let cluster = configs.describe(BrokerScope::Cluster, &dynamic);
        assert_eq!(cluster.len(), 1);
        assert_eq!(cluster[0].value.as_deref(), Some("8"));
    }

    #[test]
    fn what_cannot_change_at_run_time_is_read_only_and_refused() {
        let configs = BrokerConfigs::default();
        let error = |name: &str, value: &str| {
            configs.alter(BrokerScope::Broker, &DynamicConfigs::default(), &[set(name, value)]).unwrap_err()
        };
        assert_eq!(
            error("num.partitions", "3"),
            TopicConfigError::InvalidRequest("Cannot update these configs dynamically: Set(num.partitions)".to_owned())
        );
        assert_eq!(
            error("log.segment.bytes", "10").to_string(),
            "Invalid value 10 for configuration log.segment.bytes: Value must be at least 1048576"
        );
        assert_eq!(error("nope", "1").to_string(), "Unknown broker config name: nope");
        assert!(matches!(error("log.cleaner.max.compaction.lag.ms", "0"), TopicConfigError::InvalidRequest(_)));
        let entries = configs.describe(BrokerScope::Broker, &DynamicConfigs::default());
        assert!(find(entries, "num.partitions").unwrap().read_only);
    }

    #[test]
    fn addresses_are_described_under_kafkas_names() {
        let mut configs = BrokerConfigs::default();
        let advertised = HostPort { host: "::1".to_owned(), port: 9092 };
        configs.set_derived(3, "127.0.0.1:9092".parse().unwrap(), &advertised, "/data");
        let entries = configs.describe(BrokerScope::Broker, &DynamicConfigs::default());
        let value = |name: &str| find(entries.clone(), name).unwrap().value.unwrap();
        assert_eq!(value("advertised.listeners"), "PLAINTEXT://[::1]:9092");
        assert_eq!(value("listeners"), "PLAINTEXT://127.0.0.1:9092");
        assert_eq!((value("log.dirs"), value("broker.id")), ("/data".to_owned(), "3".to_owned()));
        assert_eq!(value("default.replication.factor"), "1");
        assert!(entries.is_sorted_by_key(|entry| entry.name));
    }

    #[test]
    fn retention_falls_back_from_milliseconds_to_minutes_to_hours() {
        let retention = |fixed: &[(&'static str, &str)]| {
            let fixed = fixed.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            BrokerConfigs::new(fixed).topic_defaults(&DynamicConfigs::default()).config().retention_ms
        };
        assert_eq!(retention(&[]), Some(604_800_000));
        assert_eq!(retention(&[("log.retention.hours", "1")]), Some(3_600_000));
        assert_eq!(retention(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")]), Some(120_000));
        assert_eq!(retention(&[("log.retention.ms", "5"), ("log.retention.minutes", "2")]), Some(5));
        assert_eq!(retention(&[("log.retention.hours", "-1")]), None);
    }

    fn set(name: &str, value: &str) -> ConfigOp {
        ConfigOp { name: name.to_owned(), kind: ConfigOpKind::Set, value: Some(value.to_owned()) }
    }

    fn find(entries: Vec<ConfigEntry>, name: &str) -> Option<ConfigEntry> {
        entries.into_iter().find(|entry| entry.name == name)
    }
}
