//! One command in the ledger, and the ledger's file.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::LedgerEffect;
use crate::fleet::clock::{Now, Validity};
use crate::fleet::command::{Command, CommandPayload, Outcome, Response};
use crate::fleet::digest::Digest;
use crate::fleet::durable::StateError;
use crate::fleet::event::EventKind;
use crate::fleet::name::CommandId;
use crate::fleet::seal::{seal, unseal};

/// The number of this form. A file with another one is not read.
const FORMAT: u32 = 1;

/// Where an answer goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The response topic.
    pub topic: String,
    /// The correlation data of the command, as it came.
    pub correlation: Option<Vec<u8>>,
}

/// What is kept of commands across restarts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerFile {
    format: u32,
    /// In the order in which they came.
    pub(super) entries: Vec<Entry>,
    /// What was made at this time or before, and is not among the entries, is not taken any more; Unix seconds.
    pub(super) floor: u64,
    /// The floor when a synchronised clock last had reached it; it is never lowered below that. Unix seconds.
    #[serde(default)]
    pub(super) reached: u64,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub id: CommandId,
    /// Of the payload: the same id with another payload is another command.
    pub digest: Digest,
    pub kind: String,
    pub created: u64,
    pub expires: u64,
    /// How long ago it was received when this was written, seconds.
    pub age_s: u64,
    pub reply: Reply,
    pub state: State,
    /// It came after ages were last written.
    #[serde(skip)]
    pub fresh: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum State {
    /// For the end of a call.
    Waiting(Command),
    Running {
        restarts: bool,
    },
    Done {
        outcome: Outcome,
        message: String,
        result: Value,
        delivered: bool,
    },
}

impl Default for LedgerFile {
    fn default() -> Self {
        Self { format: FORMAT, entries: Vec::new(), floor: 0, reached: 0 }
    }
}

impl LedgerFile {
    /// As JSON, without a seal.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`LedgerFile::to_json`] wrote.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn from_json(json: &[u8]) -> Result<Self, StateError> {
        let file: Self = serde_json::from_slice(json).map_err(|error| StateError::Malformed(error.to_string()))?;
        let sound = file.format == FORMAT && file.entries.iter().all(|entry| entry.expires > entry.created);
        if sound { Ok(file) } else { Err(StateError::Malformed(format!("format {}", file.format))) }
    }

    /// As a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(&self.to_json())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is damaged or of another version.
    pub fn decode(file: &[u8]) -> Result<Self, StateError> {
        Self::from_json(unseal(file)?)
    }
}

impl Entry {
    pub(super) fn new(payload: &CommandPayload, digest: Digest, reply: Reply) -> Self {
        Self {
            id: payload.id.clone(),
            digest,
            kind: payload.command.kind().to_owned(),
            created: payload.created,
            expires: payload.expires,
            age_s: 0,
            reply,
            state: State::Running { restarts: payload.command.restarts() },
            fresh: true,
        }
    }

    pub(super) fn age(&self, since: Duration, now: Now) -> Duration {
        let passed = if self.fresh { Duration::ZERO } else { now.monotonic.saturating_sub(since) };
        Duration::from_secs(self.age_s).saturating_add(passed)
    }

    pub(super) fn is_over(&self, since: Duration, now: Now) -> bool {
        Validity { created: self.created, expires: self.expires }.is_over(self.age(since, now), now)
    }

    pub(super) fn finish(&mut self, outcome: Outcome, message: String, result: Value) {
        self.state = State::Done { outcome, message, result, delivered: false };
    }

    pub(super) fn delivered(&mut self) {
        if let State::Done { delivered, .. } = &mut self.state {
            *delivered = true;
        }
    }

    /// What is answered now, if anything is.
    pub(super) fn answer(&self) -> Option<LedgerEffect> {
        let (outcome, message, result) = match &self.state {
            State::Waiting(_) => (Outcome::Waiting, "a customer is in a call".to_owned(), Value::Null),
            State::Running { .. } => return None,
            State::Done { outcome, message, result, .. } => (*outcome, message.clone(), result.clone()),
        };
        let response = Response { id: Some(self.id.clone()), outcome, message, result };
        Some(LedgerEffect::Respond(self.reply.clone(), response))
    }

    /// The answer, if the broker does not have it yet.
    pub(super) fn undelivered(&self) -> Option<LedgerEffect> {
        matches!(self.state, State::Done { delivered: false, .. }).then(|| self.answer())?
    }

    pub(super) fn finished(&self, outcome: Outcome) -> EventKind {
        EventKind::CommandFinished { command: self.kind.clone(), outcome }
    }
}
