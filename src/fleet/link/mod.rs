//! The connection to the broker: MQTT 5 over our own TLS, made again and again, with a pause that grows.
//!
//! It keeps nothing: what must arrive stays in the outbox until the broker has acknowledged it, and what came is
//! acknowledged when the fleet's task says so, which is after it is on the disk.

mod session;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use kiosk_proto::backoff::Backoff;
use kiosk_proto::config::Proxy;
use kiosk_proto::fleet::{MAX_PACKET_BYTES, Presence};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{ConnAck, LastWill, Packet, Publish, SubscribeReasonCode};
use rumqttc::{AckMode, AsyncClient, Broker, ConnectionError, Event, EventLoop, MqttOptions, SubscribeFilter};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::identity::{Identities, Identity};
use super::session::NothingKept;
use crate::dial::{self, DialError, Server};

pub use session::{Fate, Session};

/// Between two tries at most, as doubled from the first: full jitter, so that a fleet does not come back as one wave.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// A connection that held this long was a good one: the next pause is a short one again.
const STABLE: Duration = Duration::from_secs(180);
/// TCP and TLS, each with its own limit, and then the broker's greeting.
const CONNECT: Duration = Duration::from_secs(15);
/// How long the broker gets for the subscriptions.
const SUBSCRIBE: Duration = Duration::from_secs(15);
/// What the broker keeps for a kiosk that is away, in seconds: a command has expired by then.
const SESSION_EXPIRY_S: u32 = 24 * 60 * 60;
/// Messages of the broker that are not acknowledged yet.
const RECEIVE_MAXIMUM: u16 = 16;
/// Messages of ours that the broker has not acknowledged yet.
const IN_FLIGHT: u16 = 128;
/// Requests that wait to be written.
const QUEUE: usize = 128;
/// Events that wait to be taken.
const EVENTS: usize = 64;
/// How rustls says that the other side refused something.
const ALERT: &str = "received fatal alert";

/// Who and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// Client identifier: the kiosk's.
    pub client_id: String,
    /// The broker's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who may have signed its certificate.
    pub ca_file: Option<PathBuf>,
    /// The proxy that leads to it.
    pub proxy: Option<Proxy>,
    /// The kiosk's certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// When the two files were written, so that a renewed certificate makes other settings.
    pub written: [Option<SystemTime>; 2],
    /// Where the pair is kept that the broker took last.
    pub state_dir: PathBuf,
    /// Seconds between signs of life.
    pub keepalive_s: u16,
    /// What to listen to.
    pub subscriptions: Vec<String>,
    /// The last will: topic, and what the broker says there when the kiosk is gone, but for the certificate.
    pub will: (String, Presence),
    /// Forget what the broker has kept for the kiosk: the first connection only.
    pub clean_start: bool,
}

/// What the link tells the fleet's task.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected and subscribed.
    Up(Session),
    /// The connection was lost or could not be made; another try follows.
    Down(String),
    /// A message, to be acknowledged with [`Session::ack`].
    Message(Box<Publish>),
}

/// The link: connects until it is dropped.
#[derive(Debug)]
pub struct Link {
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// A link of a kiosk that is in no fleet.
    pub fn none() -> (Self, mpsc::Receiver<LinkEvent>) {
        let (events, inbox) = mpsc::channel(EVENTS);
        let wait = async move {
            let _events = events;
            std::future::pending().await
        };
        (Self { task: tokio::spawn(wait) }, inbox)
    }

    /// Begins to connect.
    pub fn start(settings: LinkSettings) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (events, inbox) = mpsc::channel(EVENTS);
        (Self { task: tokio::spawn(run(settings, events)) }, inbox)
    }
}

