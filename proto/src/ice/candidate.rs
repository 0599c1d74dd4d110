//! The `candidate` attribute of RFC 8839 section 5.1, with the TCP extension of RFC 6544 section 4.5.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// Longer lines are refused unread: a real candidate has about 100 bytes.
const MAX_CANDIDATE_BYTES: usize = 512;

/// Transport of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `UDP`
    Udp,
    /// `TCP`
    Tcp,
}

/// Who opens the connection of a TCP candidate (RFC 6544 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpType {
    /// The owner dials.
    Active,
    /// The owner listens.
    Passive,
    /// Simultaneous open.
    SimultaneousOpen,
}

/// Candidate type (RFC 8445 section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateKind {
    /// An address of the machine itself.
    Host,
    /// Seen by a STUN server.
    ServerReflexive,
    /// Seen by the peer.
    PeerReflexive,
    /// An address on a TURN server.
    Relayed,
}

/// One parsed candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Groups candidates of one base.
    pub foundation: String,
    /// 1 is RTP; with rtcp-mux there is no other.
    pub component: u16,
    /// UDP or TCP.
    pub transport: Transport,
    /// Higher is preferred.
    pub priority: u32,
    /// Literal address, or an mDNS or DNS name.
    pub address: String,
    /// 9 (discard) for an active TCP candidate.
    pub port: u16,
    /// Host, reflexive or relayed.
    pub kind: CandidateKind,
    /// Present for TCP alone; its absence there is malformed.
    pub tcp_type: Option<TcpType>,
}

impl Candidate {
    /// The address, when it is a literal one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

/// Why a line is no candidate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CandidateError {
    /// The line is longer than any real candidate.
    #[error("the candidate has {0} bytes; {MAX_CANDIDATE_BYTES} are allowed")]
    TooLong(usize),
    /// A field is absent.
    #[error("the candidate has no {0}")]
    Missing(&'static str),
    /// A field holds something else than it may.
    #[error("the candidate's {field} is {found:?}")]
    Invalid {
        /// Name of the field in RFC 8839.
        field: &'static str,
        /// What stands there.
        found: String,
    },
}

fn number<T: FromStr>(field: &'static str, text: Option<&str>) -> Result<T, CandidateError> {
    let text = text.ok_or(CandidateError::Missing(field))?;
    text.parse().map_err(|_| CandidateError::Invalid { field, found: text.to_owned() })
}

impl FromStr for Candidate {
    type Err = CandidateError;

