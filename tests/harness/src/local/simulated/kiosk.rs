//! One simulated kiosk: its state machines, and what they do over its connection.

use super::{Counts, Fleet, Order, Simulated, over};
use kiosk_proto::{
    backoff::Backoff,
    config::Site,
    fleet::{
        Command, EventKind, Holds, LayerName, Limits, MAX_PACKET_BYTES, Now, Outbox, Outcome, Presence, Topic,
        kiosk_filters,
        ledger::{Ledger, LedgerEffect, LedgerInput, Reply},
        machine::{Delivery, DesiredState, Effect, Input, Probe},
        response_topic,
    },
};
use rumqttc::{
    AckMode, AsyncClient, Broker, ConnectionError, Event, EventLoop, MqttOptions, PublishNotice, PublishOptions,
    SubscribeFilter,
    mqttbytes::{
        QoS,
        v5::{LastWill, Packet, Publish, PublishProperties},
    },
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tokio_rustls::TlsConnector;

/// The state of one kiosk.
pub(super) struct Kiosk {
    fleet: Fleet,
    own: Simulated,
    counts: Arc<Counts>,
    started: Instant,
    state: DesiredState,
    ledger: Ledger,
    outbox: Outbox,
    client: AsyncClient,
    events: Option<EventLoop>,
    up: bool,
    deliveries: BTreeMap<u64, Publish>,
    next_delivery: u64,
    inputs: VecDeque<Input>,
    probes: Option<Instant>,
    notices: JoinSet<Option<u64>>,
}

impl Kiosk {
    pub(super) fn new(fleet: Fleet, own: Simulated, site: Site, counts: Arc<Counts>, tls: &TlsConnector) -> Self {
        let mut options = MqttOptions::new(own.id.to_string(), Broker::tcp(&fleet.host, fleet.port));
        options.set_keep_alive(30).set_clean_start(true).set_ack_mode(AckMode::Manual);
        options.set_outgoing_inflight_upper_limit(32).set_max_packet_size(Some(MAX_PACKET_BYTES));
        options.set_connect_timeout(Duration::from_secs(30));
        let gone = Topic::Presence(own.id.clone()).to_string();
        options.set_last_will(LastWill::new(gone, presence(&fleet, false), QoS::AtLeastOnce, true, None));
        over(&mut options, fleet.host.clone(), tls.clone());
        let (client, events) = AsyncClient::builder(options).capacity(64).build();
        let started = Instant::now();
        let now = Now { monotonic: Duration::ZERO, wall: wall() };
        let (state, effects) = DesiredState::start("simulated", site, None, false, now);
        let (ledger, _) = Ledger::start(own.id.clone(), None, now);
        let mut kiosk = Self {
            fleet,
            own,
            counts,
            started,
            state,
            ledger,
            outbox: Outbox::new(Limits::default()),
            client,
            events: Some(events),
            up: false,
            deliveries: BTreeMap::new(),
            next_delivery: 0,
            inputs: VecDeque::new(),
            probes: None,
            notices: JoinSet::new(),
        };
        kiosk.carry_out(effects);
        kiosk
    }

    fn now(&self) -> Now {
        Now { monotonic: self.started.elapsed(), wall: wall() }
    }

    pub(super) async fn run(&mut self, mut orders: mpsc::Receiver<Order>) {
        let Some(mut events) = self.events.take() else { return };
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut metrics = self.fleet.metrics_s.map(|seconds| tokio::time::interval(Duration::from_secs(seconds)));
        let mut retry: Option<tokio::time::Instant> = None;
        loop {
            self.settle();
            let wake = self.next_wake();
            tokio::select! {
                polled = events.poll(), if retry.is_none() => match polled {
                    Ok(event) => {
                        if matches!(event, Event::Incoming(Packet::ConnAck(_))) {
                            backoff.reset();
                        }
                        self.happened(event);
                    }
                    Err(error) => {
                        self.lost(&error);
                        retry = Some(tokio::time::Instant::now() + backoff.next(rand::random()));
                    }
                },
                () = async { tokio::time::sleep_until(retry.unwrap_or_else(tokio::time::Instant::now)).await }, if retry.is_some() => retry = None,
                Some(order) = orders.recv() => {
                    let Order::Happens(kind) = order;
                    self.emit(kind);
                }
                Some(done) = self.notices.join_next() => {
                    if let Ok(Some(sequence)) = done {
                        let _ = self.outbox.acknowledged(sequence);
                        self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                () = sleep(wake) => self.inputs.push_back(Input::Tick),
                () = async { match &mut metrics { Some(metrics) => drop(metrics.tick().await), None => std::future::pending().await } } => self.metrics(),
            }
        }
    }

    /// Until when nothing is to be done by itself.
    fn next_wake(&self) -> Duration {
        let now = self.started.elapsed();
        let state = self.state.deadline().map(|deadline| deadline.saturating_sub(now));
        let ledger = self.ledger.deadline(self.now()).map(|deadline| deadline.saturating_sub(now));
        let probes = self.probes.map(|at| at.saturating_duration_since(Instant::now()));
        let next = [state, ledger, probes].into_iter().flatten().min().unwrap_or(Duration::from_secs(3600));
        next.max(Duration::from_millis(5))
    }

    /// Takes in all that is there to be taken in.
    fn settle(&mut self) {
        if self.probes.is_some_and(|at| at <= Instant::now()) {
            self.probes = None;
            self.inputs.push_back(match self.own.fails {
                true => Input::ProbeFailed(Probe::Janus, "no route to the media server".into()),
                false => Input::ProbePassed(Probe::Janus),
            });
            self.inputs.extend([Input::ProbePassed(Probe::Broker), Input::ProbePassed(Probe::Camera)]);
        }
        while let Some(input) = self.inputs.pop_front() {
            if input == Input::Tick {
                let effects = self.ledger.handle(self.now(), LedgerInput::Tick);
                self.obey(effects);
            }
            let effects = self.state.handle(self.now(), input);
            self.carry_out(effects);
        }
        let (now, holds) = (self.now(), Holds::default());
        while self.up
            && let Some((_, sequence, payload)) = self.outbox.send(&holds, now, |_| true)
        {
            let payload = payload.to_vec();
            let topic = Topic::Event(self.own.id.clone());
            match self.publish(&topic.to_string(), payload, false, PublishProperties::default()) {
                Some(notice) => {
                    self.notices.spawn(async move { notice.wait_async().await.is_ok().then_some(sequence) });
                }
                None => return,
            }
        }
    }

    fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool, more: PublishProperties) -> Option<PublishNotice> {
        let options = PublishOptions::at_least_once().retain(retain).properties(more);
        self.client.try_publish_tracked(topic, payload, options).ok()
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                self.subscribe();
                let topic = Topic::Presence(self.own.id.clone()).to_string();
                drop(self.publish(&topic, presence(&self.fleet, true), true, PublishProperties::default()));
            }
            Event::Incoming(Packet::SubAck(_)) if !self.up => {
                self.up = true;
                self.counts.connected.fetch_add(1, Ordering::Relaxed);
                self.counts.connections.fetch_add(1, Ordering::Relaxed);
                self.inputs.push_back(Input::LinkUp);
                let effects = self.ledger.handle(self.now(), LedgerInput::LinkUp);
                self.obey(effects);
            }
            Event::Incoming(Packet::Publish(publish)) => self.received(publish),
            _ => {}
        }
    }

    fn lost(&mut self, _: &ConnectionError) {
        if std::mem::take(&mut self.up) {
            self.counts.connected.fetch_sub(1, Ordering::Relaxed);
        }
        self.deliveries.clear();
        self.outbox.link_lost();
        self.inputs.push_back(Input::LinkDown);
    }

    fn subscribe(&self) {
        let filters = kiosk_filters(&self.own.id, &self.fleet.groups);
        let filters = filters.into_iter().map(|filter| SubscribeFilter::new(filter, QoS::AtLeastOnce));
        let _ = self.client.try_subscribe_many(filters);
    }

    fn received(&mut self, publish: Publish) {
        self.next_delivery += 1;
        let delivery = Delivery(self.next_delivery);
        let topic = String::from_utf8_lossy(&publish.topic).parse::<Topic>();
        let bytes = publish.payload.to_vec();
        let properties = publish.properties.clone().unwrap_or_default();
        self.deliveries.insert(self.next_delivery, publish);
        match topic {
            Ok(Topic::GroupDesired(group)) => {
                self.inputs.push_back(Input::Message { layer: LayerName::Group(group), bytes, delivery });
            }
            Ok(Topic::DeviceDesired(_)) => {
                self.inputs.push_back(Input::Message { layer: LayerName::Device, bytes, delivery });
            }
            Ok(Topic::Command(_)) => {
                let Ok(topic) = response_topic(&self.own.id, properties.response_topic.as_deref()) else { return };
                let correlation = properties.correlation_data.map(|data| data.to_vec());
                let reply = Reply { topic: topic.to_string(), correlation };
                let input = LedgerInput::Message { bytes, reply, delivery, trusted: self.fleet.keys.clone() };
                let effects = self.ledger.handle(self.now(), input);
                self.obey(effects);
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ack(Delivery(number)) => self.acknowledge(number),
                Effect::Report(reported) => {
                    let payload = serde_json::to_vec(&reported).unwrap_or_default();
                    let topic = Topic::Reported(self.own.id.clone()).to_string();
                    drop(self.publish(&topic, payload, true, PublishProperties::default()));
                }
                Effect::Emit(kind) => {
                    if let EventKind::ConfigPhase { phase, .. } = &kind
                        && phase.is_final()
                    {
                        let confirmed = *phase == kiosk_proto::fleet::Phase::Confirmed;
                        let counter = if confirmed { &self.counts.confirmed } else { &self.counts.failed };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    self.emit(kind);
                }
                Effect::StartProbes(_) => self.probes = Some(Instant::now() + self.own.trial),
                Effect::StopProbes => self.probes = None,
                Effect::FetchDesired => self.subscribe(),
                // The disk is memory, the configuration is in force as it is, and a restart takes no time.
                Effect::Persist(_) | Effect::Apply(_) | Effect::Restart => {}
            }
        }
    }

    fn obey(&mut self, effects: Vec<LedgerEffect>) {
        for effect in effects {
            match effect {
                LedgerEffect::Ack(Delivery(number)) => self.acknowledge(number),
                LedgerEffect::Respond(reply, response) => {
                    let payload = serde_json::to_vec(&response).unwrap_or_default();
                    let correlation_data = reply.correlation.map(Into::into);
                    let more = PublishProperties { correlation_data, ..PublishProperties::default() };
                    drop(self.publish(&reply.topic, payload, false, more));
                }
                LedgerEffect::Execute(id, command) => {
                    let result = match command {
                        Command::DryRun { config, layer } => {
                            serde_json::to_value(self.state.dry_run(&layer, config)).unwrap_or_default()
                        }
                        Command::ExplainConfig { keys } => {
                            serde_json::to_value(self.state.explain(&keys)).unwrap_or_default()
                        }
                        Command::Ping {} => serde_json::Value::Null,
                        // What was asked for, for who wants to know whether it came as it was meant.
                        other => serde_json::to_value(other).unwrap_or_default(),
                    };
                    let (outcome, message) = (Outcome::Done, String::new());
                    let finished = LedgerInput::Finished { id, outcome, message, result };
                    let effects = self.ledger.handle(self.now(), finished);
                    self.obey(effects);
                }
                LedgerEffect::Emit(kind) => self.emit(kind),
                LedgerEffect::Persist(_) => {}
            }
        }
    }

    fn acknowledge(&mut self, delivery: u64) {
        if let Some(publish) = self.deliveries.remove(&delivery) {
            let _ = self.client.try_ack(&publish);
        }
    }

    fn emit(&mut self, kind: EventKind) {
        self.counts.events.fetch_add(1, Ordering::Relaxed);
        let _ = self.outbox.push(wall(), kind);
    }

    fn metrics(&self) {
        let metrics = serde_json::json!({
            "uptime_s": self.started.elapsed().as_secs(), "versions": { "kioskd": "simulated" },
            "call_state": "idle", "outbox_events": self.outbox.len(),
            "host": { "clock_synchronised": true, "cpu_percent": 3.5, "daemon_cpu_percent": 0.4,
                "daemon_memory_kib": 61_000, "memory_total_kib": 4_000_000, "memory_available_kib": 3_000_000,
                "temperature_c": 51.5, "disk_free_kib": 9_000_000 },
        });
        let topic = Topic::Metrics(self.own.id.clone()).to_string();
        let options = PublishOptions::at_most_once();
        let _ = self.client.try_publish(topic, metrics.to_string(), options);
    }
}

fn presence(fleet: &Fleet, online: bool) -> Vec<u8> {
    let presence = Presence {
        online,
        version: "simulated".into(),
        groups: fleet.groups.clone(),
        certificate: None,
        certificate_refused: None,
        certificate_ends: None,
        unreadable: Vec::new(),
        unwritable: Vec::new(),
    };
    serde_json::to_vec(&presence).unwrap_or_default()
}

fn wall() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
