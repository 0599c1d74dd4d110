//! The connection to the broker: MQTT 5 over TLS with the admin's certificate. It comes back by itself.

use crate::profile::{Profile, ProfileError};
use kiosk_proto::fleet::{MAX_PACKET_BYTES, fits};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{ConnectReturnCode, Packet, PublishProperties, SubscribeFilter};
use rumqttc::{
    AsyncClient, Broker, ConnectionError, Event, EventLoop, MqttOptions, PublishNoticeError, PublishOptions,
};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// How long the first connection may take, and a message until the broker has it.
const PATIENCE: Duration = Duration::from_secs(15);
/// Messages that were received and not looked at yet.
const INBOX: usize = 1024;
/// Messages that the broker has not acknowledged yet.
const IN_FLIGHT: u16 = 256;
/// Requests that were made and not sent yet.
const OUTBOX: usize = 256;

/// Why the broker can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A file of the admin's identity.
    #[error("{what} {path}: {reason}")]
    Identity {
        /// Which.
        what: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no connection.
    #[error("no connection to the broker {broker}: {reason}")]
    Connect {
        /// Host and port.
        broker: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The broker would cut the connection.
    #[error(
        "a message of {bytes} bytes for {topic} is more than the broker takes ({limit} bytes): nothing of it is sent. \
         Raise max_packet_size in its configuration, or push less"
    )]
    TooLarge {
        /// Where to.
        topic: String,
        /// Of its payload.
        bytes: usize,
        /// What the broker says.
        limit: u32,
    },
    /// The broker did not take a message.
    #[error("the broker did not take the message for {topic}: {reason}")]
    Publish {
        /// Where to.
        topic: String,
        /// Why.
        reason: String,
    },
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// Which command it answers.
    pub correlation: Option<Vec<u8>>,
    /// Names and values that came with it.
    pub properties: Vec<(String, String)>,
}

/// What happens on the connection.
#[derive(Debug)]
pub enum Arrival {
    /// It is up, and everything is subscribed to.
    Up,
    /// It is down; it is tried again.
    Down(String),
    /// A message came.
    Message(Message),
}

/// The connection. Dropped, it ends.
pub struct Link {
    client: AsyncClient,
    limit: Arc<AtomicU32>,
    inbox: mpsc::Receiver<Arrival>,
    early: VecDeque<Arrival>,
    own: String,
    markers: u64,
    pump: tokio::task::JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Link {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// When it does not come up in some seconds: with the reason of the last attempt.
    pub async fn open(profile: &Profile, filters: Vec<String>) -> Result<Self, LinkError> {
        let broker = profile.broker()?;
        let tls = TlsConnector::from(Arc::new(tls(profile)?));
        let own = format!("kioskctl-{:016x}", rand::random::<u64>());
        let mut options = MqttOptions::new(&own, Broker::tcp(&broker.host, broker.port));
        options.set_keep_alive(20).set_clean_start(true).set_max_packet_size(Some(MAX_PACKET_BYTES));
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT).set_connect_timeout(Duration::from_secs(10));
        let host = broker.host.clone();
        options.set_socket_connector(move |address, _| {
            let (tls, host) = (tls.clone(), host.clone());
            async move {
                let name = ServerName::try_from(host).map_err(io::Error::other)?;
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                tls.connect(name, stream).await
            }
        });
        let (client, events) = AsyncClient::builder(options).capacity(OUTBOX).build();
        let (sender, inbox) = mpsc::channel(INBOX);
        let mut filters: Vec<SubscribeFilter> =
            filters.iter().map(|filter| SubscribeFilter::new(filter, QoS::AtLeastOnce)).collect();
        filters.push(SubscribeFilter::new(marker_topic(&own), QoS::AtLeastOnce));
        filters.push(SubscribeFilter::new(format!("bk/v1/device/+/response/{own}"), QoS::AtLeastOnce));
        let limit = Arc::new(AtomicU32::new(MAX_PACKET_BYTES));
        let pump = tokio::spawn(pump(events, client.clone(), filters, sender, limit.clone()));
        let mut link = Self { client, limit, inbox, early: VecDeque::new(), own, markers: 0, pump };
        let failed = |reason| LinkError::Connect { broker: format!("{}:{}", broker.host, broker.port), reason };
        let mut last = "no answer".to_owned();
        let up = async {
            loop {
                match link.inbox.recv().await {
                    Some(Arrival::Up) => return true,
                    Some(Arrival::Down(reason)) => last = reason,
                    Some(Arrival::Message(message)) => link.early.push_back(Arrival::Message(message)),
                    None => return false,
                }
            }
        };
        match timeout(PATIENCE, up).await {
            Ok(true) => Ok(link),
            _ => Err(failed(last)),
        }
    }

