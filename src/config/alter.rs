//! Incremental changes of configs (KIP-339), as pure functions from configs and operations to configs.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{ConfigType, Definition};

/// One change of one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigOp {
    pub name: String,
    pub kind: ConfigOpKind,
    /// Ignored by DELETE; the others refuse none.
    pub value: Option<String>,
}

/// `AlterConfigOp.OpType`; the wire's numbers are 0 to 3 in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOpKind {
    Set,
    Delete,
    Append,
    Subtract,
}

impl ConfigOpKind {
    /// None for a number that Kafka does not know either.
    pub fn from_wire(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// Why configs are refused; the text is Kafka's error message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicConfigError {
    /// INVALID_CONFIG: the name or the value.
    #[error("{0}")]
    InvalidConfig(String),
    /// INVALID_REQUEST: the shape of the request.
    #[error("{0}")]
    InvalidRequest(String),
}

/// `current` after `ops`; nothing is validated but the operations themselves, as in
/// `ConfigurationControlManager.incrementalAlterConfigResource`. `lookup` finds a config by its name.
pub(super) fn apply_ops(
    current: &BTreeMap<String, String>,
    ops: &[ConfigOp],
    lookup: impl Fn(&str) -> Option<&'static Definition>,
) -> Result<BTreeMap<String, String>, TopicConfigError> {
    refuse_nulls(ops)?;
    refuse_duplicates(ops)?;
    let mut result = current.clone();
    for op in ops {
        let value = op.value.as_deref().unwrap_or_default();
        match op.kind {
            ConfigOpKind::Set => result.insert(op.name.clone(), bounded(value.to_owned())?),
            ConfigOpKind::Delete => result.remove(&op.name),
            ConfigOpKind::Append | ConfigOpKind::Subtract => {
                let definition = lookup(&op.name).filter(|definition| definition.kind == ConfigType::List);
                let definition = definition.ok_or_else(|| not_a_list(op))?;
                let current = result.get(&op.name).map(String::as_str).or(definition.default).unwrap_or_default();
                let list = change_list(current, op.kind, value);
                result.insert(op.name.clone(), bounded(list)?)
            }
        };
    }
    Ok(result)
}

/// `current` with the parts of `change` at its end or taken out. Kafka compares the parts as they are written, with
/// their blanks.
fn change_list(current: &str, kind: ConfigOpKind, change: &str) -> String {
    let mut items: Vec<&str> = current.split(',').filter(|item| !item.is_empty()).collect();
    let mut known: BTreeSet<&str> = items.iter().copied().collect();
    if kind == ConfigOpKind::Append {
        items.extend(change.split(',').filter(|item| !item.is_empty() && known.insert(item)));
    } else {
        let gone: BTreeSet<&str> = change.split(',').collect();
        items.retain(|item| !gone.contains(item));
    }
    items.join(",")
}

fn refuse_nulls(ops: &[ConfigOp]) -> Result<(), TopicConfigError> {
    let is_null = |op: &&ConfigOp| op.kind != ConfigOpKind::Delete && op.value.is_none();
    let names: Vec<&str> = ops.iter().filter(is_null).map(|op| op.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(TopicConfigError::InvalidRequest(format!("Null value not supported for : {}", names.join(", "))))
}

fn refuse_duplicates(ops: &[ConfigOp]) -> Result<(), TopicConfigError> {
    let mut names = BTreeSet::new();
    if ops.iter().all(|op| names.insert(op.name.as_str())) {
        return Ok(());
    }
    Err(TopicConfigError::InvalidRequest("Error due to duplicate config keys".to_owned()))
}

fn not_a_list(op: &ConfigOp) -> TopicConfigError {
    let verb = if op.kind == ConfigOpKind::Append { "APPEND" } else { "SUBTRACT" };
    TopicConfigError::InvalidConfig(format!("Can't {verb} to key {} because its type is not LIST.", op.name))
}

fn bounded(value: String) -> Result<String, TopicConfigError> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(value);
    }
    let reason = format!(
        "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_BYTES_MAX} bytes."
    );
    Err(TopicConfigError::InvalidConfig(reason))
}

/// What a string of the older request versions can hold.
const VALUE_BYTES_MAX: usize = 32_767;
