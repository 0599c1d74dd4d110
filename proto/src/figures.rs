//! What a call looks like in numbers: read over D-Bus by the demo, by `kioskctl`, and by the tests.

use serde::{Deserialize, Serialize};

use crate::gate::{ClassState, GateState};
use crate::via::Via;

/// Everything that is known about the running call. Sampled once a second; cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallFigures {
    /// Identifier of the call, empty when there is none.
    pub call_id: String,
    /// Milliseconds since the call was started by the control request.
    pub elapsed_ms: u64,
    /// How long the parts of the set-up took.
    pub setup: SetupFigures,
    /// The connection on which the kiosk sends its camera and microphone.
    pub publish: LegFigures,
    /// The connection on which the kiosk receives the agent.
    pub receive: LegFigures,
    /// What the kernel says of the publishing connection, and what follows from it.
    pub link: LinkFigures,
    /// Sockets of the daemon by kind, from the audit's last look.
    pub sockets: SocketFigures,
    /// The daemon's own use of the machine.
    pub process: ProcessFigures,
}

/// Milliseconds from the control request until each step of the set-up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetupFigures {
    /// The WebSocket to Janus is open and a session exists.
    pub signalling_ms: Option<u64>,
    /// The room is joined.
    pub joined_ms: Option<u64>,
    /// Janus said `webrtcup` for the publishing connection.
    pub webrtcup_ms: Option<u64>,
    /// The first picture or sound of the agent was decoded.
    pub agent_media_ms: Option<u64>,
}

/// One peer connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LegFigures {
    /// State of the peer connection as the W3C names it: `new`, `connecting`, `connected`, `disconnected`, `failed`, `closed`.
    pub state: String,
    /// The selected candidate pair, once there is one.
    pub pair: Option<PairFigures>,
    /// The picture on this connection.
    pub video: VideoFigures,
    /// The sound on this connection.
    pub audio: AudioFigures,
    /// What the kiosk sends on this connection, between the ICE agent and the server.
    pub gate: GateFigures,
}

/// The media gate of one connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateFigures {
    /// STUN, DTLS and RTCP.
    pub control: QueueFigures,
    /// RTP of the sound.
    pub audio: QueueFigures,
    /// RTP of the picture.
    pub video: QueueFigures,
    /// RTP packets that were made and did not reach the gate: lost inside the ICE agent.
    pub packets_lost: u64,
    /// Bytes that may be in flight and unsent.
    pub in_flight_limit: u64,
}

/// Packets of one class. `packets_in` is the sum of `packets_out`, `packets_discarded` and `queued_packets`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueFigures {
    /// From the ICE agent since the connection began.
    pub packets_in: u64,
    /// Written to the server's socket since then.
    pub packets_out: u64,
    /// Thrown away on purpose since then: too old to be of use.
    pub packets_discarded: u64,
    /// Waiting now.
    pub queued_packets: u64,
    /// The same, bytes.
    pub queued_bytes: u64,
    /// How long the first of them has waited, milliseconds.
    pub oldest_ms: f64,
}

impl From<&GateState> for GateFigures {
    fn from(state: &GateState) -> Self {
        let of = |class: &ClassState| QueueFigures {
            packets_in: class.packets_in,
            packets_out: class.packets_out,
            packets_discarded: class.packets_discarded,
            queued_packets: class.queued_packets,
            queued_bytes: class.queued_bytes,
            oldest_ms: class.oldest.as_secs_f64() * 1000.0,
        };
        let classes = &state.classes;
        Self {
            control: of(&classes.control),
            audio: of(&classes.audio),
            video: of(&classes.video),
            packets_lost: 0,
            in_flight_limit: state.in_flight_limit,
        }
    }
}

/// A selected candidate pair.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PairFigures {
    /// The kiosk's end.
    pub local: EndpointFigures,
    /// The server's end.
    pub remote: EndpointFigures,
    /// What stands between. Absent when the server itself was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

/// One end of a candidate pair.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointFigures {
    /// `tcp` or `udp`.
    pub transport: String,
    /// Literal IP address.
    pub address: String,
    /// Port; for the local end, that of the connected socket.
    pub port: u16,
}

