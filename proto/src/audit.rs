//! The running audit: is what the process really does TCP only? It trusts neither the ICE agent nor the filters.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Where the media goes: the server's address behind the gate's.
    pub remote: SocketAddr,
    /// The ICE agent sends to a gate of this process.
    pub through_gate: bool,
}

/// The sockets that the media gate (`crate::gate`) says are its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GateSockets {
    listeners: BTreeSet<SocketAddr>,
    /// The gate's end of the ICE agent's connections: local and remote address.
    accepted: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Connections to the server, under way or made: where the socket leads, and the server that is reached by it. The two
    /// differ where a proxy stands between.
    dialled: BTreeMap<(SocketAddr, SocketAddr), usize>,
}

impl GateSockets {
    /// The gate listens there.
    pub fn add_listener(&mut self, address: SocketAddr) {
        self.listeners.insert(address);
    }

    /// It does not any more.
    pub fn remove_listener(&mut self, address: SocketAddr) {
        self.listeners.remove(&address);
    }

    /// The gate took a connection of the ICE agent.
    pub fn add_accepted(&mut self, local: SocketAddr, remote: SocketAddr) {
        self.accepted.insert((local, remote));
    }

    /// It is closed.
    pub fn remove_accepted(&mut self, local: SocketAddr, remote: SocketAddr) {
        self.accepted.remove(&(local, remote));
    }

    /// The gate dials the server: itself, or `hop`, from where the rest of the way is asked for.
    pub fn add_dialled(&mut self, hop: SocketAddr, server: SocketAddr) {
        *self.dialled.entry((hop, server)).or_default() += 1;
    }

    /// That connection is closed.
    pub fn remove_dialled(&mut self, hop: SocketAddr, server: SocketAddr) {
        if let Some(count) = self.dialled.get_mut(&(hop, server)) {
            *count = count.saturating_sub(1);
        }
        self.dialled.retain(|_, count| *count > 0);
    }

    /// Where the gate's sockets lead, and the server behind each; those under way too.
    pub fn ways(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        self.dialled.keys().copied()
    }

    /// What was known before or after a look: a socket that the look saw may be gone since, or not have been known
    /// before.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (way, count) in other.dialled {
            let known = self.dialled.entry(way).or_default();
            *known = count.max(*known);
        }
        self.listeners.extend(other.listeners);
        self.accepted.extend(other.accepted);
        self
    }
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
    /// The ICE agent sends media elsewhere than to the gate.
    PairBesideGate(SelectedPair),
    /// A socket leads to a media port, and it is not the gate's.
    BesideGate(Socket),
    /// The gate leads to a port that the bank did not open.
    GateOutsideRange {
        /// Where its socket leads.
        hop: SocketAddr,
        /// What is behind it.
        server: SocketAddr,
        /// What is open.
        range: PortRange,
    },
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
            Self::PairBesideGate(pair) => {
                write!(out, "the {} connection runs to {}, beside the media gate", pair.leg, pair.remote)
            }
            Self::BesideGate(socket) => write!(
                out,
                "descriptor {} leads to the media port {}, beside the media gate",
                socket.fd,
                address(socket.remote)
            ),
            Self::GateOutsideRange { hop, server, range } => {
                let by = if hop == server { String::new() } else { format!(" by way of {hop}") };
                write!(out, "the media gate leads to {server}{by}, outside janus.media_ports {range}")
            }
        }
    }
}

