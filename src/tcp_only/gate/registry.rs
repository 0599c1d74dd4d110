//! Which sockets of the process are the gate's, for the audit; and the thread on which all gates run.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use kiosk_proto::audit::GateSockets;
use tokio::runtime::{Builder, Handle};

use crate::dial::Learnt;

/// All gates of the process. Their thread has nothing else to do: a call's task that blocks must not hold media back.
#[derive(Debug, Clone, Default)]
pub struct Gates(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    runtime: Mutex<Option<Handle>>,
    sockets: Mutex<GateSockets>,
    learnt: Learnt,
}

impl Gates {
    /// Those that carry calls: what they learn outlasts the daemon.
    pub fn of_this_kiosk() -> Self {
        Self(Arc::new(Shared { learnt: Learnt::of_this_kiosk(), ..Shared::default() }))
    }

    /// What runs the gates; the thread is started when it is first needed and stays.
    pub(super) fn runtime(&self) -> io::Result<Handle> {
        let mut runtime = self.0.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*runtime {
            return Ok(handle.clone());
        }
        let started = Builder::new_current_thread().enable_all().build()?;
        let handle = started.handle().clone();
        thread::Builder::new().name("gate".to_owned()).spawn(move || started.block_on(std::future::pending::<()>()))?;
        *runtime = Some(handle.clone());
        Ok(handle)
    }

    /// What the gates have learnt of the way to the server.
    pub(super) fn learnt(&self) -> &Learnt {
        &self.0.learnt
    }

    fn change(&self) -> MutexGuard<'_, GateSockets> {
        self.0.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sockets of the gates now.
    pub fn sockets(&self) -> GateSockets {
        self.change().clone()
    }

    /// Makes a socket known before it can be seen, until the entry is dropped: to be held longer than the socket.
    pub(super) fn enter(&self, socket: GateSocket) -> Entry {
        match socket {
            GateSocket::Listener(address) => self.change().add_listener(address),
            GateSocket::Accepted { local, remote } => self.change().add_accepted(local, remote),
            GateSocket::Dialled { hop, server } => self.change().add_dialled(hop, server),
        }
        Entry { gates: self.clone(), socket }
    }
}

/// A socket of a gate.
#[derive(Debug, Clone, Copy)]
pub(super) enum GateSocket {
    /// Listens on loopback.
    Listener(SocketAddr),
    /// The ICE agent's connection, at the gate's end.
    Accepted {
        /// The listener's address.
        local: SocketAddr,
        /// The ICE agent's end.
        remote: SocketAddr,
    },
    /// To the server.
    Dialled {
        /// Where the socket leads.
        hop: SocketAddr,
        /// The server that is reached by it.
        server: SocketAddr,
    },
}

/// A socket that is known to be a gate's.
#[derive(Debug)]
pub(super) struct Entry {
    gates: Gates,
    socket: GateSocket,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut sockets = self.gates.change();
        match self.socket {
            GateSocket::Listener(address) => sockets.remove_listener(address),
            GateSocket::Accepted { local, remote } => sockets.remove_accepted(local, remote),
            GateSocket::Dialled { hop, server } => sockets.remove_dialled(hop, server),
        }
    }
}
