//! A session with Janus for questions: one at a time, and what happens meanwhile is kept.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kiosk_proto::janus::{HandleId, JanusError, Message, Request, RoomEvent, SessionId, VIDEOROOM};
use kiosk_proto::secret::Secret;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::dial::Stream;

/// For one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// What happens while an answer is waited for: some ten messages at most.
const KEPT: usize = 256;

/// The session, and the handle that questions go to.
pub struct Client {
    socket: WebSocketStream<Box<dyn Stream>>,
    token: Option<Secret>,
    session: u64,
    handle: u64,
    number: u64,
    kept: VecDeque<Message>,
}

/// An event of the videoroom, with the description that came with it.
pub type Answered = (RoomEvent, Option<(String, String)>);

impl Client {
    /// On an open WebSocket, without a session.
    pub fn new(socket: WebSocketStream<Box<dyn Stream>>, token: Option<Secret>) -> Self {
        Self { socket, token, session: 0, handle: 0, number: 0, kept: VecDeque::new() }
    }

    fn transaction(&mut self) -> String {
        self.number += 1;
        format!("doctor-{}", self.number)
    }

    async fn write(&mut self, text: String) -> Result<(), String> {
        self.socket.send(Frame::text(text)).await.map_err(|error| error.to_string())
    }

    async fn read(&mut self) -> Result<String, String> {
        while let Some(frame) = self.socket.next().await {
            if let Frame::Text(text) = frame.map_err(|error| error.to_string())? {
                return Ok(text.as_str().to_owned());
            }
        }
        Err("the server closed the connection".to_owned())
    }

    fn keep(&mut self, message: Message) {
        if self.kept.len() < KEPT {
            self.kept.push_back(message);
        }
    }

    /// Sends a request and waits for what Janus has to say to it, after its `ack`.
    ///
    /// # Errors
    /// What Janus refused and why, or that it does not answer.
    pub async fn ask(&mut self, mut request: Value) -> Result<Value, String> {
        let transaction = self.transaction();
        request["transaction"] = json!(transaction);
        if let Some(token) = &self.token {
            request["token"] = json!(token.expose());
        }
        if self.session != 0 {
            request["session_id"] = json!(self.session);
        }
        if self.handle != 0 {
            request["handle_id"] = json!(self.handle);
        }
        self.write(request.to_string()).await?;
        let answer = async {
            loop {
                let text = self.read().await?;
                let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                if answer["transaction"] != transaction.as_str() {
                    if let Ok(message) = Message::parse(&text) {
                        self.keep(message);
                    }
                } else if answer["janus"] != "ack" {
                    return Ok::<Value, String>(answer);
                }
            }
        };
        let answer = timeout(ANSWER, answer).await.map_err(|_| late())??;
        let error = [("/error/reason", false), ("/plugindata/data/error", true)]
            .iter()
            .find_map(|(path, plugin)| Some((answer.pointer(path)?.as_str()?.to_owned(), *plugin)));
        let Some((reason, plugin)) = error else { return Ok(answer) };
        let code = answer.pointer(if plugin { "/plugindata/data/error_code" } else { "/error/code" });
        let code = code.and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
        Err(JanusError { code, reason, plugin }.to_string())
    }

    /// Makes a handle, and the session if there is none; questions go to it from now on.
    ///
    /// # Errors
    /// Why Janus refuses.
    pub async fn attach(&mut self) -> Result<HandleId, String> {
        let id = |answer: &Value| answer.pointer("/data/id").and_then(Value::as_u64).unwrap_or_default();
        self.handle = 0;
        if self.session == 0 {
            self.session = id(&self.ask(json!({"janus": "create"})).await?);
        }
        self.handle = id(&self.ask(json!({"janus": "attach", "plugin": VIDEOROOM})).await?);
        Ok(HandleId(self.handle))
    }

    /// Closes the handle that questions go to.
    ///
    /// # Errors
    /// Why Janus refuses.
    pub async fn detach(&mut self) -> Result<(), String> {
        self.ask(json!({"janus": "detach"})).await?;
        self.handle = 0;
        Ok(())
    }

    /// Ends the session with all that was made in it. Should this not arrive, Janus drops it within 60 s.
    pub async fn destroy(&mut self) {
        self.handle = 0;
        let _ = self.ask(json!({"janus": "destroy"})).await;
    }

    /// Asks the plugin for something that it answers at once.
    ///
    /// # Errors
    /// Why it refuses.
    pub async fn plugin(&mut self, body: Value) -> Result<Value, String> {
        let answer = self.ask(json!({"janus": "message", "body": body})).await?;
        Ok(answer.pointer("/plugindata/data").cloned().unwrap_or_default())
    }

    /// Where requests of a handle go.
    pub fn at(&self, handle: HandleId) -> (SessionId, HandleId) {
        (SessionId(self.session), handle)
    }

    /// Sends a request without waiting for its answer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn tell(&mut self, request: &Request) -> Result<(), String> {
        let transaction = self.transaction();
        let text = request.to_json(&transaction, self.token.as_ref());
        self.write(text).await
    }

    /// Sends a request to the videoroom and waits for the event that answers it.
    ///
    /// # Errors
    /// What Janus refused and why, or that it does not answer.
    pub async fn request(&mut self, request: &Request) -> Result<Answered, String> {
        let transaction = self.transaction();
        let text = request.to_json(&transaction, self.token.as_ref());
        self.write(text).await?;
        let answer = async {
            loop {
                let text = self.read().await?;
                match Message::parse(&text) {
                    Ok(Message::Event { transaction: Some(of), event, jsep, .. }) if of == transaction => {
                        return Ok::<Answered, String>((event, jsep));
                    }
                    Ok(Message::Success { transaction: of, event, .. }) if of == transaction => {
                        return Ok((event.unwrap_or(RoomEvent::Other), None));
                    }
                    Ok(Message::Error { transaction: Some(of), error }) if of == transaction => {
                        return Err(error.to_string());
                    }
                    Ok(message) => self.keep(message),
                    Err(_) => {}
                }
            }
        };
        match timeout(ANSWER, answer).await.map_err(|_| late())?? {
            (RoomEvent::Error(error), _) => Err(error.to_string()),
            answered => Ok(answered),
        }
    }

    /// The next thing that happens. Nothing is lost when this is given up before it is there.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn next(&mut self) -> Result<Message, String> {
        loop {
            if let Some(message) = self.kept.pop_front() {
                return Ok(message);
            }
            let text = self.read().await?;
            if let Ok(message) = Message::parse(&text) {
                return Ok(message);
            }
        }
    }
}

fn late() -> String {
    format!("no answer in {} s", ANSWER.as_secs())
}