/// Judges one look at the process. `gates` is what the gates knew before and after it.
#[must_use]
pub fn judge(
    sockets: &[Socket],
    gates: &GateSockets,
    pairs: &[SelectedPair],
    media_ports: PortRange,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let listens = |port| sockets.iter().any(|s| s.listening && s.local.is_some_and(|local| local.port() == port));
    let mut dialled = BTreeMap::<SocketAddr, usize>::new();
    for ((hop, _), count) in &gates.dialled {
        *dialled.entry(*hop).or_default() += count;
    }
    for socket in sockets {
        if socket.protocol != Protocol::Tcp {
            violations.push(Violation::NotTcp(socket.clone()));
            continue;
        }
        let (Some(local), Some(remote)) = (socket.local, socket.remote) else { continue };
        if ends_in_gate(sockets, gates, local, remote) || gates.listeners.contains(&remote) {
            continue;
        }
        // A connection whose local port is one that we listen on was accepted, not dialled.
        if listens(local.port()) {
            violations.push(Violation::Inbound(socket.clone()));
        } else if let Some(known) = dialled.get_mut(&remote).filter(|known| **known > 0) {
            *known -= 1;
        } else if media_ports.contains(remote.port()) {
            violations.push(Violation::BesideGate(socket.clone()));
        }
    }
    let outside = gates.dialled.keys().filter(|(_, server)| !media_ports.contains(server.port()));
    let violation = |(hop, server): &(SocketAddr, SocketAddr)| Violation::GateOutsideRange {
        hop: *hop,
        server: *server,
        range: media_ports,
    };
    violations.extend(outside.map(violation));
    for pair in pairs {
        if pair.local_transport != "tcp" || pair.remote_transport != "tcp" {
            violations.push(Violation::PairNotTcp(pair.clone()));
        }
        if !media_ports.contains(pair.remote.port()) {
            violations.push(Violation::PortOutsideRange(pair.clone(), media_ports));
        }
        if !pair.through_gate {
            violations.push(Violation::PairBesideGate(pair.clone()));
        }
    }
    violations
}

/// Whether a socket is the gate's end of a connection that the ICE agent made: the gate says so, or the other end is
/// in the same look. The gate itself asks the second before it says the first.
fn ends_in_gate(sockets: &[Socket], gates: &GateSockets, local: SocketAddr, remote: SocketAddr) -> bool {
    let known = gates.accepted.contains(&(local, remote));
    known || (gates.listeners.contains(&local) && made_here(sockets, local, remote))
}

