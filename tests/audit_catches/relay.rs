//! A man in the middle: a WebSocket relay between the kiosk and Janus, on the kiosk's own loopback, that may replace
//! every message by others.

use futures_util::{SinkExt, StreamExt};
use kiosk_harness::{
    Error, Result,
    world::{Host, World},
};
use serde_json::Value;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread::{self, JoinHandle},
};
use tokio::{
    net::TcpStream,
    sync::oneshot::{self, Receiver, Sender},
};
use tokio_tungstenite::tungstenite::{
    Message,
    client::IntoClientRequest,
    handshake::server::{ErrorResponse, Request, Response},
    http::HeaderValue,
};

const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("janus-protocol");
/// Of the relay, and of Janus's port without TLS on its own host.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8188);
/// What the kiosk takes for Janus.
pub const URL: &str = "ws://127.0.0.1:8188/";
/// Transaction of requests that the relay sends of its own; their answers are not passed on.
pub const OWN: &str = "man-in-the-middle";

/// What becomes of the messages.
pub trait Tamper: Send + 'static {
    /// In place of a message of the kiosk.
    fn of_kiosk(&mut self, message: Value) -> Vec<Value> {
        vec![message]
    }

    /// In place of a message of Janus.
    fn of_janus(&mut self, message: Value) -> Vec<Value> {
        vec![message]
    }
}

/// A running relay.
pub struct Relay {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts it; Janus must have its loopback port.
    pub fn start(world: &World, tamper: impl Tamper) -> Result<Self> {
        let failed = |error: io::Error| Error::io("the relay")(error);
        let listener = world.at(Host::Kiosk)?.listen(ADDRESS)?;
        let server = world.at(Host::Server)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let dial = move || server.dial(ADDRESS).map_err(|error| error.to_string());
            runtime.block_on(serve(listener, dial, tamper, stopped));
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Failure = Box<dyn std::error::Error>;

/// One connection after the other.
async fn serve(
    listener: TcpListener,
    dial: impl Fn() -> Result<std::net::TcpStream, String>,
    mut tamper: impl Tamper,
    mut stopped: Receiver<()>,
) {
    let Ok(listener) = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) else {
        return;
    };
    loop {
        let one = async {
            let (kiosk, _) = listener.accept().await?;
            let server = dial()?;
            server.set_nonblocking(true)?;
            relay(kiosk, TcpStream::from_std(server)?, &mut tamper).await
        };
        tokio::select! {
            ended = one => if let Err(error) = ended {
                eprintln!("relay: {error}");
            },
            _ = &mut stopped => return,
        }
    }
}

#[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
fn accept(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL);
    Ok(response)
}

async fn relay(kiosk: TcpStream, server: TcpStream, tamper: &mut impl Tamper) -> Result<(), Failure> {
    let mut kiosk = tokio_tungstenite::accept_hdr_async(kiosk, accept).await?;
    let mut request = URL.into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL);
    let (mut server, _) = tokio_tungstenite::client_async(request, server).await?;
    loop {
        tokio::select! {
            frame = kiosk.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    for message in tamper.of_kiosk(serde_json::from_str(&text)?) {
                        server.send(Message::text(message.to_string())).await?;
                    }
                }
                Some(Ok(Message::Close(_))) | None => return Ok(server.close(None).await?),
                Some(other) => drop(other?),
            },
            frame = server.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text)?;
                    if message["transaction"] == OWN {
                        continue;
                    }
                    for message in tamper.of_janus(message) {
                        kiosk.send(Message::text(message.to_string())).await?;
                    }
                }
                Some(Ok(Message::Close(_))) | None => return Ok(kiosk.close(None).await?),
                Some(other) => drop(other?),
            },
        }
    }
}
