//! The task that owns the fleet's part: takes what happened, lets `kiosk_proto::fleet` decide, carries it out.

mod command;
mod listen;
mod speak;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use kiosk_proto::call::CallState;
use kiosk_proto::config::Config;
use kiosk_proto::fault::FaultCode;
use kiosk_proto::fleet::ledger::{Ledger, LedgerEffect, LedgerInput};
use kiosk_proto::fleet::machine::{Application, Delivery, DesiredState, Effect, Input, Probe};
use kiosk_proto::fleet::{EventKind, Holds, Lapse, Now, Reported};
use rumqttc::mqttbytes::v5::Publish;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{error, info, warn};

use super::link::{Link, LinkEvent, LinkSettings, Session};
use super::post::Post;
use super::probe::Probes;
use super::store::Store;
use super::telemetry::{Observer, Telemetry};
use super::{Boot, DESIRED, Daemon, FleetState, FleetView, LEDGER, Order, Request};
use crate::call::View;
use crate::events::News;
use crate::host::clock;

use listen::{link_settings, start_link};
use speak::Told;

/// The longest time between two turns.
const TURN: Duration = Duration::from_secs(1);
/// How often it is asked whether the clock is synchronised, and whether the disk takes what it did not take.
const CLOCK: Duration = Duration::from_secs(30);
/// A call that was announced and has not begun after this was refused.
const CALL_BEGINS: Duration = Duration::from_secs(5);
/// What waits to be taken of acknowledgements and of commands' outcomes.
const CAPACITY: usize = 64;

/// Owner of the fleet's part.
pub(super) struct Task {
    state: DesiredState,
    ledger: Ledger,
    post: Post,
    store: Store,
    state_dir: PathBuf,
    daemon: Daemon,
    show: watch::Sender<FleetView>,
    later: (Vec<Effect>, Vec<LedgerEffect>),
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
    /// What the broker does not take, and is therefore not said now.
    holds: Holds,
    /// The topics of it, as last told.
    unwritable: Vec<String>,
    told_too_large: ToldTooLarge,
    told: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    outcomes: (mpsc::Sender<LedgerInput>, mpsc::Receiver<LedgerInput>),
    synchronised: bool,
    telemetry: Telemetry,
    observer: Observer,
    /// Since when a call was announced, and whether it has begun.
    call: Option<(Instant, bool)>,
    identify: Lapse,
    /// Of a level of the journal that was asked for.
    log_level: Lapse,
}

/// What was said of messages that are larger than the broker takes, once for each connection.
#[derive(Debug, Default)]
struct ToldTooLarge {
    events: bool,
    metrics: bool,
}