/// Whether the other end of a connection is a socket of this process too.
#[must_use]
pub fn made_here(sockets: &[Socket], local: SocketAddr, remote: SocketAddr) -> bool {
    sockets.iter().any(|other| other.local == Some(remote) && other.remote == Some(local))
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
            through_gate: true,
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A gate at 127.0.0.1:50000 that leads to 192.0.2.1:40003.
    fn gate() -> GateSockets {
        let mut gate = GateSockets::default();
        gate.add_listener(address("127.0.0.1:50000"));
        gate.add_dialled(address("192.0.2.1:40003"), address("192.0.2.1:40003"));
        gate
    }

    /// Both ends of the ICE agent's connection to it, the gate's to the server, and what listens.
    fn call() -> Vec<Socket> {
        vec![
            socket(Protocol::Tcp, "127.0.0.1:50000", None, true),
            socket(Protocol::Tcp, "127.0.0.1:40050", Some("127.0.0.1:50000"), false),
            socket(Protocol::Tcp, "127.0.0.1:50000", Some("127.0.0.1:40050"), false),
            socket(Protocol::Tcp, "192.0.2.4:51000", Some("192.0.2.1:40003"), false),
            socket(Protocol::Tcp, "192.0.2.4:51001", Some("192.0.2.1:8989"), false),
            socket(Protocol::Tcp, "192.0.2.4:33333", None, true),
        ]
    }

    #[test]
    fn a_call_as_it_should_be_has_no_violation() {
        let sockets = call();
        assert_eq!(judge(&sockets, &gate(), &[pair("tcp", "tcp", 40003)], ports()), []);
        let mut figures = SocketFigures { udp_peak: 2, ..SocketFigures::default() };
        count(&sockets, &mut figures);
        let expected = SocketFigures { tcp_connected: 4, tcp_listening: 2, udp: 0, udp_peak: 2, samples: 1 };
        assert_eq!(figures, expected);
    }

    #[test]
    fn each_violation_is_named_with_its_evidence() {
        let text = |sockets: &[Socket], pairs: &[SelectedPair]| {
            judge(sockets, &gate(), pairs, ports()).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
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

    fn evidence(sockets: &[Socket], gates: &GateSockets, pairs: &[SelectedPair]) -> String {
        judge(sockets, gates, pairs, ports()).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_gate_takes_nobody_but_this_process() {
        let mut sockets = call();
        sockets.push(socket(Protocol::Tcp, "127.0.0.1:50000", Some("127.0.0.1:45678"), false));
        assert_eq!(evidence(&sockets, &gate(), &[]), "127.0.0.1:45678 connected to the kiosk's port 50000");
        // What the gate has taken stays its own, though the ICE agent has closed the other end since.
        let mut gates = gate();
        gates.add_accepted(address("127.0.0.1:50000"), address("127.0.0.1:45678"));
        assert_eq!(evidence(&sockets, &gates, &[]), "");
        gates.remove_accepted(address("127.0.0.1:50000"), address("127.0.0.1:45678"));
        assert_eq!(gates, gate());
    }

    #[test]
    fn nothing_leads_to_a_media_port_but_the_gate() {
        let mut sockets = call();
        sockets.push(socket(Protocol::Tcp, "192.0.2.4:51002", Some("192.0.2.1:40003"), false));
        let beside = "descriptor 9 leads to the media port 192.0.2.1:40003, beside the media gate";
        assert_eq!(evidence(&sockets, &gate(), &[]), beside);
        assert_eq!(evidence(&call(), &GateSockets::default(), &[]).matches(beside).count(), 1);
        let past = SelectedPair { through_gate: false, ..pair("tcp", "tcp", 40003) };
        assert_eq!(
            evidence(&call(), &gate(), &[past]),
            "the publish connection runs to 192.0.2.1:40003, beside the media gate"
        );
        let mut gates = gate();
        gates.add_dialled(address("198.51.100.1:443"), address("198.51.100.1:443"));
        assert_eq!(
            evidence(&call(), &gates, &[]),
            "the media gate leads to 198.51.100.1:443, outside janus.media_ports 40000-40099"
        );
    }

    #[test]
    fn behind_a_proxy_stands_a_media_port_of_the_server() {
        let proxy = address("198.51.100.9:3128");
        let mut gates = gate();
        gates.add_dialled(proxy, address("192.0.2.1:40004"));
        let mut sockets = call();
        sockets.push(socket(Protocol::Tcp, "192.0.2.4:51003", Some("198.51.100.9:3128"), false));
        assert_eq!(evidence(&sockets, &gates, &[]), "");
        gates.remove_dialled(proxy, address("192.0.2.1:40004"));
        assert_eq!(gates, gate());
        gates.add_dialled(proxy, address("192.0.2.1:443"));
        assert_eq!(
            evidence(&sockets, &gates, &[]),
            "the media gate leads to 192.0.2.1:443 by way of 198.51.100.9:3128, outside janus.media_ports 40000-40099"
        );
    }

    #[test]
    fn a_socket_that_came_or_went_during_the_look_is_known() {
        let (mut before, mut after) = (gate(), GateSockets::default());
        after.add_listener(address("127.0.0.1:50001"));
        after.add_dialled(address("192.0.2.1:40003"), address("192.0.2.1:40003"));
        after.add_dialled(address("192.0.2.1:40003"), address("192.0.2.1:40003"));
        before.add_dialled(address("192.0.2.1:40004"), address("192.0.2.1:40004"));
        let known = before.or(after);
        let mut sockets = call();
        for port in [40003, 40004] {
            sockets.push(socket(Protocol::Tcp, "192.0.2.4:51002", Some(&format!("192.0.2.1:{port}")), false));
        }
        assert_eq!(evidence(&sockets, &known, &[]), "");
        let mut gone = gate();
        gone.remove_dialled(address("192.0.2.1:40003"), address("192.0.2.1:40003"));
        gone.remove_listener(address("127.0.0.1:50000"));
        assert_eq!(gone, GateSockets::default());
    }
}
