//! Requests to Janus.

use serde_json::{Map, Value, json};

use super::{FeedId, VIDEOROOM};
use crate::ice::{TcpOnlyCandidate, TcpOnlySdp};
use crate::secret::Secret;

/// A Janus session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A handle: one attachment of a session to a plugin, with one peer connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(pub u64);

/// One request, without what every request carries (transaction and token).
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Opens a session.
    Create,
    /// Takes an existing session over to this WebSocket.
    Claim(SessionId),
    /// Keeps the session: to be sent more often than Janus' `session_timeout` (60 s).
    KeepAlive(SessionId),
    /// Ends the session and all its handles.
    Destroy(SessionId),
    /// Attaches a handle to the videoroom plugin.
    Attach(SessionId),
    /// Closes a handle and its peer connection.
    Detach(SessionId, HandleId),
    /// Joins a room as publisher.
    Join {
        /// Where to.
        at: (SessionId, HandleId),
        /// The room's number.
        room: u64,
        /// Name that the agent's console shows.
        display: String,
        /// PIN of the room.
        pin: Option<Secret>,
        /// Signed token of the room.
        token: Option<Secret>,
    },
    /// Starts publishing with an offer.
    Publish((SessionId, HandleId), TcpOnlySdp),
    /// Asks for the participants: after a lost socket, to learn what was missed.
    Participants((SessionId, HandleId), u64),
    /// Subscribes to one feed; Janus answers with an offer.
    Subscribe {
        /// Where to.
        at: (SessionId, HandleId),
        /// The room's number.
        room: u64,
        /// Who to receive.
        feed: FeedId,
        /// PIN of the room.
        pin: Option<Secret>,
        /// Signed token of the room.
        token: Option<Secret>,
    },
    /// Answers the offer of a subscription.
    Start((SessionId, HandleId), TcpOnlySdp),
    /// One candidate of ours.
    Trickle((SessionId, HandleId), TcpOnlyCandidate),
    /// No more candidates of ours.
    TrickleCompleted((SessionId, HandleId)),
}

impl Request {
    /// The message as it goes over the socket.
    #[must_use]
    pub fn to_json(&self, transaction: &str, token: Option<&Secret>) -> String {
        let mut message = self.fields();
        message.insert("transaction".to_owned(), transaction.into());
        if let Some(token) = token {
            message.insert("token".to_owned(), token.expose().into());
        }
        Value::Object(message).to_string()
    }

    fn fields(&self) -> Map<String, Value> {
        let value = match self {
            Self::Create => json!({"janus": "create"}),
            Self::Claim(session) => json!({"janus": "claim", "session_id": session.0}),
            Self::KeepAlive(session) => json!({"janus": "keepalive", "session_id": session.0}),
            Self::Destroy(session) => json!({"janus": "destroy", "session_id": session.0}),
            Self::Attach(session) => json!({"janus": "attach", "session_id": session.0, "plugin": VIDEOROOM}),
            Self::Detach(session, handle) => {
                json!({"janus": "detach", "session_id": session.0, "handle_id": handle.0})
            }
            Self::Join { at, room, display, pin, token } => message(
                *at,
                with_secrets(
                    json!({"request": "join", "ptype": "publisher", "room": room, "display": display}),
                    pin.as_ref(),
                    token.as_ref(),
                ),
                None,
            ),
            Self::Publish(at, offer) => message(*at, json!({"request": "publish"}), Some(("offer", offer))),
            Self::Participants(at, room) => message(*at, json!({"request": "listparticipants", "room": room}), None),
            Self::Subscribe { at, room, feed, pin, token } => message(
                *at,
                with_secrets(
                    json!({"request": "join", "ptype": "subscriber", "room": room, "streams": [{"feed": feed.0}]}),
                    pin.as_ref(),
                    token.as_ref(),
                ),
                None,
            ),
            Self::Start(at, answer) => message(*at, json!({"request": "start"}), Some(("answer", answer))),
            Self::Trickle(at, candidate) => {
                trickle(*at, json!({"candidate": candidate.line(), "sdpMLineIndex": candidate.mline()}))
            }
            Self::TrickleCompleted(at) => trickle(*at, json!({"completed": true})),
        };
        match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

fn with_secrets(mut body: Value, pin: Option<&Secret>, token: Option<&Secret>) -> Value {
    for (key, secret) in [("pin", pin), ("token", token)] {
        if let Some(secret) = secret {
            body[key] = secret.expose().into();
        }
    }
    body
}

fn message(at: (SessionId, HandleId), body: Value, jsep: Option<(&str, &TcpOnlySdp)>) -> Value {
    let mut message = json!({"janus": "message", "session_id": at.0.0, "handle_id": at.1.0, "body": body});
    if let Some((kind, sdp)) = jsep {
        message["jsep"] = json!({"type": kind, "sdp": sdp.as_str(), "trickle": true});
    }
    message
}

fn trickle(at: (SessionId, HandleId), candidate: Value) -> Value {
    json!({"janus": "trickle", "session_id": at.0.0, "handle_id": at.1.0, "candidate": candidate})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stand_where_janus_looks_for_them() {
        let join = Request::Join {
            at: (SessionId(1), HandleId(2)),
            room: 1001,
            display: "kiosk/a".to_owned(),
            pin: Some(Secret::new("p")),
            token: Some(Secret::new("room")),
        };
        let value: Value = serde_json::from_str(&join.to_json("7", Some(&Secret::new("api")))).unwrap();
        assert_eq!(value["token"], "api");
        assert_eq!(value["body"]["token"], "room");
        assert_eq!(value["body"]["pin"], "p");
        assert_eq!(value["transaction"], "7");
        let bare: Value = serde_json::from_str(&Request::Create.to_json("1", None)).unwrap();
        assert!(bare.get("token").is_none());
    }
}