async fn run(mut settings: LinkSettings, events: mpsc::Sender<LinkEvent>) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut identities = Identities::new(&settings.cert_file, &settings.key_file, &settings.state_dir);
    loop {
        let begin = Instant::now();
        let failure = Arc::<Mutex<Option<DialError>>>::default();
        let identity = identities.choose();
        let options = options(&settings, identity.clone(), failure.clone());
        let (client, eventloop) = AsyncClient::builder(options).capacity(QUEUE).build();
        let Lost { reason, greeted } = converse(&settings, &identity, client, eventloop, &events).await;
        // What the connector says names host, address and remedy; what the client makes of it does not.
        let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let elsewhere = failure.as_ref().is_some_and(|error| !may_be_about_us(error));
        let reason = failure.map_or(reason, |error| error.to_string());
        match greeted {
            true => identities.worked(),
            false if elsewhere => {}
            // A broker that does not like a certificate may say so by hanging up.
            false => identities.failed(&identity, &reason),
        }
        settings.clean_start &= begin.elapsed() < SUBSCRIBE;
        let pause = backoff.after(begin.elapsed(), STABLE, rand::random());
        warn!(pause_ms = pause.as_millis(), "no connection to the broker: {reason}");
        if events.send(LinkEvent::Down(reason)).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}

fn options(settings: &LinkSettings, identity: Identity, failure: Arc<Mutex<Option<DialError>>>) -> MqttOptions {
    let broker = Broker::tcp(settings.host.clone(), settings.port);
    let mut options = MqttOptions::new(settings.client_id.clone(), broker);
    let (topic, gone) = settings.will.clone();
    let gone = Presence { certificate_ends: identity.leaf.map(|leaf| leaf.ends), ..gone };
    let will = serde_json::to_vec(&gone).unwrap_or_default();
    options
        .set_keep_alive(settings.keepalive_s)
        .set_clean_start(settings.clean_start)
        .set_session_store(NothingKept {
            client_id: settings.client_id.clone(),
            session_expiry_s: SESSION_EXPIRY_S,
            in_flight: IN_FLIGHT,
        })
        .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
        .set_receive_maximum(Some(RECEIVE_MAXIMUM))
        .set_max_packet_size(Some(MAX_PACKET_BYTES))
        // The client keeps a place for each message that may be on its way; without a limit, 16 MB of them.
        .set_outgoing_inflight_upper_limit(IN_FLIGHT)
        .set_ack_mode(AckMode::Manual)
        .set_connect_timeout(CONNECT)
        .set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, true, None));
    let settings = settings.clone();
    options.set_socket_connector(move |_, _| {
        let (settings, identity, failure) = (settings.clone(), identity.clone(), failure.clone());
        async move {
            let server = Server {
                host: &settings.host,
                port: settings.port,
                tls: true,
                ca_file: settings.ca_file.as_deref(),
                identity: Some((&identity.certificate, &identity.key)),
                user_timeout: Some(Duration::from_secs(u64::from(settings.keepalive_s))),
                proxy: settings.proxy.as_ref(),
                keys: dial::BROKER,
            };
            dial::connect(&server).await.map_err(|error| {
                let text = error.to_string();
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                io::Error::other(text)
            })
        }
    });
    options
}

/// Whether a connection may have failed because of the kiosk's certificate, and not on the way or by the server's.
fn may_be_about_us(error: &DialError) -> bool {
    match error {
        DialError::Identity { .. } => true,
        // With TLS 1.2 the server says so within the handshake.
        DialError::Tls { reason, .. } => reason.contains(ALERT),
        _ => false,
    }
}

/// How a connection ended.
struct Lost {
    reason: String,
    /// The broker had let the kiosk in.
    greeted: bool,
}

/// One connection, until it is lost.
async fn converse(
    settings: &LinkSettings,
    identity: &Identity,
    client: AsyncClient,
    mut eventloop: EventLoop,
    events: &mpsc::Sender<LinkEvent>,
) -> Lost {
    let greeting = match timeout(SUBSCRIBE, greeting(&mut eventloop)).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(error)) => return Lost { reason: explain(&error), greeted: false },
        Err(_) => {
            let reason = format!("the broker did not greet within {} s", SUBSCRIBE.as_secs());
            return Lost { reason, greeted: false };
        }
    };
    let reason = talk(settings, identity, &greeting, client, eventloop, events).await;
    Lost { reason, greeted: true }
}

