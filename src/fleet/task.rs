//! The task that owns the fleet's part: takes what happened, lets `kiosk_proto::fleet` decide, carries it out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use kiosk_proto::call::CallState;
use kiosk_proto::config::Config;
use kiosk_proto::fleet::machine::{Application, Delivery, DesiredState, Effect, Input, Probe};
use kiosk_proto::fleet::{EventKind, LayerName, Now, Presence, Reported, Topic, kiosk_filters};
use rumqttc::mqttbytes::v5::{Publish, PublishProperties};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{error, info, warn};

use super::link::{Link, LinkEvent, LinkSettings, Session};
use super::probe::Probes;
use super::store::Store;
use super::telemetry::{Observer, Surroundings, Telemetry};
use super::{Boot, DESIRED, Daemon, FleetState, FleetView, Order, Request};
use crate::call::View;
use crate::events::News;
use crate::host::clock;

/// The longest time between two turns.
const TURN: Duration = Duration::from_secs(1);
/// How often it is asked whether the clock is synchronised.
const CLOCK: Duration = Duration::from_secs(60);
/// A call that was announced and has not begun after this was refused.
const CALL_BEGINS: Duration = Duration::from_secs(5);
/// Messages of the broker that are not decided yet: more than it may send.
const MAX_DELIVERIES: usize = 64;
/// Acknowledgements that wait to be taken.
const ACKNOWLEDGED: usize = 64;

/// What the broker has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    /// A report, over the connection of this number.
    Report(u64),
}

/// Owner of the fleet's part.
pub(super) struct Task {
    state: DesiredState,
    store: Store,
    state_dir: PathBuf,
    daemon: Daemon,
    show: watch::Sender<FleetView>,
    later: Vec<Effect>,
    damaged: Vec<(&'static str, bool)>,
    link: Link,
    link_events: mpsc::Receiver<LinkEvent>,
    link_settings: Option<LinkSettings>,
    /// Counts the connections, so that what comes from an older one is known as old.
    connection: u64,
    session: Option<Session>,
    reported: Option<Reported>,
    deliveries: HashMap<u64, (Session, Publish)>,
    delivery: u64,
    probes: Option<Probes>,
    broker_wanted: bool,
    acknowledged: (mpsc::Sender<Acknowledged>, mpsc::Receiver<Acknowledged>),
    synchronised: bool,
    telemetry: Telemetry,
    observer: Observer,
    /// Since when a call was announced, and whether it has begun.
    call: Option<(Instant, bool)>,
    identify_until: Option<Instant>,
}

impl Task {
    pub(super) fn new(boot: Boot, daemon: Daemon) -> Self {
        let Boot { state, store, state_dir, effects, damaged, show } = boot;
        let clean = !damaged.is_empty();
        let link_settings = link_settings(state.config(), clean);
        let (link, link_events) = start_link(link_settings.clone());
        Self {
            telemetry: Telemetry::new(daemon.encoder),
            state,
            store,
            state_dir,
            daemon,
            show,
            later: effects,
            damaged,
            link,
            link_events,
            link_settings,
            connection: 0,
            session: None,
            reported: None,
            deliveries: HashMap::new(),
            delivery: 0,
            probes: None,
            broker_wanted: false,
            acknowledged: mpsc::channel(ACKNOWLEDGED),
            synchronised: false,
            observer: Observer::default(),
            call: None,
            identify_until: None,
        }
    }

    fn now(&self) -> Now {
        super::now(self.synchronised)
    }

    fn config(&self) -> &Config {
        self.state.config()
    }

