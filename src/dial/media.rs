//! Media connections: to an address of the media server, itself or by way of a proxy or a relay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiosk_proto::config::{Config, Proxy, Relay, RelayPolicy};
use kiosk_proto::proxy::authority;
use kiosk_proto::turn::Refusal;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tracing::info;

use super::relay::{self, Granted, Keeper, Way};
use super::wire::Wire;
use super::{DialError, Keys, proxy, send_again_soon};

/// For all of it: an ICE agent that waits longer has given up on it.
const LIMIT: Duration = Duration::from_secs(5);
/// That the server could be reached by the relay alone is remembered for so long. A firewall that was opened is then used.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// The media server in messages.
pub(super) const SERVER: Keys = Keys { server: "the media server", address: "janus.media_ports", ca: "" };

/// By which way media connections are made.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The local address to dial from, if it is of the family of what is dialled.
    pub from: Option<IpAddr>,
    proxy: Option<Proxy>,
    relay: Option<Relay>,
    kiosk: String,
}

impl Route {
    /// As a site has it.
    pub fn new(config: &Config) -> Self {
        Self {
            from: config.ice.local_address,
            proxy: config.proxy.clone(),
            relay: config.relay.clone(),
            kiosk: config.kiosk.id.to_string(),
        }
    }

    /// The relay of the route, if it may be used.
    pub fn relay(&self) -> Option<&Relay> {
        self.relay.as_ref().filter(|relay| relay.policy != RelayPolicy::Direct)
    }

    /// Asks the relay whether it knows the kiosk: what it says to the request for an allocation, which ends at once. None
    /// where no relay may be used.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub async fn ask_relay(&self) -> Option<Result<Result<Granted, Refusal>, DialError>> {
        let way = Way { relay: self.relay()?, proxy: self.proxy.as_ref(), kiosk: &self.kiosk };
        Some(relay::allocate(way, self.from).await)
    }
}

/// What was learnt of the way to the media server, for the next connection.
#[derive(Debug, Clone, Default)]
pub struct Learnt(Arc<Mutex<Option<(Relay, Instant)>>>);

impl Learnt {
    /// Whether this relay had to be used lately.
    fn needs(&self, relay: &Relay) -> bool {
        let learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learnt.as_ref().is_some_and(|(needed, since)| needed == relay && since.elapsed() < REMEMBERED)
    }

    fn set(&self, needed: Option<&Relay>) {
        let learnt = needed.map(|relay| (relay.clone(), Instant::now()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = learnt;
    }
}

/// A connection that leads to the server.
#[derive(Debug)]
pub struct Media<K> {
    /// The connection.
    pub wire: Wire,
    /// What keeps it, where a relay makes it.
    pub keeper: Option<Keeper>,
    /// What stands between, for the figures. None when the server itself was dialled.
    pub via: Option<String>,
    /// What makes the socket known; to be held longer than the connection.
    pub known: K,
}

/// Connects to an address of the media server. `known` is told where each socket leads before there is one.
///
/// # Errors
/// Naming the address and what to do.
pub async fn media<K: Send + 'static>(
    server: SocketAddr,
    route: &Route,
    learnt: &Learnt,
    known: impl Fn(SocketAddr) -> K,
) -> Result<Media<K>, DialError> {
    let Some(relay) = route.relay() else {
        return directly(server, route, LIMIT, &known).await;
    };
    let auto = relay.policy == RelayPolicy::Auto;
    if auto && !learnt.needs(relay) {
        match directly(server, route, Duration::from_secs(relay.after_s.into()), &known).await {
            Ok(media) => return Ok(media),
            Err(error) => info!(%server, "asking the relay, because the server can't be reached: {error}"),
        }
    }
    let relayed = by_relay(server, route, relay, &known).await;
    if auto {
        // Where the relay does not help either, the next one tries everything again.
        learnt.set(relayed.is_ok().then_some(relay));
    }
    relayed
}

async fn directly<K>(
    server: SocketAddr,
    route: &Route,
    limit: Duration,
    known: &impl Fn(SocketAddr) -> K,
) -> Result<Media<K>, DialError> {
    let host = server.ip().to_string();
    let target = (host.as_str(), server.port());
    let reached = within(limit, server, hop(target, SERVER, route.proxy.as_ref(), route.from, known)).await;
    let (stream, hop, known) = reached?;
    let via = route.proxy.as_ref().map(|_| format!("proxy {hop}"));
    Ok(Media { wire: wire(stream.into(), route), keeper: None, via, known })
}

async fn by_relay<K: Send + 'static>(
    server: SocketAddr,
    route: &Route,
    relay: &Relay,
    known: &impl Fn(SocketAddr) -> K,
) -> Result<Media<K>, DialError> {
    let way = Way { relay, proxy: route.proxy.as_ref(), kiosk: &route.kiosk };
    let relayed = within(LIMIT, server, relay::connect(server, way, route.from, known)).await?;
    let by = if route.proxy.is_some() { format!("proxy {}, ", relayed.hop) } else { String::new() };
    let via = Some(format!("{by}relay {}", relay.url));
    Ok(Media { wire: wire(relayed.wire, route), keeper: Some(relayed.keeper), via, known: relayed.known })
}

fn wire(wire: Wire, route: &Route) -> Wire {
    if route.proxy.is_some() { wire.promptly() } else { wire }
}

async fn within<T>(
    limit: Duration,
    server: SocketAddr,
    reach: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    let late = |_| {
        let (setting, host) = (SERVER.address, SERVER.server.to_owned());
        Err(DialError::Connect { setting, host, address: server, source: io::ErrorKind::TimedOut.into() })
    };
    timeout(limit, reach).await.unwrap_or_else(late)
}

/// A connection to a host and port, or through the proxy's tunnel to there; where its socket leads, and what makes that
/// known.
pub(super) async fn hop<K>(
    (host, port): (&str, u16),
    keys: Keys,
    proxy: Option<&Proxy>,
    from: Option<IpAddr>,
    known: &impl Fn(SocketAddr) -> K,
) -> Result<(TcpStream, SocketAddr, K), DialError> {
    let Some(config) = proxy else { return first((host, port), keys, from, known).await };
    let credentials = proxy::credentials(config)?;
    let address = (config.address.host(), config.address.port());
    let (mut stream, hop, known) = first(address, proxy::PROXY, from, known).await?;
    proxy::ask(&mut stream, &config.address, &authority(host, port), credentials.as_ref()).await?;
    Ok((stream, hop, known))
}

/// The first of a host's addresses that answers.
async fn first<K>(
    (host, port): (&str, u16),
    keys: Keys,
    from: Option<IpAddr>,
    known: &impl Fn(SocketAddr) -> K,
) -> Result<(TcpStream, SocketAddr, K), DialError> {
    let mut last = None;
    for ip in super::addresses(host, keys.address).await? {
        let address = SocketAddr::new(ip, port);
        let known = known(address);
        match tcp(address, from).await {
            Ok(stream) => return Ok((stream, address, known)),
            Err(source) => {
                let (setting, host) = (keys.address, keys.server.to_owned());
                last = Some(DialError::Connect { setting, host, address, source });
            }
        }
    }
    Err(last.unwrap_or_else(|| super::no_records(host, keys.address)))
}

async fn tcp(address: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(from) = from.filter(|from| from.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.set_nodelay(true)?;
    send_again_soon(socket.as_fd());
    socket.connect(address).await
}
