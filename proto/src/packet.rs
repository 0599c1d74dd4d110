//! What passed on the wire, as far as the proof needs it: who sent to whom by which protocol. Reads the headers of IP, TCP
//! and UDP and nothing behind them but the cookie of STUN.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a packet that are enough to tell: IPv6 with extension headers, UDP, and the beginning of STUN.
pub const SNAP: usize = 160;
/// Flows that are told apart; a kiosk has some ten.
const MAX_FLOWS: usize = 256;
/// Extension headers of one packet that are followed.
const MAX_EXTENSIONS: usize = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UDP that is STUN: the cookie of RFC 5389 is where it has to be.
    Stun,
    /// Anything else.
    Other,
}

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// What it carries.
    pub kind: Kind,
    /// From; port 0 where there is none, as in a later fragment.
    pub from: SocketAddr,
    /// To.
    pub to: SocketAddr,
}

/// Reads a packet from its IP header on. None when it is no IP, or its header is not whole.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Packet> {
    match bytes.first()? >> 4 {
        4 => v4(bytes),
        6 => v6(bytes),
        _ => None,
    }
}

fn v4(bytes: &[u8]) -> Option<Packet> {
    let address = |at: usize| Some(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?)));
    let (from, to) = (address(12)?, address(16)?);
    let length = usize::from(bytes[0] & 0x0f) * 4;
    if length < 20 {
        return None;
    }
    // A later fragment has no ports.
    let fragment = u16::from_be_bytes([bytes[6], bytes[7]]) & 0x1fff;
    let rest = if fragment == 0 { bytes.get(length..).unwrap_or_default() } else { &[] };
    Some(transport(bytes[9], rest, from, to))
}

fn v6(bytes: &[u8]) -> Option<Packet> {
    let address = |at: usize| Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?)));
    let (from, to) = (address(8)?, address(24)?);
    let (mut next, mut at) = (bytes[6], 40);
    for _ in 0..MAX_EXTENSIONS {
        let header = bytes.get(at..).unwrap_or_default();
        let (Some(following), Some(length)) = (header.first(), header.get(1)) else { break };
        let bytes_long = match next {
            // Hop-by-hop, routing, destination options, mobility: length in units of 8 without the first.
            0 | 43 | 60 | 135 => (usize::from(*length) + 1) * 8,
            // Authentication: in units of 4, less two.
            51 => (usize::from(*length) + 2) * 4,
            44 => {
                let fragment = u16::from_be_bytes([*header.get(2).unwrap_or(&0), *header.get(3).unwrap_or(&0)]) >> 3;
                if fragment != 0 {
                    return Some(transport(*following, &[], from, to));
                }
                8
            }
            _ => break,
        };
        (next, at) = (*following, at + bytes_long);
    }
    Some(transport(next, bytes.get(at..).unwrap_or_default(), from, to))
}

fn transport(protocol: u8, rest: &[u8], from: IpAddr, to: IpAddr) -> Packet {
    let port = |at: usize| match rest.get(at..at + 2) {
        Some([high, low]) if protocol == TCP || protocol == UDP => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    let stun =
        rest.get(8).is_some_and(|first| first & 0xc0 == 0) && rest.get(12..16) == Some(&[0x21, 0x12, 0xa4, 0x42]);
    let kind = match protocol {
        TCP => Kind::Tcp,
        UDP if stun => Kind::Stun,
        UDP => Kind::Udp,
        _ => Kind::Other,
    };
    Packet { kind, from: SocketAddr::new(from, port(0)), to: SocketAddr::new(to, port(2)) }
}

/// All that passed, by flow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flows {
    /// Packets of each.
    flows: BTreeMap<Packet, u64>,
    /// Packets of flows for which there was no place.
    pub crowded_out: u64,
    /// Packets that the kernel did not hand over.
    pub missed: u64,
}

impl Flows {
    /// Counts a packet.
    pub fn take(&mut self, packet: Packet) {
        if let Some(count) = self.flows.get_mut(&packet) {
            *count += 1;
        } else if self.flows.len() < MAX_FLOWS {
            self.flows.insert(packet, 1);
        } else {
            self.crowded_out += 1;
        }
    }