    /// Reads `candidate:...`, with or without a leading `a=`.
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        if line.len() > MAX_CANDIDATE_BYTES {
            return Err(CandidateError::TooLong(line.len()));
        }
        let line = line.trim();
        let line = line.strip_prefix("a=").unwrap_or(line);
        let body = line.strip_prefix("candidate:").ok_or(CandidateError::Missing("candidate: prefix"))?;
        let mut words = body.split_ascii_whitespace();
        let foundation = words.next().ok_or(CandidateError::Missing("foundation"))?.to_owned();
        // `1*32ice-char`. A NUL here would end the line for a reader in C.
        if foundation.len() > 32 || !foundation.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')) {
            return Err(CandidateError::Invalid { field: "foundation", found: foundation });
        }
        let component = number("component", words.next())?;
        let transport = match words.next().ok_or(CandidateError::Missing("transport"))? {
            word if word.eq_ignore_ascii_case("udp") => Transport::Udp,
            word if word.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            word => {
                return Err(CandidateError::Invalid { field: "transport", found: word.to_owned() });
            }
        };
        let priority = number("priority", words.next())?;
        let address = words.next().ok_or(CandidateError::Missing("address"))?.to_owned();
        let port = number("port", words.next())?;
        if words.next() != Some("typ") {
            return Err(CandidateError::Missing("typ"));
        }
        let kind = match words.next().ok_or(CandidateError::Missing("type"))? {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::ServerReflexive,
            "prflx" => CandidateKind::PeerReflexive,
            "relay" => CandidateKind::Relayed,
            word => {
                return Err(CandidateError::Invalid { field: "type", found: word.to_owned() });
            }
        };
        let mut tcp_type = None;
        while let Some(name) = words.next() {
            let value = words.next().ok_or(CandidateError::Missing("value of an extension"))?;
            if name.eq_ignore_ascii_case("tcptype") {
                tcp_type = Some(match value {
                    "active" => TcpType::Active,
                    "passive" => TcpType::Passive,
                    "so" => TcpType::SimultaneousOpen,
                    _ => {
                        return Err(CandidateError::Invalid { field: "tcptype", found: value.to_owned() });
                    }
                });
            }
        }
        Ok(Self { foundation, component, transport, priority, address, port, kind, tcp_type })
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        };
        let kind = match self.kind {
            CandidateKind::Host => "host",
            CandidateKind::ServerReflexive => "srflx",
            CandidateKind::PeerReflexive => "prflx",
            CandidateKind::Relayed => "relay",
        };
        write!(
            out,
            "candidate:{} {} {transport} {} {} {} typ {kind}",
            self.foundation, self.component, self.priority, self.address, self.port
        )?;
        match self.tcp_type {
            Some(TcpType::Active) => out.write_str(" tcptype active"),
            Some(TcpType::Passive) => out.write_str(" tcptype passive"),
            Some(TcpType::SimultaneousOpen) => out.write_str(" tcptype so"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_libnice_and_janus_write() {
        let active: Candidate = "candidate:5 1 TCP 1010827775 192.0.2.4 9 typ host tcptype active".parse().unwrap();
        assert_eq!((active.transport, active.tcp_type), (Transport::Tcp, Some(TcpType::Active)));
        let passive: Candidate =
            "a=candidate:2 1 tcp 1015022079 2001:db8::7 40003 typ host tcptype passive".parse().unwrap();
        assert_eq!((passive.port, passive.tcp_type), (40003, Some(TcpType::Passive)));
        let relayed: Candidate =
            "candidate:7 1 UDP 5 198.51.100.1 3478 typ relay raddr 0.0.0.0 rport 0 generation 0".parse().unwrap();
        assert_eq!(relayed.kind, CandidateKind::Relayed);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let text = |line: &str| line.parse::<Candidate>().unwrap_err().to_string();
        assert_eq!(text("candidate:1 1 SCTP 5 192.0.2.1 9 typ host"), "the candidate's transport is \"SCTP\"");
        assert_eq!(text("candidate:1 1 UDP 5 192.0.2.1 70000 typ host"), "the candidate's port is \"70000\"");
        assert_eq!(text("candidate:1 1 UDP 5 192.0.2.1"), "the candidate has no port");
        assert_eq!(text("candidate:1\0 1 UDP 5 192.0.2.1 9 typ host"), "the candidate's foundation is \"1\\0\"");
        assert_eq!(text(&"x".repeat(600)), "the candidate has 600 bytes; 512 are allowed");
    }

    proptest! {
        #[test]
        fn never_panics(line in ".{0,600}") {
            let _ = line.parse::<Candidate>();
        }

        #[test]
        fn what_is_written_is_read_again(
            priority: u32, port: u16, address in "[0-9a-f:.]{2,30}", tcp in 0..4usize, kind in 0..4usize
        ) {
            let kinds = [
                CandidateKind::Host, CandidateKind::ServerReflexive, CandidateKind::PeerReflexive, CandidateKind::Relayed,
            ];
            let types = [None, Some(TcpType::Active), Some(TcpType::Passive), Some(TcpType::SimultaneousOpen)];
            let candidate = Candidate {
                foundation: "1".to_owned(), component: 1, priority, address, port, kind: kinds[kind],
                transport: if tcp == 0 { Transport::Udp } else { Transport::Tcp }, tcp_type: types[tcp],
            };
            prop_assert_eq!(candidate.to_string().parse::<Candidate>().unwrap(), candidate);
        }
    }
}
