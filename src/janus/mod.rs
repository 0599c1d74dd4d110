//! The WebSocket to Janus: opens it, carries texts both ways, notices when it is dead.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kiosk_proto::call::Event;
use kiosk_proto::config::Config;
use kiosk_proto::fault::{Fault, FaultCode};
use kiosk_proto::janus::{MAX_MESSAGE_BYTES, Message, SUBPROTOCOL};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as Frame};
use tracing::{debug, warn};

use crate::dial::{self, Server, Stream};
use crate::events::{Events, News};

/// Texts that wait to be sent: a set-up sends about 20.
const OUTBOX: usize = 128;
/// A ping this often, and silence at most [`SILENCE`], find a dead connection long before TCP does.
const PING: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(8);
const CLOSE: Duration = Duration::from_millis(500);

/// A WebSocket that is being opened or is open. Dropping it sends what waits and closes it.
#[derive(Debug)]
pub struct Socket {
    outbox: mpsc::Sender<String>,
    task: JoinHandle<()>,
    number: u64,
}

impl Socket {
    /// Opens a WebSocket once `before` is over; what happens to it arrives as events that carry `number`.
    pub fn open(
        config: Config,
        number: u64,
        events: Events,
        before: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let task = tokio::spawn(async move {
            before.await;
            let fault = run(&config, number, &events, inbox).await;
            if let Some(fault) = fault {
                events.send(News::Socket(number, Event::SocketClosed(fault))).await;
            }
        });
        Self { outbox, task, number }
    }

    /// Distinguishes this socket's events from those of one that was closed before.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Queues a text.
    pub fn send(&self, text: String) {
        self.sender().send(text);
    }

    /// Queues texts, too; the WebSocket stays open as long as this is held.
    pub fn sender(&self) -> Sender {
        Sender(self.outbox.clone())
    }

    /// Sends what waits, then closes; bounded.
    pub async fn close(self) {
        drop(self.outbox);
        let _ = timeout(CLOSE * 2, self.task).await;
    }
}

/// A way into a WebSocket's queue.
#[derive(Debug)]
pub struct Sender(mpsc::Sender<String>);

impl Sender {
    /// Queues a text.
    pub fn send(&self, text: String) {
        if self.0.try_send(text).is_err() {
            // The reader notices the dead socket; a full queue means the same.
            warn!("a message to Janus was not sent: the connection is gone or does not drain");
        }
    }
}

/// Where Janus is, for the connector.
pub fn server(config: &Config) -> Server<'_> {
    let url = &config.janus.url;
    Server {
        host: url.host(),
        port: url.port(),
        tls: url.is_tls(),
        ca_file: config.janus.ca_file.as_deref(),
        identity: None,
        user_timeout: None,
        // What is not encrypted is on this machine.
        proxy: config.proxy.as_ref().filter(|_| url.is_tls()),
        keys: dial::JANUS,
    }
}

/// Opens the WebSocket.
///
/// # Errors
/// Why not, and what to do.
pub async fn handshake(config: &Config) -> Result<WebSocketStream<Box<dyn Stream>>, Fault> {
    let url = &config.janus.url;
    let stream = dial::connect(&server(config)).await.map_err(|error| Fault::new(error.code(), error.to_string()))?;
    let failed = |error: WsError| {
        let remedy = "is janus.url the WebSocket port of Janus (wss_port in janus.transport.websockets.jcfg)?";
        Fault::new(FaultCode::ServerUnreachable, format!("{url} does not speak {SUBPROTOCOL}: {error}; {remedy}"))
    };
    let mut request = url.to_string().into_client_request().map_err(failed)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    let limits =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES)).max_frame_size(Some(MAX_MESSAGE_BYTES));
    let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(limits));
    match timeout(SILENCE, opening).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => {
            Err(Fault::new(FaultCode::ServerUnreachable, format!("{url} does not answer the WebSocket handshake")))
        }
    }
}

/// Asks the Janus of this configuration who it is, on a connection of its own: no session is opened.
///
/// # Errors
/// Why there is no answer, with what to do.
pub async fn ask(config: &Config) -> Result<(), Fault> {
    let mut socket = handshake(config).await?;
    let silent = || Fault::new(FaultCode::ServerSilent, format!("{} did not say that it is a Janus", config.janus.url));
    let request = r#"{"janus":"info","transaction":"trial"}"#;
    socket.send(Frame::text(request)).await.map_err(|_| silent())?;
    let answer = async {
        while let Some(Ok(frame)) = socket.next().await {
            let Frame::Text(text) = frame else { continue };
            let answer: serde_json::Value = serde_json::from_str(text.as_str()).ok()?;
            return (answer.get("janus")? == "server_info").then_some(());
        }
        None
    };
    timeout(SILENCE, answer).await.ok().flatten().ok_or_else(silent)?;
    let _ = timeout(CLOSE, socket.close(None)).await;
    Ok(())
}

/// Runs until the socket is lost (a fault) or was closed by us (none).
async fn run(config: &Config, number: u64, events: &Events, mut outbox: mpsc::Receiver<String>) -> Option<Fault> {
    let lost = |what: String| {
        Some(Fault::new(
            FaultCode::ServerLost,
            format!("the connection to {} was lost: {what}; connecting again", config.janus.url),
        ))
    };
    let mut socket = match handshake(config).await {
        Ok(socket) => socket,
        Err(fault) => return Some(fault),
    };
    events.send(News::Socket(number, Event::SocketOpen)).await;
    let mut ping = interval(PING);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            text = outbox.recv() => match text {
                Some(text) => {
                    if let Err(error) = socket.send(Frame::text(text)).await {
                        return lost(error.to_string());
                    }
                }
                None => {
                    let _ = timeout(CLOSE, socket.close(None)).await;
                    return None;
                }
            },
            frame = socket.next() => {
                heard = Instant::now();
                match frame {
                    Some(Ok(Frame::Text(text))) => match Message::parse(text.as_str()) {
                        Ok(message) => events.send(News::Socket(number, Event::Message(message))).await,
                        Err(error) => warn!(%error, "ignored"),
                    },
                    Some(Ok(Frame::Close(_))) | None => return lost("closed by the server".to_owned()),
                    Some(Ok(other)) => debug!(?other, "frame"),
                    Some(Err(error)) => return lost(error.to_string()),
                }
            }
            _ = ping.tick() => {
                if let Err(error) = socket.send(Frame::Ping(Vec::new().into())).await {
                    return lost(error.to_string());
                }
            }
            () = sleep_until(heard + SILENCE) => return lost(format!("silent for {} s", SILENCE.as_secs())),
        }
    }
}
