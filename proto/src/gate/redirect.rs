//! What the ICE agent is told: the server's candidates, each with the gate's address in place of the server's.

use std::net::SocketAddr;

use crate::ice::{Candidate, Direction, TcpOnlyCandidate, TcpOnlyPolicy, TcpOnlySdp};

/// A candidate that leads to the gate: the only kind that a peer connection is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatedCandidate {
    mline: u32,
    line: String,
}

impl GatedCandidate {
    /// Asks `gate` where the ICE agent shall dial instead of the server; `None` when it has no way there.
    pub fn new(candidate: &TcpOnlyCandidate, gate: &mut dyn FnMut(SocketAddr) -> Option<SocketAddr>) -> Option<Self> {
        let real = candidate.candidate();
        let way = gate(SocketAddr::new(real.ip()?, real.port))?;
        let line = Candidate { address: way.ip().to_string(), port: way.port(), ..real.clone() }.to_string();
        Some(Self { mline: candidate.mline(), line })
    }

    /// Index of the media section that it belongs to.
    #[must_use]
    pub fn mline(&self) -> u32 {
        self.mline
    }

    /// The `candidate:` line, without `a=`.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }
}

/// A description of the server whose candidates lead to the gate: the only kind that a peer connection is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatedSdp(String);

impl GatedSdp {
    /// Puts the gate's addresses in place of the server's; a candidate without a way is left out.
    pub fn new(
        sdp: &TcpOnlySdp,
        policy: &TcpOnlyPolicy,
        gate: &mut dyn FnMut(SocketAddr) -> Option<SocketAddr>,
    ) -> Self {
        let mut text = String::with_capacity(sdp.as_str().len());
        for line in sdp.as_str().lines() {
            if line.starts_with("a=candidate:") {
                let candidate = policy.judge(Direction::Incoming, 0, line).ok();
                if let Some(gated) = candidate.and_then(|candidate| GatedCandidate::new(&candidate, gate)) {
                    text.push_str(&format!("a={}\r\n", gated.line()));
                }
                continue;
            }
            text.push_str(line);
            text.push_str("\r\n");
        }
        Self(text)
    }

    /// The description, lines ended by CR LF.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
