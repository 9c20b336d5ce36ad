//! File, environment and flags, laid over each other in that order.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{
    definition::{Definition, ENV_PREFIX, Value},
    error::ConfigError,
    file, resolve,
    settings::Settings,
    table,
};

/// The settings of the process: defaults, then the file, then the environment, then `flags`, which name settings
/// (`data.dir`) and not themselves. `file` comes before `TIDEGATE_CONFIG`; with neither there is no file.
/// Variables that do not begin with `TIDEGATE_` are passed over.
pub fn load(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &[(&'static str, String)],
) -> Result<Settings, ConfigError> {
    let env: BTreeMap<String, String> = env.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
    let file = match (file, env.get(ENV_FILE).filter(|path| !path.is_empty())) {
        (Some(path), _) => Some((path.to_owned(), read(path, "--config")?)),
        (None, Some(path)) => Some((PathBuf::from(path), read(Path::new(path), ENV_FILE)?)),
        (None, None) => None,
    };
    let file = file.as_ref().map(|(path, text)| (path.to_string_lossy(), text.as_str()));
    parse(file.as_ref().map(|(path, text)| (path.as_ref(), *text)), env, flags)
}

/// As [`load`], without reading anything: `file` is its path, for messages, and its text.
pub fn parse(
    file: Option<(&str, &str)>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &[(&'static str, String)],
) -> Result<Settings, ConfigError> {
    let mut layers = Layers::default();
    if let Some((path, text)) = file {
        layers.lay_file(path, text)?;
    }
    layers.lay_env(env)?;
    layers.lay_flags(flags)?;
    resolve::settings(&layers)
}

/// The process's environment, as far as it is for [`load`].
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(ENV_PREFIX))?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}

/// Every setting that was given, from the source of highest precedence; validated one by one.
#[derive(Debug, Default)]
pub(super) struct Layers {
    given: BTreeMap<&'static str, Given>,
}

#[derive(Debug)]
struct Given {
    raw: String,
    value: Value,
    /// `file:line`, the variable or the flag.
    origin: String,
}

impl Layers {
    /// The value of a setting; none when it was not given and has no default.
    pub fn value(&self, name: &str) -> Option<Value> {
        match self.given.get(name) {
            Some(given) => Some(given.value.clone()),
            None => table::setting(name).and_then(Definition::default_value),
        }
    }

    /// Where a setting was given.
    pub fn origin(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(|given| given.origin.as_str())
    }

    /// What was given, as it was written.
    pub fn raw(&self) -> BTreeMap<&'static str, String> {
        self.given.iter().map(|(name, given)| (*name, given.raw.clone())).collect()
    }

    fn lay_file(&mut self, path: &str, text: &str) -> Result<(), ConfigError> {
        for entry in file::entries(path, text)? {
            let Some(definition) = table::setting(&entry.name) else {
                let nearest = nearest(&entry.name).map(|definition| definition.name.to_owned());
                return Err(ConfigError::unknown(&entry.origin, "setting", &entry.name, nearest));
            };
            // `"num.partitions"` and `num.partitions` are one setting to us, though two keys to TOML.
            if let Some(first) = self.given.get(definition.name) {
                let reason = format!("{} is already set at {}", definition.name, first.origin);
                return Err(ConfigError::conflict(&entry.origin, &reason));
            }
            self.lay(definition, entry.value, entry.origin)?;
        }
        Ok(())
    }

    fn lay_env(&mut self, env: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
        let by_name: BTreeMap<String, &'static Definition> =
            table::settings().map(|definition| (definition.env_name(), definition)).collect();
        for (name, value) in env {
            if !name.starts_with(ENV_PREFIX) || name == ENV_FILE {
                continue;
            }
            match by_name.get(&name) {
                Some(definition) => self.lay(definition, value, name)?,
                None if is_service_link(&name, &value) => {}
                None => {
                    let key = name.trim_start_matches(ENV_PREFIX).to_ascii_lowercase().replace('_', ".");
                    let nearest = nearest(&key).map(Definition::env_name);
                    return Err(ConfigError::unknown("environment", "variable", &name, nearest));
                }
            }
        }
        Ok(())
    }

    fn lay_flags(&mut self, flags: &[(&'static str, String)]) -> Result<(), ConfigError> {
        for (name, value) in flags {
            let Some(definition) = table::setting(name) else {
                return Err(ConfigError::unknown("command line", "setting", name, None));
            };
            let origin = definition.flag.unwrap_or(definition.name).to_owned();
            self.lay(definition, value.clone(), origin)?;
        }
        Ok(())
    }

    fn lay(&mut self, definition: &'static Definition, raw: String, origin: String) -> Result<(), ConfigError> {
        // Empty is how a compose file or a unit says that an optional setting is not set.
        if raw.is_empty() && definition.default.is_none() {
            self.given.remove(definition.name);
            return Ok(());
        }
        let value = definition.parse(&raw).map_err(|_| ConfigError::invalid(&origin, definition, &raw))?;
        self.given.insert(definition.name, Given { raw, value, origin });
        Ok(())
    }
}

fn read(path: &Path, source: &str) -> Result<String, ConfigError> {
    let failed = |reason: &str| {
        let reason = format!("cannot read {}: {reason}", path.display());
        ConfigError::file(source, &reason)
    };
    let file = File::open(path).map_err(|error| failed(&error.to_string()))?;
    let mut text = String::new();
    match file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
        Ok(bytes) if u64::try_from(bytes).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX) => Ok(text),
        Ok(_) => Err(failed("larger than 1 MiB")),
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// The setting that was probably meant.
fn nearest(key: &str) -> Option<&'static Definition> {
    let key: String = key.chars().take(KEY_CHARS_MAX).collect::<String>().to_ascii_lowercase();
    if let Some((_, name)) = OTHER_NAMES.iter().find(|(other, _)| *other == key) {
        return table::setting(name);
    }
    let score = |definition: &&Definition| strsim::normalized_damerau_levenshtein(&key, definition.name);
    table::settings().max_by(|a, b| score(a).total_cmp(&score(b)))
}

/// Kubernetes describes each service to each pod in variables that begin with the service's name: in the neighbourhood
/// of a service called `tidegate` they look like ours.
fn is_service_link(name: &str, value: &str) -> bool {
    let after_port = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT") && value.contains("://")
        || name.split_once("_PORT_").is_some_and(after_port)
}

/// The variable that stands in for `--config`.
pub const ENV_FILE: &str = "TIDEGATE_CONFIG";
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Comparing costs the product of the lengths.
const KEY_CHARS_MAX: usize = 100;
/// Names that people bring along, too far from ours to be found by likeness.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("listeners", "listen"),
    ("advertised.listeners", "advertise"),
    ("log.dir", "data.dir"),
    ("log.dirs", "data.dir"),
    ("broker.id", "node.id"),
    ("log", "log.filter"),
    ("admin", "admin.listen"),
];
