//! What the kiosk hears: the link's course, and messages on its topics.

use std::fs;
use std::path::Path;

use kiosk_proto::config::Config;
use kiosk_proto::fleet::ledger::{LedgerInput, Reply};
use kiosk_proto::fleet::machine::{Delivery, Input, Probe};
use kiosk_proto::fleet::{LayerName, Outcome, Response, Subject, Topic, kiosk_filters, response_topic};
use rumqttc::mqttbytes::v5::{Publish, PublishProperties};
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::warn;

use super::speak::presence;
use super::{Task, ToldTooLarge};
use crate::fleet::link::{Link, LinkEvent, LinkSettings, Session};

/// Messages of the broker that are not decided yet: more than it may send.
const MAX_DELIVERIES: usize = 64;

impl Task {
    pub(super) async fn linked(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up(session) => {
                self.connection += 1;
                self.told_too_large = ToldTooLarge::default();
                // What was held back until now is said with the rest.
                let _ = self.holds.due(self.now());
                // A broker that is on trial has no say in what the kiosk falls back to.
                if !self.state.on_trial() {
                    session.identity.keep();
                }
                self.session = Some(session);
                self.publish_presence();
                self.handle(Input::LinkUp).await;
                self.command(LedgerInput::LinkUp).await;
                let at = self.now().wall;
                self.post.tell_dropped(at);
                self.send_events();
            }
            LinkEvent::Down(why) => {
                self.link_lost();
                self.handle(Input::LinkDown).await;
                if self.broker_wanted {
                    self.handle(Input::ProbeFailed(Probe::Broker, why)).await;
                }
            }
            LinkEvent::Message(message) => self.message(*message).await,
        }
    }

    /// The connection is lost, and what belonged to it.
    fn link_lost(&mut self) {
        let blamed = self.holds.lost(self.now());
        if let Some(subject) = blamed {
            warn!(?subject, "the broker hangs up at such messages, it seems: they are held back for a while");
        }
        self.forget_connection(matches!(blamed, Some(Subject::Event | Subject::EventSetAside)));
    }

    /// The kiosk has ended the connection.
    pub(super) fn link_closed(&mut self) {
        self.holds.closed();
        self.forget_connection(false);
    }

    fn forget_connection(&mut self, an_event_is_blamed: bool) {
        self.session = None;
        self.connection += 1;
        self.deliveries.clear();
        self.post.link_lost(an_event_is_blamed);
    }

    async fn message(&mut self, message: Publish) {
        let Some(session) = self.session.clone() else { return };
        let topic = str::from_utf8(&message.topic).ok().and_then(|topic| topic.parse::<Topic>().ok());
        let own = &self.config().kiosk.id;
        let layer = match topic {
            Some(Topic::GroupDesired(group)) => LayerName::Group(group),
            Some(Topic::DeviceDesired(id)) if id == *own => LayerName::Device,
            Some(Topic::Command(id)) if id == *own => return self.commanded(session, message).await,
            _ => return session.ack(&message),
        };
        let bytes = message.payload.to_vec();
        let delivery = self.deliver(session, message);
        self.handle(Input::Message { layer, bytes, delivery }).await;
    }

    fn deliver(&mut self, session: Session, message: Publish) -> Delivery {
        if self.deliveries.len() >= MAX_DELIVERIES {
            warn!("too many messages of the broker wait; they come again with the next connection");
            self.deliveries.clear();
        }
        self.delivery += 1;
        self.deliveries.insert(self.delivery, (session, message));
        Delivery(self.delivery)
    }

    async fn commanded(&mut self, session: Session, message: Publish) {
        let PublishProperties { response_topic: asked, correlation_data, .. } =
            message.properties.clone().unwrap_or_default();
        let correlation = correlation_data.map(|data| data.to_vec());
        let own = self.config().kiosk.id.clone();
        let topic = match response_topic(&own, asked.as_deref()) {
            Ok(topic) => topic.to_string(),
            Err(error) => {
                let reply = Reply { topic: Topic::Response(own, None).to_string(), correlation };
                let (outcome, message_text) = (Outcome::Refused, error.to_string());
                self.respond(reply, &Response { id: None, outcome, message: message_text, result: Value::Null });
                return session.ack(&message);
            }
        };
        let trusted = self.state.trusted().to_vec();
        let bytes = message.payload.to_vec();
        let delivery = self.deliver(session, message);
        let reply = Reply { topic, correlation };
        self.command(LedgerInput::Message { bytes, reply, delivery, trusted }).await;
    }
}

pub(super) fn link_settings(config: &Config, clean_start: bool) -> Option<LinkSettings> {
    let fleet = config.fleet.as_ref()?;
    let id = &config.kiosk.id;
    let written = |file: &Path| fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    Some(LinkSettings {
        client_id: id.to_string(),
        host: fleet.broker.host().to_owned(),
        port: fleet.broker.port(),
        ca_file: fleet.ca_file.clone(),
        proxy: config.proxy.clone(),
        cert_file: fleet.cert_file.clone(),
        key_file: fleet.key_file.path().to_owned(),
        written: [written(&fleet.cert_file), written(fleet.key_file.path())],
        state_dir: fleet.state_dir.clone(),
        keepalive_s: u16::try_from(fleet.keepalive_s).unwrap_or(u16::MAX),
        subscriptions: kiosk_filters(id, &fleet.groups),
        will: (Topic::Presence(id.clone()).to_string(), presence(config, None)),
        clean_start,
    })
}

/// The link; without settings, one that never comes up.
pub(super) fn start_link(settings: Option<LinkSettings>) -> (Link, mpsc::Receiver<LinkEvent>) {
    match settings {
        Some(settings) => Link::start(settings),
        None => Link::none(),
    }
}
