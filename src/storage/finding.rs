//! What an offline check of a data directory finds.

use std::{borrow::Cow, fmt};

/// One place that is not as an orderly stop leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// Relative to the data directory.
    pub file: String,
    /// The byte at which it begins, where that can be told.
    pub at: Option<u64>,
    /// What is wrong, with the record offsets that it concerns.
    pub what: Cow<'static, str>,
    /// What a gateway does about it.
    pub outcome: Cow<'static, str>,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// A crash leaves such things; nothing that was acknowledged is missing.
    Note,
    /// Bytes that were durable are wrong or missing.
    Damage,
}

impl Finding {
    pub fn note(
        file: impl Into<String>,
        at: Option<u64>,
        what: impl Into<Cow<'static, str>>,
        outcome: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { severity: Severity::Note, file: file.into(), at, what: what.into(), outcome: outcome.into() }
    }

    pub fn damage(
        file: impl Into<String>,
        at: Option<u64>,
        what: impl Into<Cow<'static, str>>,
        outcome: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { severity: Severity::Damage, ..Self::note(file, at, what, outcome) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Damage => "damage",
        };
        write!(f, "{severity}: {}", self.file)?;
        if let Some(at) = self.at {
            write!(f, " at byte {at}")?;
        }
        write!(f, ": {}; {}", self.what, self.outcome)
    }
}