    /// What happens next.
    pub async fn next(&mut self) -> Arrival {
        match self.early.pop_front() {
            Some(arrival) => arrival,
            None => self.inbox.recv().await.unwrap_or(Arrival::Down("the connection has ended".into())),
        }
    }

    /// Hands over everything that the broker holds for the subscriptions: a message of our own comes back behind it.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn retained(&mut self, mut take: impl FnMut(Message)) -> Result<(), LinkError> {
        self.markers += 1;
        let (topic, wanted) = (marker_topic(&self.own), self.markers.to_string().into_bytes());
        let sender = self.publisher();
        let send = || {
            let (sender, topic, payload) = (sender.clone(), topic.clone(), wanted.clone());
            tokio::spawn(async move { sender.publish(&topic, payload, false, None).await })
        };
        send();
        let until_marker = async {
            loop {
                match self.next().await {
                    // What was sent over the connection before may be lost.
                    Arrival::Up => drop(send()),
                    Arrival::Message(message) if message.topic == topic && message.payload == wanted => return,
                    Arrival::Message(message) if message.topic != topic => take(message),
                    _ => {}
                }
            }
        };
        let reason = "it can't be read back; is this certificate in the broker's list of admins?";
        let came = timeout(PATIENCE, until_marker).await;
        came.map_err(|_| LinkError::Publish { topic, reason: reason.into() })
    }

    /// Sends a message and waits until the broker has it. What comes meanwhile is kept.
    ///
    /// # Errors
    /// When the broker refuses it or is lost.
    pub async fn publish(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
        properties: Option<PublishProperties>,
    ) -> Result<(), LinkError> {
        let publisher = self.publisher();
        let sent = publisher.publish(topic, payload, retain, properties);
        tokio::pin!(sent);
        loop {
            tokio::select! {
                result = &mut sent => return result,
                arrival = self.inbox.recv() => self.early.extend(arrival),
            }
        }
    }

    /// For sending while this is read from.
    pub fn publisher(&self) -> Publisher {
        Publisher { client: self.client.clone(), limit: self.limit.clone() }
    }

    /// A name of this connection, for response topics.
    pub fn own(&self) -> &str {
        &self.own
    }
}

/// Sends messages.
#[derive(Clone)]
pub struct Publisher {
    client: AsyncClient,
    /// The largest packet that the broker takes, as it says when it greets.
    limit: Arc<AtomicU32>,
}

impl Publisher {
    /// Whether the broker takes a payload of so many bytes.
    ///
    /// # Errors
    /// When it is too large.
    pub fn fits(&self, topic: &str, bytes: usize) -> Result<(), LinkError> {
        let limit = self.limit.load(Ordering::Relaxed);
        fits(topic, bytes, limit).then_some(()).ok_or_else(|| LinkError::TooLarge {
            topic: topic.to_owned(),
            bytes,
            limit,
        })
    }

