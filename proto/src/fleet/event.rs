//! What happened on a kiosk, for the `event` topic. No text in it comes from a customer, an agent, or who starts calls:
//! also not the identifier of a call, which may be that of a case.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reported::{LayerName, Phase, Revision};

/// The payload on the `event` topic. It may come twice: `sequence` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Goes up with every event of this kiosk, also across restarts. A gap is an event that was dropped.
    pub sequence: u64,
    /// Unix seconds; absent while the kiosk's clock is not synchronised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Which events are dropped first when the outbox is full: the first class before the second, each oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Class {
    /// The daemon's own course: started, reconnected.
    Daemon,
    /// Devices lost and found.
    Device,
    /// Calls started and ended.
    Call,
    /// Phases of the configuration.
    Config,
    /// What must not be.
    Alarm,
}

impl Class {
    /// All of them, those that are dropped first before the others.
    pub const ALL: [Self; 5] = [Self::Daemon, Self::Device, Self::Call, Self::Config, Self::Alarm];
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum EventKind {
    /// The daemon started.
    DaemonStarted {
        /// Its version.
        version: String,
    },
    /// A call was asked for.
    CallStarted {},
    /// A call is over.
    CallEnded {
        /// The daemon's word for why.
        reason: String,
        /// From the request until the end, seconds.
        seconds: u64,
    },
    /// Something is wrong: a code of `docs/kiosk.md`, such as `camera-unavailable`.
    FaultRaised {
        /// Which.
        code: String,
    },
    /// It is right again.
    FaultCleared {
        /// Which.
        code: String,
    },
    /// The audit saw a socket or a path that is not TCP. The evidence is in the journal.
    TcpOnlyViolation {},
    /// A pushed layer reached a phase.
    ConfigPhase {
        /// Which layer.
        layer: LayerName,
        /// Which payload.
        #[serde(flatten)]
        revision: Revision,
        /// The phase.
        phase: Phase,
    },
    /// A state file was damaged, and what was done instead.
    StateDamaged {
        /// The file's name.
        file: String,
        /// Whether the version before it could be read.
        recovered: bool,
    },
    /// A command was executed or refused.
    CommandFinished {
        /// The command's word.
        command: String,
        /// How it went.
        outcome: super::command::Outcome,
    },
    /// The outbox was full: how many events were dropped since the last such event.
    EventsDropped {
        /// Of which class.
        class: Class,
        /// How many.
        count: u64,
    },
}

impl EventKind {
    /// How much it matters when the outbox is full.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::DaemonStarted { .. } => Class::Daemon,
            Self::FaultRaised { .. } | Self::FaultCleared { .. } => Class::Device,
            Self::CallStarted {} | Self::CallEnded { .. } => Class::Call,
            Self::ConfigPhase { .. } | Self::CommandFinished { .. } => Class::Config,
            Self::TcpOnlyViolation {} | Self::StateDamaged { .. } | Self::EventsDropped { .. } => Class::Alarm,
        }
    }
}
