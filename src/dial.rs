//! The one way out: names by TCP, a TCP connection to the server or to the proxy that leads there, TLS on it.
//!
//! The C library's resolver is never used: it asks by UDP, and even for `/etc/hosts` it opens UDP sockets to sort addresses.

mod learnt;
mod media;
mod prompt;
mod proxy;
mod relay;
mod wire;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, ProtocolConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{TokioResolver, system_conf};
use kiosk_proto::config::{Proxy, ProxyAddress, RelayUrl};
use kiosk_proto::fault::FaultCode;
use kiosk_proto::proxy::{Refusal, authority};
use kiosk_proto::turn;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tracing::debug;

pub use learnt::Learnt;
pub use media::{Media, Route, learn, media, relayed, silent};
pub use proxy::PROXY;
pub use relay::{Keeper, RELAY};
pub use wire::Wire;

/// For the TCP handshake, from the first try on. Longer than most outages: a link that comes back is noticed meanwhile.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// For the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// Another try is made this often. The kernel repeats an unanswered SYN after 1, 2 and 4 s, and a link that is back is then
/// found seconds too late.
const TRY_AGAIN: Duration = Duration::from_millis(400);
/// Tries that are under way at once: answers take two seconds at most.
const TRIES: usize = 5;

/// A connected stream, encrypted or, on loopback alone, plain.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// What a server is called in messages, and the keys of `kiosk.toml` that say where it is and whom to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// Which server.
    pub server: &'static str,
    /// Where it is.
    pub address: &'static str,
    /// Who may have signed its certificate.
    pub ca: &'static str,
}

/// The server of the call.
pub const JANUS: Keys = Keys { server: "Janus", address: "janus.url", ca: "janus.ca_file" };
/// The broker of the fleet.
pub const BROKER: Keys = Keys { server: "the broker", address: "fleet.broker", ca: "fleet.ca_file" };

/// Where to, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Name or address.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Whether the connection is encrypted; only on loopback it may not be.
    pub tls: bool,
    /// PEM file with the certificates that may have signed the server's; without it, those of the system.
    pub ca_file: Option<&'a Path>,
    /// PEM files with the certificate and the key that we show, if the server wants to know who we are.
    pub identity: Option<(&'a Path, &'a Path)>,
    /// What was sent and not acknowledged for this long ends the connection (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
    /// The proxy that leads to it; the name is then the proxy's to resolve.
    pub proxy: Option<&'a Proxy>,
    /// For messages.
    pub keys: Keys,
}

