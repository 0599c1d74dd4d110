//! The media gate: between the ICE agent and the server stands this process itself.
//!
//! The ICE agent is led to a listener on loopback, and what it sends there is taken at once. Each connection that it
//! makes gets one to the server; what waits for that one, waits here, where it is known, sorted, bounded, and can be
//! thrown away. The decisions are `kiosk_proto::gate`.

mod link;
mod listener;
mod opening;
mod pump;
mod registry;
mod tcp;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiosk_proto::call::PeerId;
use kiosk_proto::config::PortRange;
use tokio::sync::watch;
use tracing::warn;

use crate::dial::Route;
use crate::events::Events;

pub use link::Link;
pub use registry::Gates;

/// Addresses of the server that one peer connection may be led to. Janus offers one for each of its own.
const MAX_WAYS: usize = 16;

/// The gate of one peer connection. Its listeners close when the last of its clones is dropped, if not before.
#[derive(Debug, Clone)]
pub struct Gate {
    shared: Arc<Shared>,
    /// What is dropped to close the listeners.
    open: Arc<Mutex<Option<watch::Sender<()>>>>,
}

/// What the gate's tasks have of it.
#[derive(Debug)]
struct Shared {
    gates: Gates,
    leg: &'static str,
    media_ports: PortRange,
    route: Route,
    /// Whose gate it is, and who is told when what stands between does not lead to the server.
    told: (PeerId, Events),
    /// Where the server is, and where the ICE agent dials instead.
    ways: Mutex<Vec<(SocketAddr, SocketAddr)>>,
    /// The link that the ICE agent has chosen.
    media: Mutex<Option<Arc<Link>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// A gate that leads nowhere yet. `leg` is for the log; the server is dialled by `route`, and `told` is the peer
    /// connection whose gate it is, and who hears why there is no way.
    pub fn new(gates: Gates, leg: &'static str, media_ports: PortRange, route: Route, told: (PeerId, Events)) -> Self {
        let (ways, media) = (Mutex::default(), Mutex::default());
        let open = Arc::new(Mutex::new(Some(watch::channel(()).0)));
        Self { shared: Arc::new(Shared { gates, leg, media_ports, route, told, ways, media }), open }
    }

    /// Where the ICE agent shall dial to reach `server`. The server itself is dialled only when it does. None when
    /// the gate is closed, or has too many ways, or can't listen.
    pub fn way_to(&self, server: SocketAddr) -> Option<SocketAddr> {
        let (leg, mut ways) = (self.shared.leg, lock(&self.shared.ways));
        if let Some((_, way)) = ways.iter().find(|(known, _)| *known == server) {
            return Some(*way);
        }
        let open = lock(&self.open).as_ref()?.subscribe();
        if ways.len() == MAX_WAYS {
            warn!(leg, %server, "one address of the server too many; it is not tried");
            return None;
        }
        match listener::start(Arc::clone(&self.shared), server, open) {
            Ok(way) => {
                ways.push((server, way));
                Some(way)
            }
            Err(error) => {
                warn!(leg, %server, %error, "the media gate can't listen on loopback");
                None
            }
        }
    }

    /// The server's address behind one that the ICE agent was led to.
    pub fn server_behind(&self, way: SocketAddr) -> Option<SocketAddr> {
        lock(&self.shared.ways).iter().find(|(_, known)| *known == way).map(|(server, _)| *server)
    }

    /// The link that carries DTLS and RTP: the one that the ICE agent has chosen. None before that.
    pub fn media(&self) -> Option<Arc<Link>> {
        lock(&self.shared.media).clone()
    }

    /// Says whether anything of the gate is left: a clone of it, a listener, a link.
    pub fn is_left(&self) -> impl Fn() -> bool + Send + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || shared.strong_count() > 0
    }

    /// Closes the listeners, and within a second the links, if the ICE agent has not done so itself.
    pub fn close(&self) {
        *lock(&self.open) = None;
    }
}
