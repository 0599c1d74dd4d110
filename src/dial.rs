//! The one way out: names by TCP, a TCP connection, TLS on it.
//!
//! The C library's resolver is never used: it asks by UDP, and even for `/etc/hosts` it opens UDP sockets to sort addresses.

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
use nix::libc;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tracing::debug;

/// For the TCP handshake, from the first try on. Longer than most outages: a link that comes back is noticed meanwhile.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// For the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// For a media connection: an ICE agent that waits longer has given up on it.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(5);
/// Another try is made this often. The kernel repeats an unanswered SYN after 1, 2 and 4 s, and a link that is back is then
/// found seconds too late.
const TRY_AGAIN: Duration = Duration::from_millis(400);
/// Tries that are under way at once: answers take two seconds at most.
const TRIES: usize = 5;

/// A connected stream, encrypted or, on loopback alone, plain.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why a server could not be reached.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name has no address.
    #[error(
        "no address for {host}: {reason}; compare janus.url with the DNS servers in /etc/resolv.conf, which must answer over TCP"
    )]
    Resolve {
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
    /// The trusted certificates could not be loaded.
    #[error("{}: {reason}; janus.ca_file must hold the PEM certificates that signed the server's", path.display())]
    Trust {
        /// The file, or a word for the system's store.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl DialError {
    /// Stable name of the fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } => "server-unreachable",
            Self::Tls { .. } | Self::Trust { .. } => "server-certificate",
        }
    }
}

/// Connects to a server, encrypted when `tls` says so.
///
/// # Errors
/// Naming the host, the address that was tried and what to do.
pub async fn connect(host: &str, port: u16, tls: bool, ca_file: Option<&Path>) -> Result<Box<dyn Stream>, DialError> {
    let mut last = None;
    for ip in resolve(host).await? {
        let address = SocketAddr::new(ip, port);
        match tcp(address).await {
            Ok(stream) if tls => return encrypt(stream, host, address, ca_file).await,
            Ok(stream) => return Ok(Box::new(stream)),
            Err(source) => last = Some(DialError::Connect { host: host.to_owned(), address, source }),
        }
    }
    Err(last.unwrap_or_else(|| DialError::Resolve { host: host.to_owned(), reason: "no records".to_owned() }))
}

/// Dials until somebody answers: yes or no.
async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
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

/// The addresses of a name.
///
/// # Errors
/// When there is none.
pub async fn resolve(host: &str) -> Result<Vec<IpAddr>, DialError> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let failed = |reason: String| DialError::Resolve { host: host.to_owned(), reason };
    let found = resolver().map_err(failed)?.lookup_ip(host).await.map_err(|error| failed(error.to_string()))?;
    Ok(found.iter().collect())
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

async fn encrypt(
    stream: TcpStream,
    host: &str,
    address: SocketAddr,
    ca_file: Option<&Path>,
) -> Result<Box<dyn Stream>, DialError> {
    let failed = |reason: String| DialError::Tls { host: host.to_owned(), address, reason };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(client_config(ca_file)?));
    match timeout(TLS_TIMEOUT, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(failed(format!("{error}; {}", tls_remedy(&error)))),
        Err(_) => Err(failed(format!("no TLS answer in {} s; is this a TLS port?", TLS_TIMEOUT.as_secs()))),
    }
}

fn tls_remedy(error: &io::Error) -> &'static str {
    use rustls::CertificateError as C;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            C::Expired | C::ExpiredContext { .. } => "renew the server's certificate, or set the kiosk's clock",
            C::NotValidYet | C::NotValidYetContext { .. } => "set the kiosk's clock",
            // A bad signature: an authority of the same name, with another key.
            C::UnknownIssuer | C::BadSignature => "janus.ca_file must hold the CA that signed the server's certificate",
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                "the server's certificate is for another name: compare it with janus.url"
            }
            _ => "renew the server's certificate",
        },
        _ => "is this the TLS port of Janus?",
    }
}

fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, DialError> {
    let path = ca_file.unwrap_or(Path::new("the system's certificate store"));
    let failed = |reason: String| DialError::Trust { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_file {
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
        .map_err(|error| failed(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Connects to an address of the media server, from the local address `from` if it is of the same family.
///
/// # Errors
/// Naming the address and what to do.
pub async fn media(address: SocketAddr, from: Option<IpAddr>) -> Result<TcpStream, DialError> {
    let connect = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = from.filter(|from| from.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        socket.set_nodelay(true)?;
        send_again_soon(socket.as_fd());
        let connected = timeout(MEDIA_TIMEOUT, socket.connect(address)).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    };
    connect.await.map_err(|source| DialError::Connect { host: "the media server".to_owned(), address, source })
}
