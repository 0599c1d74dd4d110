//! What the kiosk says: presence, what is reported, figures, events, answers.

use kiosk_proto::config::{Config, KioskId};
use kiosk_proto::fleet::ledger::{LedgerInput, Reply};
use kiosk_proto::fleet::machine::{Input, Probe};
use kiosk_proto::fleet::{CommandId, EventKind, Presence, Response, Subject, Topic};
use rumqttc::mqttbytes::v5::PublishProperties;
use serde_json::Value;
use tracing::{debug, info, warn};

use super::{TURN, Task};
use crate::fleet::link::{Fate, Session};
use crate::fleet::telemetry::Surroundings;

/// What became of a message over the connection of this number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    connection: u64,
    subject: Subject,
    what: What,
    topic: String,
    fate: Fate,
}

/// A message of its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// The newest.
    Newest,
    /// The event of this number.
    Event(u64),
    /// The answer to a command; none to one that can't be read.
    Answer(Option<CommandId>),
}

impl Task {
    fn topic(&self, topic: impl FnOnce(KioskId) -> Topic) -> String {
        topic(self.config().kiosk.id.clone()).to_string()
    }

    /// Publishes, and keeps an eye on what becomes of it.
    fn publish(
        &mut self,
        subject: Subject,
        what: What,
        topic: String,
        payload: Vec<u8>,
        properties: PublishProperties,
    ) {
        let Some(session) = &self.session else { return };
        let retain = matches!(subject, Subject::Presence | Subject::Report);
        let sent = session.publish(&topic, payload, retain, properties);
        self.holds.sent(subject);
        let (sender, connection) = (self.told.0.clone(), self.connection);
        tokio::spawn(async move {
            let fate = match sent {
                Ok(fate) => fate.await,
                Err(error) => Fate::Refused(error.to_string()),
            };
            let _ = sender.send(Told { connection, subject, what, topic, fate }).await;
        });
    }

    fn may(&self, subject: Subject) -> bool {
        self.holds.may(subject, self.now())
    }

    pub(super) fn publish_presence(&mut self) {
        if self.may(Subject::Presence) {
            let there = presence(self.config(), self.session.as_ref());
            let payload = to_json(&Presence { unwritable: self.unwritable.clone(), ..there });
            let topic = self.topic(Topic::Presence);
            self.publish(Subject::Presence, What::Newest, topic, payload, PublishProperties::default());
        }
    }

    pub(super) fn publish_report(&mut self) {
        // A configuration on trial has to show that the broker takes reports with it.
        let wanted = self.broker_wanted || self.may(Subject::Report);
        if let (Some(reported), Some(session), true) = (&self.reported, &self.session, wanted) {
            let topic = self.topic(Topic::Reported);
            let payload = to_json(&reported.shortened(|bytes| session.fits(&topic, bytes).is_ok()));
            self.publish(Subject::Report, What::Newest, topic, payload, PublishProperties::default());
        }
    }

    /// The topics of what the broker has refused and not taken since.
    fn unwritable(&self) -> Vec<String> {
        let topic = |subject| match subject {
            Subject::Presence => self.topic(Topic::Presence),
            Subject::Report => self.topic(Topic::Reported),
            Subject::Answer => self.topic(|id| Topic::Response(id, None)),
            Subject::Event | Subject::EventSetAside => self.topic(Topic::Event),
        };
        let mut topics: Vec<String> = self.holds.doubted().into_iter().map(topic).collect();
        topics.dedup();
        topics
    }

    /// Says again what the broker has refused a while ago, and the admin what it refuses.
    pub(super) async fn say_again(&mut self) {
        if self.session.is_none() {
            return;
        }
        let unwritable = self.unwritable();
        if self.unwritable != unwritable {
            self.unwritable = unwritable;
            self.publish_presence();
        }
        for subject in self.holds.due(self.now()) {
            match subject {
                Subject::Presence => self.publish_presence(),
                Subject::Report => self.publish_report(),
                Subject::Answer => self.command(LedgerInput::LinkUp).await,
                Subject::Event | Subject::EventSetAside => self.send_events(),
            }
        }
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
        if let Err(error) = session.publish_and_forget(&topic, to_json(&metrics))
            && !std::mem::replace(&mut self.told_too_large.metrics, true)
        {
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

    /// Sends what waits, as far as it may now.
    pub(super) fn send_events(&mut self) {
        let Some(session) = self.session.clone() else { return };
        let (topic, now) = (self.topic(Topic::Event), self.now());
        let fits = |bytes: usize| session.fits(&topic, bytes).is_ok();
        if !self.told_too_large.events
            && let Some((sequence, bytes, count)) = self.post.too_large(fits)
        {
            self.told_too_large.events = true;
            let why = session.fits(&topic, bytes).err().map(|error| error.to_string()).unwrap_or_default();
            warn!(sequence, count, "events stay on the kiosk: {why}");
        }
        while let Some((subject, sequence, payload)) = self.post.send(&self.holds, now, fits) {
            self.publish(subject, What::Event(sequence), topic.clone(), payload, PublishProperties::default());
        }
    }

    pub(super) fn respond(&mut self, reply: Reply, response: &Response) {
        if !self.may(Subject::Answer) {
            return;
        }
        let properties =
            PublishProperties { correlation_data: reply.correlation.map(Into::into), ..PublishProperties::default() };
        let mut payload = to_json(response);
        let fits = self.session.as_ref().map(|session| session.fits(&reply.topic, payload.len()));
        if let Some(Err(why)) = fits {
            let message = format!("{} its result is not sent: {why}", response.message).trim_start().to_owned();
            payload = to_json(&Response { message, result: Value::Null, ..response.clone() });
        }
        self.publish(Subject::Answer, What::Answer(response.id.clone()), reply.topic, payload, properties);
    }

    /// What became of a message.
    pub(super) async fn fate(&mut self, told: Told) {
        let Told { connection, subject, what, topic, fate } = told;
        let current = connection == self.connection;
        match fate {
            Fate::Taken => {
                if current {
                    self.holds.taken(subject);
                }
                match what {
                    What::Newest if subject == Subject::Report && current && self.broker_wanted => {
                        self.handle(Input::ProbePassed(Probe::Broker)).await;
                    }
                    What::Newest | What::Answer(None) => {}
                    What::Event(sequence) => {
                        self.post.acknowledged(sequence);
                        self.send_events();
                    }
                    What::Answer(Some(id)) => self.command(LedgerInput::Delivered(id)).await,
                }
            }
            Fate::Refused(why) => {
                let first = self.holds.refused(subject, self.now());
                if let What::Event(sequence) = what {
                    self.post.refused(sequence);
                }
                if first {
                    warn!(topic, "the broker does not take a message: {why}; see its access list and its limits");
                } else {
                    debug!(topic, "the broker still does not take a message: {why}");
                }
            }
            // The loss of the connection is told by the link.
            Fate::Lost => {}
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
        unwritable: Vec::new(),
    }
}
