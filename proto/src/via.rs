//! What stands between the kiosk and the media server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// It is written and shown as `proxy HOST:PORT`, `relay URL`, or both in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Via {
    /// An HTTP proxy, by its address.
    Proxy(String),
    /// A TURN server, by its URL.
    Relay(String),
    /// A TURN server behind a proxy.
    Both {
        /// The proxy's address.
        proxy: String,
        /// The relay's URL.
        relay: String,
    },
}

impl Via {
    /// Whether a relay carries the media.
    #[must_use]
    pub fn is_relay(&self) -> bool {
        matches!(self, Self::Relay(_) | Self::Both { .. })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(proxy) => write!(out, "proxy {proxy}"),
            Self::Relay(relay) => write!(out, "relay {relay}"),
            Self::Both { proxy, relay } => write!(out, "proxy {proxy}, relay {relay}"),
        }
    }
}

impl From<Via> for String {
    fn from(via: Via) -> Self {
        via.to_string()
    }
}

impl TryFrom<String> for Via {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (proxy, rest) = match text.strip_prefix("proxy ") {
            Some(rest) => rest.split_once(", ").map_or((Some(rest), None), |(proxy, rest)| (Some(proxy), Some(rest))),
            None => (None, Some(text.as_str())),
        };
        let relay = rest.map(|rest| rest.strip_prefix("relay ").map(str::to_owned));
        match (proxy.map(str::to_owned), relay) {
            (Some(proxy), None) => Ok(Self::Proxy(proxy)),
            (None, Some(Some(relay))) => Ok(Self::Relay(relay)),
            (Some(proxy), Some(Some(relay))) => Ok(Self::Both { proxy, relay }),
            _ => Err(format!("neither a proxy nor a relay: {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_is_read_as_it_is_shown() {
        let (proxy, relay) = ("192.0.2.9:3128".to_owned(), "turns:turn.bank.example:443".to_owned());
        let all = [Via::Proxy(proxy.clone()), Via::Relay(relay.clone()), Via::Both { proxy, relay }];
        for via in all {
            assert_eq!(Via::try_from(via.to_string()), Ok(via.clone()));
            assert_eq!(via.is_relay(), via.to_string().contains("turns:"));
        }
        for nonsense in ["", "relay", "a relay x", "proxy a, b"] {
            assert!(Via::try_from(nonsense.to_owned()).is_err(), "{nonsense:?}");
        }
    }
}