/// Why a server could not be reached.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name has no address.
    #[error(
        "no address for {host}: {reason}; compare {setting} with the DNS servers in /etc/resolv.conf, which must answer over TCP"
    )]
    Resolve {
        /// The key that names the host.
        setting: &'static str,
        /// The name.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// No connection.
    #[error(
        "no connection to {host} ({address}): {source}; is the server running, and is this port open in the firewall?"
    )]
    Connect {
        /// The key that names the host.
        setting: &'static str,
        /// The name.
        host: String,
        /// The address that was tried last.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No secure connection.
    #[error("no secure connection to {host} ({address}): {reason}")]
    Tls {
        /// The name.
        host: String,
        /// The address.
        address: SocketAddr,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The proxy does not lead there.
    #[error("the proxy {proxy} does not lead to {target}: {refusal}")]
    Proxy {
        /// Which proxy.
        proxy: ProxyAddress,
        /// Host and port that it was asked for.
        target: String,
        /// Why not, and what to do.
        refusal: Refusal,
    },
    /// The relay does not lead there.
    #[error("the relay {relay} does not lead to {server}: {refusal}")]
    Relay {
        /// Which relay.
        relay: RelayUrl,
        /// Where to.
        server: SocketAddr,
        /// Why not, and what to do.
        refusal: turn::Refusal,
    },
    /// A file with a secret could not be read.
    #[error("{0}")]
    Secret(String),
    /// The trusted certificates could not be loaded.
    #[error("{}: {reason}; {setting} must hold the PEM certificates that signed the server's", path.display())]
    Trust {
        /// The key that names the file.
        setting: &'static str,
        /// The file, or a word for the system's store.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Our own certificate or key could not be loaded.
    #[error("{}: {reason}; this file must be the kiosk's own certificate or key, as PEM, and readable", path.display())]
    Identity {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl DialError {
    /// Of a media connection: whether it is about what stands between here and the server.
    pub fn is_between(&self) -> bool {
        match self {
            Self::Connect { setting, .. } => *setting != media::SERVER.address,
            // Media is dialled by address, without TLS: a name, a certificate, a secret are those of what stands between.
            Self::Resolve { .. } | Self::Proxy { .. } | Self::Relay { .. } | Self::Secret(_) => true,
            Self::Tls { .. } | Self::Trust { .. } | Self::Identity { .. } => true,
        }
    }

    /// Stable name of the fault.
    pub fn code(&self) -> FaultCode {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::Relay { .. } => FaultCode::ServerUnreachable,
            Self::Proxy { .. } => FaultCode::ProxyRefused,
            Self::Secret(_) => FaultCode::SecretUnreadable,
            Self::Tls { .. } | Self::Trust { .. } | Self::Identity { .. } => FaultCode::ServerCertificate,
        }
    }
}

/// Connects to a server.
///
/// # Errors
/// Naming the host, the address that was tried and what to do.
pub async fn connect(server: &Server<'_>) -> Result<Box<dyn Stream>, DialError> {
    if let Some(proxy) = server.proxy {
        let (stream, address) = tunnel(server, proxy).await?;
        return secured(prompt::Prompt(stream), server, address).await;
    }
    let dialled = dial(server.host, server.host, server.port, server.keys.address, server.user_timeout).await;
    let (stream, address) = dialled?;
    secured(stream, server, address).await
}

async fn secured<S: Stream + 'static>(
    stream: S,
    server: &Server<'_>,
    address: SocketAddr,
) -> Result<Box<dyn Stream>, DialError> {
    if server.tls { Ok(Box::new(encrypt(stream, server, address).await?)) } else { Ok(Box::new(stream)) }
}

/// Dials the addresses of a host, one after the other; `called` is its name in messages.
async fn dial(
    host: &str,
    called: &str,
    port: u16,
    setting: &'static str,
    user_timeout: Option<Duration>,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut last = None;
    for ip in addresses(host, setting).await? {
        let address = SocketAddr::new(ip, port);
        match tcp(address, user_timeout).await {
            Ok(stream) => return Ok((stream, address)),
            Err(source) => last = Some(DialError::Connect { setting, host: called.to_owned(), address, source }),
        }
    }
    Err(last.unwrap_or_else(|| no_records(host, setting)))
}

/// A connection to a server by way of the proxy; the address is the proxy's.
async fn tunnel(server: &Server<'_>, proxy: &Proxy) -> Result<(TcpStream, SocketAddr), DialError> {
    let credentials = proxy::credentials(proxy)?;
    let (host, port) = (proxy.address.host(), proxy.address.port());
    let called = format!("the proxy {host}");
    let (mut stream, address) = dial(host, &called, port, proxy::PROXY.address, server.user_timeout).await?;
    let target = authority(server.host, server.port);
    proxy::ask(&mut stream, &proxy.address, &target, credentials.as_ref()).await?;
    Ok((stream, address))
}

/// Dials until somebody answers: yes or no.
async fn tcp(address: SocketAddr, user_timeout: Option<Duration>) -> io::Result<TcpStream> {
    let mut tries = VecDeque::from([Box::pin(TcpStream::connect(address))]);
    let mut again = interval_at(Instant::now() + TRY_AGAIN, TRY_AGAIN);
    let give_up = sleep(TCP_TIMEOUT);
    tokio::pin!(give_up);
    loop {
        let answered = poll_fn(|context| {
            let done = tries.iter_mut().find_map(|tried| match tried.as_mut().poll(context) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            });
            done.map_or(Poll::Pending, Poll::Ready)
        });
        tokio::select! {
            answer = answered => {
                let stream = answer?;
                stream.set_nodelay(true)?;
                send_again_soon(stream.as_fd());
                if let Some(limit) = user_timeout {
                    let milliseconds = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
                    setsockopt(&stream, sockopt::TcpUserTimeout, &milliseconds)?;
                }
                return Ok(stream);
            }
            _ = again.tick() => {
                tries.truncate(TRIES - 1);
                tries.push_front(Box::pin(TcpStream::connect(address)));
            }
            () = &mut give_up => {
                let text = format!("no answer in {} s", TCP_TIMEOUT.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
        }
    }
}

/// What was not acknowledged is sent again every second at the latest, so that a link that comes back is used again soon;
/// else the kernel doubles the wait each time, up to two minutes. Linux knows this from 6.15 on; older ones go on as before.
fn send_again_soon(socket: BorrowedFd<'_>) {
    const TCP_RTO_MAX_MS: libc::c_int = 44;
    static LONGEST: libc::c_int = 1000;
    // SAFETY: the kernel reads one int from where the pointer leads.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            (&raw const LONGEST).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set != 0 {
        debug!(error = %io::Error::last_os_error(), "this kernel waits longer before it sends again");
    }
}

/// The addresses of a server's name.
///
/// # Errors
/// When there is none.
pub async fn resolve(server: &Server<'_>) -> Result<Vec<IpAddr>, DialError> {
    addresses(server.host, server.keys.address).await
}

/// The addresses of a name that `setting` holds.
async fn addresses(host: &str, setting: &'static str) -> Result<Vec<IpAddr>, DialError> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let failed = |reason: String| DialError::Resolve { setting, host: host.to_owned(), reason };
    let found = resolver().map_err(failed)?.lookup_ip(host).await.map_err(|error| failed(error.to_string()))?;
    Ok(found.iter().collect())
}

fn no_records(host: &str, setting: &'static str) -> DialError {
    DialError::Resolve { setting, host: host.to_owned(), reason: "no records".to_owned() }
}

/// A resolver that asks the system's name servers by TCP alone. Made for each look-up, so that a changed
/// `/etc/resolv.conf` or `/etc/hosts` counts.
fn resolver() -> Result<TokioResolver, String> {
    let (system, options) = system_conf::read_system_conf().map_err(|error| error.to_string())?;
    let (domain, search, mut servers) = system.into_parts();
    for server in &mut servers {
        server.connections.retain(|connection: &ConnectionConfig| matches!(connection.protocol, ProtocolConfig::Tcp));
    }
    servers.retain(|server| !server.connections.is_empty());
    let config = ResolverConfig::from_parts(domain, search, servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|error| error.to_string())
}

async fn encrypt<S: Stream>(stream: S, server: &Server<'_>, address: SocketAddr) -> Result<TlsStream<S>, DialError> {
    let failed = |reason: String| DialError::Tls { host: server.host.to_owned(), address, reason };
    let name = ServerName::try_from(server.host.to_owned()).map_err(|error| failed(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(client_config(server)?));
    match timeout(TLS_TIMEOUT, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(format!("{error}; {}", tls_remedy(&error, server.keys)))),
        Err(_) => Err(failed(format!("no TLS answer in {} s; is this a TLS port?", TLS_TIMEOUT.as_secs()))),
    }
}

fn tls_remedy(error: &io::Error, keys: Keys) -> String {
    use rustls::CertificateError as C;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            C::Expired | C::ExpiredContext { .. } => "renew the server's certificate, or set the kiosk's clock".into(),
            C::NotValidYet | C::NotValidYetContext { .. } => "set the kiosk's clock".into(),
            // A bad signature: an authority of the same name, with another key.
            C::UnknownIssuer | C::BadSignature => {
                format!("{} must hold the CA that signed the server's certificate", keys.ca)
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                format!("the server's certificate is for another name: compare it with {}", keys.address)
            }
            _ => "renew the server's certificate".into(),
        },
        _ => format!("is this the TLS port of {}?", keys.server),
    }
}

fn client_config(server: &Server<'_>) -> Result<ClientConfig, DialError> {
    let path = server.ca_file.unwrap_or(Path::new("the system's certificate store"));
    let failed = |reason: String| DialError::Trust { setting: server.keys.ca, path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    if let Some(file) = server.ca_file {
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))? {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = server.identity else { return Ok(builder.with_no_client_auth()) };
    let unusable = |path: &Path, reason: String| DialError::Identity { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error.to_string()))?;
    builder.with_client_auth_cert(chain, private).map_err(|error| unusable(certificate, error.to_string()))
}