    /// Every flow with its packets.
    pub fn iter(&self) -> impl Iterator<Item = (&Packet, u64)> {
        self.flows.iter().map(|(packet, count)| (packet, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4_packet(protocol: u8, options: usize, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20 + options * 4];
        bytes[0] = 0x40 | u8::try_from(5 + options).unwrap();
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        bytes[9] = protocol;
        bytes[12..16].copy_from_slice(&[10, 0, 0, 1]);
        bytes[16..20].copy_from_slice(&[10, 0, 0, 2]);
        bytes.extend(payload);
        bytes
    }

    fn v6_packet(extensions: &[(u8, Vec<u8>)], protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[0] = 0x60;
        bytes[8..24].copy_from_slice(&Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).octets());
        bytes[24..40].copy_from_slice(&Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).octets());
        let mut kinds: Vec<u8> = extensions.iter().map(|(kind, _)| *kind).collect();
        kinds.push(protocol);
        bytes[6] = kinds[0];
        for (number, (_, body)) in extensions.iter().enumerate() {
            bytes.push(kinds[number + 1]);
            bytes.extend(body);
        }
        bytes.extend(payload);
        bytes
    }

    const PORTS: [u8; 4] = [0xc3, 0x50, 0x9c, 0x40];

    fn udp(payload: &[u8]) -> Vec<u8> {
        [&PORTS[..], &[0; 4], payload].concat()
    }

    #[test]
    fn both_families_are_read_with_options_and_extensions() {
        let packet = parse(&v4_packet(TCP, 3, 0, &PORTS)).unwrap();
        assert_eq!(packet.kind, Kind::Tcp);
        assert_eq!(
            (packet.from.to_string(), packet.to.to_string()),
            ("10.0.0.1:50000".into(), "10.0.0.2:40000".into())
        );
        let options = vec![0; 7];
        let packet = parse(&v6_packet(&[(0, options.clone()), (60, options)], UDP, &udp(&[]))).unwrap();
        assert_eq!((packet.kind, packet.to.to_string().as_str()), (Kind::Udp, "[fd00::2]:40000"));
        // A later fragment: of UDP all the same.
        assert_eq!(parse(&v4_packet(UDP, 0, 0x2001, &PORTS)).unwrap().to.port(), 0);
        let later = vec![0, 0, 8, 0, 0, 0, 0];
        let packet = parse(&v6_packet(&[(44, later)], UDP, &PORTS)).unwrap();
        assert_eq!((packet.kind, packet.to.port()), (Kind::Udp, 0));
        assert_eq!(parse(&v4_packet(1, 0, 0, &PORTS)).unwrap().kind, Kind::Other);
    }

    #[test]
    fn stun_is_told_from_other_udp() {
        let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 9, 9];
        assert_eq!(parse(&v4_packet(UDP, 0, 0, &udp(&stun))).unwrap().kind, Kind::Stun);
        let rtp = [0x80, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 9, 9];
        assert_eq!(parse(&v4_packet(UDP, 0, 0, &udp(&rtp))).unwrap().kind, Kind::Udp);
    }

    #[test]
    fn flows_are_bounded() {
        let mut flows = Flows::default();
        for port in 0..300_u16 {
            let from = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
            flows.take(Packet { kind: Kind::Udp, from, to: from });
            flows.take(Packet { kind: Kind::Udp, from, to: from });
        }
        assert_eq!((flows.iter().count(), flows.crowded_out), (MAX_FLOWS, 88));
        assert!(flows.iter().all(|(_, packets)| packets == 2));
    }

    proptest! {
        #[test]
        fn nothing_on_the_wire_stops_it(bytes in proptest::collection::vec(any::<u8>(), 0..SNAP)) {
            let packet = parse(&bytes);
            prop_assert!(packet.is_none() || bytes.len() >= 20);
        }

        #[test]
        fn what_is_cut_off_is_never_another_protocol(cut in 20..60_usize, protocol: u8) {
            let whole = v4_packet(protocol, 0, 0, &udp(&[0; 32]));
            let (all, part) = (parse(&whole).unwrap(), parse(&whole[..cut.min(whole.len())]).unwrap());
            prop_assert_eq!((all.kind, all.from.ip()), (part.kind, part.from.ip()));
        }
    }
}