/// A connection that the broker has greeted, until it is lost; returns why.
async fn talk(
    settings: &LinkSettings,
    identity: &Identity,
    greeting: &ConnAck,
    client: AsyncClient,
    mut eventloop: EventLoop,
    events: &mpsc::Sender<LinkEvent>,
) -> String {
    // Always, and not only when the broker has forgotten the session: the retained desired state comes anew with it.
    let filters = settings.subscriptions.iter().map(|topic| SubscribeFilter::new(topic, QoS::AtLeastOnce));
    if client.try_subscribe_many(filters).is_err() {
        return "the subscriptions were not sent".to_owned();
    }
    let max_packet_bytes = greeting.properties.as_ref().and_then(|p| p.max_packet_size).unwrap_or(MAX_PACKET_BYTES);
    let session = Session { identity: identity.clone(), unreadable: Vec::new(), client, max_packet_bytes };
    let mut up = Some(session);
    // What the broker has kept comes before its answer to the subscriptions: it is heard when the link is up.
    let mut early = Vec::new();
    let deadline = Instant::now() + SUBSCRIBE;
    loop {
        let event = if up.is_some() {
            match timeout(deadline.saturating_duration_since(Instant::now()), eventloop.poll()).await {
                Ok(event) => event,
                Err(_) => return format!("the broker did not answer the subscriptions in {} s", SUBSCRIBE.as_secs()),
            }
        } else {
            eventloop.poll().await
        };
        let told = match event {
            Ok(Event::Incoming(Packet::SubAck(answer))) => match up.take() {
                Some(mut session) => {
                    session.unreadable = unreadable(&settings.subscriptions, &answer.return_codes);
                    for topic in &session.unreadable {
                        warn!(topic, "the broker does not let the kiosk read a topic: see its access list");
                    }
                    info!(session_present = greeting.session_present, "connected to the broker");
                    let mut told = events.send(LinkEvent::Up(session)).await;
                    for message in early.drain(..) {
                        told = told.and(events.send(LinkEvent::Message(message)).await);
                    }
                    told
                }
                None => Ok(()),
            },
            Ok(Event::Incoming(Packet::Publish(message))) if up.is_some() => {
                // A broker sends no more before it has an acknowledgement.
                if early.len() < usize::from(RECEIVE_MAXIMUM) {
                    early.push(Box::new(message));
                }
                Ok(())
            }
            Ok(Event::Incoming(Packet::Publish(message))) => events.send(LinkEvent::Message(Box::new(message))).await,
            Ok(_) => Ok(()),
            Err(error) => return explain(&error),
        };
        if told.is_err() {
            return "the fleet's task has ended".to_owned();
        }
    }
}

/// The topics whose subscriptions the broker refused.
fn unreadable(topics: &[String], codes: &[SubscribeReasonCode]) -> Vec<String> {
    let refused = topics.iter().zip(codes).filter(|(_, code)| !matches!(code, SubscribeReasonCode::Success(_)));
    refused.map(|(topic, _)| topic.clone()).collect()
}

async fn greeting(eventloop: &mut EventLoop) -> Result<ConnAck, ConnectionError> {
    loop {
        if let Event::Incoming(Packet::ConnAck(greeting)) = eventloop.poll().await? {
            return Ok(greeting);
        }
    }
}

fn explain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => {
            format!(
                "the broker refuses the kiosk: {code:?}; is its certificate's name kiosk.id, and in the access list?"
            )
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

    #[test]
    fn a_topic_that_the_broker_does_not_let_the_kiosk_read_is_known() {
        let topics = ["device", "group"].map(str::to_owned);
        let codes = [SubscribeReasonCode::Success(QoS::AtLeastOnce), SubscribeReasonCode::NotAuthorized];
        assert_eq!(unreadable(&topics, &codes), ["group"]);
        assert!(unreadable(&topics, &[codes[0], codes[0]]).is_empty());
    }

    #[test]
    fn the_server_s_certificate_is_told_from_ours() {
        let tls = |error: Error| DialError::Tls {
            host: "broker".into(),
            address: ([192, 0, 2, 1], 8883).into(),
            reason: format!("{error}; a remedy"),
        };
        assert!(may_be_about_us(&tls(Error::AlertReceived(AlertDescription::CertificateExpired))));
        assert!(!may_be_about_us(&tls(Error::InvalidCertificate(CertificateError::UnknownIssuer))));
        assert!(may_be_about_us(&DialError::Identity { path: "a.key".into(), reason: "no key".into() }));
    }
}
