//! What keeps the daemon on TCP: the settings of the ICE agent, and a look at the sockets that the process really holds.
//! The rules themselves are `kiosk_proto::ice` and `kiosk_proto::audit`.

pub mod agent;
pub mod gate;
pub mod sockets;
