//! STUN messages (RFC 8489 section 5), with the attributes that a TURN client of TCP allocations needs.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::credentials::hmac_sha1;

/// What stands in front of the attributes.
pub const HEADER_BYTES: usize = 20;
/// The longest message that is read. A relay's are below 300 bytes.
pub const MAX_MESSAGE_BYTES: usize = 2048;
/// RFC 8489 section 5.
pub(super) const MAGIC_COOKIE: u32 = 0x2112_A442;

pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const LIFETIME: u16 = 0x000D;
pub(super) const XOR_PEER_ADDRESS: u16 = 0x0012;
pub(super) const REALM: u16 = 0x0014;
pub(super) const NONCE: u16 = 0x0015;
pub(super) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
pub(super) const REQUESTED_TRANSPORT: u16 = 0x0019;
pub(super) const CONNECTION_ID: u16 = 0x002A;
/// HMAC-SHA1.
const INTEGRITY_BYTES: usize = 20;
/// Bits of the type: request 00, indication 01, success 10, error 11 (RFC 8489 section 5).
const CLASS: u16 = 0x0110;
const SUCCESS: u16 = 0x0100;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The first bytes are not those of STUN.
    #[error("it does not speak STUN")]
    NotStun,
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("it sent a message of {0} bytes")]
    TooLong(usize),
    /// An attribute reaches beyond the end, or the length is not what was announced.
    #[error("it sent a damaged message")]
    Damaged,
}

/// The whole length of the message that begins with `header`, bytes.
///
/// # Errors
/// When it is no header, or one of something too long.
pub fn length(header: &[u8; HEADER_BYTES]) -> Result<usize, Malformed> {
    let [first, _, high, low, a, b, c, d, ..] = *header;
    let body = usize::from(u16::from_be_bytes([high, low]));
    if first > 3 || u32::from_be_bytes([a, b, c, d]) != MAGIC_COOKIE || body % 4 != 0 {
        return Err(Malformed::NotStun);
    }
    let length = HEADER_BYTES + body;
    if length > MAX_MESSAGE_BYTES { Err(Malformed::TooLong(length)) } else { Ok(length) }
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Looks at the bytes of one whole message.
    ///
    /// # Errors
    /// When they are none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(Malformed::Damaged)?;
        if length(header)? != bytes.len() {
            return Err(Malformed::Damaged);
        }
        let message = Self { bytes };
        let mut attributes = message.attributes();
        while attributes.next().is_some() {}
        if attributes.rest.is_empty() { Ok(message) } else { Err(Malformed::Damaged) }
    }

    fn kind(&self) -> u16 {
        self.bytes.first_chunk::<2>().map_or(0, |kind| u16::from_be_bytes(*kind))
    }

    /// Method, without the class.
    pub(super) fn method(&self) -> u16 {
        self.kind() & !CLASS
    }

    /// Whether it answers that all is well.
    pub(super) fn is_success(&self) -> bool {
        self.kind() & CLASS == SUCCESS
    }

    /// Whether it answers that something is not.
    pub(super) fn is_error(&self) -> bool {
        self.kind() & CLASS == CLASS
    }

    pub(super) fn transaction(&self) -> &'a [u8] {
        self.bytes.get(8..HEADER_BYTES).unwrap_or_default()
    }

    fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.bytes.get(HEADER_BYTES..).unwrap_or_default() }
    }

    /// The value of the first attribute of a kind.
    pub(super) fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find_map(|(found, value)| (found == kind).then_some(value))
    }

    pub(super) fn number(&self, kind: u16) -> Option<u32> {
        self.attribute(kind)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Code and reason of an error. The reason is text from outside: short, and without control characters.
    pub(super) fn error(&self) -> (u16, String) {
        let [_, _, class, number, reason @ ..] = self.attribute(ERROR_CODE).unwrap_or_default() else {
            return (0, String::new());
        };
        let reason = String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).take(80).collect();
        (u16::from(class & 7) * 100 + u16::from(*number % 100), reason)
    }

    /// Whether MESSAGE-INTEGRITY is there and made with this key (RFC 8489 section 14.5): the length in the header counts
    /// up to its end.
    pub(super) fn is_from(&self, key: &[u8]) -> bool {
        let mut attributes = self.attributes();
        loop {
            let at = self.bytes.len() - attributes.rest.len();
            let Some((kind, value)) = attributes.next() else { return false };
            if kind == MESSAGE_INTEGRITY {
                let before = self.bytes.get(..at).unwrap_or_default();
                return value == integrity(before, key);
            }
        }
    }
}

struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, after) = self.rest.split_first_chunk::<4>()?;
        let [kind @ .., _, _] = head;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (value, _) = after.split_at_checked(length)?;
        self.rest = after.get(length.next_multiple_of(4)..)?;
        Some((u16::from_be_bytes(*kind), value))
    }
}

/// The value of MESSAGE-INTEGRITY behind these bytes of a message.
fn integrity(before: &[u8], key: &[u8]) -> [u8; INTEGRITY_BYTES] {
    let mut covered = before.to_vec();
    let body = (before.len() + 4 + INTEGRITY_BYTES).saturating_sub(HEADER_BYTES);
    if let Some(length) = covered.get_mut(2..4) {
        length.copy_from_slice(&u16::try_from(body).unwrap_or(u16::MAX).to_be_bytes());
    }
    hmac_sha1(key, &covered)
}

/// A request that is being written.
#[derive(Debug, Clone)]
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn new(method: u16, transaction: &[u8; 12]) -> Self {
        let mut bytes = method.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(transaction);
        Self(bytes)
    }

    /// Values are short: what the relay itself sent, or the site's configuration.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(kind.to_be_bytes());
        self.0.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let body = u16::try_from(self.0.len() - HEADER_BYTES).unwrap_or(u16::MAX);
        if let Some(length) = self.0.get_mut(2..4) {
            length.copy_from_slice(&body.to_be_bytes());
        }
        self
    }

    /// An address, hidden from boxes that rewrite addresses (RFC 8489 section 14.2).
    pub(super) fn with_address(self, kind: u16, address: SocketAddr) -> Self {
        let mask = [MAGIC_COOKIE.to_be_bytes().as_slice(), self.0.get(8..HEADER_BYTES).unwrap_or_default()].concat();
        let (family, ip) = match address.ip() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (2, ip.octets().to_vec()),
        };
        let hidden = |plain: &[u8]| plain.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect::<Vec<u8>>();
        let value = [vec![0, family], hidden(&address.port().to_be_bytes()), hidden(&ip)].concat();
        self.with(kind, &value)
    }

    pub(super) fn signed(self, key: &[u8]) -> Self {
        let proof = integrity(&self.0, key);
        self.with(MESSAGE_INTEGRITY, &proof)
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769 section 2.4: a request with long-term authentication, the MD5 key of which is computed by `Session`.
    pub(in super::super) const SAMPLE: &[u8] = &[
        0x00, 0x01, 0x00, 0x60, 0x21, 0x12, 0xa4, 0x42, 0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72, 0xc0, 0x29, 0xda,
        0x41, 0x2e, 0x00, 0x06, 0x00, 0x12, 0xe3, 0x83, 0x9e, 0xe3, 0x83, 0x88, 0xe3, 0x83, 0xaa, 0xe3, 0x83, 0x83,
        0xe3, 0x82, 0xaf, 0xe3, 0x82, 0xb9, 0x00, 0x00, 0x00, 0x15, 0x00, 0x1c, 0x66, 0x2f, 0x2f, 0x34, 0x39, 0x39,
        0x6b, 0x39, 0x35, 0x34, 0x64, 0x36, 0x4f, 0x4c, 0x33, 0x34, 0x6f, 0x4c, 0x39, 0x46, 0x53, 0x54, 0x76, 0x79,
        0x36, 0x34, 0x73, 0x41, 0x00, 0x14, 0x00, 0x0b, 0x65, 0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x2e, 0x6f, 0x72,
        0x67, 0x00, 0x00, 0x08, 0x00, 0x14, 0xf6, 0x70, 0x24, 0x65, 0x6d, 0xd6, 0x4a, 0x3e, 0x02, 0xb8, 0xe0, 0x71,
        0x2e, 0x85, 0xc9, 0xa2, 0x8c, 0xa8, 0x96, 0x66,
    ];

    #[test]
    fn the_sample_of_rfc_5769_is_understood_and_verified() {
        let message = Message::parse(SAMPLE).unwrap();
        assert_eq!(message.method(), 1);
        assert_eq!(message.attribute(REALM), Some(b"example.org".as_slice()));
        assert_eq!(message.attribute(NONCE).unwrap().len(), 28);
        let key = crate::turn::session::key("マトリックス", "example.org", "TheMatrIX");
        assert!(message.is_from(&key));
        assert!(!message.is_from(b"another key"));
        let written = Request::new(1, message.transaction().try_into().unwrap())
            .with(USERNAME, "マトリックス".as_bytes())
            .with(NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
            .with(REALM, b"example.org")
            .signed(&key);
        assert_eq!(written.bytes(), SAMPLE);
    }

    #[test]
    fn an_address_is_hidden_as_rfc_5769_has_it() {
        // Section 2.2 and 2.3.
        let id = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let value = |address: &str| {
            let bytes = Request::new(1, &id).with_address(0x20, address.parse().unwrap()).bytes();
            Message::parse(&bytes).unwrap().attribute(0x20).unwrap().to_vec()
        };
        assert_eq!(value("192.0.2.1:32853"), [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let six = value("[2001:db8:1234:5678:11:2233:4455:6677]:32853");
        assert_eq!(six[..8], [0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa]);
        assert_eq!(six.len(), 20);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let with = |at: usize, byte: u8| {
            let mut bytes = SAMPLE.to_vec();
            bytes[at] = byte;
            Message::parse(&bytes).unwrap_err()
        };
        assert_eq!(with(0, 0x40), Malformed::NotStun);
        assert_eq!(with(4, 0), Malformed::NotStun);
        assert_eq!(with(3, 0x61), Malformed::NotStun);
        assert_eq!(with(3, 0x5c), Malformed::Damaged);
        assert_eq!(with(2, 0xff), Malformed::TooLong(20 + 0xff60));
        // An attribute that reaches beyond the end.
        assert_eq!(with(22, 0xff), Malformed::Damaged);
        assert_eq!(Message::parse(&SAMPLE[..19]), Err(Malformed::Damaged));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), stun in any::<bool>()) {
            let mut bytes = bytes;
            if stun && bytes.len() >= HEADER_BYTES {
                let body = (bytes.len() - HEADER_BYTES) & !3;
                bytes.truncate(HEADER_BYTES + body);
                bytes[0] &= 3;
                bytes[2..4].copy_from_slice(&u16::try_from(body).unwrap().to_be_bytes());
                bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            }
            if let Ok(message) = Message::parse(&bytes) {
                let _ = (message.error(), message.number(LIFETIME), message.is_from(b"key"));
                prop_assert!(message.attributes().map(|(_, value)| value.len() + 4).sum::<usize>() <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            values in prop::collection::vec((0_u16..0x100, prop::collection::vec(any::<u8>(), 0..50)), 0..8),
            id in any::<[u8; 12]>(),
            key in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            // No integrity but our own.
            let values: Vec<_> = values.into_iter().filter(|(kind, _)| *kind != MESSAGE_INTEGRITY).collect();
            let mut request = Request::new(3, &id);
            for (kind, value) in &values {
                request = request.with(*kind, value);
            }
            let bytes = request.signed(&key).bytes();
            let message = Message::parse(&bytes).unwrap();
            prop_assert!(message.is_from(&key));
            prop_assert_eq!((message.method(), message.transaction()), (3, id.as_slice()));
            let read: Vec<_> = message.attributes().map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(&read[..values.len()], &values[..]);
        }
    }
}
