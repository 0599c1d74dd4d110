//! How much picture the media connection carries now: from what the sender's queues and the kernel say of the TCP
//! connection to a bitrate for the encoder, to the size and frequency of its frames, and to what may enter the kernel.
//!
//! On TCP nothing is lost, so what is too much becomes delay. The controller keeps the delay short by feeding less: frames
//! are left out *before* the encoder while the queue is over its budget, and never a packet after it. `docs/link.md` says
//! how the parts work together and which constant does what.

mod arrivals;
mod controller;
mod ladder;
mod limit;
mod liveness;
mod others;
mod overshoot;
mod pace;
mod path;
mod rivals;
#[cfg(test)]
mod simulation;
mod spread;
mod target;

use std::time::Duration;

pub use arrivals::Arrival;
pub use controller::RateController;
pub use ladder::{Ladder, Step};
pub use pace::Pace;

/// What the site allows for the picture, bit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Never less.
    pub min: u64,
    /// Never more.
    pub max: u64,
}

/// What the controller is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What the site allows.
    pub bounds: Bounds,
    /// The picture where the link carries it: what the camera is asked for.
    pub full: Step,
    /// What the link carried last, bit/s of picture; none: it is taken to carry the most.
    pub start: Option<u64>,
    /// Nothing acknowledged for this long: the link is dead.
    pub dead_after: Duration,
}

/// What is known of the connection at one moment. Totals count from the connection's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkSample {
    /// When, since any fixed moment.
    pub at: Duration,
    /// Packets of the picture that wait in front of the kernel, bytes.
    pub video_waiting_bytes: u64,
    /// Everything else that waits there, bytes; it is written first.
    pub audio_waiting_bytes: u64,
    /// Written to the kernel, not sent: `tcpi_notsent_bytes`.
    pub unsent_bytes: u64,
    /// Sent, not acknowledged: what `SIOCOUTQ` counts, less the unsent.
    pub in_flight_bytes: u64,
    /// Acknowledged: `tcpi_bytes_acked`.
    pub acked_bytes: u64,
    /// Segments sent again: `tcpi_total_retrans`.
    pub retransmits: u64,
    /// `tcpi_min_rtt`.
    pub min_rtt: Duration,
    /// TCP's congestion window: `tcpi_snd_cwnd` times `tcpi_snd_mss`.
    pub window_bytes: u64,
    /// Bytes of everything but the picture that were given to the kernel.
    pub audio_bytes: u64,
    /// Frames that left the encoder.
    pub encoded_frames: u64,
    /// Their bytes.
    pub encoded_bytes: u64,
}

/// What to do until the next sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What the picture may take, bit/s; within the bounds.
    pub bits_per_second: u64,
    /// What the encoder is to be told for that, bit/s. Encoders count on the full number of frames a second, and some make
    /// more than they are told.
    pub encoder_bits_per_second: u64,
    /// Size and frequency of the frames.
    pub step: Step,
    /// No frame enters the encoder.
    pub hold: bool,
    /// The kernel gets no more than this to send and to have acknowledged, bytes.
    pub in_flight_limit: u64,
    /// Whether each packet is to have a TCP segment of its own. Not where packets are lost: TCP's window counts segments
    /// there, and small ones carry less.
    pub own_segments: bool,
    /// The kernel spreads what it is given at this rate, bit/s; none: it sends at once.
    pub pacing: Option<u64>,
    /// What waits of the picture is too old to be of use.
    pub discard: bool,
    /// The link carries again after a gap in the picture: a key frame is needed, now.
    pub refresh: bool,
    /// Nothing has been acknowledged for [`Settings::dead_after`] although something is on its way.
    pub dead: bool,
    /// What a frame that entered now would wait for, in the sender and in the network's queues.
    pub video_delay: Duration,
    /// The same for a packet of sound.
    pub audio_delay: Duration,
    /// The queue that stands, as the server reports; none without reports, or when it is somebody else's.
    pub reported: Option<Duration>,
    /// What the link is taken to carry, bit/s of everything.
    pub capacity: u64,
    /// What the narrowest part of the way lets through, bit/s; none where that is not known.
    pub narrowest: Option<u64>,
    /// What was carried when a queue stood last, bit/s; 0 before the first one.
    pub ceiling: u64,
    /// Whether nobody else is taken to send over the narrowest part.
    pub alone: bool,
}

/// How long `bytes` take at `bits_per_second`.
fn seconds(bytes: u64, bits_per_second: f64) -> Duration {
    Duration::from_secs_f64((bytes as f64 * 8.0 / bits_per_second.max(LEAST_RATE)).min(3600.0))
}

/// Below this a rate is not measured but guessed; it keeps divisions finite. bit/s.
const LEAST_RATE: f64 = 20_000.0;
