//! Each key and value of a document, alone, against the schema.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value as Schema;
use toml::de::{DeTable, DeValue};

use super::errors::Problem;
use super::excerpt::hints_at_secret;
use super::key_rules::{Pushed, rules_of, site_only_values};
use super::leaf::{describe, describe_value, format_of, leaf, shortened};

/// One thing that is wrong, before it has a line and a column.
#[derive(Debug)]
pub(super) struct Finding {
    pub key: String,
    pub span: Option<Range<usize>>,
    pub problem: Problem,
}

impl Finding {
    pub(super) fn without_place(key: &str, problem: Problem) -> Self {
        Self { key: key.into(), span: None, problem }
    }
}

/// What the check has seen: the rules between keys need it too.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub list: Vec<Finding>,
    /// Where each key's value stands.
    pub places: BTreeMap<String, Range<usize>>,
    /// Keys whose value is missing or wrong: a rule about one of them would only confuse.
    pub unsound: BTreeSet<String>,
}

/// How much of a configuration a document has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of it: keys without a default must be there.
    Whole,
    /// Some keys, none of them one that only the site file sets.
    Layer,
}

/// Checks a document. The table has what is right; where a key must be there but is missing or wrong, it has the
/// schema's example, so that the rules between the other keys can be checked too.
pub(super) fn table(document: &DeTable<'_>, schema: &Schema, scope: Scope, findings: &mut Findings) -> toml::Table {
    section(document, "", None, schema, &Known::new(schema, scope), findings)
}

/// All keys of the schema, for suggestions across sections.
struct Known {
    keys: Vec<(String, String)>,
    scope: Scope,
}

impl Known {
    fn new(schema: &Schema, scope: Scope) -> Self {
        let keys = properties(schema)
            .flat_map(|(section, schema)| properties(schema).map(move |(key, _)| (section.clone(), key.clone())));
        Self { keys: keys.collect(), scope }
    }

    /// The nearest key of the same place; else the same key in another section.
    fn nearest(&self, key: &str, here: &[String]) -> Option<String> {
        let likeness = |known: &str| strsim::jaro_winkler(&key.to_lowercase(), known);
        let best = here.iter().map(|known| (likeness(known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, known)) = best.filter(|(likeness, _)| *likeness >= 0.8) {
            return Some(known.clone());
        }
        let elsewhere = self.keys.iter().find(|(_, known)| known == key);
        elsewhere.map(|(section, known)| format!("{section}.{known}"))
    }
}

fn properties(schema: &Schema) -> impl Iterator<Item = (&String, &Schema)> {
    schema.get("properties").and_then(Schema::as_object).into_iter().flatten()
}

fn is_section(schema: &Schema) -> bool {
    schema.get("type").and_then(Schema::as_str) == Some("object")
}

fn section(
    document: &DeTable<'_>,
    path: &str,
    header: Option<Range<usize>>,
    schema: &Schema,
    known: &Known,
    findings: &mut Findings,
) -> toml::Table {
    let mut sound = toml::Table::new();
    let at = |key: &str| {
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    };
    for (key, value) in document {
        let name = key.get_ref().as_ref();
        let place = at(name);
        let Some((_, schema)) = properties(schema).find(|(known, _)| *known == name) else {
            let here: Vec<String> = properties(schema).map(|(key, _)| key.clone()).collect();
            let problem = Problem::UnknownKey { suggestion: known.nearest(name, &here), known: here };
            findings.list.push(Finding { key: printable_key(&place), span: Some(key.span()), problem });
            continue;
        };
        findings.places.insert(place.clone(), value.span());
        if known.scope == Scope::Layer && !is_section(schema) && rules_of(schema).pushed == Pushed::SiteOnly {
            findings.list.push(Finding { key: place, span: Some(key.span()), problem: Problem::SiteOnly });
            continue;
        }
        if known.scope == Scope::Layer
            && let DeValue::String(text) = value.get_ref()
            && let Some(found) = site_only_values(schema).find(|value| *value == text)
        {
            let problem = Problem::SiteOnlyValue(found.to_owned());
            findings.list.push(Finding { key: place, span: Some(value.span()), problem });
            continue;
        }
        let checked = match value.get_ref() {
            DeValue::Table(inner) if is_section(schema) => {
                Ok(toml::Value::Table(section(inner, &place, Some(key.span()), schema, known, findings)))
            }
            other if is_section(schema) => Err((describe_value(other), format!("a section, written [{name}]"))),
            other => leaf(other, schema).map_err(|allowed| {
                let secret = format_of(schema) == Some("secret-file") || hints_at_secret(name);
                let url_with_more = matches!(other, DeValue::String(text) if hints_at_secret(text));
                let found =
                    if secret || url_with_more { "a value that is not shown".into() } else { describe_value(other) };
                (found, allowed)
            }),
        };
        match checked {
            Ok(value) => {
                sound.insert(name.to_owned(), value);
            }
            Err((found, allowed)) => {
                let problem = Problem::NotAllowed { found, allowed };
                findings.list.push(Finding { key: place.clone(), span: Some(value.span()), problem });
                findings.unsound.insert(place);
            }
        }
    }
    if known.scope == Scope::Layer {
        return sound;
    }
    let required = schema.get("required").and_then(Schema::as_array).into_iter().flatten().filter_map(Schema::as_str);
    for name in required {
        if sound.contains_key(name) {
            continue;
        }
        let Some((_, schema)) = properties(schema).find(|(key, _)| *key == name) else {
            continue;
        };
        let place = at(name);
        if is_section(schema) {
            let wrong = findings.unsound.contains(&place);
            let mut missing = Findings::default();
            let stand_in = section(&DeTable::new(), &place, None, schema, known, &mut missing);
            findings.unsound.append(&mut missing.unsound);
            if !wrong {
                findings.list.append(&mut missing.list);
            }
            sound.insert(name.to_owned(), toml::Value::Table(stand_in));
            continue;
        }
        let example = example(schema);
        if findings.unsound.insert(place.clone()) {
            let line = example.as_ref().map_or_else(String::new, |example| format!("{name} = {example}"));
            let example = if header.is_some() { line } else { format!("[{path}] {line}") };
            let problem = Problem::Missing { allowed: describe(schema), example };
            findings.list.push(Finding { key: place, span: header.clone(), problem });
        }
        if let Some(example) = example {
            sound.insert(name.to_owned(), example);
        }
    }
    sound
}

fn example(schema: &Schema) -> Option<toml::Value> {
    toml::Value::try_from(schema.get("examples")?.get(0)?).ok()
}

pub(super) fn printable_key(key: &str) -> String {
    shortened(&key.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>())
}
