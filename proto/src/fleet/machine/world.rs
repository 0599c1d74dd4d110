//! A kiosk around the state machine, for tests: a disk, what is in force, and a broker that keeps what is retained.

use std::collections::BTreeMap;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use serde_json::json;

use super::*;
use crate::config::KioskId;
use crate::fleet::{DesiredPayload, Digest, GroupName, Object, PayloadType, Phase, Target, TrustedKey, sign};

/// Where the clock begins, Unix seconds.
pub const START: u64 = 1_800_000_000;
/// The trial's deadline of the site, seconds.
pub const DEADLINE: u64 = 60;

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn site_text(two_signatures: bool) -> String {
    let keys: Vec<String> =
        [1, 2].map(|seed| format!("\"{}\"", TrustedKey::new(key(seed).verifying_key(), None).unwrap())).into();
    format!(
        "[kiosk]\nid = \"a-1\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1001\n[fleet]\n\
         broker = \"mqtts://broker.bank.example\"\ncert_file = \"/c\"\nkey_file = \"/k\"\ngroups = [\"north\"]\n\
         keys = [{}]\ntwo_signatures = {two_signatures}\n",
        keys.join(", ")
    )
}

pub fn north() -> LayerName {
    LayerName::Group(GroupName::try_from("north".to_owned()).unwrap())
}

fn target(layer: &LayerName) -> Target {
    match layer {
        LayerName::Device => Target::Device(KioskId::try_from("a-1".to_owned()).unwrap()),
        LayerName::Group(group) => Target::Group(group.clone()),
    }
}

/// A payload with usual values.
pub fn payload(layer: &LayerName, revision: u64, config: serde_json::Value) -> DesiredPayload {
    DesiredPayload {
        target: target(layer),
        epoch: 1,
        revision,
        author: "Ada".into(),
        reason: "because".into(),
        created: START,
        expires: None,
        apply: Default::default(),
        force: false,
        config: Object(config.as_object().unwrap().clone()),
    }
}

/// A bit rate, and with it something that takes effect with the next call.
pub fn size_too(kbps: u32) -> serde_json::Value {
    json!({"video": {"bitrate_kbps": kbps}, "camera": {"width": 640}})
}

pub fn signed(payload: &DesiredPayload, seeds: &[u8]) -> Vec<u8> {
    let keys: Vec<SigningKey> = seeds.iter().map(|seed| key(*seed)).collect();
    let bytes = serde_json::to_vec(payload).unwrap();
    sign(PayloadType::Desired, &bytes, &keys.iter().collect::<Vec<_>>()).unwrap().to_bytes().unwrap()
}

/// A layer signed by one admin.
pub fn push(layer: &LayerName, revision: u64, config: serde_json::Value) -> Vec<u8> {
    signed(&payload(layer, revision, config), &[1])
}

pub fn bitrate(kbps: u32) -> serde_json::Value {
    json!({"video": {"bitrate_kbps": kbps}})
}

pub fn digest_of(envelope: &[u8]) -> Digest {
    Digest::of(&crate::fleet::Envelope::parse(envelope).unwrap().unverified_payload().unwrap())
}

/// The power is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash;

#[derive(Clone)]
pub struct World {
    pub site: Site,
    /// What survives.
    pub disk: Option<Durable>,
    pub retained: BTreeMap<LayerName, Vec<u8>>,
    /// Seconds.
    pub time: u64,
    pub clock_is_right: bool,
    /// What does not.
    pub state: DesiredState,
    pub in_force: Config,
    pub probing: BTreeSet<Probe>,
    pub acked: Vec<u64>,
    pub emitted: Vec<EventKind>,
    pub linked: bool,
    pub in_call: bool,
    /// Which probes can pass with a configuration.
    pub passes: fn(Probe, &Config) -> bool,
    /// Effects that are carried out before the power is lost; `None`: all.
    pub fuel: Option<usize>,
    pub effects: usize,
    pub disk_full: bool,
    pub restarts: usize,
    /// The newest confirmed revision of each layer that was ever written.
    pub written: BTreeMap<LayerName, (u32, u64)>,
    fetching: bool,
}

impl World {
    pub fn new(two_signatures: bool) -> Self {
        let site = Site::parse(&site_text(two_signatures)).unwrap();
        let now = Now { monotonic: Duration::ZERO, wall: Some(START) };
        let (state, effects) = DesiredState::start("1", site.clone(), None, false, now);
        assert_eq!(effects, []);
        Self {
            in_force: state.config().clone(),
            site,
            disk: None,
            retained: BTreeMap::new(),
            time: 0,
            clock_is_right: true,
            state,
            probing: BTreeSet::new(),
            acked: Vec::new(),
            emitted: Vec::new(),
            linked: false,
            in_call: false,
            passes: |_, _| true,
            fuel: None,
            effects: 0,
            disk_full: false,
            restarts: 0,
            written: BTreeMap::new(),
            fetching: false,
        }
    }

    pub fn now(&self) -> Now {
        Now { monotonic: Duration::from_secs(self.time), wall: self.clock_is_right.then_some(START + self.time) }
    }

