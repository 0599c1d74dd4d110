//! The media gate: every RTP packet passes it between the ICE agent and the server's socket.
//!
//! The ICE agent knows nothing of queues: when a TCP socket is full it drops packets or stands still. So it gets a
//! socket that is never full, a listener of the gate on this machine, and the gate owns the connection to the server.
//! Here is what the gate decides: what a packet is, what goes first, how much the kernel may hold, what is thrown
//! away. The sockets are in `src/tcp_only`.

mod class;
mod framing;
mod queue;
mod redirect;
mod room;
mod state;
#[cfg(test)]
mod tests;

pub use class::{AUDIO_PAYLOAD_TYPE, Class, classify};
pub use framing::{Frames, LENGTH_BYTES, MAX_FRAME_BYTES};
pub use queue::{AUDIO_MAX_AGE, Chunk, GateQueue};
pub use redirect::{GatedCandidate, GatedSdp};
pub use room::{DEFAULT_LIMIT, RESERVE, Room, UNSENT};
pub use state::{ByClass, ClassState, GateState, TcpState};
