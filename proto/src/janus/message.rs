//! Messages from Janus, read strictly where we rely on them and leniently where we don't.

use serde_json::Value;
use thiserror::Error;

use super::{HandleId, JanusError, SessionId, VIDEOROOM};

/// Janus' longest message to a kiosk is an offer or answer of a few KiB.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// A room has two publishers; a list that is longer is not ours.
const MAX_PARTICIPANTS: usize = 64;

/// A publisher's identifier in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(pub u64);

/// Somebody in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Identifier to subscribe to.
    pub feed: FeedId,
    /// `kiosk/<id>` or `agent/<name>`.
    pub display: String,
    /// Whether media is being published.
    pub publishing: bool,
}

/// What happened in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEvent {
    /// We joined; who publishes already.
    Joined(Vec<Participant>),
    /// Somebody began to publish.
    Publishers(Vec<Participant>),
    /// A publisher stopped or left.
    Gone(FeedId),
    /// Our own `unpublish` or a kick: we publish no more.
    SelfGone,
    /// Our publication or subscription was accepted.
    Configured,
    /// Answer to a subscription: its offer stands in the message's JSEP.
    Attached,
    /// Who is in the room, asked for.
    Participants(Vec<Participant>),
    /// The room was closed.
    Destroyed,
    /// The plugin refused.
    Error(JanusError),
    /// Something that a kiosk has no use for.
    Other,
}

/// A message from Janus.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The request was taken; its result follows as an event.
    Ack {
        /// Of the request.
        transaction: String,
    },
    /// The request succeeded.
    Success {
        /// Of the request.
        transaction: String,
        /// `data.id`: of the new session or handle.
        id: Option<u64>,
        /// A result that the plugin gave at once.
        event: Option<RoomEvent>,
    },
    /// The core refused the request.
    Error {
        /// Of the request, when it was readable.
        transaction: Option<String>,
        /// What and why.
        error: JanusError,
    },
    /// The videoroom plugin says something.
    Event {
        /// Of the request that it answers.
        transaction: Option<String>,
        /// The handle.
        sender: HandleId,
        /// What it says.
        event: RoomEvent,
        /// `offer` or `answer` with its text.
        jsep: Option<(String, String)>,
    },
    /// ICE and DTLS of a handle are done.
    WebRtcUp(HandleId),
    /// Janus receives, or no longer receives, a medium of ours.
    Media {
        /// The handle.
        sender: HandleId,
        /// `audio` or `video`.
        kind: String,
        /// Whether it arrives.
        receiving: bool,
    },
    /// The peer connection of a handle was closed by Janus.
    Hangup(HandleId, String),
    /// A handle was closed.
    Detached(HandleId),
    /// The session expired.
    Timeout(SessionId),
    /// Another WebSocket claimed the session.
    Claimed(SessionId),
    /// A candidate of Janus; `None` ends them.
    Trickle(HandleId, Option<(u32, String)>),
    /// Something that a kiosk has no use for, by name.
    Other(String),
}

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Longer than any real message.
    #[error("Janus sent a message of {0} bytes; {MAX_MESSAGE_BYTES} are allowed")]
    TooLong(usize),
    /// Not JSON.
    #[error("Janus sent something that is not JSON: {0}")]
    NotJson(String),
    /// A field that the message must have is absent or of another type.
    #[error("Janus sent {kind:?} without a usable {field:?}")]
    Field {
        /// Value of `janus`.
        kind: String,
        /// The field.
        field: &'static str,
    },
}

impl Message {
    /// Reads one WebSocket text.
    ///
    /// # Errors
    /// When it is not a message of the Janus API; the caller logs it and goes on.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(MessageError::TooLong(text.len()));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| MessageError::NotJson(error.to_string()))?;
        let kind = value["janus"].as_str().ok_or(MessageError::Field { kind: String::new(), field: "janus" })?;
        let missing = |field| MessageError::Field { kind: kind.to_owned(), field };
        let transaction = value["transaction"].as_str().map(str::to_owned);
        let sender = || value["sender"].as_u64().map(HandleId).ok_or_else(|| missing("sender"));
        let session = || value["session_id"].as_u64().map(SessionId).ok_or_else(|| missing("session_id"));
        Ok(match kind {
            "ack" => Self::Ack { transaction: transaction.ok_or_else(|| missing("transaction"))? },
            "success" => Self::Success {
                transaction: transaction.ok_or_else(|| missing("transaction"))?,
                id: value["data"]["id"].as_u64(),
                event: room_event(&value["plugindata"]),
            },
            "error" => Self::Error {
                transaction,
                error: error(&value["error"], "code", "reason", false).ok_or_else(|| missing("error"))?,
            },
            "event" => Self::Event {
                transaction,
                sender: sender()?,
                event: room_event(&value["plugindata"]).unwrap_or(RoomEvent::Other),
                jsep: value["jsep"]["type"]
                    .as_str()
                    .zip(value["jsep"]["sdp"].as_str())
                    .map(|(kind, sdp)| (kind.to_owned(), sdp.to_owned())),
            },
            "webrtcup" => Self::WebRtcUp(sender()?),
            "media" => Self::Media {
                sender: sender()?,
                kind: value["type"].as_str().unwrap_or_default().to_owned(),
                receiving: value["receiving"].as_bool().unwrap_or(false),
            },
            "hangup" => Self::Hangup(sender()?, value["reason"].as_str().unwrap_or("no reason given").to_owned()),
            "detached" => Self::Detached(sender()?),
            "timeout" => Self::Timeout(session()?),
            "claimed" => Self::Claimed(session()?),
            "trickle" => {
                let candidate = &value["candidate"];
                let line = candidate["candidate"].as_str().filter(|line| !line.is_empty());
                let mline = candidate["sdpMLineIndex"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                Self::Trickle(sender()?, line.map(|line| (mline, line.to_owned())))
            }
            other => Self::Other(other.to_owned()),
        })
    }
}

