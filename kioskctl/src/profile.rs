//! Profiles: where the broker is and who the admin is, in `~/.config/kioskctl/profiles.toml`.

use crate::files::{FileError, read};
use kiosk_proto::fleet::TrustedKey;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where kioskctl keeps profiles, keys and rollouts: `$XDG_CONFIG_HOME/kioskctl` or `~/.config/kioskctl`.
pub fn home() -> Result<PathBuf, ProfileError> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    Ok(config.ok_or(ProfileError::NoHome)?.join("kioskctl"))
}

/// How the fleet is reached, and as whom. What is not given comes from the profile.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "The fleet")]
pub struct ProfileOptions {
    /// The profile of ~/.config/kioskctl/profiles.toml; without it, the one that `default` names there.
    #[arg(long, env = "KIOSKCTL_PROFILE")]
    pub profile: Option<String>,
    /// The broker: mqtts://host:port; without a port, 8884.
    #[arg(long)]
    pub broker: Option<String>,
    /// PEM file with the certificates that may have signed the broker's.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// PEM file with the admin's certificate.
    #[arg(long)]
    pub cert: Option<PathBuf>,
    /// PEM file with the certificate's key.
    #[arg(long)]
    pub key: Option<PathBuf>,
    /// File with the key to sign with.
    #[arg(long)]
    pub signing_key: Option<PathBuf>,
    /// Who it is from, as kiosks note it.
    #[arg(long)]
    pub author: Option<String>,
    /// A public key, besides the one to sign with, whose pushes may be built upon.
    #[arg(long = "trusted-key", value_name = "KEY", value_parser = trusted_key)]
    pub trusted_keys: Vec<TrustedKey>,
}

fn trusted_key(text: &str) -> Result<TrustedKey, String> {
    TrustedKey::try_from(text.to_owned()).map_err(|error| error.0)
}

/// A profile as it stands in the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    broker: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    signing_key: Option<PathBuf>,
    author: Option<String>,
    #[serde(default)]
    trusted_keys: Vec<TrustedKey>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Stored>,
}

/// Why a profile can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Nowhere to look.
    #[error("neither HOME nor XDG_CONFIG_HOME is set: there is no folder for profiles and keys")]
    NoHome,
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not TOML, or a key that there is none of.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: toml::de::Error,
    },
    /// There is no such profile.
    #[error("{} has no profile {name:?}; it has: {}", path.display(), if known.is_empty() { "none".into() } else { known.join(", ") })]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Neither the command line nor the profile says it.
    #[error("{what} is not set: give --{option}, or `{key}` in a profile of {}", path.display())]
    Missing {
        /// What it is, in words.
        what: &'static str,
        /// The option.
        option: &'static str,
        /// The key of the profile.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The broker's address.
    #[error("{0:?} is no broker: write mqtts://host:port, such as mqtts://broker.bank.example:8884")]
    Broker(String),
}

/// A profile with the options of the command line put over it.
#[derive(Debug, Clone)]
pub struct Profile {
    options: ProfileOptions,
    file: PathBuf,
}

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Name or literal address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl ProfileOptions {
    /// Reads the profile and puts these options over it.
    pub fn load(&self) -> Result<Profile, ProfileError> {
        let home = home()?;
        let file = home.join("profiles.toml");
        let mut profiles = Profiles::default();
        if file.exists() {
            profiles =
                toml::from_str(&read(&file)?).map_err(|source| ProfileError::Syntax { path: file.clone(), source })?;
        }
        let name = self.profile.clone().or(profiles.default);
        let stored = match name {
            None => Stored::default(),
            Some(name) => match profiles.profile.get(&name) {
                Some(stored) => stored.clone(),
                None => {
                    let known = profiles.profile.into_keys().collect();
                    return Err(ProfileError::Unknown { path: file, name, known });
                }
            },
        };
        Ok(self.over(stored, &home, file))
    }

    fn over(&self, stored: Stored, home: &Path, file: PathBuf) -> Profile {
        // What stands in the file is meant from the file's folder; what is typed, from where it is typed.
        let path = |typed: &Option<PathBuf>, stored: Option<PathBuf>| {
            typed.clone().or_else(|| stored.map(|path| home.join(path)))
        };
        let options = Self {
            profile: self.profile.clone(),
            broker: self.broker.clone().or(stored.broker),
            ca: path(&self.ca, stored.ca),
            cert: path(&self.cert, stored.cert),
            key: path(&self.key, stored.key),
            signing_key: path(&self.signing_key, stored.signing_key),
            author: self.author.clone().or(stored.author),
            trusted_keys: self.trusted_keys.iter().cloned().chain(stored.trusted_keys).collect(),
        };
        Profile { options, file }
    }
}

