//! What can go wrong with a filer.

use super::tls;
use crate::storage::StorageError;

/// Why the filer did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilerError {
    /// The client cannot be made of the settings.
    #[error("{0}")]
    Setup(String),
    /// No answer, or not a whole one: whether it was done is unknown.
    #[error("no answer from the filer: {0}")]
    Unreachable(String),
    /// It says that it cannot at the moment.
    #[error("the filer fails: {0}")]
    Failing(String),
    /// Nothing can be stored until there is room.
    #[error("no room on the filer's volumes: {0}")]
    Full(String),
    /// It says no: a token is missing or wrong, or the path is not for us.
    #[error("the filer refuses: {0}")]
    Refused(String),
    /// What was to be created is there.
    #[error("{0} exists")]
    Exists(String),
    /// What it answers means nothing.
    #[error("{0}")]
    Corrupt(String),
    /// Not asked, because it failed so often lately.
    #[error("the filer is given a rest: {0}")]
    Resting(String),
}

impl FilerError {
    pub(super) fn from_status(status: u16, message: String) -> Self {
        // SeaweedFS says 500 for a full volume too, and the reason in words.
        let is_full = ["no free volumes", "no writable volumes", "No free volumes", "no space left"];
        match status {
            507 => Self::Full(message),
            500.. if is_full.iter().any(|words| message.contains(words)) => Self::Full(message),
            // 499: the filer did not get the whole body.
            408 | 425 | 429 | 499.. => Self::Failing(message),
            _ => Self::Refused(message),
        }
    }

    /// Whether the same may work in a moment.
    pub(super) fn is_worth_another_attempt(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Failing(_) | Self::Full(_) | Self::Resting(_) => true,
            Self::Setup(_) | Self::Refused(_) | Self::Exists(_) | Self::Corrupt(_) => false,
        }
    }
}

/// With its causes, which the line of the outermost mostly leaves out, and with what can be done about it.
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    match tls::hint(error) {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}

impl From<FilerError> for StorageError {
    fn from(error: FilerError) -> Self {
        match error {
            FilerError::Full(_) => Self::Full(error.to_string()),
            FilerError::Corrupt(_) => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
