//! What the kiosk says: presence, what is reported, figures, events, answers.

use kiosk_proto::config::{Config, KioskId};
use kiosk_proto::fleet::ledger::{LedgerInput, Reply};
use kiosk_proto::fleet::machine::{Input, Probe};
use kiosk_proto::fleet::{CommandId, EventKind, Presence, Response, Topic};
use rumqttc::mqttbytes::v5::PublishProperties;
use tracing::{info, warn};

use super::{TURN, Task};
use crate::fleet::identity::Identity;
use crate::fleet::telemetry::Surroundings;

/// Events that are on their way at once.
const WINDOW: usize = 16;

/// What the broker has acknowledged, over the connection of this number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// A report.
    Report(u64),
    /// An event; or it was lost with the connection.
    Event(u64, u64, bool),
    /// An answer.
    Response(CommandId),
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
        then: impl FnOnce(bool) -> Option<Acknowledged> + Send + 'static,
    ) {
        let Some(session) = &self.session else { return };
        match session.publish(topic, payload, retain, properties) {
            Ok(arrives) => {
                let sender = self.acknowledged.0.clone();
                tokio::spawn(async move {
                    if let Some(acknowledged) = then(arrives.await) {
                        let _ = sender.send(acknowledged).await;
                    }
                });
            }
            Err(error) => warn!("{error}"),
        }
    }

    pub(super) fn publish_presence(&self) {
        let identity = self.session.as_ref().map(|session| &session.identity);
        let payload = to_json(&presence(self.config(), true, identity));
        self.publish(&self.topic(Topic::Presence), payload, true, PublishProperties::default(), |_| None);
    }

    pub(super) fn publish_report(&self) {
        let Some(reported) = &self.reported else { return };
        let connection = self.connection;
        let then = move |arrived: bool| arrived.then_some(Acknowledged::Report(connection));
        self.publish(&self.topic(Topic::Reported), to_json(reported), true, PublishProperties::default(), then);
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
            let connection = self.connection;
            let then = move |arrived: bool| Some(Acknowledged::Event(connection, sequence, arrived));
            self.publish(&topic, payload, false, PublishProperties::default(), then);
        }
    }

    pub(super) fn respond(&self, reply: Reply, response: &Response) {
        let properties =
            PublishProperties { correlation_data: reply.correlation.map(Into::into), ..PublishProperties::default() };
        let id = response.id.clone();
        let then = move |arrived: bool| id.filter(|_| arrived).map(Acknowledged::Response);
        self.publish(&reply.topic, to_json(response), false, properties, then);
    }

    pub(super) async fn arrived(&mut self, acknowledged: Acknowledged) {
        match acknowledged {
            Acknowledged::Report(connection) => {
                if connection == self.connection && self.broker_wanted {
                    self.handle(Input::ProbePassed(Probe::Broker)).await;
                }
            }
            Acknowledged::Event(_, sequence, true) => {
                self.post.acknowledged(sequence);
                self.send_events();
            }
            Acknowledged::Event(connection, _, false) => {
                // Over a connection that is still up, an event that is not taken would wait for ever.
                if connection == self.connection && self.session.is_some() {
                    self.post.link_lost();
                }
            }
            Acknowledged::Response(id) => self.command(LedgerInput::Delivered(id)).await,
        }
    }

    /// Says that the kiosk is gone on purpose.
    pub(super) async fn farewell(&mut self) {
        self.stop_probes().await;
        let topic = self.topic(Topic::Presence);
        let Some(session) = self.session.take() else { return };
        let payload = to_json(&presence(self.config(), false, Some(&session.identity)));
        if let Ok(arrives) = session.publish(&topic, payload, true, PublishProperties::default()) {
            let _ = tokio::time::timeout(TURN, arrives).await;
        }
        session.close().await;
    }
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

pub(super) fn presence(config: &Config, online: bool, identity: Option<&Identity>) -> Presence {
    let leaf = identity.and_then(|identity| identity.leaf);
    let groups = config.fleet.as_ref().map(|fleet| fleet.groups.clone()).unwrap_or_default();
    Presence {
        online,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        groups,
        certificate: leaf.filter(|_| online).map(|leaf| leaf.digest),
        certificate_refused: identity.filter(|_| online).and_then(|identity| identity.refused.clone()),
        certificate_ends: leaf.map(|leaf| leaf.ends),
    }
}
