//! What a site sets for its relay: parsed, checked, and rendered as the configuration of coturn. Pure: no file is read or
//! written here.

use super::template::fill;
use super::{PortRange, RenderError, SiteError, check_path, check_secret, refuse};
use kiosk_proto::secret::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const CONFIGURATION: &str = include_str!("../../../config/coturn/turnserver.conf");
/// The file in coturn's configuration folder, which is /etc on Debian.
const NAME: &str = "turnserver.conf";
/// Media connections that a kiosk has in a call, each by an allocation.
const ALLOCATIONS_PER_CALL: u32 = 2;

/// A checked site file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelaySite {
    peers: Vec<IpAddr>,
    realm: String,
    secret_file: PathBuf,
    tls: Tls,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default = "https")]
    port: u16,
}

fn https() -> u16 {
    443
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Listen {
    plain_port: Option<u16>,
    address: Option<IpAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    calls: u32,
    ports: PortRange,
}

impl Default for Limits {
    fn default() -> Self {
        Self { calls: 100, ports: PortRange { first: 49_152, last: 65_535 } }
    }
}

impl RelaySite {
    /// Parses and checks the text of a site file.
    pub fn parse(text: &str) -> Result<Self, SiteError> {
        let site: Self = toml::from_str(text)?;
        if site.peers.is_empty() {
            return Err(refuse("peers", "the address of Janus is needed, such as peers = [\"192.0.2.10\"]"));
        }
        if site.peers.iter().any(|peer| peer.is_unspecified() || peer.is_multicast()) {
            return Err(refuse("peers", "each must be the address of one host"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if site.realm.is_empty() || site.realm.len() > 127 || !site.realm.chars().all(plain) {
            return Err(refuse("realm", "1 to 127 letters, digits, dots and hyphens, such as bank.example"));
        }
        for (key, path) in
            [("secret_file", &site.secret_file), ("tls.certificate", &site.tls.certificate), ("tls.key", &site.tls.key)]
        {
            check_path(key, path)?;
        }
        let ports = [Some(site.tls.port), site.listen.plain_port];
        if ports.contains(&Some(0)) || ports[0] == ports[1] {
            return Err(refuse("listen.plain_port", "tls.port and plain_port must be two different ports from 1 on"));
        }
        let (calls, have) = (site.limits.calls, site.limits.ports.count());
        if !(1..=10_000).contains(&calls) {
            return Err(refuse("limits.calls", "1 to 10000 are allowed"));
        }
        if have < calls * ALLOCATIONS_PER_CALL {
            let need = calls * ALLOCATIONS_PER_CALL;
            return Err(refuse("limits.ports", format!("{have} ports are too few: {calls} calls take {need}")));
        }
        Ok(site)
    }

    /// The file that holds the secret of kiosks and relay.
    pub fn secret_file(&self) -> &Path {
        &self.secret_file
    }

    /// Certificate and key that the relay reads at its start.
    pub fn tls_files(&self) -> [&Path; 2] {
        [&self.tls.certificate, &self.tls.key]
    }

    /// The configuration: name and content.
    pub fn render(&self, secret: &Secret) -> Result<(&'static str, String), SiteError> {
        check_secret("secret_file", secret.expose())?;
        if !secret.expose().chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(refuse("secret_file", "letters and digits only: openssl rand -hex 32 makes one"));
        }
        let Self { peers, realm, tls, listen, limits, .. } = self;
        let line = |text: Option<String>| text.unwrap_or_default();
        let peers: Vec<String> = peers.iter().map(|peer| format!("allowed-peer-ip={peer}")).collect();
        let values = BTreeMap::from([
            ("TLS_PORT", format!("tls-listening-port={}", tls.port)),
            ("CERTIFICATE", format!("cert={}", tls.certificate.display())),
            ("KEY", format!("pkey={}", tls.key.display())),
            ("PORT", line(listen.plain_port.map(|port| format!("listening-port={port}")))),
            ("NO_TCP", line(listen.plain_port.is_none().then(|| "no-tcp".to_owned()))),
            ("ADDRESS", line(listen.address.map(|address| format!("listening-ip={address}\nrelay-ip={address}")))),
            ("FIRST_PORT", limits.ports.first.to_string()),
            ("LAST_PORT", limits.ports.last.to_string()),
            ("PEERS", peers.join("\n")),
            ("SECRET", secret.expose().to_owned()),
            ("REALM", realm.clone()),
            ("PER_KIOSK", (2 * ALLOCATIONS_PER_CALL).to_string()),
            ("ALLOCATIONS", (2 * ALLOCATIONS_PER_CALL * limits.calls).to_string()),
        ]);
        let text = fill(CONFIGURATION, &values).map_err(|source| RenderError::Template { name: NAME, source })?;
        Ok((NAME, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../config/coturn/site.example.toml");

    fn rendered(text: &str) -> String {
        let secret = Secret::new("8f1d0c5b7a9e46e2b3f4a5968778695a");
        let (_, text) = RelaySite::parse(text).unwrap().render(&secret).unwrap();
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_is_a_valid_site_and_what_its_comments_call_a_default_is_one() {
        let least = rendered(EXAMPLE);
        let defaults = ["# port = 443", "# calls = 100", "# ports = \"49152-65535\""];
        let all = defaults.iter().fold(EXAMPLE.to_owned(), |text, line| {
            assert!(text.contains(line), "{line}");
            text.replace(line, line.trim_start_matches("# "))
        });
        assert_eq!(rendered(&all), least);
        insta::assert_snapshot!(least);
        let more = EXAMPLE.replace("# plain_port", "plain_port").replace("# address", "address");
        let more = rendered(&more.replace("[\"192.0.2.10\"]", "[\"192.0.2.10\", \"2001:db8::10\"]"));
        let new: Vec<&str> = more.lines().filter(|line| !least.lines().any(|old| old == *line)).collect();
        let expected =
            ["listening-port=3478", "listening-ip=192.0.2.30", "relay-ip=192.0.2.30", "allowed-peer-ip=2001:db8::10"];
        assert_eq!(new, expected);
        assert!(!more.contains("no-tcp\n"));
    }

    #[test]
    fn what_the_relay_could_not_be_run_with_is_refused() {
        for (from, to, expected) in [
            ("[\"192.0.2.10\"]", "[]", "peers: the address of Janus"),
            ("\"192.0.2.10\"", "\"0.0.0.0\"", "peers: each must be"),
            ("\"bank.example\"", "\"bank\\nno-auth\"", "realm: 1 to 127"),
            ("\"/etc/branch-kiosk/turn/turn.pem\"", "\"turn.pem\"", "tls.certificate: \"turn.pem\" is not an absolute"),
            ("# plain_port = 3478", "plain_port = 443", "listen.plain_port: tls.port and plain_port"),
            ("# ports = \"49152-65535\"", "ports = \"50000-50009\"", "limits.ports: 10 ports are too few"),
            ("[limits]", "[limit]", "unknown field `limit`"),
        ] {
            assert!(EXAMPLE.contains(from), "{from}");
            let message = RelaySite::parse(&EXAMPLE.replace(from, to)).expect_err(expected).to_string();
            assert!(message.contains(expected), "{to}: {message}");
        }
        let site = RelaySite::parse(EXAMPLE).unwrap();
        for weak in ["secret", "0123456789abcdef0123456789abcdef\nno-auth"] {
            assert!(site.render(&Secret::new(weak)).is_err(), "{weak}");
        }
    }
}
