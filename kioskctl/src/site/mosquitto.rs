//! What a site sets for its broker: parsed, checked, and rendered as the configuration of mosquitto. Pure: no file is
//! read or written here.

use super::template::fill;
use super::{RenderError, SiteError, check_path, refuse};
use kiosk_proto::config::KioskId;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const CONFIGURATION: &str = include_str!("../../../config/mosquitto/mosquitto.conf");
const ACL: &str = include_str!("../../../config/mosquitto/acl");
/// Where each file goes in mosquitto's configuration folder.
const NAMES: [&str; 2] = ["mosquitto.conf", "acl"];

/// A checked site file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSite {
    #[serde(default)]
    admins: BTreeSet<String>,
    tls: Tls,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    groups: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    crl: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Listen {
    kiosks: u16,
    admins: u16,
    address: Option<IpAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        Self { kiosks: 8883, admins: 8884, address: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    connections: u32,
    packet_kib: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 6000, packet_kib: 256 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Storage {
    folder: PathBuf,
    user: String,
}

impl Default for Storage {
    fn default() -> Self {
        Self { folder: "/var/lib/mosquitto".into(), user: "mosquitto".into() }
    }
}

impl BrokerSite {
    /// Parses and checks the text of a site file.
    pub fn parse(text: &str) -> Result<Self, SiteError> {
        let site: Self = toml::from_str(text)?;
        let paths = [
            ("tls.ca", Some(&site.tls.ca)),
            ("tls.certificate", Some(&site.tls.certificate)),
            ("tls.key", Some(&site.tls.key)),
            ("tls.crl", site.tls.crl.as_ref()),
            ("storage.folder", Some(&site.storage.folder)),
        ];
        for (key, path) in paths {
            path.map_or(Ok(()), |path| check_path(key, path))?;
        }
        if site.listen.kiosks == site.listen.admins || site.listen.kiosks == 0 || site.listen.admins == 0 {
            return Err(refuse("listen", "kiosks and admins need two different ports"));
        }
        if !(1..=1_000_000).contains(&site.limits.connections) {
            return Err(refuse("limits.connections", "1 to 1000000 are allowed"));
        }
        if !(16..=16_384).contains(&site.limits.packet_kib) {
            return Err(refuse("limits.packet_kib", "16 to 16384 are allowed"));
        }
        if site.admins.is_empty() {
            return Err(refuse("admins", "at least one name is needed, such as admins = [\"anna\"]"));
        }
        let name = |key: &str, name: &String| match KioskId::try_from(name.clone()) {
            Ok(_) => Ok(()),
            Err(error) => Err(refuse(key, format!("{name:?} is not {}", error.0))),
        };
        site.admins.iter().try_for_each(|admin| name("admins", admin))?;
        name("storage.user", &site.storage.user)?;
        for (group, kiosks) in &site.groups {
            name("groups", group)?;
            kiosks.iter().try_for_each(|kiosk| name(&format!("groups.{group}"), kiosk))?;
        }
        Ok(site)
    }

    /// Authority, certificate and key that the broker reads at its start.
    pub fn tls_files(&self) -> [&Path; 3] {
        [&self.tls.ca, &self.tls.certificate, &self.tls.key]
    }

    /// The files of mosquitto's configuration folder `out`, an absolute path: name and content.
    pub fn render(&self, out: &Path) -> Result<[(&'static str, String); 2], SiteError> {
        let [configuration, acl] = NAMES;
        let made = |name, template, values: &BTreeMap<&str, String>| {
            fill(template, values).map_err(|source| RenderError::Template { name, source })
        };
        Ok([
            (configuration, made(configuration, CONFIGURATION, &self.settings(&out.join(acl)))?),
            (acl, made(acl, ACL, &self.rights())?),
        ])
    }

    fn settings(&self, acl: &Path) -> BTreeMap<&'static str, String> {
        let listener = |port: u16| match self.listen.address {
            Some(address) => format!("{port} {address}"),
            None => port.to_string(),
        };
        let path = |path: &Path| path.display().to_string();
        BTreeMap::from([
            ("KIOSK_LISTENER", listener(self.listen.kiosks)),
            ("ADMIN_LISTENER", listener(self.listen.admins)),
            ("MAX_CONNECTIONS", self.limits.connections.to_string()),
            ("CA", path(&self.tls.ca)),
            ("CERTIFICATE", path(&self.tls.certificate)),
            ("KEY", path(&self.tls.key)),
            ("CRL", self.tls.crl.as_ref().map_or_else(String::new, |file| format!("crlfile {}", file.display()))),
            ("ACL_FILE", path(acl)),
            ("PACKET_BYTES", (u64::from(self.limits.packet_kib) * 1024).to_string()),
            // It wants the slash.
            ("STORAGE", format!("{}/", path(&self.storage.folder).trim_end_matches('/'))),
            ("USER", format!("user {}", self.storage.user)),
        ])
    }

    fn rights(&self) -> BTreeMap<&'static str, String> {
        let mut admins = String::new();
        for admin in &self.admins {
            let _ = write!(admins, "user admin/{admin}\ntopic readwrite bk/v1/#\n\n");
        }
        let mut groups_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (group, kiosks) in &self.groups {
            for kiosk in kiosks {
                groups_of.entry(kiosk).or_default().push(group);
            }
        }
        let mut kiosks = String::new();
        for (kiosk, groups) in groups_of {
            let _ = writeln!(kiosks, "user {kiosk}");
            for group in groups {
                let _ = writeln!(kiosks, "topic read bk/v1/group/{group}/desired");
            }
            kiosks.push('\n');
        }
        BTreeMap::from([("ADMINS", admins), ("KIOSKS", kiosks)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../config/mosquitto/site.example.toml");

    fn rendered(text: &str) -> String {
        let files = BrokerSite::parse(text).unwrap().render(Path::new("/etc/mosquitto")).unwrap();
        let settings = |text: &str| {
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join("\n")
        };
        files.iter().map(|(name, text)| format!("== {name}\n{}\n", settings(text))).collect()
    }

    #[test]
    fn the_example_is_a_valid_site_and_what_its_comments_call_a_default_is_one() {
        let least = rendered(EXAMPLE);
        let all: String = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(setting) if setting.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => setting,
                _ => line,
            })
            .filter(|line| !line.starts_with("crl = ") && !line.starts_with("address = "))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(rendered(&all), least);
        insta::assert_snapshot!(least);
    }

    #[test]
    fn what_the_broker_could_not_be_run_with_is_refused() {
        for (from, to, expected) in [
            ("admins = [\"anna\", \"ben\"]", "", "admins: at least one name"),
            ("\"anna\"", "\"anna\\nuser x\"", "admins: \"anna\\nuser x\" is not 1 to 63 lower-case letters"),
            ("\"/etc/branch-kiosk/mqtt/ca.pem\"", "\"ca.pem\"", "tls.ca: \"ca.pem\" is not an absolute path"),
            ("# kiosks = 8883", "kiosks = 8884", "listen: kiosks and admins need two different ports"),
            ("# packet_kib = 256", "packet_kib = 1", "limits.packet_kib: 16 to 16384"),
            ("# connections = 6000", "connections = 0", "limits.connections: 1 to 1000000"),
            ("seoul = [", "\"seoul/#\" = [", "groups: \"seoul/#\" is not"),
            ("wave-1 = [\"seoul-0421-1\"]", "wave-1 = [\"+\"]", "groups.wave-1: \"+\" is not"),
            ("[listen]", "[listn]", "unknown field `listn`"),
        ] {
            assert!(EXAMPLE.contains(from), "{from}");
            let message = BrokerSite::parse(&EXAMPLE.replace(from, to)).expect_err(expected).to_string();
            assert!(message.contains(expected), "{to}: {message}");
        }
    }
}
