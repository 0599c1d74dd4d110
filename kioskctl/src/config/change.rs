//! What a layer is to hold: a whole file, or keys that are set and taken out of what it holds now.

use crate::files::{FileError, read};
use kiosk_proto::config::{Layer, LayerError, key_rules};
use kiosk_proto::fleet::Object;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::str::FromStr;

/// What is to be pushed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Change {
    /// File with the whole layer, in the form of kiosk.toml. What is not in it, the layer does not set.
    #[arg(value_name = "FILE", conflicts_with_all = ["set", "unset", "empty"])]
    pub file: Option<PathBuf>,
    /// Set a key in the layer as it is now, such as video.bitrate_kbps=800.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Assignment>,
    /// Take a key out of the layer as it is now.
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<Key>,
    /// Take the whole layer away.
    #[arg(long, conflicts_with_all = ["set", "unset"])]
    pub empty: bool,
}

/// A key with its section, such as `video.bitrate_kbps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    section: String,
    key: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.section, self.key)
    }
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    key: Key,
    value: Value,
}

/// Why there is nothing to push.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not TOML.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: String,
        /// What is wrong.
        source: toml::de::Error,
    },
    /// It is no layer.
    #[error("{}", list(.0))]
    Layer(Vec<LayerError>),
    /// Nothing was said.
    #[error("nothing to push: name a FILE, or use --set, --unset or --empty")]
    Nothing,
}

fn list(errors: &[LayerError]) -> String {
    let line = |error: &LayerError| match error.key.as_str() {
        "" => error.problem.to_string(),
        key => format!("{key}: {}", error.problem),
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('.') {
            Some((section, key)) if !section.is_empty() && !key.is_empty() && !key.contains('.') => {
                Ok(Self { section: section.into(), key: key.into() })
            }
            _ => Err(format!("{text:?} is no key with its section, such as video.bitrate_kbps")),
        }
    }
}

impl Key {
    /// Refuses what is no key of kiosk.toml, with what may have been meant.
    pub fn must_exist(&self) -> Result<(), ChangeError> {
        if key_rules(&self.section, &self.key).is_some() {
            return Ok(());
        }
        let config = nested([(self.to_string(), Value::from(0))]);
        Layer::read(&config).map(drop).map_err(ChangeError::Layer)
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as video.bitrate_kbps=800")?;
        let (key, value) = (key.trim().parse()?, value.trim());
        // What is not a value of TOML is a text: nobody wants to quote twice.
        let parsed = format!("x = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("x"));
        let value = match parsed {
            Some(value) => serde_json::to_value(value).map_err(|error| error.to_string())?,
            None => Value::String(value.to_owned()),
        };
        Ok(Self { key, value })
    }
}

impl Change {
    /// Whether it starts from what the layer holds now.
    pub fn needs_base(&self) -> bool {
        self.file.is_none() && !self.empty
    }

    /// What the layer is to hold, checked key by key. `base` is what it holds now.
    pub fn applied_to(&self, base: &Map<String, Value>) -> Result<Map<String, Value>, ChangeError> {
        let config = match &self.file {
            Some(path) => {
                let syntax = |source| ChangeError::Syntax { path: path.display().to_string(), source };
                let table: toml::Table = read(path)?.parse().map_err(syntax)?;
                match serde_json::to_value(table) {
                    Ok(Value::Object(config)) => config,
                    _ => Map::new(),
                }
            }
            None if self.empty => Map::new(),
            None if self.set.is_empty() && self.unset.is_empty() => return Err(ChangeError::Nothing),
            None => self.edited(base.clone()),
        };
        Layer::read(&config).map_err(ChangeError::Layer)?;
        Ok(config)
    }

    fn edited(&self, mut config: Map<String, Value>) -> Map<String, Value> {
        for Assignment { key, value } in &self.set {
            let section = config.entry(&key.section).or_insert_with(|| Value::Object(Map::new()));
            if let Some(keys) = section.as_object_mut() {
                keys.insert(key.key.clone(), value.clone());
            }
        }
        for key in &self.unset {
            if let Some(keys) = config.get_mut(&key.section).and_then(Value::as_object_mut) {
                keys.remove(&key.key);
            }
        }
        config.retain(|_, keys| keys.as_object().is_none_or(|keys| !keys.is_empty()));
        config
    }
}

/// The keys of a layer with their sections, and their values.
pub fn flat(config: &Map<String, Value>) -> Vec<(String, Value)> {
    let sections = config.iter().filter_map(|(section, keys)| Some((section, keys.as_object()?)));
    sections
        .flat_map(|(section, keys)| keys.iter().map(move |(key, value)| (format!("{section}.{key}"), value.clone())))
        .collect()
}

/// The opposite of [`flat`].
pub fn nested(keys: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    let mut config = Map::new();
    for (key, value) in keys {
        let Some((section, key)) = key.split_once('.') else { continue };
        let section = config.entry(section).or_insert_with(|| Value::Object(Map::new()));
        if let Some(keys) = section.as_object_mut() {
            keys.insert(key.to_owned(), value);
        }
    }
    config
}

/// A map as a signed payload holds it.
pub fn object(config: Map<String, Value>) -> Object {
    Object(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn keys_are_set_and_taken_out_of_what_is_there() {
        let base = map(json!({ "video": { "bitrate_kbps": 900, "encoder": "x264enc" }, "audio": { "gain_db": 3.0 } }));
        let change = Change {
            set: ["video.bitrate_kbps=800", "janus.url=wss://j.example/", "audio.echo_cancellation=false"]
                .map(|text| text.parse().unwrap())
                .into(),
            unset: vec!["video.encoder".parse().unwrap(), "audio.gain_db".parse().unwrap()],
            ..Change::default()
        };
        let expected = json!({
            "audio": { "echo_cancellation": false },
            "janus": { "url": "wss://j.example/" },
            "video": { "bitrate_kbps": 800 },
        });
        assert_eq!(change.applied_to(&base).unwrap(), map(expected.clone()));
        assert_eq!(nested(flat(&map(expected.clone()))), map(expected));
        let empty = Change { empty: true, ..Change::default() };
        assert_eq!(empty.applied_to(&base).unwrap(), Map::new());
        assert!(matches!(Change::default().applied_to(&base), Err(ChangeError::Nothing)));
    }

    #[test]
    fn what_no_kiosk_would_take_is_refused_here() {
        let set = |text: &str| {
            let change = Change { set: vec![text.parse().unwrap()], ..Change::default() };
            change.applied_to(&Map::new()).unwrap_err().to_string()
        };
        assert_eq!(
            set("video.bitrate_kbps=1"),
            "video.bitrate_kbps: found 1; allowed: a whole number from 50 to 20000"
        );
        assert_eq!(set("video.bitrate=800"), "video.bitrate: unknown key; did you mean bitrate_kbps?");
        let unknown = |text: &str| text.parse::<Key>().unwrap().must_exist().map_err(|error| error.to_string());
        assert_eq!(
            unknown("video.bitrate_kpbs").unwrap_err(),
            "video.bitrate_kpbs: unknown key; did you mean bitrate_kbps?"
        );
        assert_eq!(unknown("vidoe.bitrate_kbps").unwrap_err(), "vidoe: unknown key; did you mean video?");
        assert_eq!([unknown("video.bitrate_kbps"), unknown("kiosk.id")], [Ok(()), Ok(())]);
        assert!("bitrate_kbps=800".parse::<Assignment>().unwrap_err().contains("no key with its section"));
    }
}
