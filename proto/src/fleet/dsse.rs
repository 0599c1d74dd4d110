//! The signed envelope (DSSE 1.0, <https://github.com/secure-systems-lab/dsse>): Ed25519 over the exact bytes received.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::key::{KeyId, TrustedKey};
use super::{MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES, MAX_SIGNATURES};

/// What kind of payload is signed. It is part of what is signed: a layer can't be passed off as a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PayloadType {
    /// A configuration layer.
    #[serde(rename = "application/vnd.branch-kiosk.desired+json")]
    Desired,
    /// A command.
    #[serde(rename = "application/vnd.branch-kiosk.command+json")]
    Command,
}

impl PayloadType {
    /// The media type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desired => "application/vnd.branch-kiosk.desired+json",
            Self::Command => "application/vnd.branch-kiosk.command+json",
        }
    }
}

/// A payload with its signatures, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: PayloadType,
    /// The exact bytes that were signed, in Base64.
    pub payload: String,
    /// At least one.
    #[schemars(length(min = 1, max = 8))]
    pub signatures: Vec<Signature>,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Signature {
    /// Which key made it.
    pub keyid: KeyId,
    /// The Ed25519 signature of the payload's encoding, in Base64.
    pub sig: String,
}

/// Why an envelope is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is larger than any envelope.
    #[error("the message has {bytes} bytes; allowed: {MAX_ENVELOPE_BYTES}")]
    TooLarge {
        /// What it has.
        bytes: usize,
    },
    /// It is no envelope.
    #[error("the message is no signed envelope: {0}")]
    Malformed(String),
    /// It is an envelope around something else.
    #[error("the envelope holds {found}, and {wanted} belongs on this topic")]
    WrongType {
        /// What it holds.
        found: &'static str,
        /// What the topic is for.
        wanted: &'static str,
    },
    /// None of its keys is trusted.
    #[error("signed with {}, which is not in [fleet] keys of this kiosk", list(.0))]
    UnknownKey(Vec<KeyId>),
    /// A signature by a trusted key does not fit the payload.
    #[error("the signature of key {0} does not fit the payload: it was changed on the way, or the key is another one")]
    WrongSignature(KeyId),
}

fn list(keys: &[KeyId]) -> String {
    keys.iter().map(|key| format!("key {key}")).collect::<Vec<_>>().join(", ")
}

/// A payload whose signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The exact bytes that were signed.
    pub payload: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// The trusted keys that signed, each once.
    pub signers: BTreeSet<KeyId>,
}

/// What is signed: DSSE's pre-authentication encoding.
fn encoding(payload_type: PayloadType, payload: &[u8]) -> Vec<u8> {
    let name = payload_type.as_str();
    let mut out = format!("DSSEv1 {} {name} {} ", name.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Signs a payload with each of the keys.
///
/// # Errors
/// When the payload is larger than a kiosk reads, or the number of keys is not 1 to [`MAX_SIGNATURES`].
pub fn sign(payload_type: PayloadType, payload: &[u8], keys: &[&SigningKey]) -> Result<Envelope, EnvelopeError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(EnvelopeError::TooLarge { bytes: payload.len() });
    }
    if keys.is_empty() || keys.len() > MAX_SIGNATURES {
        return Err(EnvelopeError::Malformed(format!(
            "{} keys to sign with; allowed: 1 to {MAX_SIGNATURES}",
            keys.len()
        )));
    }
    let signed = encoding(payload_type, payload);
    let signatures = keys.iter().map(|key| Signature {
        keyid: KeyId::of(&key.verifying_key()),
        sig: STANDARD.encode(key.sign(&signed).to_bytes()),
    });
    Ok(Envelope { payload_type, payload: STANDARD.encode(payload), signatures: signatures.collect() })
}

impl Envelope {
    /// Reads an envelope. Nothing in it is trusted yet.
    ///
    /// # Errors
    /// When it is too large or is not an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLarge { bytes: bytes.len() });
        }
        let envelope: Self =
            serde_json::from_slice(bytes).map_err(|error| EnvelopeError::Malformed(error.to_string()))?;
        if envelope.signatures.is_empty() || envelope.signatures.len() > MAX_SIGNATURES {
            let count = envelope.signatures.len();
            return Err(EnvelopeError::Malformed(format!("{count} signatures; allowed: 1 to {MAX_SIGNATURES}")));
        }
        Ok(envelope)
    }

    /// As it is published.
    ///
    /// # Errors
    /// When it is larger than a kiosk reads.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        let bytes = serde_json::to_vec(self).map_err(|error| EnvelopeError::Malformed(error.to_string()))?;
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// The payload's bytes, for whoever shows them; a kiosk takes them from [`Envelope::verify`].
    ///
    /// # Errors
    /// When they are not Base64, or more than a payload may have.
    pub fn unverified_payload(&self) -> Result<Vec<u8>, EnvelopeError> {
        let payload = STANDARD
            .decode(&self.payload)
            .map_err(|error| EnvelopeError::Malformed(format!("the payload is not Base64: {error}")))?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(EnvelopeError::TooLarge { bytes: payload.len() });
        }
        Ok(payload)
    }

    /// Checks the signatures of all trusted keys. Signatures of other keys count for nothing and do no harm, so that an
    /// envelope can be signed with an old and a new key at once.
    ///
    /// # Errors
    /// When the type is another one, no trusted key signed, or a trusted key's signature does not fit.
    pub fn verify(&self, wanted: PayloadType, trusted: &[TrustedKey]) -> Result<Verified, EnvelopeError> {
        if self.payload_type != wanted {
            let (found, wanted) = (self.payload_type.as_str(), wanted.as_str());
            return Err(EnvelopeError::WrongType { found, wanted });
        }
        let payload = self.unverified_payload()?;
        let signed = encoding(self.payload_type, &payload);
        let mut signers = BTreeSet::new();
        for Signature { keyid, sig } in &self.signatures {
            let Some(key) = trusted.iter().find(|key| key.id() == *keyid) else { continue };
            let wrong = || EnvelopeError::WrongSignature(keyid.clone());
            let bytes: [u8; 64] = STANDARD.decode(sig).ok().and_then(|b| b.try_into().ok()).ok_or_else(wrong)?;
            let signature = ed25519_dalek::Signature::from_bytes(&bytes);
            key.key().verify_strict(&signed, &signature).map_err(|_| wrong())?;
            signers.insert(keyid.clone());
        }
        if signers.is_empty() {
            return Err(EnvelopeError::UnknownKey(self.signatures.iter().map(|s| s.keyid.clone()).collect()));
        }
        Ok(Verified { digest: Digest::of(&payload), payload, signers })
    }
}

#[cfg(test)]
mod tests;
