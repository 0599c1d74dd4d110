//! The way to Janus: requests under way, and when to give up on them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::janus::{HandleId, Request, SessionId};
use crate::secret::Secret;

/// An answer that takes longer will not come: the link is dead.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// More requests than this are never under way at once.
const MAX_PENDING: usize = 64;

/// Why a request was sent, and so what its answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Create,
    Claim,
    KeepAlive,
    AttachPublisher,
    AttachReceiver,
    Participants,
    /// To end a session that was left behind; it may be gone already.
    Farewell,
    /// The answer comes as an event of the handle, or does not matter.
    Other,
}

/// State of the WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// To be opened at this time.
    Down(Duration),
    Opening,
    /// Open; the session is being created or claimed.
    Open,
    /// Open, with a session.
    Ready,
}

/// Requests under way on one WebSocket.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    next: u64,
    waiting: BTreeMap<u64, (Purpose, Duration)>,
}

impl Pending {
    /// Numbers a request and remembers it.
    pub(super) fn add(&mut self, request: &Request, purpose: Purpose, token: Option<&Secret>, now: Duration) -> String {
        self.next += 1;
        // Trickled candidates and farewells are acknowledged too, but nothing hangs on it.
        let matters = !matches!(
            request,
            Request::Detach(..) | Request::Destroy(_) | Request::TrickleCompleted(_) | Request::Trickle(..)
        );
        if matters && self.waiting.len() < MAX_PENDING {
            self.waiting.insert(self.next, (purpose, now + REQUEST_TIMEOUT));
        }
        request.to_json(&self.next.to_string(), token)
    }

    /// The request that an answer belongs to; it is under way no longer.
    pub(super) fn take(&mut self, transaction: &str) -> Option<Purpose> {
        self.waiting.remove(&transaction.parse().ok()?).map(|(purpose, _)| purpose)
    }

    /// Whether it is a keepalive, which has no answer but its acknowledgement.
    pub(super) fn is_keepalive(&self, transaction: &str) -> bool {
        let waiting = transaction.parse().ok().and_then(|number: u64| self.waiting.get(&number));
        waiting.is_some_and(|(purpose, _)| *purpose == Purpose::KeepAlive)
    }

    /// When the first of them is overdue.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.waiting.values().map(|(_, deadline)| *deadline).min()
    }

    /// The socket is gone, and with it every answer.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }
}

/// Address of a handle.
pub(super) type At = (SessionId, HandleId);
