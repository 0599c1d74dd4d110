//! Values that carry a rule: what can't be allowed can't be built.

mod choice;
mod url;

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use choice::{Adjustment, Bus, CameraDevice, EncoderChoice};
pub use url::{BrokerUrl, JanusUrl};
pub(super) use url::{is_host, split_port};

/// Why a text is not a value of its type: what is allowed, in words that go into an error message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub String);

fn invalid<T>(allowed: impl Into<String>) -> Result<T, InvalidValue> {
    Err(InvalidValue(allowed.into()))
}

/// The name of a kiosk: 1 to 63 of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "kiosk-id", "pattern" = "^[a-z0-9-]{1,63}$"))]
pub struct KioskId(String);

impl KioskId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KioskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KioskId {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 63 || !text.chars().all(allowed) {
            return invalid("1 to 63 lower-case letters, digits and hyphens, such as \"branch-0421-1\"");
        }
        Ok(Self(text))
    }
}

impl From<KioskId> for String {
    fn from(id: KioskId) -> Self {
        id.0
    }
}

/// A closed range of TCP ports, written `first-last`; at least two, because a call needs one for each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "port-range", "pattern" = "^[0-9]{1,5}-[0-9]{1,5}$"))]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The lowest port.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(&self) -> u16 {
        self.last
    }

    /// Whether a port is one of them.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl Default for PortRange {
    fn default() -> Self {
        Self { first: 40_000, last: 40_099 }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl TryFrom<String> for PortRange {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        const FORM: &str = "two ports from 1 to 65535 with a hyphen between them, such as \"40000-40099\"";
        let port = |digits: &str| -> Option<u16> {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|port| plain && *port != 0)
        };
        let Some((first, last)) = text.split_once('-').and_then(|(f, l)| port(f).zip(port(l))) else {
            return invalid(FORM);
        };
        if first > last {
            return invalid(format!("the lower port first: \"{last}-{first}\""));
        }
        if first == last {
            return invalid("at least 2 ports: a call needs one for sending and one for receiving");
        }
        Ok(Self { first, last })
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

/// A bitrate in kbit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Kbps(#[schemars(range(min = 50, max = 20_000))] pub u32);

impl Kbps {
    /// The same in bit/s.
    pub fn bits_per_second(self) -> u32 {
        self.0.saturating_mul(1000)
    }
}

impl fmt::Display for Kbps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbit/s", self.0)
    }
}

/// A file that holds a secret. The configuration names the file and never holds the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "secret-file", "pattern" = "^/."))]
pub struct SecretFile(pub PathBuf);

impl SecretFile {
    /// Where the secret is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
