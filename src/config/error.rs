//! Why settings are refused. Every message is one line; the caller prints it and exits with code 2.

use super::definition::Definition;

/// The first thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The settings file cannot be read, or is not TOML.
    #[error("{0}")]
    File(String),
    /// A key, or an environment variable, that means nothing.
    #[error("{0}")]
    Unknown(String),
    /// A value of the wrong type or out of its bounds.
    #[error("{0}")]
    Invalid(String),
    /// Settings that do not go together.
    #[error("{0}")]
    Conflict(String),
}

impl ConfigError {
    pub(super) fn file(origin: &str, reason: &str) -> Self {
        Self::File(format!("{}: {}", one_line(origin), one_line(reason)))
    }

    /// `nearest`: what was probably meant, in the spelling of the same source.
    pub(super) fn unknown(origin: &str, kind: &str, key: &str, nearest: Option<String>) -> Self {
        let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        Self::Unknown(format!("{}: unknown {kind} {}{hint}", one_line(origin), one_line(key)))
    }

    pub(super) fn invalid(origin: &str, definition: &Definition, value: &str) -> Self {
        let (value, allowed) = (one_line(value), definition.allowed());
        Self::Invalid(format!(
            "{}: invalid value \"{value}\" for {}: expected {allowed}",
            one_line(origin),
            definition.name
        ))
    }

    pub(super) fn conflict(origin: &str, reason: &str) -> Self {
        Self::Conflict(format!("{}: {}", one_line(origin), one_line(reason)))
    }
}

/// `text` without what would break the line, and not too much of it.
pub(super) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}

const TEXT_CHARS_MAX: usize = 200;
