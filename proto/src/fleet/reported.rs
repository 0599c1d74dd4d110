//! What a kiosk says of itself: whether it is there, and what it makes of the desired layers.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::desired::Target;
use super::digest::Digest;
use super::name::GroupName;
use crate::check::tls::SOON_DAYS;

/// Retained on the `presence` topic, and the last will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Presence {
    /// Whether it is connected.
    pub online: bool,
    /// Version of the daemon.
    pub version: String,
    /// Groups that it listens to, in the order of their layers.
    #[serde(default)]
    pub groups: Vec<GroupName>,
    /// SHA-256 of the certificate that the broker took, as `openssl x509 -fingerprint -sha256` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Digest>,
    /// Why the broker did not take the one in `fleet.cert_file`: the kiosk has fallen back to the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_refused: Option<String>,
    /// When the one that the kiosk shows the broker ends, Unix seconds. The last will has it too: a kiosk that is gone
    /// because its certificate has ended is told from one without power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ends: Option<u64>,
    /// Topics of its own or of its groups that the broker does not let it read. A broker may also say nothing, as
    /// mosquitto does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    /// Topics of its own on which the broker has refused a message, or hung up at one, and has taken none since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwritable: Vec<String>,
}

impl Presence {
    /// What an admin should know of the kiosk's place at the broker at this time (Unix seconds), if anything.
    #[must_use]
    pub fn trouble(&self, now: u64) -> Option<String> {
        let unreadable = || {
            let topics = self.unreadable.join(", ");
            (!topics.is_empty()).then(|| format!("the broker does not let it read {topics}: see the broker's groups"))
        };
        let unwritable = || {
            let topics = self.unwritable.join(", ");
            let why = "see the broker's access list and limits";
            (!topics.is_empty()).then(|| format!("the broker does not take what it says on {topics}: {why}"))
        };
        self.certificate_trouble(now).or_else(unreadable).or_else(unwritable)
    }

    fn certificate_trouble(&self, now: u64) -> Option<String> {
        const DAY: u64 = 24 * 3600;
        if let Some(refused) = &self.certificate_refused {
            return Some(format!("the certificate in fleet.cert_file is not taken: {refused}"));
        }
        let ends = self.certificate_ends?;
        if ends <= now {
            return Some(
                "its certificate has ended, so the broker refuses it: a technician has to install another".into(),
            );
        }
        let days = (ends - now) / DAY;
        let soon = days < SOON_DAYS.unsigned_abs();
        soon.then(|| format!("its certificate ends in {days} days: write another over fleet.cert_file"))
    }
}

/// Which layer. They are merged in the order of `[fleet] groups`, the kiosk's own on top.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LayerName {
    /// That of a group.
    Group(GroupName),
    /// That of this kiosk alone.
    Device,
}

impl LayerName {
    /// Of a payload's target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        match target {
            Target::Device(_) => Self::Device,
            Target::Group(group) => Self::Group(group.clone()),
        }
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "group {group}"),
            Self::Device => f.write_str("device"),
        }
    }
}

/// Where a pushed layer is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Phase {
    /// It is here.
    Received,
    /// Signatures, target, order and expiry are in order.
    Verified,
    /// Merged with the other layers it is a configuration.
    Validated,
    /// It waits for the end of a call, for the link, or for another layer's trial.
    Staged,
    /// It is in force, until it proves itself or the deadline passes.
    Trial,
    /// It is in force for good.
    Confirmed,
    /// It was not tried.
    Rejected,
    /// It was tried, failed, and what was confirmed before is back.
    RolledBack,
}

impl Phase {
    /// Whether nothing more will happen to it by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Rejected | Self::RolledBack)
    }

    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Verified => "verified",
            Self::Validated => "validated",
            Self::Staged => "staged",
            Self::Trial => "trial",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// What orders the payloads of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Revision {
    /// See the payload.
    pub epoch: u32,
    /// See the payload.
    pub revision: u64,
    /// SHA-256 of the payload's exact bytes.
    pub digest: Digest,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ({})", self.epoch, self.revision, self.digest.short())
    }
}

/// One thing that is wrong, with the key that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct PathError {
    /// Such as `janus.url`; empty when it is about no key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong, what is allowed, and what to do.
    pub message: String,
}

/// When a phase was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct PhaseAt {
    /// Which.
    pub phase: Phase,
    /// Unix seconds; absent while the kiosk's clock is not synchronised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// What became of one payload whose signature was right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Attempt {
    /// Which payload.
    #[serde(flatten)]
    pub revision: Revision,
    /// Who pushed it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Where it is now.
    pub phase: Phase,
    /// The way until there. Phases that take no time of their own are in one report.
    pub phases: Vec<PhaseAt>,
    /// Why it was rejected or rolled back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<PathError>,
}

/// A message on a desired topic that was refused before it became an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Refusal {
    /// SHA-256 of the message's payload, or of the message itself when there is none.
    pub digest: Digest,
    /// Stable name, for programs: `malformed`, `too-large`, `unknown-key`, `wrong-signature`, `wrong-target`, `expired`,
    /// `stale`, `conflict`, `signatures-missing`.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// How often in a row.
    pub count: u32,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct LayerReport {
    /// Which.
    pub layer: LayerName,
    /// What of it is in force for good; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Revision>,
    /// The last payloads, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The last message that was refused, until one is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// The confirmed layer does not fit the site file any more and is left out: why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<PathError>,
}

/// Retained on the `reported` topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reported {
    /// Version of the daemon.
    pub version: String,
    /// SHA-256 of the configuration in force; equal on two kiosks when every key is.
    pub effective: Digest,
    /// The same of what is confirmed: another one only in a trial.
    pub confirmed: Digest,
    /// Every layer that this kiosk listens to, in the order of the merge.
    pub layers: Vec<LayerReport>,
    /// What is wrong with the kiosk's own storage of all this, such as a full disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// How much was left out of this report, since the broker takes none that is larger: older attempts, errors, and
    /// the ends of long texts.
    #[serde(default, skip_serializing_if = "nothing")]
    pub omitted: u32,
}

fn nothing(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_is_told_of_a_certificate_in_time() {
        const DAY: u64 = 24 * 3600;
        let now = 1_800_000_000;
        let trouble = |ends: Option<u64>, refused: Option<&str>| {
            let certificate_refused = refused.map(str::to_owned);
            let (version, groups) = (String::new(), Vec::new());
            let (certificate, unreadable, unwritable) = (None, Vec::new(), Vec::new());
            let certificate_ends = ends;
            let presence = Presence {
                online: true,
                version,
                groups,
                certificate,
                certificate_refused,
                certificate_ends,
                unreadable,
                unwritable,
            };
            // What shuts a kiosk out comes before what it can't read.
            let group = Presence { unreadable: vec!["bk/v1/group/a/desired".into()], ..presence.clone() };
            assert_eq!(group.trouble(now).is_some_and(|why| why.contains("group/a")), presence.trouble(now).is_none());
            let event = Presence { unwritable: vec!["bk/v1/device/a/event".into()], ..presence.clone() };
            assert_eq!(event.trouble(now).is_some_and(|why| why.contains("a/event")), presence.trouble(now).is_none());
            presence.trouble(now)
        };
        assert_eq!([trouble(None, None), trouble(Some(now + 30 * DAY), None)], [None, None]);
        assert!(trouble(Some(now + 30 * DAY - 1), None).unwrap().contains("in 29 days"));
        assert!(trouble(Some(now), None).unwrap().contains("has ended"));
        assert!(trouble(Some(now + 365 * DAY), Some("expired")).unwrap().contains("not taken: expired"));
    }
}