    /// Runs until the daemon stops.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        self.synchronised = clock::synchronised(&self.daemon.bus).await;
        self.emit(EventKind::DaemonStarted { version: env!("CARGO_PKG_VERSION").to_owned() });
        for (file, recovered) in std::mem::take(&mut self.damaged) {
            self.emit(EventKind::StateDamaged { file: file.to_owned(), recovered });
        }
        let later = std::mem::take(&mut self.later);
        self.carry_out(later).await;
        let mut clock = interval(CLOCK);
        let mut metrics = self.metrics_interval();
        let mut view = self.daemon.view.clone();
        loop {
            let due = self.state.deadline().map_or(TURN, |at| at.saturating_sub(self.now().monotonic).min(TURN));
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Stop(reply)) => {
                        self.farewell().await;
                        let _ = reply.send(());
                        return;
                    }
                    None => return,
                    Some(Request::CallStarts(reply)) => {
                        self.call = Some((Instant::now(), false));
                        self.handle(Input::CallStarted).await;
                        let _ = reply.send(());
                    }
                    Some(Request::Site(site)) => self.handle(Input::SiteChanged(site)).await,
                },
                event = self.link_events.recv() => match event {
                    Some(event) => self.linked(event).await,
                    None => warn!("the link to the broker has ended"),
                },
                Some(acknowledged) = self.acknowledged.1.recv() => self.arrived(acknowledged).await,
                outcome = next(&mut self.probes) => self.handle(outcome).await,
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let seen = view.borrow_and_update().clone();
                    self.looked(&seen).await;
                }
                _ = clock.tick() => self.synchronised = clock::synchronised(&self.daemon.bus).await,
                _ = metrics.tick() => {
                    self.publish_metrics();
                    if metrics.period() != self.metrics_period() {
                        metrics = self.metrics_interval();
                    }
                }
                () = sleep_until(Instant::now() + due) => self.handle(Input::Tick).await,
            }
            self.watch_call().await;
            self.show();
        }
    }

    fn metrics_period(&self) -> Duration {
        let fleet = self.config().fleet.as_ref();
        Duration::from_secs(fleet.map_or(60, |fleet| u64::from(fleet.metrics_interval_s)))
    }

    fn metrics_interval(&self) -> tokio::time::Interval {
        let mut every = interval(self.metrics_period());
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every
    }

    fn show(&mut self) {
        let identify = self.identify_until.is_some_and(|until| Instant::now() < until);
        let state = match (self.state.on_trial(), &self.session) {
            (true, _) => FleetState::Trial,
            (false, Some(_)) => FleetState::Online,
            (false, None) => FleetState::Offline,
        };
        let view = FleetView { state, identify };
        self.show.send_if_modified(|shown| std::mem::replace(shown, view) != view);
    }

    /// Lets the state machine decide, and carries out what it says.
    async fn handle(&mut self, input: Input) {
        let effects = self.state.handle(self.now(), input);
        self.carry_out(effects).await;
    }

    /// Carries effects out in their order. A state that can't be stored ends the list.
    async fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut waiting = effects;
        while !waiting.is_empty() {
            let mut next = Vec::new();
            for effect in waiting {
                if let Effect::Persist(durable) = &effect {
                    if let Err(error) = self.store.save(DESIRED, &durable.to_json()) {
                        error!(FAULT = "fleet-state-not-stored", "{error}");
                        next = self.state.handle(self.now(), Input::PersistFailed(error.to_string()));
                        break;
                    }
                } else {
                    self.effect(effect).await;
                }
            }
            waiting = next;
        }
    }

    async fn effect(&mut self, effect: Effect) {
        match effect {
            // Stored by whoever carries out the list.
            Effect::Persist(_) => {}
            Effect::Ack(Delivery(number)) => {
                if let Some((session, message)) = self.deliveries.remove(&number) {
                    session.ack(&message);
                }
            }
            Effect::Apply(application) => self.apply(*application).await,
            Effect::Restart => {
                info!("the fleet's configuration needs a restart of the daemon");
                let _ = self.daemon.orders.send(Order::Restart).await;
            }
            Effect::StartProbes(wanted) => {
                self.stop_probes().await;
                self.broker_wanted = wanted.contains(&Probe::Broker);
                self.probes = Some(Probes::start(wanted, self.state.config()));
                // Over a connection that is up, an answer that comes from now on is the proof.
                self.publish_report();
            }
            Effect::StopProbes => self.stop_probes().await,
            Effect::Report(reported) => {
                self.reported = Some(*reported);
                self.publish_report();
            }
            Effect::Emit(kind) => self.emit(kind),
            Effect::FetchDesired => {
                if let (Some(session), Some(settings)) = (&self.session, &self.link_settings) {
                    session.subscribe(&settings.subscriptions);
                }
            }
        }
    }

    async fn stop_probes(&mut self) {
        self.broker_wanted = false;
        if let Some(probes) = self.probes.take() {
            probes.stop().await;
        }
    }

    async fn apply(&mut self, application: Application) {
        let keys: Vec<String> = application.changed.iter().map(|(section, key)| format!("{section}.{key}")).collect();
        info!(keys = keys.join(" "), "a configuration of the fleet is put in force");
        let settings = link_settings(&application.config, false);
        self.daemon.events.send(News::Reconfigured(Box::new(application.config))).await;
        if settings != self.link_settings {
            info!("the link to the broker is made anew");
            self.session = None;
            self.connection += 1;
            self.deliveries.clear();
            self.link_settings = settings;
            (self.link, self.link_events) = start_link(self.link_settings.clone());
            // Not through `handle`: it is in the middle of carrying out a list, and this makes none.
            let none = self.state.handle(self.now(), Input::LinkDown);
            if !none.is_empty() {
                error!(?none, "effects of a link that was taken down are left out");
            }
        }
    }

    async fn linked(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up(session) => {
                self.connection += 1;
                self.session = Some(session);
                self.publish_presence();
                self.handle(Input::LinkUp).await;
            }
            LinkEvent::Down(why) => {
                self.session = None;
                self.deliveries.clear();
                self.handle(Input::LinkDown).await;
                if self.broker_wanted {
                    self.handle(Input::ProbeFailed(Probe::Broker, why)).await;
                }
            }
            LinkEvent::Message(message) => self.message(*message).await,
            LinkEvent::Refused(topic) => warn!(topic, "nothing of the fleet is received here"),
        }
    }

    async fn message(&mut self, message: Publish) {
        let Some(session) = self.session.clone() else { return };
        let topic = str::from_utf8(&message.topic).ok().and_then(|topic| topic.parse::<Topic>().ok());
        let layer = match topic {
            Some(Topic::GroupDesired(group)) => LayerName::Group(group),
            Some(Topic::DeviceDesired(id)) if id == self.config().kiosk.id => LayerName::Device,
            _ => {
                session.ack(&message);
                return;
            }
        };
        if self.deliveries.len() >= MAX_DELIVERIES {
            warn!("too many messages of the broker wait; they come again with the next connection");
            self.deliveries.clear();
        }
        self.delivery += 1;
        let (bytes, delivery) = (message.payload.to_vec(), Delivery(self.delivery));
        self.deliveries.insert(self.delivery, (session, message));
        self.handle(Input::Message { layer, bytes, delivery }).await;
    }

    async fn arrived(&mut self, acknowledged: Acknowledged) {
        match acknowledged {
            Acknowledged::Report(connection) => {
                if connection == self.connection && self.broker_wanted {
                    self.handle(Input::ProbePassed(Probe::Broker)).await;
                }
            }
        }
    }

    fn topic(&self, topic: impl FnOnce(kiosk_proto::config::KioskId) -> Topic) -> String {
        topic(self.config().kiosk.id.clone()).to_string()
    }

    fn publish_presence(&self) {
        let Some(session) = &self.session else { return };
        let payload = to_json(&presence(self.config(), true));
        if let Err(error) =
            session.publish(&self.topic(Topic::Presence), payload, true, PublishProperties::default()).map(drop)
        {
            warn!("{error}");
        }
    }

    fn publish_report(&self) {
        let (Some(session), Some(reported)) = (&self.session, &self.reported) else { return };
        let topic = self.topic(Topic::Reported);
        match session.publish(&topic, to_json(reported), true, PublishProperties::default()) {
            Ok(arrives) => {
                let (sender, connection) = (self.acknowledged.0.clone(), self.connection);
                tokio::spawn(async move {
                    if arrives.await {
                        let _ = sender.send(Acknowledged::Report(connection)).await;
                    }
                });
            }
            Err(error) => warn!("{error}"),
        }
    }

    fn publish_metrics(&mut self) {
        let Some(session) = &self.session else { return };
        let view = self.daemon.view.borrow().clone();
        let around = Surroundings {
            config: self.state.config(),
            digest: self.state.reported().effective,
            state: &self.state_dir,
            clock_synchronised: self.synchronised,
            outbox_events: 0,
        };
        let metrics = self.telemetry.metrics(&view, &around);
        let topic = Topic::Metrics(self.state.config().kiosk.id.clone()).to_string();
        if let Err(error) = session.publish_and_forget(&topic, to_json(&metrics)) {
            warn!("{error}");
        }
    }

    fn emit(&mut self, kind: EventKind) {
        info!(event = ?kind, "an event for the fleet");
    }

    /// The call's task shows something new.
    async fn looked(&mut self, view: &View) {
        for kind in self.observer.look(view) {
            self.emit(kind);
        }
        let in_call = view.state != CallState::Idle;
        match self.call {
            None if in_call => {
                self.call = Some((Instant::now(), true));
                self.handle(Input::CallStarted).await;
            }
            Some((since, false)) if in_call => self.call = Some((since, true)),
            Some((_, true)) if !in_call => {
                self.call = None;
                self.handle(Input::CallEnded).await;
            }
            _ => {}
        }
    }

    /// A call that was announced may have been refused.
    async fn watch_call(&mut self) {
        if let Some((since, false)) = self.call
            && since.elapsed() > CALL_BEGINS
        {
            self.call = None;
            self.handle(Input::CallEnded).await;
        }
    }

    async fn farewell(&mut self) {
        self.stop_probes().await;
        let Some(session) = self.session.take() else { return };
        let payload = to_json(&presence(self.config(), false));
        if let Ok(arrives) = session.publish(&self.topic(Topic::Presence), payload, true, PublishProperties::default())
        {
            let _ = tokio::time::timeout(TURN, arrives).await;
        }
        session.close().await;
    }
}

