//! Layers: the site file, and above it what was pushed, merged key by key. Every value knows where it came from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::check::{self, Finding, Findings, Scope};
use super::errors::Problem;
use super::json::schema;
use super::{Config, ConfigErrors, parse_document, parse_table, rules, with_syntax_errors};

/// How deep a layer's JSON can be nested before it is no configuration: section, key, list.
const MAX_DEPTH: usize = 4;

/// One thing that is wrong with a layer, by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerError {
    /// Such as `janus.url`; empty when it is about no key.
    pub key: String,
    /// What is wrong, what is allowed, and what to do.
    pub problem: Problem,
}

impl From<Finding> for LayerError {
    fn from(finding: Finding) -> Self {
        Self { key: finding.key, problem: finding.problem }
    }
}

/// The site file, checked: a configuration by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    table: toml::Table,
    config: Config,
}

impl Site {
    /// Reads a site file as [`super::parse`] does.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        let (table, config) = parse_table(text)?;
        Ok(Self { table, config })
    }

    /// What the site file alone makes.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// What a push sets: some keys, each one checked alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer(toml::Table);

impl Layer {
    /// Reads a layer: an object with the sections and keys of `kiosk.toml`.
    ///
    /// # Errors
    /// Everything that is wrong with it, and keys that only the site file may set.
    pub fn read(config: &Map<String, Value>) -> Result<Self, Vec<LayerError>> {
        let mut findings = Findings::default();
        let table = to_table(config, "", &mut findings);
        let text = toml::to_string(&table).unwrap_or_default();
        let (document, syntax) = toml::de::DeTable::parse_recoverable(&text);
        if let Some(error) = syntax.first() {
            findings.list.push(Finding::without_place("", Problem::Syntax(error.message().replace('\n', "; "))));
        }
        let sound = check::table(document.get_ref(), schema(), Scope::Layer, &mut findings);
        if findings.list.is_empty() {
            return Ok(Self(sound));
        }
        let mut errors: Vec<LayerError> = findings.list.into_iter().map(LayerError::from).collect();
        errors.sort_by(|a, b| a.key.cmp(&b.key));
        Err(errors)
    }

    /// Reads a layer's file: TOML, in the form of `kiosk.toml`.
    ///
    /// # Errors
    /// The same as [`Layer::read`], in the order of the lines.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        let (document, syntax) = parse_document(text)?;
        let mut findings = Findings::default();
        let sound = check::table(document.get_ref(), schema(), Scope::Layer, &mut findings);
        let wrong = if syntax.is_empty() { findings.list } else { with_syntax_errors(text, syntax, findings) };
        if wrong.is_empty() { Ok(Self(sound)) } else { Err(ConfigErrors::from_findings(text, wrong)) }
    }

    /// Whether it sets nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    fn keys(&self) -> impl Iterator<Item = (&str, &str, &toml::Value)> {
        let sections = self.0.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?)));
        sections.flat_map(|(section, keys)| keys.iter().map(|(key, value)| (section.as_str(), key.as_str(), value)))
    }

    /// Keys that one of two layers sets and the other does not, or not to the same value.
    #[must_use]
    pub fn difference(&self, other: &Self) -> BTreeSet<(String, String)> {
        let only = |a: &Self, b: &Self| -> Vec<(String, String)> {
            let get = |section: &str, key: &str| b.0.get(section)?.get(key).cloned();
            let differing = a.keys().filter(|(section, key, value)| get(section, key).as_ref() != Some(*value));
            differing.map(|(section, key, _)| (section.to_owned(), key.to_owned())).collect()
        };
        only(self, other).into_iter().chain(only(other, self)).collect()
    }
}

/// A value of the configuration in force, and who set it.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The value, in JSON.
    pub value: Value,
    /// Which of the layers that were merged, from 0; `None` for the site file and the defaults.
    pub layer: Option<usize>,
    /// Whether the site file sets it; false with `layer: None` means that it is the default.
    pub in_site: bool,
}

/// A configuration made of the site file and layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The configuration.
    pub config: Config,
    /// Each key that has a value, with its section, such as `video.bitrate_kbps`.
    pub origins: BTreeMap<String, Origin>,
}

