//! A broker that does as a test tells it, where mosquitto does as it likes: it greets, agrees to subscriptions, and takes,
//! refuses or hangs up at each message. MQTT 5 (OASIS standard, sections 2 and 3) over TLS, for one kiosk.

use crate::{
    Error, Result,
    fleet::KIOSK,
    place::Place,
    tls::{Authority, ClientIdentity},
    wait::until,
};
use serde_json::Value;
use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;
/// PUBACK's reason code for what an access list forbids.
pub const NOT_AUTHORIZED: u8 = 0x87;
/// A packet that is larger than any of a kiosk's.
const MAX_PACKET: usize = 1024 * 1024;

/// What the broker does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Acknowledges it.
    Take,
    /// Refuses it with a reason, and goes on.
    Refuse(u8),
    /// Ends the connection without a word.
    HangUp,
}

/// A message that came with QoS 1, and what the broker did.
#[derive(Debug, Clone)]
pub struct Said {
    /// The connection's number.
    pub connection: usize,
    /// When.
    pub at: Instant,
    /// The last part of its topic, such as `event`.
    pub word: String,
    /// Payload; `null` when it is no JSON.
    pub json: Value,
    /// What became of it.
    pub verdict: Verdict,
}

type Decide = Box<dyn FnMut(&str, &Value) -> Verdict + Send>;

/// A running broker. It ends with the test's process.
pub struct Obedient {
    said: Arc<Mutex<Vec<Said>>>,
    connections: Arc<Mutex<usize>>,
    authority: Authority,
    identity: ClientIdentity,
    address: String,
}

impl std::fmt::Debug for Obedient {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Obedient").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Obedient {
    /// Starts it; `decide` sees the last part of a message's topic and its payload.
    pub fn start(
        place: &Place,
        address: Ipv4Addr,
        port: u16,
        decide: impl FnMut(&str, &Value) -> Verdict + Send + 'static,
    ) -> Result<Self> {
        let dir = place.dir().join(format!("broker-{port}"));
        fs::create_dir(&dir).map_err(Error::io(dir.display().to_string()))?;
        let authority = Authority::create(&dir)?;
        let server = authority.server(&[&address.to_string()])?;
        let identity = authority.client(KIOSK)?;
        let config = Arc::new(tls(&server.certificate, &server.key)?);
        let listener = place.listen((address, port).into())?;
        let broker = Self {
            said: Arc::default(),
            connections: Arc::default(),
            authority,
            identity,
            address: format!("mqtts://{address}:{port}"),
        };
        let (said, connections) = (broker.said.clone(), broker.connections.clone());
        // A kiosk has one connection at a time: a new one is served when the old one has ended.
        let mut decide: Decide = Box::new(decide);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(io::Result::ok) {
                let connection = {
                    let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
                    *connections += 1;
                    *connections
                };
                // Why it ended is the kiosk's to say.
                let _ = serve(stream, &config, connection, &mut decide, &said);
            }
        });
        Ok(broker)
    }

    /// All messages so far.
    pub fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those on a topic that ends with a word.
    pub fn said_on(&self, word: &str) -> Vec<Said> {
        self.said().into_iter().filter(|said| said.word == word).collect()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was said is as wanted.
    pub fn wait(&self, timeout: Duration, what: &str, wanted: impl Fn(&[Said]) -> bool) -> Result<()> {
        let found = until(timeout, what, || Ok(wanted(&self.said()).then_some(())));
        found.map_err(|error| Error::Other(format!("{error}; said so far: {:#?}", self.said())))
    }

    /// What a kiosk's `fleet.broker` says.
    pub fn url(&self) -> &str {
        &self.address
    }

    /// The authority of its certificates.
    pub fn ca(&self) -> PathBuf {
        self.authority.ca()
    }

    /// Certificate and key of the kiosk.
    pub fn kiosk(&self) -> &ClientIdentity {
        &self.identity
    }
}

fn tls(certificate: &std::path::Path, key: &std::path::Path) -> Result<ServerConfig> {
    let failed = |error: &dyn std::fmt::Display| Error::Other(format!("the broker's certificate: {error}"));
    let chain = CertificateDer::from_pem_file(certificate).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(&error))?;
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .map_err(|error| failed(&error))
}

/// One connection, until either side ends it.
fn serve(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    connection: usize,
    decide: &mut Decide,
    said: &Mutex<Vec<Said>>,
) -> io::Result<()> {
    let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    loop {
        let (kind, flags, body) = packet(&mut stream)?;
        match kind {
            CONNECT => stream.write_all(&[0x20, 3, 0, 0, 0])?,
            SUBSCRIBE => {
                let (id, filters) = subscriptions(&body).ok_or(io::ErrorKind::InvalidData)?;
                let length = u8::try_from(3 + filters).map_err(io::Error::other)?;
                stream.write_all(&[&[0x90, length], &id[..], &[0], &vec![1; filters][..]].concat())?;
            }
            PUBLISH if flags & 0b110 == 0 => {}
            PUBLISH => {
                let (word, id, payload) = message(&body).ok_or(io::ErrorKind::InvalidData)?;
                let json = serde_json::from_slice(payload).unwrap_or_default();
                let verdict = decide(&word, &json);
                let at = Instant::now();
                said.lock().unwrap_or_else(PoisonError::into_inner).push(Said { connection, at, word, json, verdict });
                match verdict {
                    Verdict::Take => stream.write_all(&[&[0x40, 2], &id[..]].concat())?,
                    Verdict::Refuse(reason) => stream.write_all(&[&[0x40, 4], &id[..], &[reason, 0]].concat())?,
                    Verdict::HangUp => return Ok(()),
                }
            }
            PINGREQ => stream.write_all(&[0xd0, 0])?,
            DISCONNECT => return Ok(()),
            _ => {}
        }
        stream.flush()?;
    }
}

/// Type, flags and body of the next packet.
fn packet(stream: &mut impl Read) -> io::Result<(u8, u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let first = byte[0];
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if length > MAX_PACKET {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((first >> 4, first & 0xf, body))
}

/// What begins with its length in two bytes, and what is behind it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// What is behind the properties. Those of a kiosk have less than 16 KiB.
fn behind_properties(bytes: &[u8]) -> Option<&[u8]> {
    let (first, rest) = bytes.split_first()?;
    if first & 0x80 == 0 {
        return rest.get(usize::from(*first)..);
    }
    let (second, rest) = rest.split_first()?;
    rest.get(usize::from(first & 0x7f) + (usize::from(*second) << 7)..)
}

/// Identifier of a SUBSCRIBE, and how many filters it has.
fn subscriptions(body: &[u8]) -> Option<([u8; 2], usize)> {
    let (id, rest) = body.split_first_chunk::<2>()?;
    let (mut rest, mut count) = (behind_properties(rest)?, 0);
    while !rest.is_empty() {
        rest = text(rest)?.1.get(1..)?;
        count += 1;
    }
    Some((*id, count))
}

/// The last part of a PUBLISH's topic, its identifier and its payload.
fn message(body: &[u8]) -> Option<(String, [u8; 2], &[u8])> {
    let (topic, rest) = text(body)?;
    let (id, rest) = rest.split_first_chunk::<2>()?;
    let topic = String::from_utf8_lossy(topic).into_owned();
    let word = topic.rsplit('/').next().unwrap_or_default().to_owned();
    Some((word, *id, behind_properties(rest)?))
}
