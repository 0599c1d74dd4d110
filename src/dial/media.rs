//! Media connections: to an address of the media server, itself or by way of a proxy or a relay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::time::Duration;

use kiosk_proto::config::{Config, Proxy, Relay, RelayPolicy};
use kiosk_proto::proxy::authority;
use kiosk_proto::turn::{self, Choice, Refusal};
use kiosk_proto::via::Via;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tracing::info;

use super::learnt::Learnt;
use super::relay::{self, Granted, Keeper, Way};
use super::wire::Wire;
use super::{DialError, Keys, proxy, send_again_soon};

/// For all of it: an ICE agent that waits longer has given up on it.
const LIMIT: Duration = Duration::from_secs(5);
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

    /// How long a server that was reached gets to say something, where the relay is tried when it does not.
    pub fn patience(&self) -> Option<Duration> {
        let relay = self.relay().filter(|relay| relay.policy == RelayPolicy::Auto);
        relay.map(|relay| Duration::from_secs(relay.after_s.into()))
    }

    /// What the experience with this way is remembered by.
    fn known_by(&self, server: SocketAddr, relay: &Relay) -> turn::Way {
        turn::Way {
            server: server.ip(),
            relay: relay.url.to_string(),
            proxy: self.proxy.as_ref().map(|proxy| proxy.address.to_string()),
            from: self.from,
        }
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

/// A connection that leads to the server.
#[derive(Debug)]
pub struct Media<K> {
    /// The connection.
    pub wire: Wire,
    /// What keeps it, where a relay makes it.
    pub keeper: Option<Keeper>,
    /// What stands between, for the figures. None when the server itself was dialled.
    pub via: Option<Via>,
    /// Whether the relay makes it because the server itself was tried in vain.
    pub instead: bool,
    /// What makes the socket known; to be held longer than the connection.
    pub known: K,
}

impl<K> Media<K> {
    /// Whether a relay makes it.
    pub fn is_relayed(&self) -> bool {
        self.keeper.is_some()
    }
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
    if relay.policy != RelayPolicy::Auto {
        return by_relay(server, route, relay, &known).await;
    }
    let way = route.known_by(server, relay);
    let choice = learnt.choose(&way);
    if choice == Choice::Relay {
        let relayed = by_relay(server, route, relay, &known).await;
        if relayed.is_err() {
            // Where the relay does not help either, the next one tries everything again.
            learnt.drop(&way);
        }
        return relayed;
    }
    let direct = directly(server, route, Duration::from_secs(relay.after_s.into()), &known);
    let relayed = by_relay(server, route, relay, &known);
    let outcome = if choice == Choice::Both { first_of(direct, relayed).await } else { in_turn(direct, relayed).await };
    if outcome.is_err() {
        learnt.drop(&way);
    }
    outcome.map(|media| Media { instead: media.is_relayed(), ..media })
}

/// Connects by way of the relay, because the server that was reached says nothing.
///
/// # Errors
/// Why the relay does not lead there, or that there is none.
pub async fn relayed<K: Send + 'static>(
    server: SocketAddr,
    route: &Route,
    known: impl Fn(SocketAddr) -> K,
) -> Result<Media<K>, DialError> {
    let Some(relay) = route.relay() else { return Err(silent(server)) };
    Ok(Media { instead: true, ..by_relay(server, route, relay, &known).await? })
}

/// A connection was made, and nothing came from the server.
pub fn silent(server: SocketAddr) -> DialError {
    let (setting, host) = (SERVER.address, SERVER.server.to_owned());
    DialError::Connect { setting, host, address: server, source: io::ErrorKind::TimedOut.into() }
}

/// Where the relay is spare, what follows for the next connection from one over which something came from the server, or
/// nothing did.
pub fn learn<K>(server: SocketAddr, route: &Route, learnt: &Learnt, media: &Media<K>, answered: bool) {
    let Some(relay) = route.relay().filter(|relay| relay.policy == RelayPolicy::Auto) else { return };
    let way = route.known_by(server, relay);
    match (media.is_relayed(), answered) {
        (true, true) if media.instead => learnt.keep(way),
        (true, true) => {}
        // Where the relay does not help either, the next one tries everything again.
        (true, false) | (false, true) => learnt.drop(&way),
        // The relay is asked next.
        (false, false) => {}
    }
}

async fn in_turn<K>(
    direct: impl Future<Output = Result<Media<K>, DialError>>,
    relayed: impl Future<Output = Result<Media<K>, DialError>>,
) -> Result<Media<K>, DialError> {
    match direct.await {
        Ok(media) => Ok(media),
        Err(error) => {
            info!("asking the relay, because the server can't be reached: {error}");
            relayed.await
        }
    }
}

/// The one that answers first; the other's connections are closed.
async fn first_of<K>(
    direct: impl Future<Output = Result<Media<K>, DialError>>,
    relayed: impl Future<Output = Result<Media<K>, DialError>>,
) -> Result<Media<K>, DialError> {
    let (mut direct, mut relayed) = (pin!(direct), pin!(relayed));
    tokio::select! {
        biased;
        media = &mut direct => match media {
            Ok(media) => Ok(media),
            Err(_) => relayed.await,
        },
        media = &mut relayed => match media {
            Ok(media) => Ok(media),
            Err(error) => direct.await.map_err(|_| error),
        },
    }
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
    let via = route.proxy.as_ref().map(|_| Via::Proxy(hop.to_string()));
    Ok(Media { wire: wire(stream.into(), route), keeper: None, via, instead: false, known })
}

async fn by_relay<K: Send + 'static>(
    server: SocketAddr,
    route: &Route,
    relay: &Relay,
    known: &impl Fn(SocketAddr) -> K,
) -> Result<Media<K>, DialError> {
    let way = Way { relay, proxy: route.proxy.as_ref(), kiosk: &route.kiosk };
    let relayed = within(LIMIT, server, relay::connect(server, way, route.from, known)).await?;
    let url = relay.url.to_string();
    let via = match route.proxy {
        Some(_) => Via::Both { proxy: relayed.hop.to_string(), relay: url },
        None => Via::Relay(url),
    };
    let (wire, keeper) = (wire(relayed.wire, route), Some(relayed.keeper));
    Ok(Media { wire, keeper, via: Some(via), instead: false, known: relayed.known })
}

fn wire(wire: Wire, route: &Route) -> Wire {
    if route.proxy.is_some() { wire.promptly() } else { wire }
}

async fn within<T>(
    limit: Duration,
    server: SocketAddr,
    reach: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    timeout(limit, reach).await.unwrap_or_else(|_| Err(silent(server)))
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
