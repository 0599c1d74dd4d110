//! Which kiosks are meant: by id, by group, or by what they say of themselves.

use super::view::View;
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::{GroupName, Target};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Which kiosks a command is for.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(id = "which", multiple = false)]
pub struct Which {
    /// One kiosk.
    #[arg(long, value_parser = kiosk)]
    pub device: Option<KioskId>,
    /// The kiosks of a group.
    #[arg(long, value_parser = group)]
    pub group: Option<GroupName>,
    /// The kiosks for which every part holds: id=seoul-*, group=NAME, version=0.2.*, online=yes, phase=rolled-back;
    /// parts are joined by commas, and * stands for anything.
    #[arg(long)]
    pub selector: Option<Selector>,
}

impl Which {
    /// The kiosks that are meant, of those that are known.
    pub fn kiosks(&self, view: &View) -> Vec<KioskId> {
        if let Some(id) = &self.device {
            return vec![id.clone()];
        }
        if let Some(group) = &self.group {
            return view.members(group);
        }
        let holds = |id: &&KioskId| self.selector.as_ref().is_none_or(|selector| selector.holds(id, view));
        view.kiosks.keys().filter(holds).cloned().collect()
    }

    /// The one target that is meant, when it is one.
    pub fn target(&self) -> Option<Target> {
        match (&self.device, &self.group) {
            (Some(id), _) => Some(Target::Device(id.clone())),
            (None, Some(group)) => Some(Target::Group(group.clone())),
            (None, None) => None,
        }
    }

    /// That nobody is in the group that is meant, and which groups have somebody.
    pub fn nobody(&self, view: &View) -> Option<String> {
        let group = self.group.as_ref().filter(|group| view.members(group).is_empty())?;
        let groups: BTreeSet<GroupName> = view.kiosks.keys().flat_map(|id| view.groups_of(id)).collect();
        let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
        Some(match groups.as_slice() {
            [] => format!("no kiosk is in group {group}, nor in any other"),
            known => format!("no kiosk is in group {group}; there are: {}", known.join(", ")),
        })
    }

    /// Whether anything was said.
    pub fn is_given(&self) -> bool {
        self.device.is_some() || self.group.is_some() || self.selector.is_some()
    }
}

fn kiosk(text: &str) -> Result<KioskId, String> {
    KioskId::try_from(text.to_owned()).map_err(|error| error.0)
}

fn group(text: &str) -> Result<GroupName, String> {
    GroupName::try_from(text.to_owned()).map_err(|error| error.0)
}

/// Conditions that all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<(Property, String)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Property {
    Id,
    Group,
    Version,
    Online,
    Phase,
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(|part| {
            let (name, pattern) = part.trim().split_once('=').unwrap_or(("id", part.trim()));
            let property = match name.trim() {
                "id" => Property::Id,
                "group" => Property::Group,
                "version" => Property::Version,
                "online" => Property::Online,
                "phase" => Property::Phase,
                other => {
                    return Err(format!("{other:?} is nothing to select by: id, group, version, online or phase is"));
                }
            };
            let pattern = pattern.trim();
            match (property, pattern) {
                (_, "") => Err(format!("{part:?} has nothing behind the ="))?,
                (Property::Online, "yes" | "no") => {}
                (Property::Online, _) => Err("online is yes or no")?,
                _ => {}
            }
            Ok((property, pattern.to_owned()))
        });
        parts.collect::<Result<_, String>>().map(Self)
    }
}

impl Selector {
    /// Whether it holds for a kiosk.
    pub fn holds(&self, id: &KioskId, view: &View) -> bool {
        let kiosk = view.kiosks.get(id);
        self.0.iter().all(|(property, pattern)| match property {
            Property::Id => matches(pattern, id.as_str()),
            Property::Group => view.groups_of(id).iter().any(|group| matches(pattern, group.as_str())),
            Property::Version => {
                let version = kiosk.and_then(|kiosk| kiosk.presence.as_ref()).map(|presence| presence.version.as_str());
                version.is_some_and(|version| matches(pattern, version))
            }
            Property::Online => view.is_online(id) == (pattern == "yes"),
            Property::Phase => {
                let reported = kiosk.and_then(|kiosk| kiosk.reported.as_ref());
                let newest = reported.into_iter().flat_map(|reported| &reported.layers);
                let mut newest = newest.filter_map(|layer| layer.attempts.first());
                newest.any(|attempt| matches(pattern, attempt.phase.as_str()))
            }
        })
    }
}

/// Whether a text is what a pattern describes, in which `*` stands for any number of characters.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.len() >= last.len() && text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::link::Message;
    use serde_json::json;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("seoul-*", "seoul-0421-1", true),
            ("seoul-*", "busan-1", false),
            ("*-1", "seoul-1", true),
            ("s*-0*-1", "seoul-0421-1", true),
            ("s*-0*-1", "seoul-0421-2", false),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn kiosks_are_chosen_by_what_they_say() {
        let mut view = View::default();
        for (id, online, version, group) in [
            ("seoul-1", true, "0.2.0", "wave-1"),
            ("seoul-2", false, "0.2.1", "wave-2"),
            ("busan-1", true, "0.1.0", "wave-1"),
        ] {
            let payload = json!({ "online": online, "version": version, "groups": [group] }).to_string().into_bytes();
            let topic = format!("bk/v1/device/{id}/presence");
            view.take(&Message { topic, payload, correlation: None, properties: Vec::new() });
        }
        let chosen = |text: &str| {
            let which = Which { selector: Some(text.parse().unwrap()), ..Which::default() };
            which.kiosks(&view).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(chosen("seoul-*"), "seoul-1 seoul-2");
        assert_eq!(chosen("group=wave-1"), "busan-1 seoul-1");
        assert_eq!(chosen("group=wave-1, id=s*"), "seoul-1");
        assert_eq!(chosen("version=0.2.*,online=no"), "seoul-2");
        assert_eq!(chosen("phase=*"), "");
        assert!("colour=red".parse::<Selector>().unwrap_err().contains("id, group, version, online or phase"));
        assert!("online=maybe".parse::<Selector>().is_err());
        assert!("id=".parse::<Selector>().is_err());
    }
}
