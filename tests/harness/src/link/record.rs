//! What a run of the link benchmark leaves behind: lines of the receiver, and what the script did to the link.
//!
//! All times are CLOCK_MONOTONIC of this machine in microseconds: every program of a run shares that clock.

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What the receiver is told, in a file: tokens must not stand among arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiverOptions {
    /// Janus's WebSocket without TLS, on the receiver's own host.
    pub server: String,
    /// Token of the Janus API.
    pub token: String,
    /// Who is received: one publisher of each room.
    pub publishers: Vec<Subscription>,
    /// The recording that all of them send, prepared by `link-recording`; without it no quality is measured.
    pub recording: Option<String>,
    /// Quality is measured on every n-th frame that is shown.
    pub quality_every: u32,
}

/// One publisher to receive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// How lines name it, such as "kiosk" or "kiosk-3".
    pub name: String,
    /// Its room.
    pub room: u64,
    /// Token for the room.
    pub room_token: String,
}

/// A line of the receiver's standard output, in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// A publisher's media connection is up, for the first time or again.
    Up {
        /// When.
        at_us: u64,
        /// Whose.
        publisher: String,
    },
    /// A frame was decoded, and its code read.
    Frame(Frame),
    /// A frame was decoded that carries no readable code, such as the substitute picture.
    Unread {
        /// When.
        at_us: u64,
        /// Whose.
        publisher: String,
    },
    /// A tone was heard.
    Tone(Tone),
    /// RTP of one medium so far; ten times a second.
    Rtp(Rtp),
}

/// One decoded frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Whose.
    pub publisher: String,
    /// When it left the decoder.
    pub shown_us: u64,
    /// When it was captured: precise to a millisecond.
    pub captured_us: u64,
    /// Number of the recording's frame, if it is from a recording.
    pub index: Option<u16>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Structural similarity of the luma with the recording's frame, both scaled to 640x360; 1 is the same.
    pub ssim: Option<f64>,
    /// Peak signal-to-noise ratio of the same, dB.
    pub psnr: Option<f64>,
}

/// One tone of the sound's code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tone {
    /// Whose.
    pub publisher: String,
    /// When its onset left the decoder.
    pub heard_us: u64,
    /// When it was to be heard at the microphone.
    pub sent_us: u64,
}

/// Totals of one RTP stream since it began; a new connection counts from zero again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rtp {
    /// Whose.
    pub publisher: String,
    /// When.
    pub at_us: u64,
    /// Which.
    pub medium: Medium,
    /// Packets from the first sequence number to the highest.
    pub expected: u64,
    /// Packets that came.
    pub received: u64,
    /// Bytes of the packets with their RTP headers.
    pub bytes: u64,
}

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// The picture.
    Video,
    /// The sound.
    Audio,
}

/// One scenario with one peer: what the script did. With the receiver's lines it is all that the analysis needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Name of the scenario, such as "step-down".
    pub scenario: String,
    /// Name of the peer, such as "kiosk" or "webrtcbin-tcp".
    pub peer: String,
    /// Whether the peer's media go over TCP.
    pub tcp: bool,
    /// The measurement begins; what came before is warming up.
    pub begin_us: u64,
    /// The measurement ends.
    pub end_us: u64,
    /// What the link carries from this time on, first at or before `begin_us`.
    pub link: Vec<Capacity>,
    /// What crossed the link in the direction that is measured: totals, some times a second, as the path counted them.
    pub crossed: Vec<Crossed>,
    /// Publishers that share the link, as the receiver names them.
    pub publishers: Vec<String>,
    /// Name of the recording that they send.
    #[serde(default)]
    pub recording: String,
}

/// What the link carries from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// From when.
    pub at_us: u64,
    /// Kilobits per second, 0 in an outage.
    pub kbps: u32,
}

/// Bytes of IP packets that left the bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Crossed {
    /// When it was counted.
    pub at_us: u64,
    /// Of the publishers' media connections and all else of theirs.
    pub bytes: u64,
    /// Of a competing transfer.
    pub competing_bytes: u64,
}

/// CLOCK_MONOTONIC now, microseconds.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(std::time::Duration::ZERO, std::time::Duration::from);
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