    /// One input, and all that follows from it.
    pub fn input(&mut self, input: Input) -> Result<(), Crash> {
        let effects = self.state.handle(self.now(), input);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), Crash> {
        let persists = effects.iter().filter(|effect| matches!(effect, Effect::Persist(_))).count();
        assert!(persists <= 1, "one file in each list: {effects:?}");
        // The last report of a list is what is true after it.
        let mut reports =
            effects.iter().filter_map(|effect| if let Effect::Report(report) = effect { Some(report) } else { None });
        assert!(reports.next_back().is_none_or(|report| **report == self.state.reported()));
        for effect in effects {
            if self.fuel == Some(0) {
                return Err(Crash);
            }
            self.fuel = self.fuel.map(|fuel| fuel - 1);
            self.effects += 1;
            match effect {
                Effect::Persist(_) if self.disk_full => {
                    return self.input(Input::PersistFailed("no space left on device".into()));
                }
                Effect::Persist(durable) => {
                    // As it comes back from a file.
                    let durable = Durable::decode(&durable.encode()).unwrap();
                    for layer in &durable.layers {
                        if let Some(confirmed) = &layer.confirmed {
                            let revision = (confirmed.revision.epoch, confirmed.revision.revision);
                            let before = self.written.insert(layer.layer.clone(), revision);
                            assert!(before.is_none_or(|before| before <= revision), "a confirmed layer went back");
                        }
                    }
                    self.disk = Some(durable);
                }
                Effect::Ack(delivery) => self.acked.push(delivery.0),
                Effect::Apply(application) => self.in_force = application.config,
                Effect::Restart => {
                    self.restarts += 1;
                    return self.restart();
                }
                Effect::StartProbes(probes) => self.probing = probes,
                Effect::StopProbes => self.probing.clear(),
                Effect::Report(_) => {}
                Effect::Emit(kind) => self.emitted.push(kind),
                Effect::FetchDesired => self.fetching = true,
            }
        }
        if std::mem::take(&mut self.fetching) {
            return self.deliver();
        }
        Ok(())
    }

    /// The daemon starts, after a restart or a power cut.
    pub fn restart(&mut self) -> Result<(), Crash> {
        self.start(false)
    }

    pub fn start(&mut self, recovered: bool) -> Result<(), Crash> {
        (self.linked, self.in_call, self.probing) = (false, false, BTreeSet::new());
        let (state, effects) = DesiredState::start("1", self.site.clone(), self.disk.clone(), recovered, self.now());
        self.state = state;
        // What is in force before the first effects are carried out is what was before, that is nothing.
        self.carry_out(effects)?;
        self.in_force = self.state.config().clone();
        Ok(())
    }

    pub fn link(&mut self) -> Result<(), Crash> {
        self.linked = true;
        self.input(Input::LinkUp)?;
        self.deliver()
    }

    /// What is retained comes, as after a subscription.
    pub fn deliver(&mut self) -> Result<(), Crash> {
        for (layer, bytes) in self.retained.clone() {
            self.input(Input::Message { layer, bytes, delivery: Delivery(0) })?;
        }
        Ok(())
    }

    pub fn publish(&mut self, layer: &LayerName, bytes: Vec<u8>) -> Result<(), Crash> {
        self.retained.insert(layer.clone(), bytes.clone());
        if !self.linked {
            return Ok(());
        }
        self.input(Input::Message { layer: layer.clone(), bytes, delivery: Delivery(7) })
    }

    pub fn call(&mut self, on: bool) -> Result<(), Crash> {
        if self.in_call == on {
            return Ok(());
        }
        self.in_call = on;
        self.input(if on { Input::CallStarted } else { Input::CallEnded })
    }

    /// Time passes; probes pass or not, deadlines are served.
    pub fn wait(&mut self, seconds: u64) -> Result<(), Crash> {
        let end = self.time + seconds;
        for _ in 0..1_000 {
            for probe in self.probing.clone() {
                let reached = (self.linked || probe != Probe::Broker) && (self.passes)(probe, &self.in_force);
                if reached {
                    self.probing.remove(&probe);
                    self.input(Input::ProbePassed(probe))?;
                } else {
                    self.input(Input::ProbeFailed(probe, "no answer".into()))?;
                }
            }
            match self.state.deadline() {
                Some(at) if at <= Duration::from_secs(end) => {
                    self.time = self.time.max(at.as_secs());
                    self.input(Input::Tick)?;
                }
                _ if self.probing.iter().any(|probe| (self.passes)(*probe, &self.in_force) && self.linked) => {}
                _ => {
                    self.time = end;
                    return Ok(());
                }
            }
        }
        panic!("it never comes to rest: {:?}", self.state.deadline());
    }

    pub fn attempt(&self, layer: &LayerName) -> crate::fleet::Attempt {
        self.layer(layer).attempts[0].clone()
    }

    pub fn phase(&self, layer: &LayerName) -> Phase {
        self.attempt(layer).phase
    }

    pub fn layer(&self, layer: &LayerName) -> crate::fleet::LayerReport {
        self.state.reported().layers.into_iter().find(|report| report.layer == *layer).unwrap()
    }

    pub fn refusal(&self, layer: &LayerName) -> (String, String) {
        let refused = self.layer(layer).refused.unwrap();
        (refused.code, refused.message)
    }

    pub fn kbps(&self) -> u32 {
        self.in_force.video.bitrate_kbps.0
    }
}
