//! What admins ask of one kiosk, and what it answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::desired::Target;
use super::name::CommandId;

/// The signed payload on a `command` topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandPayload {
    /// Whom it is for: always one kiosk.
    pub target: Target,
    /// Its identifier: it is executed at most once.
    pub id: CommandId,
    /// When it was signed, Unix seconds.
    pub created: u64,
    /// Until when it may begin, Unix seconds; at most a day after `created`.
    pub expires: u64,
    /// Who asks.
    #[schemars(length(min = 1, max = 128))]
    pub author: String,
    /// Why.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// Do it although it ends or disturbs a customer's call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// What to do while a customer is in a call that the command would end.
    #[serde(default)]
    pub when_busy: WhenBusy,
    /// What to do.
    pub command: Command,
}

/// What a command that would end a call does while there is one, unless it is forced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum WhenBusy {
    /// It waits for the end of the call, until it expires.
    #[default]
    Wait,
    /// It is refused.
    Refuse,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
pub enum Command {
    /// Answer.
    Ping {},
    /// Start the daemon again.
    RestartDaemon {},
    /// Start the machine again.
    Reboot {},
    /// End the customer's call; only with `force`.
    EndCall {},
    /// Write more or less to the journal, for a while.
    SetLogLevel {
        /// How much.
        level: LogLevel,
        /// For how long, minutes.
        #[schemars(range(min = 1, max = 1440))]
        minutes: u16,
    },
    /// Run the self-check and answer with what it found.
    SelfCheck {},
    /// Collect an excerpt of the journal, the configuration without secrets, and figures, as one compressed file.
    CollectDiagnostics {
        /// The newest this many minutes of the journal.
        #[schemars(range(min = 1, max = 1440))]
        journal_minutes: u16,
        /// Where to.
        upload: Upload,
    },
    /// Show on the screen, or by a blinking light, which machine this is.
    Identify {
        /// For how long, seconds.
        #[schemars(range(min = 1, max = 600))]
        seconds: u16,
    },
    /// Answer with the value of each key in force and the layer that set it.
    ExplainConfig {
        /// Only these keys, such as `video.bitrate_kbps`; empty: all.
        #[serde(default)]
        #[schemars(length(max = 64))]
        keys: Vec<String>,
    },
    /// Answer with what a layer would change, and what is wrong with it, without keeping it.
    DryRun {
        /// What the layer would set, as in a desired payload.
        config: super::strict::Object,
        /// Which layer: that of this group, or the kiosk's own.
        layer: super::reported::LayerName,
    },
}

/// How much is written to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogLevel {
    /// Only what is broken.
    Error,
    /// What is wrong too.
    Warn,
    /// The usual.
    Info,
    /// For finding a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word in JSON and in filters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Where diagnostics go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "to", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(inline)]
pub enum Upload {
    /// By PUT.
    Https {
        /// An `https://` address.
        #[schemars(regex(pattern = "^https://"), length(max = 2048))]
        url: String,
    },
    /// In chunks on the command's `chunk` topic.
    Mqtt {
        /// The most that is sent, bytes.
        #[schemars(range(min = 1, max = 16_777_216))]
        max_bytes: u32,
    },
}

impl Command {
    /// The word in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ping {} => "ping",
            Self::RestartDaemon {} => "restart-daemon",
            Self::Reboot {} => "reboot",
            Self::EndCall {} => "end-call",
            Self::SetLogLevel { .. } => "set-log-level",
            Self::SelfCheck {} => "self-check",
            Self::CollectDiagnostics { .. } => "collect-diagnostics",
            Self::Identify { .. } => "identify",
            Self::ExplainConfig { .. } => "explain-config",
            Self::DryRun { .. } => "dry-run",
        }
    }

    /// Whether a running call does not survive it.
    #[must_use]
    pub fn ends_a_call(&self) -> bool {
        // The self-check opens the camera, which the call holds.
        matches!(self, Self::RestartDaemon {} | Self::Reboot {} | Self::EndCall {} | Self::SelfCheck {})
    }

    /// Whether the daemon is gone before it can answer, so that the answer comes after its next start.
    #[must_use]
    pub fn restarts(&self) -> bool {
        matches!(self, Self::RestartDaemon {} | Self::Reboot {})
    }
}

/// How a command went. `waiting` may be followed by another answer; all others are the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Outcome {
    /// A customer is in a call; it is executed after it, unless it expires.
    Waiting,
    /// Done.
    Done,
    /// It was tried and failed.
    Failed,
    /// It was not tried.
    Refused,
    /// It was not tried in time.
    Expired,
    /// The daemon stopped while it was executed; it is not executed again.
    Interrupted,
}

/// The answer on the response topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// Which command; absent when what came was no command that can be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CommandId>,
    /// How it went.
    pub outcome: Outcome,
    /// Why, for people; empty when all is said by the outcome.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What the command yields; its form is the command's.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub result: serde_json::Value,
}
