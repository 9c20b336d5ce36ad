//! Configs of topics and of the broker: what DescribeConfigs shows, what the alter requests change.

use std::collections::BTreeMap;

use tracing::info;

use crate::{
    catalog::{CatalogError, Topic, TopicConfigs},
    config::{BrokerScope, ConfigEntry, ConfigOp, ConfigOpKind, DynamicConfigs, TopicConfig, TopicConfigError, topic},
};

use super::Broker;

/// Why configs were not changed.
#[derive(Debug, thiserror::Error)]
pub enum AlterConfigsError {
    #[error(transparent)]
    Config(#[from] TopicConfigError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// How an alter request states its wish.
pub enum ConfigChange {
    /// IncrementalAlterConfigs: operations on single configs.
    Ops(Vec<ConfigOp>),
    /// AlterConfigs: everything that shall be set.
    Replace(BTreeMap<String, String>),
}

impl Broker {
    /// Every config of a topic, with where it comes from.
    pub fn describe_topic_configs(&self, topic: &Topic) -> Vec<ConfigEntry> {
        topic::describe(&topic.configs, &self.logs.defaults())
    }

    /// Every config of the broker; with [`BrokerScope::Cluster`] what was set for all brokers.
    pub fn describe_broker_configs(&self, scope: BrokerScope) -> Vec<ConfigEntry> {
        self.settings.broker_configs.describe(scope, &self.catalog.dynamic_configs())
    }

    /// Changes a topic's configs; with `validate_only` just says whether that could be done.
    pub async fn alter_topic_configs(
        &self,
        name: &str,
        change: ConfigChange,
        validate_only: bool,
    ) -> Result<(), AlterConfigsError> {
        let defaults = self.logs.defaults();
        let changed = |current: &TopicConfigs| -> Result<TopicConfigs, AlterConfigsError> {
            match change {
                ConfigChange::Ops(ops) => Ok(topic::apply(current, &ops, &defaults)?),
                ConfigChange::Replace(configs) => {
                    TopicConfig::resolve(&configs, &defaults)?;
                    Ok(configs)
                }
            }
        };
        if validate_only {
            let topic = self.topics().topic(name).cloned().ok_or(CatalogError::UnknownTopic)?;
            return changed(&topic.configs).map(drop);
        }
        let topic = self.catalog.change_configs(name, changed).await?;
        self.logs.update_config(topic.id, &self.catalog);
        info!(topic = %topic.name, configs = ?topic.configs, "topic configs changed");
        Ok(())
    }

    /// Changes broker configs that may change at run time.
    pub async fn alter_broker_configs(
        &self,
        scope: BrokerScope,
        change: ConfigChange,
        validate_only: bool,
    ) -> Result<(), AlterConfigsError> {
        let fixed = &self.settings.broker_configs;
        let changed = |current: &DynamicConfigs| -> Result<DynamicConfigs, AlterConfigsError> {
            let ops = match change {
                ConfigChange::Ops(ops) => ops,
                ConfigChange::Replace(configs) => replacement(current, scope, configs),
            };
            Ok(fixed.alter(scope, current, &ops)?)
        };
        if validate_only {
            return changed(&self.catalog.dynamic_configs()).map(drop);
        }
        let dynamic = self.catalog.change_dynamic_configs(changed).await?;
        self.logs.update_defaults(fixed, &self.catalog);
        info!(?scope, broker = ?dynamic.broker, cluster = ?dynamic.cluster, "broker configs changed");
        Ok(())
    }
}

/// The operations that turn one set of dynamic configs into `wanted`.
fn replacement(current: &DynamicConfigs, scope: BrokerScope, wanted: BTreeMap<String, String>) -> Vec<ConfigOp> {
    let present = match scope {
        BrokerScope::Broker => &current.broker,
        BrokerScope::Cluster => &current.cluster,
    };
    let dropped = present.keys().filter(|name| !wanted.contains_key(*name)).map(|name| ConfigOp {
        name: name.clone(),
        kind: ConfigOpKind::Delete,
        value: None,
    });
    let mut ops: Vec<_> = dropped.collect();
    ops.extend(wanted.into_iter().map(|(name, value)| ConfigOp { name, kind: ConfigOpKind::Set, value: Some(value) }));
    ops
}