    /// Sends a message and waits until the broker has it. The link must be read from meanwhile.
    ///
    /// # Errors
    /// When the broker refuses it or is lost.
    pub async fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
        properties: Option<PublishProperties>,
    ) -> Result<(), LinkError> {
        self.fits(topic, payload.len())?;
        let failed = |reason: String| LinkError::Publish { topic: topic.to_owned(), reason };
        let mut options = PublishOptions::at_least_once().retain(retain);
        if let Some(properties) = properties {
            options = options.properties(properties);
        }
        let send = async {
            let notice = self.client.publish_tracked(topic, payload, options).await;
            let notice = notice.map_err(|error| failed(error.to_string()))?;
            notice.wait_completion_async().await.map_err(|error| match error {
                PublishNoticeError::V5PubAck(reason) => {
                    failed(format!("{reason:?}; is this certificate in the broker's list of admins?"))
                }
                other => failed(other.to_string()),
            })
        };
        match timeout(PATIENCE, send).await {
            Ok(result) => result,
            Err(_) => Err(failed(format!("no acknowledgement in {} s", PATIENCE.as_secs()))),
        }
    }
}

fn marker_topic(own: &str) -> String {
    format!("bk/v1/admin/{own}/marker")
}

/// Keeps the connection up and hands over what happens.
async fn pump(
    mut events: EventLoop,
    client: AsyncClient,
    filters: Vec<SubscribeFilter>,
    inbox: mpsc::Sender<Arrival>,
    limit: Arc<AtomicU32>,
) {
    let mut failures = 0;
    loop {
        let arrival = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(greeting))) => {
                failures = 0;
                let most = greeting.properties.and_then(|properties| properties.max_packet_size);
                limit.store(most.unwrap_or(MAX_PACKET_BYTES), Ordering::Relaxed);
                if client.try_subscribe_many(filters.clone()).is_err() {
                    continue;
                }
                None
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => Some(Arrival::Up),
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                let properties = publish.properties.unwrap_or_default();
                Some(Arrival::Message(Message {
                    topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                    payload: publish.payload.to_vec(),
                    correlation: properties.correlation_data.map(|data| data.to_vec()),
                    properties: properties.user_properties,
                }))
            }
            Ok(_) => None,
            Err(error) => {
                let told = inbox.send(Arrival::Down(reason(&error))).await;
                if told.is_err() {
                    return;
                }
                failures = (failures + 1_u32).min(5);
                sleep(Duration::from_millis(100 * (1 << failures) + rand::random_range(0..200))).await;
                None
            }
        };
        if let Some(arrival) = arrival
            && inbox.send(arrival).await.is_err()
        {
            return;
        }
    }
}

/// What a failed connection means, with a remedy where there is one.
fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized) => {
            "not authorised: the broker does not know this certificate".into()
        }
        ConnectionError::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused: does the broker run, and is this its port?".into(),
            _ => error.to_string(),
        },
        ConnectionError::Timeout(_) => "no answer in 10 s".into(),
        other => other.to_string(),
    }
}

fn tls(profile: &Profile) -> Result<ClientConfig, LinkError> {
    let [ca, certificate, key] = profile.identity()?;
    let failed = |what, path: &std::path::Path, reason: String| LinkError::Identity {
        what,
        path: path.display().to_string(),
        reason,
    };
    let certificates = |what, path: &std::path::Path| -> Result<Vec<CertificateDer<'static>>, LinkError> {
        let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(what, path, error.to_string()))?;
        let found: Result<Vec<_>, _> = found.collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(failed(what, path, "no certificate is in it".into())),
            Err(error) => Err(failed(what, path, error.to_string())),
        }
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates("the broker's authority", ca)? {
        roots.add(authority).map_err(|error| failed("the broker's authority", ca, error.to_string()))?;
    }
    let chain = certificates("the admin's certificate", certificate)?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| failed("the admin's key", key, error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("TLS with", ca, error.to_string()))?;
    let config = builder.with_root_certificates(roots).with_client_auth_cert(chain, private);
    config.map_err(|error| failed("the admin's certificate", certificate, error.to_string()))
}
