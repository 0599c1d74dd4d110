//! A connection to the media server by way of a TURN server: `kiosk_proto::turn` decides, here bytes are moved.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiosk_proto::config::{Proxy, Relay};
use kiosk_proto::secret::Credentials;
use kiosk_proto::turn::{self, Answer, Ask, Family, HEADER_BYTES, Refusal, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;
use tracing::debug;

use super::media::hop;
use super::wire::Wire;
use super::{DialError, Keys, Server, Stream};
use crate::config::secret;

/// The relay in messages.
pub const RELAY: Keys = Keys { server: "the relay", address: "relay.url", ca: "relay.ca_file" };
/// How long credentials count that the kiosk makes itself.
const VALID: Duration = Duration::from_secs(24 * 60 * 60);
/// For one answer, the relay's own connection to the server included.
const ANSWER: Duration = Duration::from_secs(4);
/// For what is nice to know.
const SOON: Duration = Duration::from_secs(1);
/// Of the time for which an allocation stands, the part after which it is asked for again.
const KEEP: u32 = 2;
/// At least this long between two of them, whatever the relay says.
const LEAST: Duration = Duration::from_secs(10);
/// And at most this long: nothing else is sent on that connection, and boxes on the way forget one that was quiet for a
/// minute.
const MOST: Duration = Duration::from_secs(20);

/// What is known of the site's way to the relay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) relay: &'a Relay,
    pub(super) proxy: Option<&'a Proxy>,
    /// Who the kiosk is.
    pub(super) kiosk: &'a str,
}

/// Keeps the allocation as long as it is held: the connection on which it was made, refreshed in time.
#[derive(Debug)]
pub struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection to the relay.
enum Link {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Link {
    fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }
}

impl From<Link> for Wire {
    fn from(link: Link) -> Self {
        match link {
            Link::Plain(stream) => stream.into(),
            Link::Tls(stream) => (*stream).into(),
        }
    }
}

/// A connection by way of the relay, what keeps it, and the relay's address (or the proxy's before it).
pub(super) struct Relayed<K> {
    pub(super) wire: Wire,
    pub(super) keeper: Keeper,
    pub(super) hop: SocketAddr,
    pub(super) known: K,
}

/// Has the relay connect to the server. `known` is told where each socket leads before there is one.
pub(super) async fn connect<K: Send + 'static>(
    server: SocketAddr,
    way: Way<'_>,
    from: Option<std::net::IpAddr>,
    known: &impl Fn(SocketAddr) -> K,
) -> Result<Relayed<K>, DialError> {
    let credentials = credentials(way)?;
    // Both at once: the second is needed only when the relay is connected to the server, and takes as long to make.
    let (control, data) = tokio::join!(dial(way, from, known), dial(way, from, known));
    let ((mut control, _, control_known), (mut data, hop, data_known)) = (control?, data?);
    let refused = |refusal| DialError::Relay { relay: way.relay.url.clone(), server, refusal };
    let mut session = Session::new(credentials);
    let talk = async {
        let Answer::Kept(lifetime) = ask(control.stream(), &mut session, Ask::Allocate(server.into())).await? else {
            return Err(Refusal::Unproven);
        };
        let Answer::Connected(number) = ask(control.stream(), &mut session, Ask::Connect(server)).await? else {
            return Err(Refusal::Unproven);
        };
        ask(data.stream(), &mut session.clone(), Ask::Bind(number)).await?;
        Ok(lifetime)
    };
    let lifetime = talk.await.map_err(refused)?;
    let keeper = Keeper(tokio::spawn(async move {
        let _known = control_known;
        let error = keep(control.stream(), session, lifetime).await;
        debug!(%server, %error, "the relay ends an allocation");
    }));
    Ok(Relayed { wire: data.into(), keeper, hop, known: data_known })
}

/// What a relay granted to a kiosk that only asked.
#[derive(Debug, Clone, Copy)]
pub struct Granted {
    /// How long the allocation would have stood.
    pub lifetime: Duration,
    /// As whom the relay sees the kiosk, or the proxy before it; none when it does not tell.
    pub seen_as: Option<SocketAddr>,
}

