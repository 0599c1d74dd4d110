//! Which candidates may pass: the kiosk dials, the server listens, nothing is UDP.

use std::fmt;

use super::{Candidate, CandidateError, CandidateKind, TcpType, Transport};
use crate::config::PortRange;

/// Which way a candidate travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Gathered here, on its way to Janus.
    Outgoing,
    /// Received from Janus, on its way to the ICE agent.
    Incoming,
}

/// Why a candidate was not let through. Counted and logged, never an error of the call by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// It is UDP.
    Udp,
    /// It could not be read.
    Malformed(CandidateError),
    /// TCP without `tcptype`: libnice before 0.1.23 crashes on it.
    NoTcpType,
    /// Ours listens: Janus would dial it, through a port that the branch's firewall closes.
    WouldListen,
    /// Theirs does not listen, so it can't be dialled.
    NotListening,
    /// The address is a name (`.local` or other): resolving it would leave TCP.
    NotLiteral(String),
    /// The port is not one that the bank opens for media.
    PortOutsideRange(u16),
    /// A component other than RTP; rtcp-mux is required.
    Component(u16),
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp => out.write_str("UDP"),
            Self::Malformed(error) => write!(out, "malformed: {error}"),
            Self::NoTcpType => out.write_str("TCP without a tcptype"),
            Self::WouldListen => out.write_str("would make the kiosk listen"),
            Self::NotListening => out.write_str("does not listen, so it can't be dialled"),
            Self::NotLiteral(address) => write!(out, "{address:?} is not a literal address"),
            Self::PortOutsideRange(port) => write!(out, "port {port} is outside janus.media_ports"),
            Self::Component(component) => write!(out, "component {component} without rtcp-mux"),
        }
    }
}

/// A candidate that the policy let through: the only kind that is signalled or given to an ICE agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpOnlyCandidate {
    mline: u32,
    candidate: Candidate,
}

impl TcpOnlyCandidate {
    /// Index of the media section that it belongs to.
    #[must_use]
    pub fn mline(&self) -> u32 {
        self.mline
    }

    /// The `candidate:` line, without `a=`.
    #[must_use]
    pub fn line(&self) -> String {
        self.candidate.to_string()
    }

    /// The parsed form.
    #[must_use]
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }
}

/// The rules, with what a site sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpOnlyPolicy {
    /// Ports that the bank's firewall opens towards the media server.
    pub media_ports: PortRange,
}

impl TcpOnlyPolicy {
    /// Lets one candidate through, or says why not.
    ///
    /// # Errors
    /// The reason; the candidate is then dropped.
    pub fn judge(&self, direction: Direction, mline: u32, line: &str) -> Result<TcpOnlyCandidate, Rejection> {
        let candidate: Candidate = line.parse().map_err(Rejection::Malformed)?;
        if candidate.transport == Transport::Udp {
            return Err(Rejection::Udp);
        }
        if candidate.component != 1 {
            return Err(Rejection::Component(candidate.component));
        }
        let tcp_type = candidate.tcp_type.ok_or(Rejection::NoTcpType)?;
        if candidate.ip().is_none() {
            return Err(Rejection::NotLiteral(candidate.address));
        }
        match direction {
            Direction::Outgoing if tcp_type != TcpType::Active => return Err(Rejection::WouldListen),
            Direction::Outgoing => {}
            Direction::Incoming if tcp_type != TcpType::Passive => return Err(Rejection::NotListening),
            Direction::Incoming if candidate.kind != CandidateKind::Host => return Err(Rejection::NotListening),
            Direction::Incoming if !self.media_ports.contains(candidate.port) => {
                return Err(Rejection::PortOutsideRange(candidate.port));
            }
            Direction::Incoming => {}
        }
        Ok(TcpOnlyCandidate { mline, candidate })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::ice) fn policy() -> TcpOnlyPolicy {
        TcpOnlyPolicy { media_ports: PortRange::try_from("40000-40099".to_owned()).unwrap() }
    }

    #[test]
    fn only_what_we_dial_leaves() {
        let out = |line: &str| policy().judge(Direction::Outgoing, 0, line);
        assert!(out("candidate:1 1 TCP 1 192.0.2.4 9 typ host tcptype active").is_ok());
        assert_eq!(out("candidate:1 1 UDP 1 192.0.2.4 5000 typ host"), Err(Rejection::Udp));
        assert_eq!(out("candidate:1 1 TCP 1 192.0.2.4 5000 typ host tcptype passive"), Err(Rejection::WouldListen));
        assert_eq!(out("candidate:1 1 TCP 1 192.0.2.4 5000 typ host tcptype so"), Err(Rejection::WouldListen));
        assert_eq!(out("candidate:1 2 TCP 1 192.0.2.4 9 typ host tcptype active"), Err(Rejection::Component(2)));
    }

    #[test]
    fn only_what_listens_in_the_range_enters() {
        let enter = |line: &str| policy().judge(Direction::Incoming, 0, line);
        assert!(enter("candidate:1 1 tcp 1 192.0.2.1 40099 typ host tcptype passive").is_ok());
        assert_eq!(enter("candidate:1 1 udp 1 192.0.2.1 40000 typ host"), Err(Rejection::Udp));
        assert_eq!(enter("candidate:1 1 tcp 1 192.0.2.1 40000 typ host"), Err(Rejection::NoTcpType));
        assert_eq!(enter("candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active"), Err(Rejection::NotListening));
        assert_eq!(
            enter("candidate:1 1 tcp 1 192.0.2.1 40100 typ host tcptype passive"),
            Err(Rejection::PortOutsideRange(40100))
        );
        assert_eq!(
            enter("candidate:1 1 tcp 1 5e1f.local 40000 typ host tcptype passive"),
            Err(Rejection::NotLiteral("5e1f.local".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn whatever_passes_is_tcp(
            transport in "(UDP|TCP|udp|tcp)", port: u16, outgoing: bool,
            tcp_type in "( tcptype (active|passive|so))?", address in "(192\\.0\\.2\\.[1-9]|::1|a\\.local)"
        ) {
            let direction = if outgoing { Direction::Outgoing } else { Direction::Incoming };
            let line = format!("candidate:1 1 {transport} 7 {address} {port} typ host{tcp_type}");
            if let Ok(passed) = policy().judge(direction, 0, &line) {
                let candidate = passed.candidate();
                prop_assert_eq!(candidate.transport, Transport::Tcp);
                prop_assert!(candidate.ip().is_some());
                prop_assert_eq!(candidate.tcp_type == Some(TcpType::Active), outgoing);
                prop_assert!(outgoing || policy().media_ports.contains(candidate.port));
            }
        }
    }
}
