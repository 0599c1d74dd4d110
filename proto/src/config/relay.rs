//! `[relay]`: a TURN server for branches that reach nothing but one port of it.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{InvalidValue, SecretFile, is_host, split_port};
use crate::proxy::authority;

/// `[relay]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// Address of the TURN server: `turns:` is TURN in TLS, `turn:` TURN over plain TCP. Without a port: 5349 and 3478.
    #[schemars(example = "turns:turn.bank.example:443", extend("x-fleet" = "two-signatures"))]
    pub url: RelayUrl,
    /// Whether media goes by way of it.
    #[serde(default)]
    #[schemars(extend("x-fleet" = "two-signatures"))]
    pub policy: RelayPolicy,
    /// Seconds that a server which does not answer gets with `policy = "auto"`, before the relay is asked.
    #[serde(default = "Relay::default_after_s")]
    #[schemars(range(min = 1, max = 4))]
    pub after_s: u32,
    /// PEM file with the certificates that may have signed the relay's. Without it: those of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path", "pattern" = "^/.", "x-fleet" = "two-signatures"))]
    pub ca_file: Option<PathBuf>,
    /// File with the relay's `static-auth-secret`: the kiosk makes itself credentials for a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-fleet" = "site-only"))]
    pub secret_file: Option<SecretFile>,
    /// Who the kiosk is to the relay, where credentials are given to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("x-fleet" = "site-only"))]
    pub username: Option<String>,
    /// File with the password of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-fleet" = "site-only"))]
    pub password_file: Option<SecretFile>,
}

impl Relay {
    fn default_after_s() -> u32 {
        2
    }
}

/// Whether media goes by way of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RelayPolicy {
    /// Never.
    Direct,
    /// Always.
    Relay,
    /// When the media server itself can't be reached. That is remembered, and looked at again after an hour.
    #[default]
    Auto,
}

/// `turn:host[:port]` or `turns:host[:port]` (RFC 7065), always over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "relay-url", "pattern" = "^turns?:"))]
pub struct RelayUrl {
    tls: bool,
    host: String,
    port: u16,
}

impl RelayUrl {
    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Name or literal address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "turns" } else { "turn" };
        write!(out, "{scheme}:{}", authority(&self.host, self.port))
    }
}

impl TryFrom<String> for RelayUrl {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let form = || {
            InvalidValue(
                "turns:host[:port] or turn:host[:port], such as \"turns:turn.bank.example:443\"; it is always TCP"
                    .into(),
            )
        };
        let (tls, rest) = match text.split_once(':') {
            Some(("turns", rest)) => (true, rest),
            Some(("turn", rest)) => (false, rest),
            _ => return Err(form()),
        };
        let (host, port) = split_port(rest.strip_suffix("?transport=tcp").unwrap_or(rest)).ok_or_else(form)?;
        let port = match port.map(str::parse) {
            None if tls => 5349,
            None => 3478,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return Err(form()),
        };
        if is_host(host) { Ok(Self { tls, host: host.to_ascii_lowercase(), port }) } else { Err(form()) }
    }
}

impl From<RelayUrl> for String {
    fn from(url: RelayUrl) -> Self {
        url.to_string()
    }
}
