//! Configs of topics, of groups and of the broker: what DescribeConfigs shows, what the alter requests change.

use std::{collections::BTreeMap, sync::Arc};

use tracing::info;

use crate::{
    catalog::{CatalogError, Topic, TopicConfigs},
    config::{
        BrokerScope, ConfigEntry, ConfigOp, ConfigOpKind, DynamicConfigs, GroupConfig, TopicConfig, TopicConfigError,
        topic,
    },
    model::GroupId,
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

    /// Every config of a group, which need not exist.
    pub fn describe_group_configs(&self, group: &str) -> Vec<ConfigEntry> {
        GroupConfig::describe(&self.catalog.group_configs(group), &self.settings.groups.consumer)
    }

    /// Groups that have configs of their own.
    pub fn configured_groups(&self) -> Vec<GroupId> {
        self.catalog.configured_groups().into_iter().map(|(group, _)| group).collect()
    }

    /// Changes a group's configs; its members learn of them with their next heartbeats.
    pub async fn alter_group_configs(
        &self,
        group: &str,
        change: ConfigChange,
        validate_only: bool,
    ) -> Result<(), AlterConfigsError> {
        let settings = &self.settings.groups.consumer;
        let changed = |current: &TopicConfigs| -> Result<TopicConfigs, AlterConfigsError> {
            match change {
                ConfigChange::Ops(ops) => Ok(GroupConfig::apply(current, &ops, settings)?),
                ConfigChange::Replace(configs) => {
                    GroupConfig::validate(&configs, settings)?;
                    Ok(configs)
                }
            }
        };
        if validate_only {
            return changed(&self.catalog.group_configs(group)).map(drop);
        }
        let group = GroupId::from(group);
        // The coordinator hears of changes in the order in which they are made.
        let _turn = self.group_configs.lock().await;
        let configs = self.catalog.change_group_configs(&group, changed).await?;
        self.coordinator.configure(Arc::clone(&group), GroupConfig::of(&configs));
        info!(%group, ?configs, "group configs changed");
        Ok(())
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
