//! TURN with TCP allocations (RFC 8656, RFC 6062), as a client: what the kiosk asks of a relay so that the relay dials the
//! media server, and what the answers mean. The sockets are in `src/dial`.
//!
//! Two connections to the relay make one to the server: on the first an allocation is made, kept and told to connect; the
//! second is bound to what it connected, and from then on carries the server's bytes and nothing else.

mod binding;
mod credentials;
mod message;
mod needed;
mod session;

pub use binding::{binding, mapped};
pub use credentials::rest;
pub use message::{HEADER_BYTES, MAX_MESSAGE_BYTES, Malformed, Message, length};
pub use needed::{Choice, Needed, Way};
pub use session::{Answer, Ask, Family, Refusal, Session};
