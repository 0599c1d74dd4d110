//! What admins push: one layer of configuration, for a group or for one kiosk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::GroupName;
use super::strict::Object;
use crate::config::KioskId;

/// Whom a payload is for. It is signed with it: what was made for one can't be sent to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Target {
    /// One kiosk.
    Device(KioskId),
    /// All kiosks of a group.
    Group(GroupName),
}

/// When a layer is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Apply {
    /// When no customer is in a call.
    #[default]
    Idle,
    /// At once, when all that changes is harmless to a call; else as `idle`.
    Now,
}

/// The signed payload on a `desired` topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DesiredPayload {
    /// Whom it is for.
    pub target: Target,
    /// Goes up by one when revisions start over, such as after the loss of the admins' records.
    pub epoch: u32,
    /// Goes up with every push to this target; compared only within an epoch.
    pub revision: u64,
    /// Who pushes it: for people, not trusted further than the signature is.
    #[schemars(length(min = 1, max = 128))]
    pub author: String,
    /// Why, for people.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// When it was signed, Unix seconds.
    pub created: u64,
    /// Until when a kiosk may begin to try it, Unix seconds. What is confirmed stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// When it is applied.
    #[serde(default)]
    pub apply: Apply,
    /// Try it although the same configuration failed before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Keys of `kiosk.toml`, section by section: all that this layer sets. An empty object takes the layer away.
    pub config: Object,
}