/// The next outcome of probes that may not be there.
async fn next(probes: &mut Option<Probes>) -> Input {
    match probes {
        Some(probes) => probes.next().await,
        None => std::future::pending().await,
    }
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn presence(config: &Config, online: bool) -> Presence {
    let groups = config.fleet.as_ref().map(|fleet| fleet.groups.clone()).unwrap_or_default();
    Presence { online, version: env!("CARGO_PKG_VERSION").to_owned(), groups }
}

fn link_settings(config: &Config, clean_start: bool) -> Option<LinkSettings> {
    let fleet = config.fleet.as_ref()?;
    let id = &config.kiosk.id;
    Some(LinkSettings {
        client_id: id.to_string(),
        host: fleet.broker.host().to_owned(),
        port: fleet.broker.port(),
        ca_file: fleet.ca_file.clone(),
        cert_file: fleet.cert_file.clone(),
        key_file: fleet.key_file.path().to_owned(),
        keepalive_s: u16::try_from(fleet.keepalive_s).unwrap_or(u16::MAX),
        subscriptions: kiosk_filters(id, &fleet.groups),
        will: (Topic::Presence(id.clone()).to_string(), to_json(&presence(config, false))),
        clean_start,
    })
}

/// The link; without settings, one that never comes up.
fn start_link(settings: Option<LinkSettings>) -> (Link, mpsc::Receiver<LinkEvent>) {
    match settings {
        Some(settings) => Link::start(settings),
        None => Link::none(),
    }
}