impl Merged {
    /// The keys and their values, in one form for equal configurations: what is hashed to compare two of them.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let values: BTreeMap<&str, &Value> =
            self.origins.iter().map(|(key, origin)| (key.as_str(), &origin.value)).collect();
        serde_json::to_vec(&values).unwrap_or_default()
    }

    /// The keys in which two configurations differ, each as section and key.
    #[must_use]
    pub fn difference(&self, other: &Self) -> BTreeSet<(String, String)> {
        let keys: BTreeSet<&String> = self.origins.keys().chain(other.origins.keys()).collect();
        let value = |merged: &Self, key: &str| merged.origins.get(key).map(|origin| origin.value.clone());
        let differing = keys.into_iter().filter(|key| value(self, key) != value(other, key));
        differing.filter_map(|key| key.split_once('.')).map(|(s, k)| (s.to_owned(), k.to_owned())).collect()
    }
}

/// Merges layers over the site file, a later one over an earlier one.
///
/// # Errors
/// When values that are each allowed don't go together, or a layer makes a section without what must be in it.
pub fn merge(site: &Site, layers: &[&Layer]) -> Result<Merged, Vec<LayerError>> {
    let mut table = site.table.clone();
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        for (section, key, value) in layer.keys() {
            let section_table = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let Some(keys) = section_table.as_table_mut() {
                keys.insert(key.to_owned(), value.clone());
                owners.insert(format!("{section}.{key}"), index);
            }
        }
    }
    let missing = |section: &&String| !site.table.contains_key(*section) && lacks_required(&table, section);
    if let Some(section) = table.keys().find(missing) {
        let problem = Problem::Rule(format!("the site file has no section [{section}], and a push can't begin it"));
        return Err(vec![LayerError { key: section.clone(), problem }]);
    }
    let config: Config =
        serde::Deserialize::deserialize(toml::Value::Table(table)).map_err(|error: toml::de::Error| {
            vec![LayerError { key: String::new(), problem: Problem::Rule(error.message().to_owned()) }]
        })?;
    // A rule is told at the first of its keys that a layer sets.
    let places = owners.keys().map(|key| (key.clone(), 0..0)).collect();
    let mut findings = Findings { places, ..Findings::default() };
    rules::check(&config, &mut findings);
    if !findings.list.is_empty() {
        return Err(findings.list.into_iter().map(LayerError::from).collect());
    }
    let mut origins = BTreeMap::new();
    if let Ok(Value::Object(sections)) = serde_json::to_value(&config) {
        for (section, keys) in sections {
            for (key, value) in keys.as_object().into_iter().flatten() {
                let name = format!("{section}.{key}");
                let in_site = site.table.get(&section).is_some_and(|keys| keys.get(key).is_some());
                let layer = owners.get(&name).copied();
                origins.insert(name, Origin { value: value.clone(), layer, in_site });
            }
        }
    }
    Ok(Merged { config, origins })
}

fn lacks_required(table: &toml::Table, section: &str) -> bool {
    let required = schema().get("properties").and_then(|p| p.get(section)).and_then(|s| s.get("required"));
    let mut required = required.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    required.any(|key| table.get(section).is_none_or(|keys| keys.get(key).is_none()))
}

/// JSON as TOML. What TOML has no form for is a finding.
fn to_table(object: &Map<String, Value>, path: &str, findings: &mut Findings) -> toml::Table {
    let mut table = toml::Table::new();
    for (key, value) in object {
        let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if let Some(value) = to_toml(value, &place, findings) {
            table.insert(key.clone(), value);
        }
    }
    table
}

fn to_toml(value: &Value, path: &str, findings: &mut Findings) -> Option<toml::Value> {
    let mut refuse = |found: &str, allowed: &str| {
        let problem = Problem::NotAllowed { found: found.to_owned(), allowed: allowed.to_owned() };
        findings.list.push(Finding { key: check::printable_key(path), span: None, problem });
        None
    };
    if path.split('.').count() > MAX_DEPTH {
        return refuse("values in values", "a section, and in it keys with a value each");
    }
    match value {
        Value::Null => refuse("null", "a value; a key that is left out keeps the value of the layer below"),
        Value::Bool(value) => Some(toml::Value::Boolean(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Some(toml::Value::Integer(whole)),
            (None, Some(number)) => Some(toml::Value::Float(number)),
            (None, None) => refuse("a number of that size", "a number"),
        },
        Value::String(text) => Some(toml::Value::String(text.clone())),
        Value::Array(items) => {
            let items = items.iter().filter_map(|item| to_toml(item, &format!("{path}.[]"), findings));
            Some(toml::Value::Array(items.collect()))
        }
        Value::Object(object) => Some(toml::Value::Table(to_table(object, path, findings))),
    }
}

#[cfg(test)]
mod tests;
