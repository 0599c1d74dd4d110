//! Which layer set a value, and what a layer would change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DesiredState;
use super::confirmed::path_errors;
use crate::config::{Layer, Pushed as PushedBy, TakesEffect, key_rules};
use crate::fleet::desired::{Apply, DesiredPayload, Target};
use crate::fleet::digest::Digest;
use crate::fleet::durable::Pushed;
use crate::fleet::reported::{LayerName, PathError, Revision};
use crate::fleet::strict::Object;

/// A value of the configuration in force. The result of `explain-config` is a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// Such as `video.bitrate_kbps`.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Who set it: `default`, `site`, or a layer such as `group north` or `device`.
    pub set_by: String,
    /// The payload that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Who pushed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was signed, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
}

/// One value that would become another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Change {
    /// Such as `video.bitrate_kbps`.
    pub key: String,
    /// What it is; absent when it has no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// The result of `dry-run`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    /// What would be in force and is not.
    pub changes: Vec<Change>,
    /// Why it would be rejected.
    pub errors: Vec<PathError>,
    /// Whether two trusted keys would have to sign it here.
    pub two_signatures: bool,
    /// Whether it would wait for the end of a call even with `apply: now`.
    pub waits_for_idle: bool,
    /// Whether the daemon would start again for it.
    pub restarts: bool,
}

impl DesiredState {
    /// Who set the values in force: those of the keys that are asked for, or all of them. Keys that there are not, and
    /// keys without a value, are left out.
    #[must_use]
    pub fn explain(&self, keys: &[String]) -> Vec<Explained> {
        let origins = self.in_force.merged.origins.iter().filter(|(key, _)| keys.is_empty() || keys.contains(key));
        origins
            .map(|(key, origin)| {
                let layer = origin.layer.and_then(|index| self.in_force.layers.get(index));
                let pushed = layer.and_then(|layer| self.pushed(layer));
                let set_by = match layer {
                    Some(layer) => layer.to_string(),
                    None if origin.in_site => "site".to_owned(),
                    None => "default".to_owned(),
                };
                Explained {
                    key: key.clone(),
                    value: origin.value.clone(),
                    set_by,
                    revision: pushed.map(|pushed| pushed.revision),
                    author: pushed.map(|pushed| pushed.payload.author.clone()),
                    reason: pushed.map(|pushed| pushed.payload.reason.clone()),
                    created: pushed.map(|pushed| pushed.payload.created),
                }
            })
            .collect()
    }

    /// What of a layer is in force.
    fn pushed(&self, layer: &LayerName) -> Option<&Pushed> {
        let trial = self.durable.trial.as_ref().filter(|trial| trial.layer == *layer && self.on_trial());
        trial.map(|trial| &trial.pushed).or_else(|| self.durable.layer(layer)?.confirmed.as_ref())
    }

    /// What a layer would change of what is confirmed, and what is wrong with it.
    #[must_use]
    pub fn dry_run(&self, layer: &LayerName, config: Object) -> DryRun {
        let mut outcome = DryRun::default();
        if !self.layer_names().contains(layer) {
            let message = format!("this kiosk does not listen to the layer {layer}");
            outcome.errors.push(PathError { path: String::new(), message });
            return outcome;
        }
        let read = match Layer::read(&config.0) {
            Ok(read) => read,
            Err(errors) => {
                outcome.errors = path_errors(errors);
                return outcome;
            }
        };
        let before = self.durable.layer(layer).and_then(|layer| layer.confirmed.as_ref());
        let before = before.and_then(|pushed| Layer::read(&pushed.payload.config.0).ok()).unwrap_or_default();
        let policy = self.site.config().fleet.as_ref().is_some_and(|fleet| fleet.two_signatures);
        let cuts_off = |(section, key): &(String, String)| {
            key_rules(section, key).is_some_and(|rules| rules.pushed == PushedBy::TwoSignatures)
        };
        outcome.two_signatures = policy && read.difference(&before).iter().any(cuts_off);

        let pushed = unsigned(layer, config, self.site.config().kiosk.id.clone());
        let effective = match self.with(layer, &pushed) {
            Ok(effective) => effective,
            Err(errors) => {
                outcome.errors = errors;
                return outcome;
            }
        };
        if let Some(failed) = self.durable.failure(&effective.digest) {
            let message =
                format!("the same configuration was tried with {} and taken back: {}", failed.revision, failed.why);
            outcome.errors.push(PathError { path: String::new(), message });
        }
        let changed = effective.merged.difference(&self.confirmed.merged);
        let value = |merged: &crate::config::Merged, key: &str| merged.origins.get(key).map(|o| o.value.clone());
        let changes = changed.iter().map(|(section, key)| {
            let key = format!("{section}.{key}");
            let (from, to) = (value(&self.confirmed.merged, &key), value(&effective.merged, &key));
            Change { key, from, to }
        });
        outcome.changes = changes.collect();
        let takes_effect = super::takes_effect(&changed);
        outcome.waits_for_idle = takes_effect != TakesEffect::AtOnce;
        outcome.restarts = takes_effect == TakesEffect::Restart;
        outcome
    }
}

/// A layer that nobody pushed, to be merged and forgotten.
fn unsigned(layer: &LayerName, config: Object, id: crate::config::KioskId) -> Pushed {
    let target = match layer {
        LayerName::Group(group) => Target::Group(group.clone()),
        LayerName::Device => Target::Device(id),
    };
    let (author, reason) = (String::new(), String::new());
    let (epoch, revision, created, expires) = (0, 0, 0, None);
    let payload = DesiredPayload {
        target,
        epoch,
        revision,
        author,
        reason,
        created,
        expires,
        apply: Apply::Idle,
        force: false,
        config,
    };
    Pushed { revision: Revision { epoch, revision, digest: Digest::of(b"") }, signers: Vec::new(), payload }
}
