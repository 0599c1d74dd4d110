//! `[proxy]`: the way out of a branch that lets nothing through but an HTTP proxy.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{InvalidValue, SecretFile, is_host, split_port};
use crate::proxy::authority;

/// `[proxy]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Name or address, and port, of the HTTP proxy by which every connection goes: signalling, media, fleet, uploads.
    #[schemars(example = "proxy.branch.example:3128", extend("x-fleet" = "two-signatures"))]
    pub address: ProxyAddress,
    /// Who the kiosk is to the proxy (Basic authentication). Without it: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("x-fleet" = "site-only"))]
    pub username: Option<String>,
    /// File with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-fleet" = "site-only"))]
    pub password_file: Option<SecretFile>,
}

/// `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "proxy-address", "pattern" = "^[^:/]+:[0-9]{1,5}$|^\\[.+\\]:[0-9]{1,5}$"))]
pub struct ProxyAddress {
    host: String,
    port: u16,
}

impl ProxyAddress {
    /// Name or literal address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&authority(&self.host, self.port))
    }
}

impl TryFrom<String> for ProxyAddress {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let form = || InvalidValue("host:port of an HTTP proxy, such as \"proxy.branch.example:3128\"".into());
        let (host, port) = split_port(&text).ok_or_else(form)?;
        match port.map(str::parse) {
            Some(Ok(port)) if port != 0 && is_host(host) => Ok(Self { host: host.to_ascii_lowercase(), port }),
            _ => Err(form()),
        }
    }
}

impl From<ProxyAddress> for String {
    fn from(address: ProxyAddress) -> Self {
        address.to_string()
    }
}
