//! The running audit: is what the process really does TCP only? It trusts neither the ICE agent nor the filters.

use std::fmt;
use std::net::SocketAddr;

use crate::config::PortRange;
use crate::figures::SocketFigures;

/// Transport protocol of an internet socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `SOCK_STREAM` of an internet family.
    Tcp,
    /// `SOCK_DGRAM` of an internet family, bound or not.
    Udp,
    /// Raw, packet or other: nothing that a kiosk opens.
    Other,
}

/// One internet socket of the daemon, as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// File descriptor.
    pub fd: i32,
    /// From `SO_TYPE` and `SO_PROTOCOL`.
    pub protocol: Protocol,
    /// From `getsockname`.
    pub local: Option<SocketAddr>,
    /// From `getpeername`; present once connected.
    pub remote: Option<SocketAddr>,
    /// `SO_ACCEPTCONN`.
    pub listening: bool,
}

/// The candidate pair that carries a leg of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedPair {
    /// `publish` or `receive`.
    pub leg: &'static str,
    /// Transport of the local candidate, lower case.
    pub local_transport: String,
    /// Transport of the remote candidate, lower case.
    pub remote_transport: String,
    /// Where the media goes.
    pub remote: SocketAddr,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The process holds a socket that is not TCP.
    NotTcp(Socket),
    /// Media flows over a pair that is not TCP at both ends.
    PairNotTcp(SelectedPair),
    /// Media flows to a port that the bank did not open.
    PortOutsideRange(SelectedPair, PortRange),
    /// Somebody connected to the kiosk.
    Inbound(Socket),
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |address: Option<SocketAddr>| address.map_or_else(|| "none".to_owned(), |a| a.to_string());
        match self {
            Self::NotTcp(socket) => write!(
                out,
                "descriptor {} is a {} socket, local {}, remote {}",
                socket.fd,
                if socket.protocol == Protocol::Udp { "UDP" } else { "raw" },
                address(socket.local),
                address(socket.remote)
            ),
            Self::PairNotTcp(pair) => write!(
                out,
                "the {} connection runs over {}/{} to {}",
                pair.leg, pair.local_transport, pair.remote_transport, pair.remote
            ),
            Self::PortOutsideRange(pair, range) => {
                write!(out, "the {} connection runs to {}, outside janus.media_ports {range}", pair.leg, pair.remote)
            }
            Self::Inbound(socket) => write!(
                out,
                "{} connected to the kiosk's port {}",
                address(socket.remote),
                socket.local.map_or(0, |local| local.port())
            ),
        }
    }
}

/// Judges one look at the process.
#[must_use]
pub fn judge(sockets: &[Socket], pairs: &[SelectedPair], media_ports: PortRange) -> Vec<Violation> {
    let mut violations = Vec::new();
    let listens = |port| sockets.iter().any(|s| s.listening && s.local.is_some_and(|local| local.port() == port));
    for socket in sockets {
        match socket.protocol {
            Protocol::Udp | Protocol::Other => violations.push(Violation::NotTcp(socket.clone())),
            // A connection whose local port is one that we listen on was accepted, not dialled.
            Protocol::Tcp if socket.remote.is_some() && socket.local.is_some_and(|local| listens(local.port())) => {
                violations.push(Violation::Inbound(socket.clone()));
            }
            Protocol::Tcp => {}
        }
    }
    for pair in pairs {
        if pair.local_transport != "tcp" || pair.remote_transport != "tcp" {
            violations.push(Violation::PairNotTcp(pair.clone()));
        }
        if !media_ports.contains(pair.remote.port()) {
            violations.push(Violation::PortOutsideRange(pair.clone(), media_ports));
        }
    }
    violations
}

/// Counts the sockets of one look into the figures of the call.
pub fn count(sockets: &[Socket], figures: &mut SocketFigures) {
    let number = |wanted: &dyn Fn(&Socket) -> bool| {
        u32::try_from(sockets.iter().filter(|socket| wanted(socket)).count()).unwrap_or(u32::MAX)
    };
    figures.tcp_connected = number(&|socket| socket.protocol == Protocol::Tcp && socket.remote.is_some());
    figures.tcp_listening = number(&|socket| socket.protocol == Protocol::Tcp && socket.listening);
    figures.udp = number(&|socket| socket.protocol != Protocol::Tcp);
    figures.udp_peak = figures.udp_peak.max(figures.udp);
    figures.samples += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> PortRange {
        PortRange::try_from("40000-40099".to_owned()).unwrap()
    }

    fn socket(protocol: Protocol, local: &str, remote: Option<&str>, listening: bool) -> Socket {
        Socket {
            fd: 9,
            protocol,
            local: Some(local.parse().unwrap()),
            remote: remote.map(|text| text.parse().unwrap()),
            listening,
        }
    }

    fn pair(local: &str, remote: &str, port: u16) -> SelectedPair {
        SelectedPair {
            leg: "publish",
            local_transport: local.to_owned(),
            remote_transport: remote.to_owned(),
            remote: SocketAddr::new("192.0.2.1".parse().unwrap(), port),
        }
    }

    #[test]
    fn a_call_as_it_should_be_has_no_violation() {
        let sockets = [
            socket(Protocol::Tcp, "192.0.2.4:51000", Some("192.0.2.1:40003"), false),
            socket(Protocol::Tcp, "192.0.2.4:33333", None, true),
        ];
        assert_eq!(judge(&sockets, &[pair("tcp", "tcp", 40003)], ports()), []);
        let mut figures = SocketFigures { udp_peak: 2, ..SocketFigures::default() };
        count(&sockets, &mut figures);
        let expected = SocketFigures { tcp_connected: 1, tcp_listening: 1, udp: 0, udp_peak: 2, samples: 1 };
        assert_eq!(figures, expected);
    }

    #[test]
    fn each_violation_is_named_with_its_evidence() {
        let text = |sockets: &[Socket], pairs: &[SelectedPair]| {
            judge(sockets, pairs, ports()).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(
            text(&[socket(Protocol::Udp, "0.0.0.0:5000", None, false)], &[]),
            "descriptor 9 is a UDP socket, local 0.0.0.0:5000, remote none"
        );
        let inbound = [
            socket(Protocol::Tcp, "192.0.2.4:33333", None, true),
            socket(Protocol::Tcp, "192.0.2.4:33333", Some("192.0.2.1:50505"), false),
        ];
        assert_eq!(text(&inbound, &[]), "192.0.2.1:50505 connected to the kiosk's port 33333");
        assert_eq!(
            text(&[], &[pair("udp", "udp", 40000)]),
            "the publish connection runs over udp/udp to 192.0.2.1:40000"
        );
        assert_eq!(
            text(&[], &[pair("tcp", "tcp", 443)]),
            "the publish connection runs to 192.0.2.1:443, outside janus.media_ports 40000-40099"
        );
    }
}
