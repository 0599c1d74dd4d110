//! Figures of a kiosk, for the `metrics` topic. No addresses and no identifiers of calls or people are in it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::figures::CallFigures;

/// The payload on the `metrics` topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// Unix seconds; absent while the kiosk's clock is not synchronised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Versions by name: `kioskd`, `gstreamer`, `kernel`, and what else is known.
    pub versions: BTreeMap<String, String>,
    /// SHA-256 of the configuration in force.
    pub config: Digest,
    /// The call's state: `idle`, `connecting`, `waiting`, `active`, `recovering`, `ending`.
    pub call_state: String,
    /// Figures of the running call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallMetrics>,
    /// The machine and the daemon.
    pub host: HostMetrics,
    /// The camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraMetrics>,
    /// The encoder's GStreamer element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Counters of the firewall, when they can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<FirewallMetrics>,
    /// Events that wait in the outbox.
    pub outbox_events: u64,
    /// Codes of what is wrong now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// Figures of a running call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct CallMetrics {
    /// Milliseconds since the request.
    pub elapsed_ms: u64,
    /// Milliseconds from the request to the agent's first media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_ms: Option<u64>,
    /// Sent picture: pixels.
    pub width: u32,
    /// Sent picture: pixels.
    pub height: u32,
    /// Sent picture: frames per second.
    pub sent_frames_per_second: f64,
    /// Sent picture: bits per second.
    pub sent_bits_per_second: u64,
    /// What the encoder is asked for, bits per second.
    pub target_bits_per_second: u64,
    /// Frames left out before the encoder since the call began.
    pub frames_left_out: u64,
    /// Age of the oldest byte that waits to be sent, milliseconds.
    pub queue_delay_ms: f64,
    /// Round trip of the sending connection, milliseconds.
    pub round_trip_ms: f64,
    /// Received picture: frames per second.
    pub received_frames_per_second: f64,
    /// Received picture: bits per second.
    pub received_bits_per_second: u64,
    /// Connected TCP sockets of the daemon.
    pub tcp_sockets: u32,
    /// The most UDP sockets that any look of the audit saw: 0, or it is a violation.
    pub udp_sockets_peak: u32,
}

impl CallMetrics {
    /// What may leave the kiosk of a call's figures.
    #[must_use]
    pub fn of(figures: &CallFigures) -> Self {
        let CallFigures { setup, publish, receive, link, sockets, .. } = figures;
        Self {
            elapsed_ms: figures.elapsed_ms,
            setup_ms: setup.agent_media_ms,
            width: publish.video.width,
            height: publish.video.height,
            sent_frames_per_second: publish.video.frames_per_second,
            sent_bits_per_second: publish.video.bits_per_second,
            target_bits_per_second: link.target_bits_per_second,
            frames_left_out: link.frames_left_out,
            queue_delay_ms: link.queue_delay_ms,
            round_trip_ms: link.smoothed_rtt_ms,
            received_frames_per_second: receive.video.frames_per_second,
            received_bits_per_second: receive.video.bits_per_second,
            tcp_sockets: sockets.tcp_connected,
            udp_sockets_peak: sockets.udp_peak,
        }
    }
}

/// The machine and the daemon. What can't be read is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct HostMetrics {
    /// Load of all processors over the last interval, percent of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// The daemon's part, percent of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon_cpu_percent: Option<f64>,
    /// The daemon's resident memory, KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon_memory_kib: Option<u64>,
    /// Memory of the machine, KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total_kib: Option<u64>,
    /// What of it could be used without swapping, KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_available_kib: Option<u64>,
    /// The hottest sensor, degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// Free space where state is kept, KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free_kib: Option<u64>,
    /// Whether the clock is synchronised.
    pub clock_synchronised: bool,
}

/// The camera.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct CameraMetrics {
    /// Whether it is there.
    pub present: bool,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What the firewall dropped since it was loaded, packets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct FirewallMetrics {
    /// By the counter's name in `kiosk.nft`.
    pub dropped: BTreeMap<String, u64>,
}
