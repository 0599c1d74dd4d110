//! Media connections: to an address of the media server, itself or by way of the proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use kiosk_proto::config::{Config, Proxy};
use kiosk_proto::proxy::authority;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{DialError, proxy, send_again_soon};

/// For all of it: an ICE agent that waits longer has given up on it.
const LIMIT: Duration = Duration::from_secs(5);
/// The key that says which ports of the server are dialled.
const SERVER: &str = "janus.media_ports";

/// By which way media connections are made.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The local address to dial from, if it is of the family of what is dialled.
    pub from: Option<IpAddr>,
    /// The proxy that leads to the server.
    pub proxy: Option<Proxy>,
}

impl Route {
    /// As a site has it.
    pub fn new(config: &Config) -> Self {
        Self { from: config.ice.local_address, proxy: config.proxy.clone() }
    }
}

/// A connection that leads to the server.
#[derive(Debug)]
pub struct Media<K> {
    /// The connection.
    pub stream: TcpStream,
    /// What stands between, for the figures. None when the server itself was dialled.
    pub via: Option<String>,
    /// What makes the socket known; to be held longer than the stream.
    pub known: K,
}

/// Connects to an address of the media server. `known` is told where each socket leads before there is one.
///
/// # Errors
/// Naming the address and what to do.
pub async fn media<K>(
    server: SocketAddr,
    route: &Route,
    known: impl Fn(SocketAddr) -> K,
) -> Result<Media<K>, DialError> {
    let reach = async {
        match &route.proxy {
            None => {
                let known = known(server);
                let stream = tcp(server, route.from, SERVER, "the media server").await?;
                Ok(Media { stream, via: None, known })
            }
            Some(proxy) => by_proxy(server, route.from, proxy, known).await,
        }
    };
    let late = || DialError::Connect {
        setting: SERVER,
        host: "the media server".to_owned(),
        address: server,
        source: io::ErrorKind::TimedOut.into(),
    };
    timeout(LIMIT, reach).await.unwrap_or_else(|_| Err(late()))
}

async fn by_proxy<K>(
    server: SocketAddr,
    from: Option<IpAddr>,
    config: &Proxy,
    known: impl Fn(SocketAddr) -> K,
) -> Result<Media<K>, DialError> {
    let credentials = proxy::credentials(config)?;
    let (host, port) = (config.address.host(), config.address.port());
    let mut last = None;
    for ip in super::addresses(host, proxy::ADDRESS).await? {
        let hop = SocketAddr::new(ip, port);
        let known = known(hop);
        match tcp(hop, from, proxy::ADDRESS, &format!("the proxy {host}")).await {
            Ok(mut stream) => {
                let target = authority(&server.ip().to_string(), server.port());
                proxy::ask(&mut stream, &config.address, &target, credentials.as_ref()).await?;
                return Ok(Media { stream, via: Some(proxy::named(hop)), known });
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| super::no_records(host, proxy::ADDRESS)))
}

async fn tcp(
    address: SocketAddr,
    from: Option<IpAddr>,
    setting: &'static str,
    host: &str,
) -> Result<TcpStream, DialError> {
    let connect = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = from.filter(|from| from.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        socket.set_nodelay(true)?;
        send_again_soon(socket.as_fd());
        socket.connect(address).await
    };
    connect.await.map_err(|source| DialError::Connect { setting, host: host.to_owned(), address, source })
}
