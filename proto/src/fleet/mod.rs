//! The fleet: what travels between a kiosk and its admins over MQTT, and every decision about it.
//!
//! Who pushes signs (`dsse`); a kiosk orders what it gets by `(epoch, revision, digest)`, tries it, and confirms it or
//! takes it back. Topics and payloads are described in `docs/fleet/`.

mod clock;
mod command;
mod desired;
mod digest;
mod dsse;
mod durable;
mod event;
mod hold;
mod key;
mod lapse;
pub mod ledger;
pub mod machine;
mod metrics;
mod name;
mod outbox;
mod reported;
pub mod rollout;
#[cfg(test)]
mod schema;
mod seal;
mod shorten;
mod strict;
mod topic;

pub use clock::Now;
pub use command::{Command, CommandPayload, LogLevel, Outcome, Response, Upload, WhenBusy};
pub use desired::{Apply, DesiredPayload, Target};
pub use digest::Digest;
pub use dsse::{Envelope, EnvelopeError, PayloadType, Signature, Verified, sign};
pub use durable::{Durable, StateError};
pub use event::{Class, Event, EventKind};
pub use hold::{Holds, Subject};
pub use key::{KeyId, TrustedKey};
pub use lapse::Lapse;
pub use metrics::{CallMetrics, CameraMetrics, FirewallMetrics, HostMetrics, Metrics};
pub use name::{CommandId, GroupName};
pub use outbox::{Limits, Outbox};
pub use reported::{Attempt, LayerName, LayerReport, PathError, Phase, PhaseAt, Presence, Refusal, Reported, Revision};
pub use seal::{SealError, seal, unseal};
pub use strict::{Object, PayloadError, parse};
pub use topic::{Topic, TopicError, admin_filters, kiosk_filters, response_topic};

/// The largest envelope that is sent or read, bytes. Whoever signs refuses a larger one, with the reason.
pub const MAX_ENVELOPE_BYTES: usize = 128 * 1024;
/// The largest payload in an envelope, bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// The largest packet on the link, both ways, bytes: an envelope, its topic and its properties.
pub const MAX_PACKET_BYTES: u32 = 256 * 1024;
/// The most signatures in one envelope.
pub const MAX_SIGNATURES: usize = 8;
/// The longest author, characters.
pub const MAX_AUTHOR: usize = 128;
/// The longest reason, characters.
pub const MAX_REASON: usize = 512;

/// Whether a payload of so many bytes fits into a packet of at most `limit` bytes.
#[must_use]
pub fn fits(topic: &str, bytes: usize, limit: u32) -> bool {
    // Fixed header, packet identifier and properties; these have at most some hundred bytes here.
    const OVERHEAD: usize = 1024;
    bytes.saturating_add(topic.len() + OVERHEAD) <= limit as usize
}
