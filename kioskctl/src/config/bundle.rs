//! A rollout on disk: its signed messages and how far it is. What a second admin signs, and what is resumed.

use crate::files::{FileError, make_private_folder, read, write};
use crate::profile::{ProfileError, home};
use ed25519_dalek::SigningKey;
use kiosk_proto::fleet::rollout::{Plan, Rollout};
use kiosk_proto::fleet::{DesiredPayload, Digest, Envelope, EnvelopeError, KeyId, PayloadType, Revision, parse, sign};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Raised when an older program could not go on with what a newer one wrote.
const VERSION: u32 = 1;

/// Everything that is needed to begin, sign and resume a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    version: u32,
    /// What it is, for people.
    pub title: String,
    /// The messages, in the order of the plan.
    pub messages: Vec<Envelope>,
    /// How far it is.
    pub rollout: Rollout,
}

/// Why a rollout's file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No home.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// It is something else.
    #[error("{path} is no rollout of this version of kioskctl: {reason}")]
    Form {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A message that can't be signed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Signed already.
    #[error("key {0} has signed it already; another admin's key is needed")]
    SignedAlready(KeyId),
}

/// Signs payloads; gives the envelopes and where each has its place.
pub fn signed(payloads: &[DesiredPayload], key: &SigningKey) -> Result<(Vec<Envelope>, Vec<Revision>), BundleError> {
    let mut envelopes = Vec::new();
    let mut revisions = Vec::new();
    for payload in payloads {
        let malformed = |error: serde_json::Error| EnvelopeError::Malformed(error.to_string());
        let bytes = serde_json::to_vec(payload).map_err(malformed)?;
        let envelope = sign(PayloadType::Desired, &bytes, &[key])?;
        envelope.to_bytes()?;
        envelopes.push(envelope);
        revisions.push(Revision { epoch: payload.epoch, revision: payload.revision, digest: Digest::of(&bytes) });
    }
    Ok((envelopes, revisions))
}

impl Bundle {
    /// A rollout of which nothing was sent.
    pub fn new(title: String, messages: Vec<Envelope>, plan: Plan) -> Self {
        Self { version: VERSION, title, messages, rollout: Rollout::new(plan) }
    }

    /// Reads one, and checks that its messages are those of its plan.
    pub fn load(path: &Path) -> Result<Self, BundleError> {
        let form = |reason: String| BundleError::Form { path: path.display().to_string(), reason };
        let bundle: Self = serde_json::from_str(&read(path)?).map_err(|error| form(error.to_string()))?;
        if bundle.version != VERSION {
            return Err(form(format!("it has version {}", bundle.version)));
        }
        let fits =
            bundle.payloads()?.iter().zip(&bundle.rollout.plan.messages).all(|((payload, digest), message)| {
                payload.target == message.target && *digest == message.revision.digest
            });
        if !fits || bundle.messages.len() != bundle.rollout.plan.messages.len() {
            return Err(form("its messages are not those of its plan".into()));
        }
        Ok(bundle)
    }

    /// Writes it as a whole.
    pub fn store(&self, path: &Path) -> Result<(), BundleError> {
        let text = serde_json::to_string(self);
        let text =
            text.map_err(|error| BundleError::Form { path: path.display().to_string(), reason: error.to_string() })?;
        Ok(write(path, &text, 0o600)?)
    }

    /// What the messages say, and the digest of each.
    pub fn payloads(&self) -> Result<Vec<(DesiredPayload, Digest)>, BundleError> {
        let read = |envelope: &Envelope| {
            let bytes = envelope.unverified_payload()?;
            let payload = parse(&bytes).map_err(|error| EnvelopeError::Malformed(error.to_string()))?;
            Ok((payload, Digest::of(&bytes)))
        };
        self.messages.iter().map(read).collect()
    }

    /// The keys that have signed it.
    pub fn signers(&self) -> BTreeSet<&KeyId> {
        self.messages.iter().flat_map(|message| &message.signatures).map(|signature| &signature.keyid).collect()
    }

    /// Adds the signature of one more key to every message.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), BundleError> {
        let id = KeyId::of(&key.verifying_key());
        if self.messages.iter().any(|message| message.signatures.iter().any(|signature| signature.keyid == id)) {
            return Err(BundleError::SignedAlready(id));
        }
        for message in &mut self.messages {
            let signed = sign(message.payload_type, &message.unverified_payload()?, &[key])?;
            message.signatures.extend(signed.signatures);
            message.to_bytes()?;
        }
        Ok(())
    }
}

/// A file for a new rollout, in ~/.config/kioskctl/rollouts.
pub fn new_file(created: u64) -> Result<PathBuf, BundleError> {
    let folder = home()?.join("rollouts");
    make_private_folder(&folder)?;
    Ok(folder.join(format!("{created}-{:04x}.json", rand::random::<u16>())))
}
