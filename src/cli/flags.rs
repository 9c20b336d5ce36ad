//! Flags of `tidegate serve`.

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, ConfigError, Settings};

/// What the command line can set. Values are text here and validated with all other settings, so that a wrong one is
/// reported in the same way wherever it was given.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeFlags {
    /// Settings file in TOML; all its keys are in docs/configuration.md
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address for Kafka clients [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDR", allow_hyphen_values = true)]
    pub listen: Option<String>,
    /// Address that clients are told to connect to [default: the listener's]
    #[arg(long, value_name = "ADDR", allow_hyphen_values = true)]
    pub advertise: Option<String>,
    /// Address of health checks and metrics [default: 127.0.0.1:9644]
    #[arg(long, value_name = "ADDR", allow_hyphen_values = true)]
    pub admin_listen: Option<String>,
    /// Directory of the disk backend [default: ./tidegate-data]
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    pub data_dir: Option<String>,
    /// Backend: memory, disk or filer [default: disk]
    #[arg(long, value_name = "KIND", allow_hyphen_values = true)]
    pub storage: Option<String>,
    /// SeaweedFS filer of the filer backend
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    pub filer_url: Option<String>,
    /// When writes are answered: sync or os [default: sync]
    #[arg(long, value_name = "KIND", allow_hyphen_values = true)]
    pub durability: Option<String>,
    /// What is logged, as RUST_LOG [default: info]
    #[arg(long = "log", value_name = "FILTER", allow_hyphen_values = true)]
    pub log_filter: Option<String>,
}

impl ServeFlags {
    /// The settings of the process: these flags over `env` over the file.
    pub fn settings(&self, env: impl IntoIterator<Item = (String, String)>) -> Result<Settings, ConfigError> {
        config::load(self.config.as_deref(), env, &self.values())
    }

    /// The flags that were given, by setting.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let flags = [
            ("listen", &self.listen),
            ("advertise", &self.advertise),
            ("admin.listen", &self.admin_listen),
            ("data.dir", &self.data_dir),
            ("storage", &self.storage),
            ("filer.url", &self.filer_url),
            ("durability", &self.durability),
            ("log.filter", &self.log_filter),
        ];
        flags.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeFlags,
    }

    #[test]
    fn every_flag_of_the_table_is_one_of_the_command() {
        for definition in config::settings() {
            let Some(flag) = definition.flag else { continue };
            let command = Command::parse_from(["tidegate", flag, "x"]);
            assert_eq!(command.serve.values(), [(definition.name, "x".to_owned())]);
        }
        let flags = Command::command().get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).count();
        assert_eq!(flags, config::settings().filter(|definition| definition.flag.is_some()).count() + 1);
    }

    #[test]
    fn the_help_states_the_defaults() {
        let command = Command::command();
        for definition in config::settings() {
            let (Some(flag), Some(default)) = (definition.flag, definition.default) else { continue };
            let argument = command.get_arguments().find(|arg| arg.get_long() == flag.strip_prefix("--")).unwrap();
            let help = argument.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {default}]")), "{help}");
        }
    }
}