/// Asks the relay for an allocation, and lets it go again.
pub(super) async fn allocate(
    way: Way<'_>,
    from: Option<std::net::IpAddr>,
) -> Result<Result<Granted, Refusal>, DialError> {
    let mut session = Session::new(credentials(way)?);
    let (mut control, _, ()) = dial(way, from, &|_| ()).await?;
    let stream = control.stream();
    let mut answer = ask(stream, &mut session, Ask::Allocate(Family::V4)).await;
    if let Err(Refusal::Family(_)) = answer {
        // The server's address is not known here: one of either family will do.
        answer = ask(stream, &mut session, Ask::Allocate(Family::V6)).await;
    }
    Ok(match answer {
        Ok(Answer::Kept(lifetime)) => Ok(Granted { lifetime, seen_as: seen_as(stream).await }),
        Ok(_) => Err(Refusal::Unproven),
        Err(refusal) => Err(refusal),
    })
}

async fn seen_as(stream: &mut dyn Stream) -> Option<SocketAddr> {
    let transaction = rand::random();
    let talk = async {
        stream.write_all(&turn::binding(transaction)).await.ok()?;
        stream.flush().await.ok()?;
        turn::mapped(&read(stream).await.ok()?, transaction)
    };
    timeout(SOON, talk).await.ok().flatten()
}

fn credentials(way: Way<'_>) -> Result<Credentials, DialError> {
    let read = |key, file| secret(key, file).map_err(|error| DialError::Secret(error.to_string()));
    let Relay { username, password_file, secret_file, .. } = way.relay;
    let password = read("relay.password_file", password_file.as_ref())?;
    if let Some((username, password)) = username.clone().zip(password) {
        return Ok(Credentials { username, password });
    }
    let shared = read("relay.secret_file", secret_file.as_ref())?;
    let shared = shared.ok_or_else(|| DialError::Secret("relay.secret_file is not set".to_owned()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(turn::rest(&shared, way.kiosk, now, VALID))
}

async fn dial<K>(
    way: Way<'_>,
    from: Option<std::net::IpAddr>,
    known: &impl Fn(SocketAddr) -> K,
) -> Result<(Link, SocketAddr, K), DialError> {
    let url = &way.relay.url;
    let (stream, address, known) = hop((url.host(), url.port()), RELAY, way.proxy, from, known).await?;
    if !url.is_tls() {
        return Ok((Link::Plain(stream), address, known));
    }
    let server = Server {
        host: url.host(),
        port: url.port(),
        tls: true,
        ca_file: way.relay.ca_file.as_deref(),
        identity: None,
        user_timeout: None,
        proxy: way.proxy,
        keys: RELAY,
    };
    let stream = super::encrypt(stream, &server, address).await?;
    Ok((Link::Tls(Box::new(stream)), address, known))
}

/// Asks until the relay is content or refuses.
async fn ask(stream: &mut dyn Stream, session: &mut Session, ask: Ask) -> Result<Answer, Refusal> {
    let talk = async {
        loop {
            let request = session.request(ask, rand::random());
            stream.write_all(&request).await.map_err(|_| Refusal::Ended)?;
            stream.flush().await.map_err(|_| Refusal::Ended)?;
            loop {
                let message = read(stream).await?;
                match session.take(&message)? {
                    Answer::Other => {}
                    Answer::Again => break,
                    answer => return Ok(answer),
                }
            }
        }
    };
    timeout(ANSWER, talk).await.unwrap_or(Err(Refusal::Silent))
}

/// One whole message and not a byte more: behind the last one the server's bytes begin.
async fn read(stream: &mut dyn Stream) -> Result<Vec<u8>, Refusal> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await.map_err(|_| Refusal::Ended)?;
    let mut message = header.to_vec();
    message.resize(turn::length(&header)?, 0);
    let body = message.get_mut(HEADER_BYTES..).unwrap_or_default();
    stream.read_exact(body).await.map_err(|_| Refusal::Ended)?;
    Ok(message)
}

/// Refreshes the allocation until that fails; the relay then closes the connection to the server.
async fn keep(stream: &mut dyn Stream, mut session: Session, mut lifetime: Duration) -> Refusal {
    loop {
        sleep((lifetime / KEEP).clamp(LEAST, MOST)).await;
        match ask(stream, &mut session, Ask::Refresh).await {
            Ok(Answer::Kept(until)) => lifetime = until,
            Ok(_) => return Refusal::Unproven,
            Err(refusal) => return refusal,
        }
    }
}
