//! The media gate: between the ICE agent and the server stands this process itself.
//!
//! The ICE agent is led to a listener on loopback, and what it sends there is taken at once. Each connection that it makes
//! gets one to the server; what waits for that one, waits here, where it is known, sorted, bounded, and can be thrown away.
//! The decisions are `kiosk_proto::gate`.

mod link;
mod listener;
mod pump;
mod registry;
mod tcp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiosk_proto::config::PortRange;
use tokio::sync::watch;
use tracing::warn;

pub use link::Link;
pub use registry::Gates;

/// Addresses of the server that one peer connection may be led to. Janus offers one for each of its own.
const MAX_WAYS: usize = 16;

/// The gate of one peer connection.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gates: Gates,
    leg: &'static str,
    media_ports: PortRange,
    from: Option<IpAddr>,
    ways: Mutex<Ways>,
}

#[derive(Debug)]
struct Ways {
    /// Where the server is, and where the ICE agent dials instead.
    list: Vec<(SocketAddr, SocketAddr)>,
    /// Dropped, it closes the listeners.
    open: Option<watch::Sender<()>>,
    /// The link that the ICE agent has chosen.
    media: Option<Arc<Link>>,
}

impl Gate {
    /// A gate that leads nowhere yet. `leg` is for the log; the server is dialled from the local address `from`.
    pub fn new(gates: Gates, leg: &'static str, media_ports: PortRange, from: Option<IpAddr>) -> Self {
        let ways = Ways { list: Vec::new(), open: Some(watch::channel(()).0), media: None };
        Self(Arc::new(Shared { gates, leg, media_ports, from, ways: Mutex::new(ways) }))
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.0.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the ICE agent shall dial to reach `server`. The server itself is dialled only when it does. None when the gate
    /// is closed, or has too many ways, or can't listen.
    pub fn way_to(&self, server: SocketAddr) -> Option<SocketAddr> {
        let mut ways = self.ways();
        if let Some((_, way)) = ways.list.iter().find(|(known, _)| *known == server) {
            return Some(*way);
        }
        let open = ways.open.as_ref()?.subscribe();
        if ways.list.len() == MAX_WAYS {
            warn!(leg = self.0.leg, %server, "one address of the server too many; it is not tried");
            return None;
        }
        let listened: io::Result<SocketAddr> = listener::start(self.clone(), server, open);
        match listened {
            Ok(way) => {
                ways.list.push((server, way));
                Some(way)
            }
            Err(error) => {
                warn!(leg = self.0.leg, %server, %error, "the media gate can't listen on loopback");
                None
            }
        }
    }

    /// The server's address behind one that the ICE agent was led to.
    pub fn server_behind(&self, way: SocketAddr) -> Option<SocketAddr> {
        self.ways().list.iter().find(|(_, known)| *known == way).map(|(server, _)| *server)
    }

    /// The link that carries DTLS and RTP: the one that the ICE agent has chosen. None before that.
    pub fn media(&self) -> Option<Arc<Link>> {
        self.ways().media.clone()
    }

    /// Closes the listeners, and within a second the links, if the ICE agent has not done so itself.
    pub fn close(&self) {
        self.ways().open = None;
    }
}
