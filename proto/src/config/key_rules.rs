//! What a push may do with each key: one table, the schema itself.

use serde_json::Value;

use super::json::schema;

/// Whether a key can be pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Only the site file sets it: who the kiosk is, whom it listens to, and which files it reads as secrets.
    SiteOnly,
    /// It can cut the kiosk off: two signatures, where the site's policy asks for them.
    TwoSignatures,
    /// By anybody whose key is trusted.
    Freely,
}

/// When a changed value is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TakesEffect {
    /// At once; a running call goes on.
    AtOnce,
    /// When the next call starts.
    NextCall,
    /// When the daemon starts again.
    Restart,
}

/// The rules of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRules {
    /// Whether it can be pushed.
    pub pushed: Pushed,
    /// When it is in force.
    pub takes_effect: TakesEffect,
}

/// The rules of a key of the schema.
#[must_use]
pub fn key_rules(section: &str, key: &str) -> Option<KeyRules> {
    let schema = schema().get("properties")?.get(section)?.get("properties")?.get(key)?;
    Some(rules_of(schema))
}

/// Values of a key that only the site file sets, though another one may be pushed.
pub(super) fn site_only_values(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("x-fleet-except").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The rules that a key's schema states.
pub(super) fn rules_of(schema: &Value) -> KeyRules {
    let word = |name: &str| schema.get(name).and_then(Value::as_str);
    let pushed = match word("x-fleet") {
        Some("site-only") => Pushed::SiteOnly,
        Some("two-signatures") => Pushed::TwoSignatures,
        _ => Pushed::Freely,
    };
    let takes_effect = match word("x-takes-effect") {
        Some("at-once") => TakesEffect::AtOnce,
        Some("restart") => TakesEffect::Restart,
        _ => TakesEffect::NextCall,
    };
    KeyRules { pushed, takes_effect }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_cut_the_kiosk_off_and_what_only_the_site_sets() {
        let mut of: [Vec<String>; 2] = [Vec::new(), Vec::new()];
        for (section, schema) in schema()["properties"].as_object().unwrap() {
            for (key, schema) in schema["properties"].as_object().unwrap() {
                // A misspelt word would be no rule at all.
                assert!(matches!(schema["x-fleet"].as_str(), None | Some("site-only" | "two-signatures")), "{key}");
                assert!(matches!(schema["x-takes-effect"].as_str(), None | Some("at-once" | "restart")), "{key}");
                match rules_of(schema).pushed {
                    Pushed::SiteOnly => of[0].push(format!("{section}.{key}")),
                    Pushed::TwoSignatures => of[1].push(format!("{section}.{key}")),
                    Pushed::Freely => {}
                }
            }
        }
        of.iter_mut().for_each(|keys| keys.sort());
        insta::assert_snapshot!(format!("site only: {}\ntwo signatures: {}", of[0].join(" "), of[1].join(" ")));
        assert_eq!(key_rules("janus", "nothing"), None);
    }
}