impl Profile {
    /// Where the broker is.
    pub fn broker(&self) -> Result<Broker, ProfileError> {
        let text = self.need(self.options.broker.as_ref(), "the broker's address", "broker", "broker")?;
        Broker::parse(text)
    }

    /// The authority, the certificate and its key.
    pub fn identity(&self) -> Result<[&Path; 3], ProfileError> {
        let (ca, cert, key) = (self.options.ca.as_ref(), self.options.cert.as_ref(), self.options.key.as_ref());
        Ok([
            self.need(ca, "the broker's authority", "ca", "ca")?,
            self.need(cert, "the admin's certificate", "cert", "cert")?,
            self.need(key, "the key of the admin's certificate", "key", "key")?,
        ])
    }

    /// The file of the key to sign with.
    pub fn signing_key(&self) -> Result<&Path, ProfileError> {
        let file = self.options.signing_key.as_ref();
        self.need(file, "the key to sign with", "signing-key", "signing_key").map(PathBuf::as_path)
    }

    /// Who it is from.
    pub fn author(&self) -> Result<&str, ProfileError> {
        Ok(self.need(self.options.author.as_ref(), "the author", "author", "author")?)
    }

    /// Public keys whose pushes may be built upon, besides the one to sign with.
    pub fn trusted_keys(&self) -> &[TrustedKey] {
        &self.options.trusted_keys
    }

    fn need<'a, T>(
        &self,
        value: Option<&'a T>,
        what: &'static str,
        option: &'static str,
        key: &'static str,
    ) -> Result<&'a T, ProfileError> {
        value.ok_or_else(|| ProfileError::Missing { what, option, key, path: self.file.clone() })
    }
}

impl Broker {
    /// Reads `mqtts://host[:port]`.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let wrong = || ProfileError::Broker(text.to_owned());
        let rest = text.strip_prefix("mqtts://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(8884), str::parse).map_err(|_| wrong())?;
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
        if host.is_empty() || port == 0 || !host.chars().all(sound) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_brokers() {
        let broker = |text: &str| Broker::parse(text).map(|broker| (broker.host, broker.port)).ok();
        assert_eq!(broker("mqtts://b.example"), Some(("b.example".into(), 8884)));
        assert_eq!(broker("mqtts://192.0.2.1:9000/"), Some(("192.0.2.1".into(), 9000)));
        assert_eq!(broker("mqtts://[::1]:9000"), Some(("::1".into(), 9000)));
        assert_eq!(broker("mqtts://[2001:db8::1]"), Some(("2001:db8::1".into(), 8884)));
        for wrong in
            ["", "b.example", "mqtt://b", "mqtts://", "mqtts://b:0", "mqtts://b:x", "mqtts://a/b", "mqtts://[::1]x"]
        {
            assert!(Broker::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_goes_over_the_profile_and_paths_are_from_where_they_are_written() {
        let stored: Stored = toml::from_str("broker = \"mqtts://a\"\nca = \"ca.pem\"\nauthor = \"anna\"").unwrap();
        let options = ProfileOptions { broker: Some("mqtts://b".into()), key: Some("k".into()), ..Default::default() };
        let profile = options.over(stored, Path::new("/h"), "/h/profiles.toml".into());
        assert_eq!(profile.broker().unwrap().host, "b");
        assert_eq!(profile.author().unwrap(), "anna");
        assert_eq!(profile.options.ca.as_deref(), Some(Path::new("/h/ca.pem")));
        assert_eq!(profile.options.key.as_deref(), Some(Path::new("k")));
        let missing = profile.signing_key().unwrap_err().to_string();
        assert_eq!(
            missing,
            "the key to sign with is not set: give --signing-key, or `signing_key` in a profile of /h/profiles.toml"
        );
    }
}
