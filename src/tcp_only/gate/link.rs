//! One connection to the server with the queues before it, as the rate controller and the figures see it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiosk_proto::gate::{Class, DEFAULT_LIMIT, GateQueue, GateState};
use kiosk_proto::via::Via;
use tokio::sync::Notify;

use super::registry::Entry;
use super::tcp;
use crate::dial::{Keeper, Media, Wire};

/// The gate's connection to the server. The entry is dropped after the socket.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) wire: Wire,
    _keeper: Option<Keeper>,
    _entry: Entry,
}

/// A link: all that the ICE agent sends on one of its connections, and the server's socket that it waits for.
#[derive(Debug)]
pub struct Link {
    local: SocketAddr,
    remote: SocketAddr,
    via: Option<Via>,
    server: Mutex<Option<Arc<Server>>>,
    queue: Mutex<GateQueue>,
    limit: AtomicU64,
    own_segments: AtomicBool,
    /// Bytes a second; 0: no limit.
    pacing: AtomicU64,
    start: Instant,
    /// Told when the limit or the queues were changed from outside.
    pub(super) changed: Notify,
}

impl Link {
    pub(super) fn new(remote: SocketAddr, dialled: Media<Entry>) -> io::Result<Self> {
        let Media { wire, keeper, via, known, .. } = dialled;
        Ok(Self {
            local: wire.local_addr()?,
            remote,
            via,
            server: Mutex::new(Some(Arc::new(Server { wire, _keeper: keeper, _entry: known }))),
            queue: Mutex::default(),
            limit: AtomicU64::new(DEFAULT_LIMIT),
            own_segments: AtomicBool::new(true),
            pacing: AtomicU64::new(0),
            start: Instant::now(),
            changed: Notify::new(),
        })
    }

    /// This machine's end.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The server's end.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// What stands between, if anything does.
    pub fn via(&self) -> Option<&Via> {
        self.via.as_ref()
    }

    /// Queues and connection now. None once it has ended; to be asked as often as wanted, it costs two system calls.
    pub fn state(&self) -> Option<GateState> {
        let server = self.server()?;
        let tcp = tcp::state(server.wire.as_fd()).ok()?;
        Some(GateState { classes: self.queue().state(self.now()), tcp, in_flight_limit: self.limit() })
    }

    /// Sets how many bytes may be in flight and unsent together. Sound and control go a little beyond it.
    pub fn set_in_flight_limit(&self, bytes: u64) {
        if self.limit.swap(bytes, Relaxed) < bytes {
            self.changed.notify_one();
        }
    }

    /// Throws away the picture that waits, all but a packet that is begun. Returns the number of packets. Whoever
    /// asks for this asks the encoder for a key frame too: what follows refers to what is gone.
    pub fn discard_video(&self) -> u64 {
        self.queue().discard(Class::Video)
    }

    pub(super) fn server(&self) -> Option<Arc<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, GateQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether each packet has a TCP segment of its own from now on.
    pub fn set_own_segments(&self, own: bool) {
        self.own_segments.store(own, Relaxed);
    }

    /// Has the kernel spread what it sends at this rate from now on, bit/s; none: no longer.
    pub fn set_pacing(&self, bits_per_second: Option<u64>) {
        let rate = bits_per_second.unwrap_or(0) / 8;
        let known = self.pacing.load(Relaxed);
        if rate.abs_diff(known) <= known / 20 {
            return;
        }
        if let Some(server) = self.server()
            && tcp::pace(server.wire.as_fd(), rate).is_ok()
        {
            self.pacing.store(rate, Relaxed);
        }
    }

    pub(super) fn own_segments(&self) -> bool {
        self.own_segments.load(Relaxed)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Since the link began.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The server's socket is given up.
    pub(super) fn close(&self) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
