//! What the gate and the kernel know of a connection, for the rate controller and for the figures.

use std::time::Duration;

use super::Class;

/// One value for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByClass<T> {
    /// STUN, DTLS, RTCP.
    pub control: T,
    /// Sound.
    pub audio: T,
    /// Picture.
    pub video: T,
}

impl<T> ByClass<T> {
    /// The value of a class.
    pub fn of(&self, class: Class) -> &T {
        match class {
            Class::Control => &self.control,
            Class::Audio => &self.audio,
            Class::Video => &self.video,
        }
    }

    /// The same, to change it.
    pub fn of_mut(&mut self, class: Class) -> &mut T {
        match class {
            Class::Control => &mut self.control,
            Class::Audio => &mut self.audio,
            Class::Video => &mut self.video,
        }
    }
}

/// What became of the packets of one class since the connection began. Bytes count the two of RFC 4571 in front of each
/// packet. `packets_in` is always `packets_out + packets_discarded + queued_packets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassState {
    /// From the ICE agent.
    pub packets_in: u64,
    /// The same, bytes.
    pub bytes_in: u64,
    /// Written to the server's socket, to their last byte.
    pub packets_out: u64,
    /// The same, bytes.
    pub bytes_out: u64,
    /// Thrown away: on command, too old, or over the queue's bound.
    pub packets_discarded: u64,
    /// Waiting.
    pub queued_packets: u64,
    /// Bytes that wait, without what is written already of a packet.
    pub queued_bytes: u64,
    /// For how long the first of them has waited; zero when none does.
    pub oldest: Duration,
}

/// What the kernel says of the connection to the server (`TCP_INFO`, `SIOCOUTQ`; tcp(7), `linux/tcp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpState {
    /// Written, not sent: `tcpi_notsent_bytes`.
    pub unsent_bytes: u64,
    /// Sent, not acknowledged: what `SIOCOUTQ` counts, less the unsent.
    pub in_flight_bytes: u64,
    /// Acknowledged since the connection began: `tcpi_bytes_acked`.
    pub acked_bytes: u64,
    /// `tcpi_rtt`.
    pub smoothed_rtt: Duration,
    /// `tcpi_min_rtt`: the least of the last minutes.
    pub min_rtt: Duration,
    /// `tcpi_delivery_rate`, bit/s.
    pub delivery_bits_per_second: u64,
    /// `tcpi_delivery_rate_app_limited`: it measures what was written, and not what the network carries.
    pub delivery_app_limited: bool,
    /// Segments sent again: `tcpi_total_retrans`.
    pub retransmits: u64,
    /// `tcpi_snd_cwnd` times `tcpi_snd_mss`.
    pub congestion_window_bytes: u64,
    /// Since the last acknowledgement arrived: `tcpi_last_ack_recv`, of millisecond grain.
    pub since_ack: Duration,
}

/// One look at the gate of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GateState {
    /// Packets and queues.
    pub classes: ByClass<ClassState>,
    /// The connection to the server.
    pub tcp: TcpState,
    /// What may be in flight and unsent, bytes, as it was set last.
    pub in_flight_limit: u64,
}
