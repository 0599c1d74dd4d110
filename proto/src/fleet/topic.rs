//! The topics, and who listens where.

use std::fmt;
use std::str::FromStr;

use super::name::{CommandId, GroupName};
use crate::config::KioskId;

/// What every topic begins with. The number changes when a payload changes so that older readers can't understand it.
const PREFIX: &str = "bk/v1";

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Retained, QoS 1, admin to kiosks: the signed layer of a group.
    GroupDesired(GroupName),
    /// Retained, QoS 1, admin to kiosk: the signed layer of one kiosk.
    DeviceDesired(KioskId),
    /// QoS 1, never retained, with message expiry: a signed command.
    Command(KioskId),
    /// QoS 1: the answer to a command; the rest is what the asking client chose.
    Response(KioskId, Option<String>),
    /// Retained, also as last will: whether the kiosk is connected.
    Presence(KioskId),
    /// Retained, QoS 1: what the kiosk makes of the desired layers.
    Reported(KioskId),
    /// QoS 0: figures.
    Metrics(KioskId),
    /// QoS 1, through the outbox: what happened.
    Event(KioskId),
    /// QoS 1: a part of the diagnostics that a command asked for.
    Chunk(KioskId, CommandId),
}

/// A topic that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{topic:?} is no topic of a kiosk; see docs/fleet.md for all of them")]
pub struct TopicError {
    topic: String,
}

/// The longest rest of a response topic, bytes.
const MAX_RESPONSE_REST: usize = 64;

fn is_response_rest(rest: &str) -> bool {
    (1..=MAX_RESPONSE_REST).contains(&rest.len())
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroupDesired(group) => write!(f, "{PREFIX}/group/{group}/desired"),
            Self::DeviceDesired(id) => write!(f, "{PREFIX}/device/{id}/desired"),
            Self::Command(id) => write!(f, "{PREFIX}/device/{id}/command"),
            Self::Response(id, None) => write!(f, "{PREFIX}/device/{id}/response"),
            Self::Response(id, Some(rest)) => write!(f, "{PREFIX}/device/{id}/response/{rest}"),
            Self::Presence(id) => write!(f, "{PREFIX}/device/{id}/presence"),
            Self::Reported(id) => write!(f, "{PREFIX}/device/{id}/reported"),
            Self::Metrics(id) => write!(f, "{PREFIX}/device/{id}/metrics"),
            Self::Event(id) => write!(f, "{PREFIX}/device/{id}/event"),
            Self::Chunk(id, command) => write!(f, "{PREFIX}/device/{id}/chunk/{command}"),
        }
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let parsed = || {
            let rest = text.strip_prefix(PREFIX)?.strip_prefix('/')?;
            let (kind, rest) = rest.split_once('/')?;
            let (name, what) = rest.split_once('/')?;
            if kind == "group" {
                let group = GroupName::try_from(name.to_owned()).ok()?;
                return (what == "desired").then_some(Self::GroupDesired(group));
            }
            let id = KioskId::try_from(name.to_owned()).ok().filter(|_| kind == "device")?;
            Some(match what.split_once('/') {
                None => match what {
                    "desired" => Self::DeviceDesired(id),
                    "command" => Self::Command(id),
                    "response" => Self::Response(id, None),
                    "presence" => Self::Presence(id),
                    "reported" => Self::Reported(id),
                    "metrics" => Self::Metrics(id),
                    "event" => Self::Event(id),
                    _ => return None,
                },
                Some(("response", rest)) if is_response_rest(rest) => Self::Response(id, Some(rest.to_owned())),
                Some(("chunk", command)) => Self::Chunk(id, CommandId::try_from(command.to_owned()).ok()?),
                Some(_) => return None,
            })
        };
        parsed().ok_or_else(|| TopicError { topic: text.chars().take(120).collect() })
    }
}

/// What a kiosk subscribes to, each at QoS 1.
#[must_use]
pub fn kiosk_filters(id: &KioskId, groups: &[GroupName]) -> Vec<String> {
    let groups = groups.iter().cloned().map(Topic::GroupDesired);
    let own = [Topic::DeviceDesired(id.clone()), Topic::Command(id.clone())];
    groups.chain(own).map(|topic| topic.to_string()).collect()
}

/// What an admin subscribes to for all kiosks, or for one: a filter for each kind of message that a kiosk sends.
#[must_use]
pub fn admin_filters(id: Option<&KioskId>) -> Vec<String> {
    let id = id.map_or("+", KioskId::as_str);
    ["presence", "reported", "metrics", "event"].map(|kind| format!("{PREFIX}/device/{id}/{kind}")).into()
}

/// Where the answer to a command goes: the asked-for response topic when it is one of this kiosk's, else the plain one.
///
/// # Errors
/// When another kiosk's topic, or no response topic at all, is asked for: the message must not be a way to make the
/// kiosk write where its sender could not.
pub fn response_topic(own: &KioskId, asked: Option<&str>) -> Result<Topic, TopicError> {
    let Some(asked) = asked else { return Ok(Topic::Response(own.clone(), None)) };
    match asked.parse()? {
        topic @ Topic::Response(..) if matches!(&topic, Topic::Response(id, _) if id == own) => Ok(topic),
        _ => Err(TopicError { topic: asked.chars().take(120).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> KioskId {
        KioskId::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn every_topic_is_read_as_it_is_written() {
        let group = GroupName::try_from("north".to_owned()).unwrap();
        let texts: Vec<String> = [
            Topic::GroupDesired(group),
            Topic::DeviceDesired(id("a-1")),
            Topic::Command(id("a-1")),
            Topic::Response(id("a-1"), None),
            Topic::Response(id("a-1"), Some("x/7".to_owned())),
            Topic::Presence(id("a-1")),
            Topic::Reported(id("a-1")),
            Topic::Metrics(id("a-1")),
            Topic::Event(id("a-1")),
            Topic::Chunk(id("a-1"), CommandId::from_random([7; 16])),
        ]
        .iter()
        .map(|topic| {
            assert_eq!(topic.to_string().parse().as_ref(), Ok(topic));
            topic.to_string()
        })
        .collect();
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn a_response_goes_to_a_response_topic_of_this_kiosk_only() {
        let own = id("a-1");
        let asked = |topic| response_topic(&own, topic).map(|topic| topic.to_string());
        assert_eq!(asked(None), Ok("bk/v1/device/a-1/response".to_owned()));
        assert_eq!(asked(Some("bk/v1/device/a-1/response/s1")), Ok("bk/v1/device/a-1/response/s1".to_owned()));
        for bad in [
            "bk/v1/device/a-2/response",
            "bk/v1/device/a-1/reported",
            "bk/v1/device/a-1/response/",
            "bk/v1/device/a-1/response/#",
            "bk/v1/group/a-1/desired",
            "$SYS/x",
            "",
        ] {
            assert!(asked(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_kiosk_listens_to_its_own_and_its_groups() {
        let groups = ["all", "north"].map(|name| GroupName::try_from(name.to_owned()).unwrap());
        assert_eq!(
            kiosk_filters(&id("a-1"), &groups),
            [
                "bk/v1/group/all/desired",
                "bk/v1/group/north/desired",
                "bk/v1/device/a-1/desired",
                "bk/v1/device/a-1/command"
            ]
        );
        assert_eq!(admin_filters(None)[1], "bk/v1/device/+/reported");
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "bk/v1/(group|device)/[a-z+#/]{0,6}/(desired|response|chunk)[a-z0-9/+#-]{0,9}") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.to_string(), text);
            }
        }
    }
}
