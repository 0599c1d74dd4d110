//! What a packet on the media connection is, by its first two bytes.

/// Payload type of the kiosk's sound, as it offers it. Other RTP is taken for picture.
pub const AUDIO_PAYLOAD_TYPE: u8 = 111;

/// Kinds of packets, in the order in which they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// STUN, DTLS, RTCP: few, small, and the connection hangs on them.
    Control,
    /// RTP of the sound.
    Audio,
    /// RTP of the picture.
    Video,
}

impl Class {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Audio, Self::Video];
}

/// Sorts one packet. RFC 7983 section 7 tells RTP and RTCP from the rest by the first byte, RFC 5761 section 4 tells
/// RTCP from RTP by the second. SRTP leaves both as they are.
#[must_use]
pub fn classify(packet: &[u8]) -> Class {
    match packet {
        [128..=191, 192..=223, ..] => Class::Control,
        [128..=191, second, ..] if second & 0x7f == AUDIO_PAYLOAD_TYPE => Class::Audio,
        [128..=191, _, ..] => Class::Video,
        _ => Class::Control,
    }
}

/// The RTP timestamp (RFC 3550 section 5.1): the packets of one picture share it.
pub(super) fn timestamp(packet: &[u8]) -> u32 {
    match packet {
        [_, _, _, _, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}
