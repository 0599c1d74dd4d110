//! Public keys that a kiosk trusts, as they are written in `[fleet] keys`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::config::InvalidValue;

/// Which key made a signature: the first 16 hexadecimal digits of the SHA-256 of the public key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct KeyId(#[schemars(regex(pattern = "^[0-9a-f]{16}$"))] pub String);

impl KeyId {
    /// Of a public key.
    #[must_use]
    pub fn of(key: &VerifyingKey) -> Self {
        Self(Digest::of(key.as_bytes()).to_string().chars().take(16).collect())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key, written `ed25519:BASE64`, and behind a space whose it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, with = "String", extend("format" = "trusted-key", "pattern" = "^ed25519:[A-Za-z0-9+/]{43}=( .+)?$"))]
pub struct TrustedKey {
    key: VerifyingKey,
    name: Option<String>,
}

impl TrustedKey {
    /// A key and whose it is.
    ///
    /// # Errors
    /// When the name is not 1 to 64 printable characters.
    pub fn new(key: VerifyingKey, name: Option<String>) -> Result<Self, InvalidValue> {
        let printable = |name: &String| {
            (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control) && name.trim() == name
        };
        match &name {
            Some(name) if !printable(name) => Err(InvalidValue("a name of 1 to 64 printable characters".into())),
            // Its signatures could be made by anybody.
            _ if key.is_weak() => Err(InvalidValue("a key that is not weak; make one with `kioskctl key new`".into())),
            _ => Ok(Self { key, name }),
        }
    }

    /// What its signatures are marked with.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.key)
    }

    /// Whose it is, when that was said.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The key itself.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", STANDARD.encode(self.key.as_bytes()))?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for TrustedKey {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let form = || InvalidValue("a public key, as `kioskctl key list` shows it: \"ed25519:BASE64 NAME\"".into());
        let rest = text.strip_prefix("ed25519:").ok_or_else(form)?;
        let (encoded, name) = rest.split_once(' ').map_or((rest, None), |(key, name)| (key, Some(name.to_owned())));
        let bytes: [u8; 32] = STANDARD.decode(encoded).ok().and_then(|b| b.try_into().ok()).ok_or_else(form)?;
        Self::new(VerifyingKey::from_bytes(&bytes).map_err(|_| form())?, name)
    }
}

impl From<TrustedKey> for String {
    fn from(key: TrustedKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        let trusted = TrustedKey::new(key, Some("Ada at the desk".to_owned())).unwrap();
        insta::assert_snapshot!(format!("{trusted}\n{}", trusted.id()));
        assert_eq!(TrustedKey::try_from(trusted.to_string()), Ok(trusted));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = TrustedKey::new(SigningKey::from_bytes(&[7; 32]).verifying_key(), None).unwrap().to_string();
        // The neutral element: it verifies signatures that nobody made.
        let weak = format!("ed25519:AQ{}=", "A".repeat(41));
        let shorter = good[..good.len() - 2].to_owned();
        for bad in [String::new(), "ed25519:".into(), shorter, weak, format!("{good} "), good.replace("ed", "rsa")] {
            assert!(TrustedKey::try_from(bad.clone()).is_err(), "{bad}");
        }
    }
}
