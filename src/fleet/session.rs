//! What the MQTT client asks to be told about the session that the broker has kept for the kiosk.
//!
//! The client takes up a session of the broker only with its own half of it. Ours is empty at each connection: what
//! the broker has not acknowledged is in the outbox and is published anew, and what the kiosk has not acknowledged the
//! broker sends again.

use std::pin::Pin;

use rumqttc::{PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

/// The version of [`PersistedSession`] that is meant.
const FORMAT: u16 = 1;

/// The kiosk's half of a session.
#[derive(Debug)]
pub struct NothingKept {
    /// Client identifier.
    pub client_id: String,
    /// As it stands in the greeting to the broker.
    pub session_expiry_s: u32,
    /// Messages to the broker that may be without an acknowledgement.
    pub in_flight: u16,
}

impl SessionStore for NothingKept {
    fn load<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: FORMAT,
            client_id: self.client_id.clone(),
            clean_start: false,
            session_expiry_interval: Some(self.session_expiry_s),
            outgoing_inflight_upper_limit: Some(self.in_flight),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
