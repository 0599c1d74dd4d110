//! One call, from the request to start it until it has ended: signalling, both peer connections, and what to do when either is lost.
//!
//! [`Call::handle`] takes what happened, with the time and a random number, and returns what to do; [`Call::deadline`] says when
//! [`Event::Tick`] is due at the latest.

mod link;
mod machine;
mod publish;
mod receive;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::fault::{Fault, FaultCode};
use crate::ice::{TcpOnlyCandidate, TcpOnlyPolicy, TcpOnlySdp};
use crate::janus::{FeedId, Message};
use crate::secret::Secret;

pub use machine::Call;

/// What the customer's side of a call is doing, as D-Bus shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallState {
    /// No call.
    #[default]
    Idle,
    /// On the way to the server.
    Connecting,
    /// Published; no agent is there yet.
    Waiting,
    /// The agent's media arrives.
    Active,
    /// It was up, and something was lost that is being restored.
    Recovering,
    /// Being torn down.
    Ending,
}

impl CallState {
    /// The word on D-Bus.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Recovering => "recovering",
            Self::Ending => "ending",
        }
    }
}

/// What a call needs to know of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The room's number.
    pub room: u64,
    /// `kiosk/<id>`.
    pub display: String,
    /// PIN of the room.
    pub pin: Option<Secret>,
    /// Token of the Janus API.
    pub token: Option<Secret>,
    /// Signed token of the room.
    pub room_token: Option<Secret>,
    /// How often the session is kept alive.
    pub keepalive: Duration,
    /// Which candidates may pass.
    pub policy: TcpOnlyPolicy,
}

/// A peer connection; each new one gets a new number, so that news from an old one is known as old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody wants a call.
    Start {
        /// Its identifier.
        call_id: String,
    },
    /// Somebody wants no call any more; the reason is for the journal.
    End(&'static str),
    /// The shell has carried out all of [`Effect::Ended`]'s predecessors.
    Stopped,
    /// The WebSocket is open.
    SocketOpen,
    /// The WebSocket could not be opened, or was lost.
    SocketClosed(Fault),
    /// Janus said something.
    Message(Message),
    /// Our offer to publish, filtered.
    OfferReady(PeerId, TcpOnlySdp),
    /// Our answer to a subscription's offer, filtered.
    AnswerReady(PeerId, TcpOnlySdp),
    /// A candidate of ours that the policy let through; `None` ends them.
    LocalCandidate(PeerId, Option<TcpOnlyCandidate>),
    /// A peer connection can't be used any more.
    PeerFailed(PeerId, Fault),
    /// What stands between kiosk and server does not lead a peer connection there: why not, and what to do.
    NoWay(PeerId, String),
    /// ICE or DTLS of a peer connection failed: it never came up, or was lost.
    ConnectionFailed(PeerId),
    /// The first media of the agent was decoded.
    AgentMedia(PeerId),
    /// Something outside the call's own course is wrong: camera, microphone, loudspeaker.
    FaultRaised(Fault),
    /// It is right again.
    FaultCleared(FaultCode),
    /// The audit saw something that must not be.
    Violation(String),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Open the WebSocket.
    OpenSocket,
    /// Close the WebSocket, after the goodbyes that wait.
    CloseSocket,
    /// Send a text over it.
    Send(String),
    /// Send a text over it once the peer connections that were stopped so far have closed their sockets. The side that
    /// hangs up first keeps a TCP connection's port for a minute; Janus has few ports, so it must not be Janus.
    Goodbye(String),
    /// Open camera and microphone, make an offer.
    StartPublisher(PeerId),
    /// Make a peer connection for the agent's media and answer this offer.
    StartReceiver(PeerId, TcpOnlySdp),
    /// Give the publisher Janus' answer.
    SetAnswer(PeerId, TcpOnlySdp),
    /// Give a peer connection a candidate of Janus.
    AddCandidate(PeerId, TcpOnlyCandidate),
    /// Close a peer connection.
    StopPeer(PeerId),
    /// A step of the set-up is done: for the figures.
    Reached(Milestone),
    /// For the journal.
    Note(Note),
    /// The call is over; nothing of it is left.
    Ended(&'static str),
}

/// Steps of the set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// A Janus session exists.
    Signalling,
    /// The room is joined.
    Joined,
    /// Janus said `webrtcup` for the publisher.
    WebRtcUp,
    /// The first picture or sound of the agent was decoded.
    AgentMedia,
}

/// What the journal should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Something went wrong and is being dealt with.
    Fault(Fault),
    /// The audit's evidence.
    Violation(String),
    /// The session was taken over on a new socket; the media never stopped.
    Claimed,
    /// Signalling and media start over, after this long.
    Restart(Duration),
    /// An agent publishes.
    AgentCame(FeedId, String),
    /// The agent stopped publishing.
    AgentLeft(FeedId),
    /// Candidates of Janus that the filter took out, by count.
    Filtered(usize),
}
