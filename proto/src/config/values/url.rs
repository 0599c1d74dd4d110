//! Addresses of servers.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InvalidValue, invalid};

/// Where the Janus API is spoken: `wss://host[:port][/path]`, or `ws://` to this machine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "janus-url", "pattern" = "^wss?://"))]
pub struct JanusUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl JanusUrl {
    /// Whether the connection is encrypted; false only to this machine itself.
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

    /// What to ask for, beginning with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for JanusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}{}", self.host, self.port, self.path)
    }
}

impl TryFrom<String> for JanusUrl {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        const FORM: &str = "wss://host[:port][/path], such as \"wss://janus.bank.example:8989/\"";
        let (tls, rest) = match text.split_once("://") {
            Some(("wss", rest)) => (true, rest),
            Some(("ws", rest)) => (false, rest),
            _ => return invalid(FORM),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if authority.contains('@') {
            return invalid("an address without a user and password; tokens go into janus.token_file");
        }
        if !path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\')) {
            return invalid("a path without query, fragment and spaces; tokens go into janus.token_file");
        }
        let (host, port) = split_port(authority).ok_or_else(|| InvalidValue(FORM.into()))?;
        let port = match port {
            None if tls => 443,
            None => 80,
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => port,
                _ => return invalid("a port from 1 to 65535"),
            },
        };
        if !is_host(host) {
            return invalid(FORM);
        }
        if !tls && !is_loopback(host) {
            return invalid(
                "wss:// (ws:// is not encrypted, and only allowed to this machine: localhost, 127.0.0.1, [::1])",
            );
        }
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, path: path.into() })
    }
}

impl From<JanusUrl> for String {
    fn from(url: JanusUrl) -> Self {
        url.to_string()
    }
}

/// Where the fleet's broker listens: `mqtts://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "broker-url", "pattern" = "^mqtts://"))]
pub struct BrokerUrl {
    host: String,
    port: u16,
}

impl BrokerUrl {
    /// Name or literal address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "mqtts://{open}{}{close}:{}", self.host, self.port)
    }
}

impl TryFrom<String> for BrokerUrl {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        const FORM: &str =
            "mqtts://host[:port], such as \"mqtts://broker.bank.example:8883\"; there is no link without TLS";
        let authority = text.strip_prefix("mqtts://").ok_or_else(|| InvalidValue(FORM.into()))?;
        let (host, port) = split_port(authority).ok_or_else(|| InvalidValue(FORM.into()))?;
        let port = match port.map(str::parse) {
            None => 8883,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return invalid("a port from 1 to 65535"),
        };
        if !is_host(host) {
            return invalid(FORM);
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl From<BrokerUrl> for String {
    fn from(url: BrokerUrl) -> Self {
        url.to_string()
    }
}

/// Splits `host:port`, `host`, `[v6]:port` and `[v6]`.
pub(in crate::config) fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

pub(in crate::config) fn is_host(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // A name whose last label is a number is a mistyped IPv4 address.
    let numeric_end = host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label) && !numeric_end
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
