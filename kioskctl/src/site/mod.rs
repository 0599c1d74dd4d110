//! What a site sets for its servers: site files, parsed and checked; that of Janus is here. Pure: no file is read here.

mod coturn;
mod janus;
mod mosquitto;
mod template;

pub use coturn::RelaySite;
pub use janus::{Material, RenderError, check_secret, render};
pub use mosquitto::BrokerSite;

use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// TCP ports that one call takes on the server: Janus opens one listening port for every peer connection, and a call
/// has four of them (the kiosk publishes and receives, the agent's browser does too).
pub const PORTS_PER_CALL: u32 = 4;

/// A checked site file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    secrets: SecretFiles,
    signalling: Signalling,
    #[serde(default)]
    media: Media,
    #[serde(default)]
    janus: Janus,
    #[serde(default, rename = "room")]
    rooms: Vec<Room>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFiles {
    token_file: PathBuf,
    admin_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signalling {
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default = "default_port")]
    port: u16,
    address: Option<IpAddr>,
    loopback_port: Option<u16>,
}

fn default_port() -> u16 {
    8989
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Media {
    ports: PortRange,
    simultaneous_calls: Option<u32>,
    address: Option<IpAddr>,
    public_address: Option<IpAddr>,
    ice_lite: Option<bool>,
    ipv6: bool,
    video_kbps: u32,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            ports: PortRange::DEFAULT,
            simultaneous_calls: None,
            address: None,
            public_address: None,
            ice_lite: None,
            ipv6: false,
            video_kbps: 1500,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Janus {
    plugins_folder: Option<PathBuf>,
    transports_folder: Option<PathBuf>,
    log_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    id: u64,
    description: String,
    pin_file: Option<PathBuf>,
}

/// An inclusive range of TCP ports, written `first-last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// What the firewalls of this system open.
    pub const DEFAULT: Self = Self { first: 40000, last: 40099 };

    /// How many.
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let range = text.split_once('-').and_then(|(first, last)| {
            Some(Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
        });
        match range {
            Some(range) if range.first >= 1024 && range.first <= range.last => Ok(range),
            _ => Err(format!("{text:?} is no port range: write first-last, such as 40000-40099, from 1024 to 65535")),
        }
    }
}

/// Why a site file is refused.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// Not TOML, an unknown key, a missing value, a value of the wrong kind.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A value, or two together, that the server could not be run with.
    #[error("{key}: {problem}")]
    Value {
        /// The key in the site file.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A secret, or a template.
    #[error(transparent)]
    Render(#[from] RenderError),
}

fn refuse(key: impl Into<String>, problem: impl Into<String>) -> SiteError {
    SiteError::Value { key: key.into(), problem: problem.into() }
}

impl Site {
    /// Parses and checks the text of a site file.
    pub fn parse(text: &str) -> Result<Self, SiteError> {
        let site: Self = toml::from_str(text)?;
        site.check_paths()?;
        site.check_signalling()?;
        site.check_rooms()?;
        site.check_media()?;
        Ok(site)
    }

    /// The file that holds the secret by which tokens are signed.
    pub fn token_file(&self) -> &Path {
        &self.secrets.token_file
    }

    /// The file that holds the secret by which rooms are managed.
    pub fn admin_file(&self) -> &Path {
        &self.secrets.admin_file
    }

    /// The certificate and the key that Janus reads at its start.
    pub fn tls_files(&self) -> [&Path; 2] {
        [&self.signalling.certificate, &self.signalling.key]
    }

    /// The rooms that have a PIN, and the file of each.
    pub fn pin_files(&self) -> impl Iterator<Item = (u64, &Path)> {
        self.rooms.iter().filter_map(|room| Some((room.id, room.pin_file.as_deref()?)))
    }

    fn check_paths(&self) -> Result<(), SiteError> {
        let mut paths = vec![
            ("secrets.token_file", self.secrets.token_file.as_path()),
            ("secrets.admin_file", &self.secrets.admin_file),
            ("signalling.certificate", &self.signalling.certificate),
            ("signalling.key", &self.signalling.key),
        ];
        let optional = [
            ("janus.plugins_folder", &self.janus.plugins_folder),
            ("janus.transports_folder", &self.janus.transports_folder),
            ("janus.log_file", &self.janus.log_file),
        ];
        paths.extend(optional.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?))));
        paths.extend(self.pin_files().map(|(_, path)| ("room.pin_file", path)));
        paths.into_iter().try_for_each(|(key, path)| check_path(key, path))
    }

    fn check_signalling(&self) -> Result<(), SiteError> {
        let Signalling { port, loopback_port, address, .. } = &self.signalling;
        for (key, port) in [("signalling.port", Some(*port)), ("signalling.loopback_port", *loopback_port)] {
            let Some(port) = port else { continue };
            if port == 0 {
                return Err(refuse(key, "0 is no port: 1 to 65535 are"));
            }
            if self.media.ports.contains(port) {
                return Err(refuse(key, format!("{port} lies in media.ports; choose one outside")));
            }
        }
        if Some(*port) == *loopback_port {
            return Err(refuse("signalling.loopback_port", format!("{port} is signalling.port already")));
        }
        if address.is_some_and(|address| address.is_unspecified()) {
            return Err(refuse("signalling.address", "leave it out to listen on every address"));
        }
        Ok(())
    }

    fn check_media(&self) -> Result<(), SiteError> {
        let media = &self.media;
        for (key, address) in [("media.address", media.address), ("media.public_address", media.public_address)] {
            if address.is_some_and(|address| address.is_unspecified() || address.is_multicast()) {
                return Err(refuse(key, "must be the address of one host"));
            }
        }
        if media.public_address.is_some_and(|address| address.is_loopback()) {
            return Err(refuse("media.public_address", "kiosks cannot dial a loopback address"));
        }
        if !media.ipv6 && [media.address, media.public_address].iter().flatten().any(IpAddr::is_ipv6) {
            return Err(refuse("media.ipv6", "an IPv6 address is given for media, so this must be true"));
        }
        if !(64..=100_000).contains(&media.video_kbps) {
            return Err(refuse("media.video_kbps", format!("{}: 64 to 100000 are allowed", media.video_kbps)));
        }
        let calls = self.simultaneous_calls();
        if calls == 0 {
            return Err(refuse("media.simultaneous_calls", "must be 1 or more"));
        }
        let (have, need) = (media.ports.count(), u64::from(calls) * u64::from(PORTS_PER_CALL));
        if u64::from(have) < need {
            return Err(refuse(
                "media.ports",
                format!(
                    "{have} ports are too few: a call takes {PORTS_PER_CALL}, and {calls} may run at the same time. \
                     Widen the range to {need} ports, or set media.simultaneous_calls to at most {}",
                    have / PORTS_PER_CALL
                ),
            ));
        }
        Ok(())
    }

    fn check_rooms(&self) -> Result<(), SiteError> {
        if self.rooms.is_empty() {
            return Err(refuse("room", "at least one [[room]] with id and description is needed, one per kiosk"));
        }
        let mut seen = BTreeSet::new();
        for room in &self.rooms {
            // The agent's page is JavaScript: integers are exact up to 2^53 - 1 there.
            if room.id == 0 || room.id >= 1 << 53 {
                return Err(refuse("room.id", format!("{}: 1 to 9007199254740991 are allowed", room.id)));
            }
            if !seen.insert(room.id) {
                return Err(refuse("room.id", format!("{} stands there twice", room.id)));
            }
            check_text("room.description", &room.description)?;
            if room.description.trim().is_empty() || room.description.chars().count() > 100 {
                return Err(refuse("room.description", format!("room {}: 1 to 100 characters are allowed", room.id)));
            }
        }
        Ok(())
    }

    fn simultaneous_calls(&self) -> u32 {
        let rooms = u32::try_from(self.rooms.len()).unwrap_or(u32::MAX);
        self.media.simultaneous_calls.unwrap_or(rooms)
    }
}

/// Refuses what is no path of a file for a server's configuration.
fn check_path(key: &str, path: &Path) -> Result<(), SiteError> {
    let text = path.to_str().ok_or_else(|| refuse(key, "the path is not UTF-8"))?;
    check_text(key, text)?;
    if path.is_absolute() { Ok(()) } else { Err(refuse(key, format!("{text:?} is not an absolute path"))) }
}

/// Refuses what a provisioning script left unfilled, and what could end a line or a string in Janus's files.
fn check_text(key: &str, text: &str) -> Result<(), SiteError> {
    if text.contains("${") || text.contains("{{") {
        return Err(refuse(key, format!("{text:?} holds a placeholder that nobody filled in")));
    }
    if text.chars().any(char::is_control) {
        return Err(refuse(key, "control characters are not allowed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