fn error(value: &Value, code: &str, reason: &str, plugin: bool) -> Option<JanusError> {
    let code = u16::try_from(value[code].as_u64()?).ok()?;
    Some(JanusError { code, reason: value[reason].as_str().unwrap_or_default().to_owned(), plugin })
}

fn room_event(plugindata: &Value) -> Option<RoomEvent> {
    if plugindata["plugin"] != VIDEOROOM {
        return None;
    }
    let data = &plugindata["data"];
    if let Some(error) = error(data, "error_code", "error", true) {
        return Some(RoomEvent::Error(error));
    }
    Some(match data["videoroom"].as_str()? {
        "joined" => RoomEvent::Joined(participants(&data["publishers"], true)),
        "attached" => RoomEvent::Attached,
        "participants" => RoomEvent::Participants(participants(&data["participants"], false)),
        "destroyed" => RoomEvent::Destroyed,
        "event" => event(data),
        _ => RoomEvent::Other,
    })
}

fn event(data: &Value) -> RoomEvent {
    if data["publishers"].is_array() {
        return RoomEvent::Publishers(participants(&data["publishers"], true));
    }
    for key in ["unpublished", "leaving", "kicked"] {
        match &data[key] {
            Value::String(word) if word == "ok" => return RoomEvent::SelfGone,
            Value::Number(feed) => {
                return feed.as_u64().map_or(RoomEvent::Other, |feed| RoomEvent::Gone(FeedId(feed)));
            }
            _ => {}
        }
    }
    if data["configured"] == "ok" || data["started"] == "ok" { RoomEvent::Configured } else { RoomEvent::Other }
}

fn participants(list: &Value, publishing: bool) -> Vec<Participant> {
    let rows = list.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter()
        .take(MAX_PARTICIPANTS)
        .filter_map(|row| {
            Some(Participant {
                feed: FeedId(row["id"].as_u64()?),
                display: row["display"].as_str().unwrap_or_default().to_owned(),
                publishing: publishing || row["publisher"].as_bool().unwrap_or(false),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plugin(data: &str) -> RoomEvent {
        let text = format!(
            r#"{{"janus":"event","sender":7,"plugindata":{{"plugin":"janus.plugin.videoroom","data":{data}}}}}"#
        );
        match Message::parse(&text).unwrap() {
            Message::Event { event, .. } => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_the_room() {
        let agent = Participant { feed: FeedId(5), display: "agent/kim".to_owned(), publishing: true };
        assert_eq!(
            plugin(r#"{"videoroom":"joined","room":1,"publishers":[{"id":5,"display":"agent/kim"}]}"#),
            RoomEvent::Joined(vec![agent.clone()])
        );
        assert_eq!(
            plugin(r#"{"videoroom":"event","publishers":[{"id":5,"display":"agent/kim"}]}"#),
            RoomEvent::Publishers(vec![agent])
        );
        assert_eq!(plugin(r#"{"videoroom":"event","unpublished":5}"#), RoomEvent::Gone(FeedId(5)));
        assert_eq!(plugin(r#"{"videoroom":"event","leaving":5}"#), RoomEvent::Gone(FeedId(5)));
        assert_eq!(plugin(r#"{"videoroom":"event","leaving":"ok","reason":"kicked"}"#), RoomEvent::SelfGone);
        assert_eq!(plugin(r#"{"videoroom":"event","configured":"ok"}"#), RoomEvent::Configured);
        let RoomEvent::Error(error) = plugin(r#"{"videoroom":"event","error_code":432,"error":"full"}"#) else {
            panic!("not an error")
        };
        assert!(error.plugin && error.code == JanusError::ROOM_FULL);
    }

    #[test]
    fn a_message_without_what_it_needs_is_an_error() {
        assert!(matches!(Message::parse("{}"), Err(MessageError::Field { field: "janus", .. })));
        assert!(matches!(Message::parse(r#"{"janus":"webrtcup"}"#), Err(MessageError::Field { field: "sender", .. })));
        assert!(matches!(Message::parse("["), Err(MessageError::NotJson(_))));
        assert!(matches!(Message::parse(&" ".repeat(300_000)), Err(MessageError::TooLong(300_000))));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(
                    "(janus|sender|transaction|plugindata|plugin|data|videoroom|publishers|id|jsep|sdp|type|candidate|error|code)",
                    inner, 0..6
                ).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(
            kind in "(ack|success|error|event|webrtcup|media|hangup|detached|timeout|trickle|x)", rest in any_json()
        ) {
            let mut message = if rest.is_object() { rest } else { serde_json::json!({"data": rest}) };
            message["janus"] = kind.into();
            let _ = Message::parse(&message.to_string());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Message::parse(&text);
        }
    }
}
