//! File, environment and flags → validated [`Settings`]; configs of topics and of the broker as Kafka's clients see
//! them.
//!
//! Two tables say everything: [`SECTIONS`] the settings of the process, [`topic::TOPIC_CONFIGS`] the configs of topics.

mod address;
mod alter;
mod broker;
mod definition;
mod describe;
pub mod docs;
mod error;
mod file;
mod filer;
mod group;
mod load;
mod network;
mod resolve;
mod settings;
mod table;
pub mod topic;

pub use address::{HostPort, NotAHostPort};
pub use alter::{ConfigOp, ConfigOpKind, TopicConfigError};
pub use broker::{BrokerConfigs, BrokerScope};
pub use definition::{Check, ConfigType, Definition, ENV_PREFIX, Invalid, Value};
pub use describe::{ConfigEntry, ConfigSource, ConfigSynonym, DynamicConfigs};
pub use error::ConfigError;
pub use filer::{FilerSettings, is_https};
pub use group::GroupConfig;
pub use load::{ENV_FILE, environment, load, parse};
pub use settings::*;
pub use table::{SECTIONS, Section, setting, settings};
pub use topic::{CleanupPolicy, CompressionType, TimestampType, TopicConfig, TopicDefaults};
