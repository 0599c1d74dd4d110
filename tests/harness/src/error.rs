//! What can go wrong while a test's world is built or used; every message carries what is needed to see why.

use std::{io, process::ExitStatus, time::Duration};

/// Result of everything in the harness.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A step of the harness that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program that was to run to its end failed.
    #[error("{what} failed ({status}):\n{output}")]
    Command {
        /// Program and arguments.
        what: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// A program that was to keep running ended.
    #[error("{name} ended by itself ({status}); its last lines:\n{log}")]
    Ended {
        /// Which program.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// Something did not come in time.
    #[error("waited {after:?} for {what}\n{log}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What is known about the reason, such as the end of a log.
        log: String,
    },
    /// D-Bus.
    #[error("D-Bus: {0}")]
    Bus(#[from] zbus::Error),
    /// A message of the daemon, the agent or a tool could not be understood.
    #[error("{what}: {source}")]
    Json {
        /// Whose message.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Anything else that makes the test's result worthless.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Names the thing that an [`io::Error`] is about: `.map_err(Error::io("open /dev/null"))`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The same for JSON.
    pub fn json(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let what = what.into();
        move |source| Self::Json { what, source }
    }
}