impl Task {
    pub(super) fn new(boot: Boot, daemon: Daemon) -> Self {
        let Boot { state, ledger, post, store, state_dir, effects, damaged, show } = boot;
        // After damage, commands that the broker has kept may have been executed: it is to forget them.
        let link_settings = link_settings(state.config(), !damaged.is_empty());
        let (link, link_events) = start_link(link_settings.clone());
        let (ledger, recovered) = Ledger::start(state.config().kiosk.id.clone(), ledger, super::now(false));
        Self {
            telemetry: Telemetry::new(daemon.encoder),
            state,
            ledger,
            post,
            store,
            state_dir,
            daemon,
            show,
            later: (effects, recovered),
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
            holds: Holds::default(),
            unwritable: Vec::new(),
            told_too_large: ToldTooLarge::default(),
            told: mpsc::channel(CAPACITY),
            outcomes: mpsc::channel(CAPACITY),
            synchronised: false,
            observer: Observer::default(),
            call: None,
            identify: Lapse::default(),
            log_level: Lapse::default(),
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
        self.state.up(self.now());
        let (effects, recovered) = std::mem::take(&mut self.later);
        self.carry_out(effects).await;
        self.carry_out_commands(recovered).await;
        let mut clock = interval(CLOCK);
        let mut metrics = self.metrics_interval();
        let mut view = self.daemon.view.clone();
        loop {
            let now = self.now();
            let deadline = [self.state.deadline(), self.ledger.deadline(now)].into_iter().flatten().min();
            let due = deadline.map_or(TURN, |at| at.saturating_sub(now.monotonic).min(TURN));
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
                        self.call_starts().await;
                        let _ = reply.send(());
                    }
                    Some(Request::Site(site)) => {
                        self.handle(Input::SiteChanged(site)).await;
                        self.renew_link(link_settings(self.config(), false));
                    }
                },
                event = self.link_events.recv() => match event {
                    Some(event) => self.linked(event).await,
                    None => {
                        error!("the link to the broker has ended; it is made anew");
                        (self.link, self.link_events) = start_link(self.link_settings.clone());
                    }
                },
                Some(told) = self.told.1.recv() => self.fate(told).await,
                Some(outcome) = self.outcomes.1.recv() => self.command(outcome).await,
                outcome = next(&mut self.probes) => self.handle(outcome).await,
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let seen = view.borrow_and_update().clone();
                    self.looked(&seen).await;
                }
                _ = clock.tick() => {
                    self.synchronised = clock::synchronised(&self.daemon.bus).await;
                    self.post.retry();
                }
                _ = metrics.tick() => {
                    self.publish_metrics();
                    if metrics.period() != self.metrics_period() {
                        metrics = self.metrics_interval();
                    }
                }
                () = sleep_until(Instant::now() + due) => {
                    self.handle(Input::Tick).await;
                    self.command(LedgerInput::Tick).await;
                }
            }
            self.say_again().await;
            self.watch_times().await;
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
        let identify = self.identify.lasts(self.now());
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
                    if let Err(why) = self.save(DESIRED, &durable.to_json()) {
                        next = self.state.handle(self.now(), Input::PersistFailed(why));
                        break;
                    }
                } else {
                    self.effect(effect).await;
                }
            }
            waiting = next;
        }
    }

    fn save(&self, name: &str, content: &[u8]) -> Result<(), String> {
        self.store.save(name, content).map_err(|error| {
            error!(FAULT = FaultCode::FleetStateNotStored.as_str(), "{error}");
            error.to_string()
        })
    }

    async fn effect(&mut self, effect: Effect) {
        match effect {
            // Stored by whoever carries out the list.
            Effect::Persist(_) => {}
            Effect::Ack(delivery) => self.ack(delivery),
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

    fn ack(&mut self, Delivery(number): Delivery) {
        if let Some((session, message)) = self.deliveries.remove(&number) {
            session.ack(&message);
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
        self.renew_link(settings);
    }

    /// Connects with other settings, if they are others.
    fn renew_link(&mut self, settings: Option<LinkSettings>) {
        if settings != self.link_settings {
            info!("the link to the broker is made anew");
            self.link_settings = settings;
            (self.link, self.link_events) = start_link(self.link_settings.clone());
            self.link_closed();
            // Not through `handle`: it is in the middle of carrying out a list, and this makes none.
            let none = self.state.handle(self.now(), Input::LinkDown);
            if !none.is_empty() {
                error!(?none, "effects of a link that was taken down are left out");
            }
        }
    }

    async fn call_starts(&mut self) {
        self.handle(Input::CallStarted).await;
        self.command(LedgerInput::CallStarted).await;
    }

    async fn call_ended(&mut self) {
        self.call = None;
        self.handle(Input::CallEnded).await;
        self.command(LedgerInput::CallEnded).await;
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
                self.call_starts().await;
            }
            Some((since, false)) if in_call => self.call = Some((since, true)),
            Some((_, true)) if !in_call => self.call_ended().await,
            _ => {}
        }
    }

    /// What ends by itself: a call that was announced and then refused, a level of the journal.
    async fn watch_times(&mut self) {
        if let Some((since, false)) = self.call
            && since.elapsed() > CALL_BEGINS
        {
            self.call_ended().await;
        }
        if self.log_level.ends(self.now())
            && let Err(why) = super::commands::set_log_level(&self.daemon.verbosity, None)
        {
            warn!("the journal's level stays: {why}");
        }
    }
}

/// The next outcome of probes that may not be there.
async fn next(probes: &mut Option<Probes>) -> Input {
    match probes {
        Some(probes) => probes.next().await,
        None => std::future::pending().await,
    }
}
