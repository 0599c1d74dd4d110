//! What a kiosk keeps of its layers across restarts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::desired::DesiredPayload;
use super::digest::Digest;
use super::key::KeyId;
use super::reported::{Attempt, LayerName, Revision};
use super::seal::{SealError, seal, unseal};

/// The number of this form. A file with another one is not read.
const FORMAT: u32 = 1;
/// How many configurations that failed are remembered.
pub(super) const MAX_FAILED: usize = 32;
/// How many attempts are kept for each layer.
pub(super) const MAX_ATTEMPTS: usize = 4;
/// How many layers are kept, those of groups that the kiosk left included: more than it can have at once.
pub(super) const MAX_LAYERS: usize = 24;

/// Everything that was pushed, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durable {
    format: u32,
    /// In no order.
    pub(super) layers: Vec<LayerState>,
    /// What is being tried. There at a start, it was cut short.
    pub(super) trial: Option<Trial>,
    /// Configurations that failed, oldest first.
    pub(super) failed: Vec<Failed>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayerState {
    pub layer: LayerName,
    /// The newest payload whose signature was right; nothing older is ever taken.
    pub newest: Option<Revision>,
    /// It was rejected for what may change by itself: when it comes again, it is looked at again.
    pub may_fit_later: bool,
    pub confirmed: Option<Pushed>,
    pub staged: Option<Staged>,
    /// Newest first.
    pub attempts: Vec<Attempt>,
}

/// A payload whose signature was right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pushed {
    pub revision: Revision,
    pub signers: Vec<KeyId>,
    pub payload: DesiredPayload,
}

/// What waits to be tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Staged {
    pub pushed: Pushed,
    /// How long it had waited when this was written, seconds: what counts while no clock can be trusted.
    pub age_s: u64,
    /// It was tried, and the trial was cut short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_short: bool,
}

/// What is in force without being confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    pub layer: LayerName,
    pub pushed: Pushed,
    pub age_s: u64,
    pub start: TrialStart,
    /// It is the second one of this payload, because the first was cut short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// How a trial begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TrialStart {
    /// In the running daemon. A start of the daemon ends it.
    Running,
    /// With the next start of the daemon, which is planned.
    NextStart,
    /// With the planned start, which has been. Another one ends it.
    Started,
}

/// A configuration that did not prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Failed {
    /// Of all keys and values that were in force.
    pub effective: Digest,
    /// The layer that brought it.
    pub layer: LayerName,
    pub revision: Revision,
    pub why: String,
}

/// Why a state file is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It is damaged.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// It is whole, and not of this version.
    #[error("the state is not of a version that is known: {0}")]
    Malformed(String),
}

impl Default for Durable {
    fn default() -> Self {
        Self { format: FORMAT, layers: Vec::new(), trial: None, failed: Vec::new() }
    }
}

impl Durable {
    /// As JSON, without a seal.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`Durable::to_json`] wrote.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn from_json(json: &[u8]) -> Result<Self, StateError> {
        let state: Self = serde_json::from_slice(json).map_err(|error| StateError::Malformed(error.to_string()))?;
        if state.format != FORMAT {
            return Err(StateError::Malformed(format!("format {}", state.format)));
        }
        Ok(state)
    }

    /// As a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(&self.to_json())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is damaged or of another version; what is returned is never another state than was written.
    pub fn decode(file: &[u8]) -> Result<Self, StateError> {
        Self::from_json(unseal(file)?)
    }

    pub(super) fn layer(&self, name: &LayerName) -> Option<&LayerState> {
        self.layers.iter().find(|layer| layer.layer == *name)
    }

    /// The layer, made if it is not there yet.
    pub(super) fn layer_mut(&mut self, name: &LayerName) -> &mut LayerState {
        let at = match self.layers.iter().position(|layer| layer.layer == *name) {
            Some(at) => at,
            None => {
                self.layers.push(LayerState {
                    layer: name.clone(),
                    newest: None,
                    may_fit_later: false,
                    confirmed: None,
                    staged: None,
                    attempts: Vec::new(),
                });
                self.layers.len() - 1
            }
        };
        &mut self.layers[at]
    }

    pub(super) fn failure(&self, effective: &Digest) -> Option<&Failed> {
        self.failed.iter().find(|failed| failed.effective == *effective)
    }

    /// Remembers a configuration that failed; the oldest one is forgotten for it.
    pub(super) fn remember(&mut self, failed: Failed) {
        self.failed.retain(|known| known.effective != failed.effective);
        if self.failed.len() >= MAX_FAILED {
            self.failed.remove(0);
        }
        self.failed.push(failed);
    }
}

impl LayerState {
    pub(super) fn attempt_mut(&mut self, digest: &Digest) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.revision.digest == *digest)
    }
}
