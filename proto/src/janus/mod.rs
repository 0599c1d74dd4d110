//! The Janus WebSocket API and its videoroom plugin: requests as values, messages as types, errors with remedies.
//!
//! Source: the Janus documentation, "JSON-based API over WebSockets" and "VideoRoom plugin", checked against 1.1.2 and 1.4.1.

mod error;
mod message;
mod request;
mod subscriber;

pub use error::JanusError;
pub use message::{FeedId, MAX_MESSAGE_BYTES, Message, MessageError, Participant, RoomEvent};
pub use request::{HandleId, Request, SessionId};
pub use subscriber::{ask_by_pli, declare_reporter, wait_for_dtls};

/// WebSocket subprotocol of the Janus API.
pub const SUBPROTOCOL: &str = "janus-protocol";
/// Name of the plugin that a kiosk uses.
pub const VIDEOROOM: &str = "janus.plugin.videoroom";
