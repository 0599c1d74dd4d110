//! What is known of a fleet: what kiosks say of themselves, and what admins have pushed.

use super::link::Message;
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::{
    DesiredPayload, Digest, Envelope, GroupName, KeyId, LayerName, LayerReport, Metrics, Presence, Reported, Revision,
    Target, Topic, TrustedKey, parse,
};
use std::collections::BTreeMap;

/// How many pushes to a target the broker keeps for going back.
pub const HISTORY: u64 = 8;

/// Everything that the broker holds.
#[derive(Debug, Default)]
pub struct View {
    /// Kiosks that said something.
    pub kiosks: BTreeMap<KioskId, Kiosk>,
    /// Layers of groups.
    pub groups: BTreeMap<GroupName, Pushed>,
    /// Layers of single kiosks.
    pub devices: BTreeMap<KioskId, Pushed>,
    /// Earlier pushes, by the topic of their target.
    pub history: BTreeMap<String, Vec<Pushed>>,
}

/// What one kiosk says.
#[derive(Debug, Default)]
pub struct Kiosk {
    /// Whether it is there.
    pub presence: Option<Presence>,
    /// What it made of what was pushed.
    pub reported: Option<Reported>,
    /// Its newest figures; only those that came while this program listened.
    pub metrics: Option<Metrics>,
}

/// A push as it stands at the broker. Its signature is checked where something is made of it.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// What was signed.
    pub payload: DesiredPayload,
    /// Its place and digest.
    pub revision: Revision,
    /// As it was sent.
    pub envelope: Envelope,
}

impl Pushed {
    /// Reads an envelope of a layer.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let envelope = Envelope::parse(bytes).ok()?;
        let bytes = envelope.unverified_payload().ok()?;
        let payload: DesiredPayload = parse(&bytes).ok()?;
        let revision = Revision { epoch: payload.epoch, revision: payload.revision, digest: Digest::of(&bytes) };
        Some(Self { payload, revision, envelope })
    }

    /// Whether one of these keys signed it; else the keys that did.
    pub fn signed_by(&self, trusted: &[TrustedKey]) -> Result<(), Vec<KeyId>> {
        let verified = self.envelope.verify(kiosk_proto::fleet::PayloadType::Desired, trusted);
        verified
            .map(drop)
            .map_err(|_| self.envelope.signatures.iter().map(|signature| signature.keyid.clone()).collect())
    }
}

/// The topic on which a push is kept for going back; kiosks have no right to read it.
pub fn history_topic(target: &Target, revision: u64) -> String {
    format!("{}/{}", history_prefix(target), revision % HISTORY)
}

fn history_prefix(target: &Target) -> String {
    match target {
        Target::Device(id) => format!("bk/v1/history/device/{id}"),
        Target::Group(group) => format!("bk/v1/history/group/{group}"),
    }
}

/// The topic of a target's layer.
pub fn desired_topic(target: &Target) -> Topic {
    match target {
        Target::Device(id) => Topic::DeviceDesired(id.clone()),
        Target::Group(group) => Topic::GroupDesired(group.clone()),
    }
}

/// What to subscribe to for knowing the fleet.
pub fn filters() -> Vec<String> {
    ["group/+/desired", "device/+/desired", "device/+/presence", "device/+/reported", "history/+/+/+"]
        .map(|rest| format!("bk/v1/{rest}"))
        .into()
}

impl View {
    /// Takes a message in. What can't be read changes nothing: a kiosk may be newer than this program.
    pub fn take(&mut self, message: &Message) {
        if let Some(rest) = message.topic.strip_prefix("bk/v1/history/") {
            let prefix = rest.rsplit_once('/').map_or(rest, |(prefix, _)| prefix);
            self.history.entry(prefix.to_owned()).or_default().extend(Pushed::read(&message.payload));
            return;
        }
        let Ok(topic) = message.topic.parse::<Topic>() else { return };
        let payload = message.payload.as_slice();
        match topic {
            Topic::GroupDesired(group) => match Pushed::read(payload) {
                Some(pushed) => drop(self.groups.insert(group, pushed)),
                None => drop(self.groups.remove(&group)),
            },
            Topic::DeviceDesired(id) => match Pushed::read(payload) {
                Some(pushed) => drop(self.devices.insert(id, pushed)),
                None => drop(self.devices.remove(&id)),
            },
            Topic::Presence(id) => self.kiosks.entry(id).or_default().presence = serde_json::from_slice(payload).ok(),
            Topic::Reported(id) => self.kiosks.entry(id).or_default().reported = serde_json::from_slice(payload).ok(),
            Topic::Metrics(id) => self.kiosks.entry(id).or_default().metrics = serde_json::from_slice(payload).ok(),
            _ => {}
        }
    }

    /// What stands on a target's topic.
    pub fn pushed(&self, target: &Target) -> Option<&Pushed> {
        match target {
            Target::Device(id) => self.devices.get(id),
            Target::Group(group) => self.groups.get(group),
        }
    }

    /// Earlier pushes to a target, newest first, without what stands there now.
    pub fn earlier(&self, target: &Target) -> Vec<&Pushed> {
        let prefix = history_prefix(target);
        let all = self.history.get(prefix.trim_start_matches("bk/v1/history/")).into_iter().flatten();
        let now = self.pushed(target).map(|pushed| pushed.revision);
        let mut earlier: Vec<&Pushed> = all.filter(|pushed| Some(pushed.revision) != now).collect();
        earlier.sort_by_key(|pushed| std::cmp::Reverse((pushed.revision.epoch, pushed.revision.revision)));
        earlier
    }

    /// Kiosks that listen to a group.
    pub fn members(&self, group: &GroupName) -> Vec<KioskId> {
        let listens = |kiosk: &&KioskId| self.groups_of(kiosk).contains(group);
        self.kiosks.keys().filter(listens).cloned().collect()
    }

    /// The groups of a kiosk, in the order of their layers, as far as it has told.
    pub fn groups_of(&self, id: &KioskId) -> Vec<GroupName> {
        let Some(kiosk) = self.kiosks.get(id) else { return Vec::new() };
        if let Some(reported) = &kiosk.reported {
            let group = |layer: &LayerReport| match &layer.layer {
                LayerName::Group(group) => Some(group.clone()),
                LayerName::Device => None,
            };
            return reported.layers.iter().filter_map(group).collect();
        }
        kiosk.presence.as_ref().map(|presence| presence.groups.clone()).unwrap_or_default()
    }

    /// What a kiosk reports of a layer.
    pub fn layer(&self, id: &KioskId, target: &Target) -> Option<&LayerReport> {
        let name = LayerName::of(target);
        self.kiosks.get(id)?.reported.as_ref()?.layers.iter().find(|layer| layer.layer == name)
    }

    /// What of a target's layer is in force on a kiosk. `None`: the broker does not have it any more.
    pub fn in_force(&self, id: &KioskId, target: &Target) -> Option<Option<&Pushed>> {
        let Some(confirmed) = self.layer(id, target).and_then(|layer| layer.confirmed) else { return Some(None) };
        let known = self.pushed(target).into_iter().chain(self.earlier(target));
        known.into_iter().find(|pushed| pushed.revision.digest == confirmed.digest).map(Some)
    }

    /// Whether a kiosk is connected.
    pub fn is_online(&self, id: &KioskId) -> bool {
        self.kiosks.get(id).and_then(|kiosk| kiosk.presence.as_ref()).is_some_and(|presence| presence.online)
    }
}
