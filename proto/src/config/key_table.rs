//! The table of keys in the documentation, made from the schema: it can't say anything else than the errors do.

use std::fmt::Write;

use serde_json::Value;

use super::json_schema;
use super::key_rules::{Pushed, TakesEffect, key_rules, site_only_values};
use super::leaf::describe;

/// In the order of the file.
const SECTIONS: [&str; 11] =
    ["kiosk", "janus", "ice", "proxy", "relay", "camera", "video", "audio", "display", "control", "fleet"];

fn table() -> String {
    let schema = json_schema();
    let sections = schema["properties"].as_object().unwrap();
    assert_eq!(sections.len(), SECTIONS.len(), "a section is missing in SECTIONS");
    let mut out = "# The keys of kiosk.toml\n\nMade from the schema by `./dev schema`; not to be edited.\n\n\
                   `fleet`: who may push the key over MQTT (docs/fleet.md); two signatures are asked for where\n\
                   `fleet.two_signatures` is true. `takes effect`: when a pushed value does.\n"
        .to_owned();
    for name in SECTIONS {
        let section = &sections[name];
        let text = section["description"].as_str().unwrap();
        write!(out, "\n## [{name}]\n\n{text}\n\n| key | default | allowed | what it is | fleet | takes effect |\n|---|---|---|---|---|---|\n")
            .unwrap();
        let required = section["required"].as_array().cloned().unwrap_or_default();
        for (key, schema) in section["properties"].as_object().unwrap() {
            let default = match schema.get("default") {
                Some(default) => format!("`{default}`"),
                None if required.contains(&Value::from(key.as_str())) => "must be set".into(),
                None => "none".into(),
            };
            let (allowed, text) = (describe(schema), schema["description"].as_str().unwrap());
            let rules = key_rules(name, key).unwrap();
            let except: Vec<String> = site_only_values(schema).map(|value| format!("{value:?}")).collect();
            let pushed = match rules.pushed {
                Pushed::SiteOnly => "site file only".to_owned(),
                Pushed::TwoSignatures => "two signatures".to_owned(),
                Pushed::Freely if except.is_empty() => "yes".to_owned(),
                Pushed::Freely => format!("yes, but not {}", except.join(", ")),
            };
            let effect = match rules.takes_effect {
                _ if rules.pushed == Pushed::SiteOnly => "–",
                TakesEffect::AtOnce => "at once",
                TakesEffect::NextCall => "next call",
                TakesEffect::Restart => "restart",
            };
            let allowed = allowed.replace('|', "\\|");
            writeln!(out, "| `{key}` | {default} | {allowed} | {text} | {pushed} | {effect} |").unwrap();
        }
    }
    out
}

/// The name begins as that of the test of the schema itself does: one command writes both.
#[test]
fn the_schema_in_the_repository_is_what_the_documentation_shows() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kiosk-keys.md");
    let table = table();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == table, "docs/kiosk-keys.md is not what the schema says; write it anew with ./dev schema");
}
