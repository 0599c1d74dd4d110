//! What the kiosk says: presence, what is reported, figures, events, answers.

use kiosk_proto::config::{Config, KioskId};
use kiosk_proto::fleet::ledger::{LedgerInput, Reply};
use kiosk_proto::fleet::machine::{Input, Probe};
use kiosk_proto::fleet::{CommandId, EventKind, Presence, Response, Topic};
use rumqttc::mqttbytes::v5::PublishProperties;
use serde_json::Value;
use tracing::{info, warn};

use super::{TURN, Task};
use crate::fleet::link::Session;
use crate::fleet::telemetry::Surroundings;

/// Events that are on their way at once.
const WINDOW: usize = 16;

/// What the broker has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// A report, over the connection of this number.
    Report(u64),
    /// An event.
    Event(u64),
    /// An answer.
    Response(CommandId),
    /// None: something was not sent or not taken, or was lost with the connection of this number.
    NotTaken(u64),
}

impl Task {
    fn topic(&self, topic: impl FnOnce(KioskId) -> Topic) -> String {
        topic(self.config().kiosk.id.clone()).to_string()
    }

    /// Publishes, and says `then` when the broker has it.
    fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
        properties: PublishProperties,
        then: Option<Acknowledged>,
    ) {
        let Some(session) = &self.session else { return };
        let (sender, lost) = (self.acknowledged.0.clone(), Acknowledged::NotTaken(self.connection));
        let sent = session.publish(topic, payload, retain, properties).inspect_err(|error| warn!("{error}"));
        tokio::spawn(async move {
            let arrived = match sent {
                Ok(arrives) => arrives.await,
                Err(_) => false,
            };
            if let Some(told) = if arrived { then } else { Some(lost) } {
                let _ = sender.send(told).await;
            }
        });
    }

    pub(super) fn publish_presence(&self) {
        let payload = to_json(&presence(self.config(), self.session.as_ref()));
        self.publish(&self.topic(Topic::Presence), payload, true, PublishProperties::default(), None);
    }

    pub(super) fn publish_report(&self) {
        let Some(reported) = &self.reported else { return };
        let then = Some(Acknowledged::Report(self.connection));
        self.publish(&self.topic(Topic::Reported), to_json(reported), true, PublishProperties::default(), then);
    }

    /// Says again what the broker did not take over a connection that is up; not at once, since it would not take it at
    /// once either.
    pub(super) async fn say_again(&mut self) {
        if !std::mem::take(&mut self.not_taken) || self.session.is_none() {
            return;
        }
        self.post.link_lost();
        self.publish_presence();
        self.publish_report();
        self.command(LedgerInput::LinkUp).await;
        self.send_events();
    }

    pub(super) fn publish_metrics(&mut self) {
        let Some(session) = &self.session else { return };
        let view = self.daemon.view.borrow().clone();
        let around = Surroundings {
            config: self.state.config(),
            digest: self.state.reported().effective,
            state: &self.state_dir,
            clock_synchronised: self.synchronised,
            outbox_events: self.post.len() as u64,
        };
        let metrics = self.telemetry.metrics(&view, &around);
        let topic = Topic::Metrics(self.state.config().kiosk.id.clone()).to_string();
        if let Err(error) = session.publish_and_forget(&topic, to_json(&metrics)) {
            warn!("{error}");
        }
    }

    /// Keeps an event until the broker has it.
    pub(super) fn emit(&mut self, kind: EventKind) {
        info!(event = ?kind, "an event for the fleet");
        let at = self.now().wall;
        self.post.push(at, kind);
        self.send_events();
    }

    /// Sends what waits, as far as the window goes.
    pub(super) fn send_events(&mut self) {
        if self.session.is_none() {
            return;
        }
        let topic = self.topic(Topic::Event);
        while let Some((sequence, payload)) = self.post.send(WINDOW) {
            let then = Some(Acknowledged::Event(sequence));
            self.publish(&topic, payload, false, PublishProperties::default(), then);
        }
    }

    pub(super) fn respond(&self, reply: Reply, response: &Response) {
        let properties =
            PublishProperties { correlation_data: reply.correlation.map(Into::into), ..PublishProperties::default() };
        let then = response.id.clone().map(Acknowledged::Response);
        let mut payload = to_json(response);
        let fits = self.session.as_ref().map(|session| session.fits(&reply.topic, payload.len()));
        if let Some(Err(why)) = fits {
            let message = format!("{} its result is not sent: {why}", response.message).trim_start().to_owned();
            payload = to_json(&Response { message, result: Value::Null, ..response.clone() });
        }
        self.publish(&reply.topic, payload, false, properties, then);
    }

    pub(super) async fn arrived(&mut self, acknowledged: Acknowledged) {
        match acknowledged {
            Acknowledged::Report(connection) => {
                if connection == self.connection && self.broker_wanted {
                    self.handle(Input::ProbePassed(Probe::Broker)).await;
                }
            }
            Acknowledged::Event(sequence) => {
                self.post.acknowledged(sequence);
                self.send_events();
            }
            Acknowledged::NotTaken(connection) => self.not_taken |= connection == self.connection,
            Acknowledged::Response(id) => self.command(LedgerInput::Delivered(id)).await,
        }
    }

    /// Says that the kiosk is gone on purpose.
    pub(super) async fn farewell(&mut self) {
        self.stop_probes().await;
        let topic = self.topic(Topic::Presence);
        let Some(session) = self.session.take() else { return };
        let gone = Presence { online: false, ..presence(self.config(), Some(&session)) };
        let payload =
            to_json(&Presence { certificate: None, certificate_refused: None, unreadable: Vec::new(), ..gone });
        if let Ok(arrives) = session.publish(&topic, payload, true, PublishProperties::default()) {
            let _ = tokio::time::timeout(TURN, arrives).await;
        }
        session.close().await;
    }
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// What the kiosk says of itself over a connection; without one, what the broker says when it is gone.
pub(super) fn presence(config: &Config, session: Option<&Session>) -> Presence {
    let leaf = session.and_then(|session| session.identity.leaf);
    let groups = config.fleet.as_ref().map(|fleet| fleet.groups.clone()).unwrap_or_default();
    Presence {
        online: session.is_some(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        groups,
        certificate: leaf.map(|leaf| leaf.digest),
        certificate_refused: session.and_then(|session| session.identity.refused.clone()),
        certificate_ends: leaf.map(|leaf| leaf.ends),
        unreadable: session.map(|session| session.unreadable.clone()).unwrap_or_default(),
    }
}