/// The picture of one direction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VideoFigures {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames encoded (publish) or decoded (receive) since the call began.
    pub frames: u64,
    /// Frames per second over the last second.
    pub frames_per_second: f64,
    /// Bits per second over the last second, RTP payload and headers.
    pub bits_per_second: u64,
    /// The codec element in use.
    pub codec: String,
}

/// The sound of one direction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AudioFigures {
    /// RTP packets sent or received since the call began.
    pub packets: u64,
    /// Bits per second over the last second.
    pub bits_per_second: u64,
    /// Loudest sample of the last second in dBFS (0 is full scale); absent when nothing was decoded.
    pub peak_dbfs: Option<f64>,
}

/// The TCP connection that carries the kiosk's media, from the last look (every 20 ms), and what follows from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkFigures {
    /// Written to the kernel, not sent (`tcpi_notsent_bytes`).
    pub unsent_bytes: u64,
    /// Sent, not acknowledged.
    pub in_flight_bytes: u64,
    /// What the kernel may hold of both.
    pub in_flight_limit_bytes: u64,
    /// `tcpi_rtt`, milliseconds.
    pub smoothed_rtt_ms: f64,
    /// `tcpi_min_rtt`, milliseconds.
    pub min_rtt_ms: f64,
    /// `tcpi_delivery_rate`, bits per second.
    pub delivery_bits_per_second: u64,
    /// What the link is taken to carry, bits per second.
    pub capacity_bits_per_second: u64,
    /// Segments sent again since the connection began (`tcpi_total_retrans`).
    pub retransmits: u64,
    /// Delay that the next frame would meet in the sender and in the network's queues, milliseconds.
    pub queue_delay_ms: f64,
    /// The most of it in this call, milliseconds.
    pub queue_delay_peak_ms: f64,
    /// Delay that the next packet of sound would meet there, milliseconds.
    pub audio_queue_delay_ms: f64,
    /// The most of it in this call, milliseconds.
    pub audio_queue_delay_peak_ms: f64,
    /// Queue on the whole way to the server that stands, as the server reports arrivals, milliseconds; null without
    /// reports, and where it is somebody else's.
    pub reported_queue_ms: Option<f64>,
    /// What the narrowest part of the way lets through, as the packets of a frame arrive, bits per second; null where that
    /// is not known.
    pub narrowest_bits_per_second: Option<u64>,
    /// What the link carried when a queue stood last, bits per second; 0 before the first one.
    pub ceiling_bits_per_second: u64,
    /// Whether the way is taken to be this kiosk's alone.
    pub alone: bool,
    /// What the picture may take.
    pub target_bits_per_second: u64,
    /// Step of the ladder: 0 is the full picture.
    pub step: u32,
    /// Width of the encoded picture, pixels.
    pub width: u32,
    /// Height of the encoded picture, pixels.
    pub height: u32,
    /// Frames a second that are let into the encoder.
    pub frames_per_second: u32,
    /// Frames left out before the encoder since the call began, because the queue was over its budget.
    pub frames_left_out: u64,
    /// Key frames that the encoder has made for this connection.
    pub key_frames: u64,
    /// Bytes of the last of them.
    pub key_frame_bytes: u64,
    /// Whether nothing is acknowledged any more.
    pub dead: bool,
}

/// Sockets that the daemon holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SocketFigures {
    /// Connected TCP sockets.
    pub tcp_connected: u32,
    /// Listening TCP sockets: libnice binds one per address and cannot be told not to; the firewall keeps them unreachable.
    pub tcp_listening: u32,
    /// UDP sockets now.
    pub udp: u32,
    /// The most UDP sockets that any look of this call saw.
    pub udp_peak: u32,
    /// How often the audit has looked in this call.
    pub samples: u64,
}

/// What the daemon uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessFigures {
    /// Peak resident set, KiB (`VmHWM`).
    pub rss_peak_kib: u64,
    /// Resident set now, KiB.
    pub rss_kib: u64,
    /// Processor seconds, user and system, since the daemon started.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub fds: u64,
    /// Threads.
    pub threads: u64,
}
