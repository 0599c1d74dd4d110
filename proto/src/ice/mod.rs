//! TCP-only ICE: what a candidate is, which ones may leave or enter, and what remains of an SDP.

mod candidate;
mod policy;
mod sdp;

pub use candidate::{Candidate, CandidateError, CandidateKind, TcpType, Transport};
pub use policy::{Direction, Rejection, TcpOnlyCandidate, TcpOnlyPolicy};
pub use sdp::{MAX_SDP_BYTES, MediaKind, MediaSection, SdpError, TcpOnlySdp};
