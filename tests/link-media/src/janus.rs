//! As much of Janus's WebSocket API as publishing to a room and receiving from one takes. One thread, no runtime.

use anyhow::{Context, Result, bail};
use kiosk_proto::janus::{SUBPROTOCOL, VIDEOROOM};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error as WsError, Message, WebSocket};

/// How long Janus may take for an answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Janus forgets a session after 60 s without a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A session on a WebSocket without TLS.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket<TcpStream>,
    token: String,
    session: u64,
    transaction: u64,
    /// What came while something else was waited for.
    unread: VecDeque<Value>,
    alive: Instant,
}

impl Client {
    /// Connects to `ws://HOST:PORT/` and opens a session.
    ///
    /// # Errors
    /// When Janus is not there or refuses.
    pub fn connect(url: &str, token: &str) -> Result<Self> {
        let address = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
        let address = address.with_context(|| format!("{url} is not of the form ws://HOST:PORT/"))?;
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {url}"))?;
        stream.set_nodelay(true)?;
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        let (socket, _) = tungstenite::client(request, stream).with_context(|| format!("WebSocket to {url}"))?;
        let (token, unread, alive) = (token.to_owned(), VecDeque::new(), Instant::now());
        let mut client = Self { socket, token, session: 0, transaction: 0, unread, alive };
        client.session = id(&client.ask(json!({"janus": "create"}))?)?;
        Ok(client)
    }

    /// A handle of the videoroom plugin.
    ///
    /// # Errors
    /// When Janus refuses or does not answer.
    pub fn attach(&mut self) -> Result<u64> {
        id(&self.ask(json!({"janus": "attach", "plugin": VIDEOROOM}))?)
    }

    /// Closes a handle and its connection.
    ///
    /// # Errors
    /// When Janus refuses or does not answer.
    pub fn detach(&mut self, handle: u64) -> Result<()> {
        self.ask(json!({"janus": "detach", "handle_id": handle})).map(drop)
    }

    /// Sends a request to the plugin; the answer is the whole event, with `plugindata` and perhaps `jsep`.
    ///
    /// # Errors
    /// When Janus or the plugin refuses, or does not answer.
    pub fn message(&mut self, handle: u64, body: Value, jsep: Option<Value>) -> Result<Value> {
        let mut message = json!({"janus": "message", "handle_id": handle, "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        self.ask(message)
    }

    /// The next event that answers no request; none when nothing came in this time. Keeps the session alive.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn event(&mut self, wait: Duration) -> Result<Option<Value>> {
        if let Some(event) = self.unread.pop_front() {
            return Ok(Some(event));
        }
        self.receive(wait)
    }

    /// Sends a request and waits for its result.
    fn ask(&mut self, request: Value) -> Result<Value> {
        let transaction = self.send(request)?;
        let end = Instant::now() + ANSWER;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let Some(message) = self.receive(left)? else { break };
            if message["transaction"] != transaction.as_str() {
                self.unread.push_back(message);
                continue;
            }
            let data = &message["plugindata"]["data"];
            if message["janus"] == "error" || data["error"].is_string() {
                bail!("Janus refuses: {} {}", message["error"], data["error"]);
            }
            if message["janus"] != "ack" {
                return Ok(message);
            }
        }
        bail!("Janus has not answered within {} s", ANSWER.as_secs())
    }

    fn send(&mut self, mut message: Value) -> Result<String> {
        self.transaction += 1;
        let transaction = self.transaction.to_string();
        message["transaction"] = transaction.as_str().into();
        message["token"] = self.token.as_str().into();
        if self.session != 0 {
            message["session_id"] = self.session.into();
        }
        self.socket.send(Message::text(message.to_string())).context("the WebSocket to Janus")?;
        Ok(transaction)
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<Value>> {
        if self.session != 0 && self.alive.elapsed() > KEEP_ALIVE {
            self.alive = Instant::now();
            self.send(json!({"janus": "keepalive"}))?;
        }
        let end = Instant::now() + wait.max(Duration::from_millis(1));
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.socket.get_ref().set_read_timeout(Some(left))?;
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(Some(serde_json::from_str(text.as_str())?)),
                Ok(_) => {}
                Err(WsError::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("the WebSocket to Janus"),
            }
        }
        Ok(None)
    }
}

fn id(answer: &Value) -> Result<u64> {
    answer["data"]["id"].as_u64().with_context(|| format!("Janus gave no identifier: {answer}"))
}
