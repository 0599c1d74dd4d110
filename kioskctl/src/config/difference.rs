//! What a push would change on each kiosk, by what the broker holds.

use super::change::flat;
use crate::fleet::view::View;
use crate::output::one_line;
use kiosk_proto::config::{KioskId, Pushed as PushedBy, key_rules};
use kiosk_proto::fleet::Target;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One key that would have another value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyChange {
    /// Such as `video.bitrate_kbps`.
    pub key: String,
    /// What a pushed layer sets now; without one it is the site file's or the default.
    pub from: Option<Value>,
    /// What a pushed layer would set.
    pub to: Option<Value>,
}

impl KeyChange {
    /// As people read it.
    pub fn line(&self) -> String {
        let shown = |value: &Option<Value>| value.as_ref().map_or("(site file or default)".into(), Value::to_string);
        format!("{}  {} -> {}", one_line(&self.key), shown(&self.from), shown(&self.to))
    }
}

/// What the kiosks of a push have in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// What changes for them.
    pub changes: Vec<KeyChange>,
    /// Who they are.
    pub kiosks: Vec<KioskId>,
    /// Those of them with a layer that the broker does not know any more, so that more or less may change.
    pub uncertain: Vec<KioskId>,
}

/// What changes on each kiosk when these targets get these layers; kiosks with the same change together.
pub fn differences(view: &View, kiosks: &[KioskId], layers: &BTreeMap<String, Map<String, Value>>) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    for id in kiosks {
        let (before, after) = (effective(view, id, &BTreeMap::new()), effective(view, id, layers));
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
        let change =
            |key: &String| KeyChange { key: key.clone(), from: before.get(key).cloned(), to: after.get(key).cloned() };
        let changes: Vec<KeyChange> = changed.map(change).collect();
        let at = found.iter().position(|difference| difference.changes == changes);
        let at = at.unwrap_or_else(|| {
            found.push(Difference { changes, kiosks: Vec::new(), uncertain: Vec::new() });
            found.len() - 1
        });
        if let Some(difference) = found.get_mut(at) {
            difference.kiosks.push(id.clone());
            if is_uncertain(view, id) {
                difference.uncertain.push(id.clone());
            }
        }
    }
    found
}

/// The targets whose layers make up a kiosk's configuration, in the order of the merge.
fn targets(view: &View, id: &KioskId) -> Vec<Target> {
    let groups = view.groups_of(id).into_iter().map(Target::Group);
    groups.chain([Target::Device(id.clone())]).collect()
}

/// What the pushed layers of a kiosk set together.
fn effective(view: &View, id: &KioskId, layers: &BTreeMap<String, Map<String, Value>>) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    for target in targets(view, id) {
        let held = view.in_force(id, &target).flatten().map(|pushed| &pushed.payload.config.0);
        keys.extend(layers.get(&name(&target)).or(held).into_iter().flat_map(flat));
    }
    keys
}

/// Whether a kiosk has a layer in force that the broker does not know any more.
fn is_uncertain(view: &View, id: &KioskId) -> bool {
    targets(view, id).iter().any(|target| view.in_force(id, target).is_none())
}

/// A target as one word: `group/seoul`, `device/seoul-1`.
pub fn name(target: &Target) -> String {
    match target {
        Target::Device(id) => format!("device/{id}"),
        Target::Group(group) => format!("group/{group}"),
    }
}

/// Keys of a layer that can cut a kiosk off, and are not on each of these kiosks as they would be.
pub fn cutting_off(view: &View, kiosks: &[KioskId], target: &Target, after: &Map<String, Value>) -> BTreeSet<String> {
    let mut befores: Vec<BTreeMap<String, Value>> = Vec::new();
    for id in kiosks {
        let held = view.in_force(id, target).flatten().map(|pushed| flat(&pushed.payload.config.0));
        let before = held.unwrap_or_default().into_iter().collect();
        if !befores.contains(&before) {
            befores.push(before);
        }
    }
    let after: BTreeMap<String, Value> = flat(after).into_iter().collect();
    let differing = befores.iter().flat_map(|before| {
        let keys = before.keys().chain(after.keys());
        keys.filter(|key| before.get(*key) != after.get(*key)).cloned().collect::<Vec<_>>()
    });
    let cuts = |key: &String| {
        let rules = key.split_once('.').and_then(|(section, key)| key_rules(section, key));
        rules.is_some_and(|rules| rules.pushed == PushedBy::TwoSignatures)
    };
    differing.filter(cuts).collect()
}

/// What changes, kiosks with the same change together.
pub fn show_differences(found: &[Difference]) -> String {
    let mut text = String::new();
    for difference in found {
        let who = match difference.kiosks.as_slice() {
            [only] => only.to_string(),
            many => format!("{} kiosks", many.len()),
        };
        if difference.changes.is_empty() {
            text += &format!("  {who}: nothing changes\n");
        } else {
            text += &format!("  {who}:\n");
            for change in &difference.changes {
                text += &format!("    {}\n", change.line());
            }
        }
        if !difference.uncertain.is_empty() {
            let number = difference.uncertain.len();
            text += &format!(
                "    ({number} of them have a layer in force that the broker does not know any more: --dry-run asks the kiosks)\n"
            );
        }
    }
    text
}
