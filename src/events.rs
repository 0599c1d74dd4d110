//! The one channel into the task that owns the call. Everything else only sends events to it.

use kiosk_proto::call::Event;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

/// A set-up makes about 50 events within a second; callbacks of GStreamer must never wait for long.
const CAPACITY: usize = 512;

/// Answer to a request to start a call: its identifier, or that one runs already.
pub type Started = Result<String, CallRunning>;

/// A call is running already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a call is running already; end it first")]
pub struct CallRunning;

/// What reaches the task that owns the call.
#[derive(Debug)]
pub enum News {
    /// D-Bus: start a call.
    Start(oneshot::Sender<Started>),
    /// D-Bus: end the call; answered when nothing of it is left.
    End(oneshot::Sender<()>),
    /// SIGHUP: the configuration was read again.
    Reconfigured(Box<kiosk_proto::config::Config>),
    /// D-Bus: what is the configuration?
    Configuration(oneshot::Sender<Box<kiosk_proto::config::Config>>),
    /// From the WebSocket of this number.
    Socket(u64, Event),
    /// From peer connections, devices and the audit.
    Happened(Event),
}

/// The sending end.
#[derive(Debug, Clone)]
pub struct Events(mpsc::Sender<News>);

impl Events {
    /// Both ends.
    pub fn channel() -> (Self, mpsc::Receiver<News>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self(sender), receiver)
    }

    /// Sends, waiting while the channel is full.
    pub async fn send(&self, news: News) {
        // The receiver is gone only when the daemon is stopping.
        let _ = self.0.send(news).await;
    }

    /// Sends from a thread that must not wait: a callback of GStreamer.
    pub fn happened(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(news)) = self.0.try_send(News::Happened(event)) {
            error!(?news, "the call's task does not keep up; an event was lost");
        }
    }
}
