//! What is wrong with a configuration, as a technician reads it.

use std::fmt;

use super::check::Finding;
use super::excerpt::Excerpt;

/// Everything that is wrong with a configuration, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key with its section, such as `janus.media_ports`; empty when the text is not TOML.
    pub key: String,
    /// What is wrong, what is allowed, and what to do.
    pub problem: Problem,
    excerpt: Option<Excerpt>,
}

/// What is wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// The text is longer than any configuration.
    #[error("the file has {bytes} bytes; allowed: {allowed}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// The most it may have.
        allowed: usize,
    },
    /// There is no such key.
    #[error("unknown key; {}", suggest(.suggestion.as_deref(), .known))]
    UnknownKey {
        /// The known key that is most like it.
        suggestion: Option<String>,
        /// All keys that are allowed in this place.
        known: Vec<String>,
    },
    /// A push sets what only the site file may set.
    #[error("only the kiosk's own kiosk.toml sets this; take it out of what is pushed")]
    SiteOnly,
    /// A push sets a value that only the site file may set.
    #[error("only the kiosk's own kiosk.toml sets this to {0:?}; push another value")]
    SiteOnlyValue(String),
    /// A key without a default is not there.
    #[error("missing; allowed: {allowed}; write `{example}`")]
    Missing {
        /// What it may be.
        allowed: String,
        /// A line for the file.
        example: String,
    },
    /// A value is not one that the key can have.
    #[error("found {found}; allowed: {allowed}")]
    NotAllowed {
        /// The value; without its text where that may be a secret.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// Values that are each allowed don't go together.
    #[error("{0}")]
    Rule(String),
}

fn suggest(suggestion: Option<&str>, known: &[String]) -> String {
    match suggestion {
        Some(key) => format!("did you mean {key}?"),
        None => format!("allowed here: {}", known.join(", ")),
    }
}

impl ConfigErrors {
    pub(super) fn from_findings(text: &str, findings: Vec<Finding>) -> Self {
        let mut errors: Vec<ConfigError> = findings
            .into_iter()
            .map(|Finding { key, span, problem }| {
                let (line, column, excerpt) = Excerpt::at(text, span);
                ConfigError { line, column, key, problem, excerpt }
            })
            .collect();
        errors.sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
        Self { file: "kiosk.toml".into(), errors }
    }

    /// Names the file that the text came from; without it, messages say `kiosk.toml`.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = file.into();
        self
    }

    /// The errors, in the order of the lines; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}:{}: ", self.file, error.line, error.column)?;
            if !error.key.is_empty() {
                write!(f, "{}: ", error.key)?;
            }
            write!(f, "{}", error.problem)?;
            if let Some(excerpt) = &error.excerpt {
                write!(f, "\n{excerpt}")?;
            }
        }
        Ok(())
    }
}
