//! Where the ICE agent dials: a listener on loopback for one address of the server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use kiosk_proto::audit;
use kiosk_proto::call::Event;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::registry::{Entry, GateSocket};
use super::{Link, Shared, lock, opening, pump, tcp};
use crate::tcp_only::sockets;

/// The ICE agent dials once from each address of this machine.
const MAX_LINKS: usize = 8;
/// How long links get to end by themselves once the gate is closed.
const CLOSE: Duration = Duration::from_secs(1);
/// Room for several key frames, should the gate's thread be late: the ICE agent loses what does not fit.
const RECEIVE_BUFFER: usize = 512 * 1024;
/// Ephemeral ports are tried until one is not a media port: those are the server's, which may run on this machine.
const TRIES: usize = 64;

/// Listens for the ICE agent's way to `server`, until `open`'s sender is dropped. Returns where.
pub(super) fn start(gate: Arc<Shared>, server: SocketAddr, open: watch::Receiver<()>) -> io::Result<SocketAddr> {
    let runtime = gate.gates.runtime()?;
    let listener = bind(&gate, server)?;
    let address = listener.local_addr()?;
    let entry = gate.gates.enter(GateSocket::Listener(address));
    runtime.spawn(serve(gate, server, listener, entry, open));
    Ok(address)
}

/// Loopback of the server's family: the ICE agent pairs addresses of one family only.
fn bind(gate: &Arc<Shared>, server: SocketAddr) -> io::Result<std::net::TcpListener> {
    let loopback = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let mut refused = Vec::new();
    for _ in 0..TRIES {
        let listener = std::net::TcpListener::bind((loopback, 0))?;
        if gate.media_ports.contains(listener.local_addr()?.port()) {
            // Held until another is found, so that it is not given out again.
            refused.push(listener);
            continue;
        }
        setsockopt(&listener.as_fd(), sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        listener.set_nonblocking(true)?;
        return Ok(listener);
    }
    Err(io::Error::other("every free port of loopback is one of janus.media_ports"))
}

async fn serve(
    gate: Arc<Shared>,
    server: SocketAddr,
    listener: std::net::TcpListener,
    entry: Entry,
    mut open: watch::Receiver<()>,
) {
    let mut links = JoinSet::new();
    match TcpListener::from_std(listener) {
        Ok(listener) => {
            let mut accepted = 0;
            while accepted < MAX_LINKS {
                tokio::select! {
                    agent = listener.accept() => match agent {
                        Ok((agent, remote)) => {
                            accepted += usize::from(take(&gate, server, agent, remote, &mut links));
                        }
                        // Of descriptors there are none: the next try must not come at once.
                        Err(error) => {
                            warn!(leg = gate.leg, %error, "the media gate can't accept");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    },
                    _ = open.changed() => break,
                }
                while links.try_join_next().is_some() {}
            }
        }
        Err(error) => warn!(leg = gate.leg, %error, "the media gate can't listen"),
    }
    drop(entry);
    while open.changed().await.is_ok() {}
    let _ = timeout(CLOSE, async { while links.join_next().await.is_some() {} }).await;
}

/// Begins a link for a connection of the ICE agent. Whoever else dials the listener is turned away.
fn take(gate: &Arc<Shared>, server: SocketAddr, agent: TcpStream, remote: SocketAddr, links: &mut JoinSet<()>) -> bool {
    let Ok(local) = agent.local_addr() else { return false };
    // Known before it is judged: it is the gate's business, and not the audit's.
    let entry = gate.gates.enter(GateSocket::Accepted { local, remote });
    // Dropped in this order.
    let agent = (agent, entry);
    if !sockets::look().is_ok_and(|(all, _)| audit::made_here(&all, local, remote)) {
        warn!(leg = gate.leg, %remote, "another program of this machine dialled the media gate; it was turned away");
        return false;
    }
    let gate = Arc::clone(gate);
    links.spawn(async move {
        let agent = agent;
        run(&gate, server, &agent.0).await;
    });
    true
}

async fn run(gate: &Arc<Shared>, server: SocketAddr, agent: &TcpStream) {
    let leg = gate.leg;
    let dialled = match opening::open(gate, server, agent).await {
        Ok(Some(dialled)) => dialled,
        Ok(None) => return debug!(leg, %server, "the ICE agent ended its connection at once"),
        // The ICE agent sees its connection end, and tries others.
        Err(error) => {
            let (peer, events) = &gate.told;
            if error.is_between() {
                events.happened(Event::NoWay(*peer, error.to_string()));
            }
            return warn!(leg, %server, "no media connection: {error}");
        }
    };
    let prepared = agent.set_nodelay(true).and_then(|()| tcp::tell_when_short(dialled.wire.as_fd()));
    if let Err(error) = prepared {
        warn!(leg, %server, %error, "the media connection keeps the kernel's settings");
    }
    let link = match Link::new(server, dialled) {
        Ok(link) => Arc::new(link),
        Err(error) => return warn!(leg, %server, %error, "the media connection was lost at once"),
    };
    let _closing = Closing(Arc::clone(&link));
    let ended = pump::run(&link, agent, || *lock(&gate.media) = Some(Arc::clone(&link))).await;
    debug!(leg, %server, "a link of the media gate ended: {ended}");
}

/// However the task of a link ends, its socket is closed: others may still hold the link for its figures.
struct Closing(Arc<Link>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
