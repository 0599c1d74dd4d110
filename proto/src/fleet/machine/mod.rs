//! The configuration in force: what was pushed is received, tried, and confirmed or taken back.
//!
//! [`DesiredState::handle`] takes what happened, with the time, and returns what to do. The rules for the shell:
//!
//! 1. Effects are carried out one after the other, each to its end. [`Effect::Persist`] ends when its file is on the disk.
//! 2. When a [`Effect::Persist`] fails, the rest of the same list is not carried out, and the next input is
//!    [`Input::PersistFailed`].
//! 3. At a start, the effects of [`DesiredState::start`] are carried out before [`DesiredState::config`] is used.
//!
//! So at every moment a power cut leaves a file from which the next start makes the last confirmed configuration, or
//! goes on with a trial that was planned to begin with that start.

mod confirmed;
mod explain;
mod receive;
mod report;
mod trial;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod storage_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::fleet) mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::Now;
use super::durable::{Durable, LayerState, MAX_LAYERS};
use super::event::EventKind;
use super::key::TrustedKey;
use super::reported::{LayerName, PathError, Refusal, Reported};
use crate::config::{Config, Site, TakesEffect};

pub use explain::{Change, DryRun, Explained};

pub(in crate::fleet) use receive::is_said;

use confirmed::Effective;
use trial::Run;

/// After this long, what could not be stored is tried again.
const STORAGE_RETRY: Duration = Duration::from_secs(30);

/// What a trial has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// The broker, over a connection that was made, or answered, under the configuration on trial.
    Broker,
    /// Janus: it answers `server_info`.
    Janus,
    /// The camera gives a picture, and the encoder encodes it.
    Camera,
}

impl Probe {
    /// What it is, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "the broker",
            Self::Janus => "the media server",
            Self::Camera => "the camera and the encoder",
        }
    }
}

/// A message whose receipt is acknowledged when its outcome is on the disk; the shell's own number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delivery(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A message on the desired topic of a layer, as it came.
    Message {
        /// Of the topic.
        layer: LayerName,
        /// The payload; empty when nothing is retained there any more.
        bytes: Vec<u8>,
        /// To be acknowledged.
        delivery: Delivery,
    },
    /// The link to the broker is up, subscribed.
    LinkUp,
    /// The link to the broker is lost. It takes back [`Probe::Broker`].
    LinkDown,
    /// A customer starts a call. The effects are carried out before the call reads the configuration.
    CallStarted,
    /// No call any more.
    CallEnded,
    /// A probe that was asked for passed.
    ProbePassed(Probe),
    /// A probe failed, and is tried again until [`Effect::StopProbes`]: why, for people.
    ProbeFailed(Probe, String),
    /// The configuration of [`Effect::Apply`] can't be put in force: why, for people.
    ApplyFailed(String),
    /// A file could not be stored: why, for people.
    PersistFailed(String),
    /// The site file was changed and is read again.
    SiteChanged(Box<Site>),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Store this; it is on the disk before the next effect begins.
    Persist(Box<Durable>),
    /// Acknowledge a message.
    Ack(Delivery),
    /// Put this configuration in force.
    Apply(Box<Application>),
    /// Start the daemon again.
    Restart,
    /// Try these until each has passed.
    StartProbes(BTreeSet<Probe>),
    /// Stop trying.
    StopProbes,
    /// Publish this, retained, in place of what was reported before; without a link, with the next one.
    Report(Box<Reported>),
    /// Tell the fleet.
    Emit(EventKind),
    /// Subscribe to the desired topics again: what is retained there comes once more.
    FetchDesired,
}

/// A configuration to put in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// The whole of it.
    pub config: Config,
    /// What is different from what is in force now, as section and key.
    pub changed: BTreeSet<(String, String)>,
}

/// What the last list of effects was to put on the disk.
#[derive(Debug, Clone, PartialEq)]
enum Intent {
    Receive,
    BeginTrial,
    Confirm,
    RollBack,
    Start,
}

/// The configuration in force, and what is on its way.
#[derive(Debug, Clone)]
pub struct DesiredState {
    version: String,
    site: Site,
    /// What it is, once the effects are carried out.
    durable: Durable,
    /// What is on the disk.
    saved: Durable,
    /// What the effects that were returned last store.
    intent: Option<Intent>,
    confirmed: Effective,
    in_force: Effective,
    left_out: BTreeMap<LayerName, Vec<PathError>>,
    refused: BTreeMap<LayerName, Refusal>,
    received: BTreeMap<LayerName, Duration>,
    run: Option<Run>,
    /// What was on trial is taken back with a restart.
    restart_due: bool,
    /// The trial on the disk is one that this start found unfinished.
    cut_short: bool,
    /// A trial ended, and its end is not on the disk.
    unrecorded: Option<Vec<PathError>>,
    storage: Option<Storage>,
    linked: bool,
    in_call: bool,
}

/// What is wrong with the disk.
#[derive(Debug, Clone)]
struct Storage {
    message: String,
    retry: Duration,
    fetch: bool,
}

impl DesiredState {
    /// After a start of the daemon. `stored` is what the file holds; `recovered` is true when that is the version before
    /// the newest, because the newest is damaged.
    #[must_use]
    pub fn start(version: &str, site: Site, stored: Option<Durable>, recovered: bool, now: Now) -> (Self, Vec<Effect>) {
        let durable = stored.unwrap_or_default();
        let (confirmed, left_out) = confirmed::effective(&site, &durable, None);
        let mut state = Self {
            version: version.to_owned(),
            saved: durable.clone(),
            in_force: confirmed.clone(),
            received: durable.layers.iter().map(|layer| (layer.layer.clone(), now.monotonic)).collect(),
            site,
            durable,
            intent: None,
            confirmed,
            left_out,
            refused: BTreeMap::new(),
            run: None,
            restart_due: false,
            cut_short: false,
            unrecorded: None,
            storage: None,
            linked: false,
            in_call: false,
        };
        let effects = state.resume(recovered, now);
        (state, effects)
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.in_force.merged.config
    }

    /// Whose signature counts, on a push and on a command: `[fleet] keys` as they are confirmed. Those of a configuration
    /// on trial have not proved themselves.
    #[must_use]
    pub fn trusted(&self) -> &[TrustedKey] {
        self.confirmed.merged.config.fleet.as_ref().map_or(&[], |fleet| &fleet.keys)
    }

    /// Whether it is on trial.
    #[must_use]
    pub fn on_trial(&self) -> bool {
        self.run.is_some() && self.intent != Some(Intent::Confirm)
    }

    /// When [`Input::Tick`] is due at the latest, on the clock of [`Now::monotonic`].
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        // What the last effects stored is on the disk by now: that there is room again is said at once.
        let stored = self.intent.is_some();
        let retry = self.storage.as_ref().map(|storage| if stored { Duration::ZERO } else { storage.retry });
        let trial = self.run.as_ref().map(|run| run.deadline).filter(|_| !self.must_wait_for_the_call());
        let unrecorded = self.unrecorded.is_some() && self.intent != Some(Intent::RollBack);
        let next = (self.storage.is_none() && (unrecorded || self.may_begin())).then_some(Duration::ZERO);
        [retry, trial, next].into_iter().flatten().min()
    }

    /// What follows from something that happened.
    #[must_use]
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        if let Input::PersistFailed(why) = input {
            return self.not_stored(why, now);
        }
        let mut effects = Vec::new();
        if let Some(intent) = self.intent.take() {
            effects.extend(self.stored(&intent));
        }
        effects.extend(match input {
            Input::Message { layer, bytes, delivery } => self.message(&layer, &bytes, delivery, now),
            Input::LinkUp => {
                self.linked = true;
                vec![self.report()]
            }
            Input::LinkDown => {
                self.linked = false;
                if let Some(run) = &mut self.run {
                    run.passed.remove(&Probe::Broker);
                }
                Vec::new()
            }
            Input::CallStarted => {
                self.in_call = true;
                self.make_way_for_the_call(now)
            }
            Input::CallEnded => {
                self.in_call = false;
                self.call_ended(now);
                Vec::new()
            }
            Input::ProbePassed(probe) => self.probe_passed(probe, now),
            Input::ProbeFailed(probe, why) => {
                if let Some(run) = &mut self.run {
                    run.passed.remove(&probe);
                    run.failures.insert(probe, why);
                }
                Vec::new()
            }
            Input::ApplyFailed(why) if self.run.is_some() => {
                let message = format!("it could not be put in force: {why}");
                self.roll_back(vec![PathError { path: String::new(), message }], now)
            }
            Input::SiteChanged(site) => self.site_changed(*site, now),
            Input::ApplyFailed(_) | Input::PersistFailed(_) | Input::Tick => Vec::new(),
        });
        // One file in each list of effects: if it can't be stored, it is known what is on the disk.
        if self.intent.is_none() {
            effects.extend(self.time(now));
        }
        effects
    }

    /// The disk has what the last list of effects was to put on it.
    fn stored(&mut self, intent: &Intent) -> Vec<Effect> {
        self.saved = self.durable.clone();
        self.cut_short = false;
        match intent {
            Intent::Confirm => self.run = None,
            Intent::RollBack => self.unrecorded = None,
            Intent::Receive | Intent::BeginTrial | Intent::Start => {}
        }
        let Some(storage) = self.storage.take() else { return Vec::new() };
        let fetch = storage.fetch.then_some(Effect::FetchDesired);
        fetch.into_iter().chain([self.report()]).collect()
    }

    fn time(&mut self, now: Now) -> Vec<Effect> {
        // Whether the disk has room or not: what did not prove itself in time is not in force a moment longer.
        if let Some(run) = self.run.as_ref().filter(|run| now.monotonic >= run.deadline)
            && !self.must_wait_for_the_call()
        {
            let errors = run.missing();
            return self.roll_back(errors, now);
        }
        if let Some(storage) = &mut self.storage {
            if now.monotonic < storage.retry {
                return Vec::new();
            }
            storage.retry = now.monotonic + STORAGE_RETRY;
            if storage.fetch && self.unrecorded.is_none() {
                self.storage = None;
                return vec![Effect::FetchDesired];
            }
        }
        match self.unrecorded.clone() {
            Some(errors) => self.record_roll_back(errors, now),
            None if self.run.is_none() && self.may_begin() => self.begin(now),
            None => Vec::new(),
        }
    }

    /// The disk took nothing: back to what is on it, and what was begun on the strength of the new state is undone.
    fn not_stored(&mut self, why: String, now: Now) -> Vec<Effect> {
        let intent = self.intent.take();
        self.durable = self.saved.clone();
        let fetch = intent == Some(Intent::Receive) || self.storage.as_ref().is_some_and(|storage| storage.fetch);
        self.storage = Some(Storage { message: why, retry: now.monotonic + STORAGE_RETRY, fetch });
        let mut effects = Vec::new();
        match intent {
            // The trial passed and can't be kept: a power cut would take it back, so it is taken back now.
            Some(Intent::Confirm) => {
                let (confirmed, left_out) = confirmed::effective(&self.site, &self.durable, None);
                (self.confirmed, self.left_out) = (confirmed, left_out);
                let restart = self.leave_trial(&mut effects);
                self.unrecorded = Some(vec![PathError { path: String::new(), message: self.no_room() }]);
                effects.push(self.report());
                if restart {
                    effects.push(Effect::Restart);
                }
                return effects;
            }
            // It is not in force any more all the same; that it failed is written later.
            Some(Intent::RollBack) => {
                effects.push(self.report());
                if std::mem::take(&mut self.restart_due) {
                    effects.push(Effect::Restart);
                }
                return effects;
            }
            Some(Intent::Start) => {
                self.run = None;
                self.in_force = self.confirmed.clone();
                self.unrecorded = Some(vec![PathError { path: String::new(), message: self.no_room() }]);
            }
            // It was not begun: what was to be applied comes behind the file in the list.
            Some(Intent::BeginTrial) => {
                self.run = None;
                self.in_force = self.confirmed.clone();
            }
            Some(Intent::Receive) | None => {
                (self.confirmed, self.left_out) = confirmed::effective(&self.site, &self.durable, None);
                if self.run.is_none() {
                    self.in_force = self.confirmed.clone();
                }
            }
        }
        // It made way for a call or a site file, or was cut short: it waits, though the disk has it on trial. One that
        // ended stays as it is, until its end is recorded.
        if self.run.is_none() && self.unrecorded.is_none() {
            self.back_to_staged(now);
        }
        effects.push(self.report());
        effects
    }

    fn no_room(&self) -> String {
        let why = self.storage.as_ref().map_or("", |storage| storage.message.as_str());
        format!("the kiosk could not store it: {why}")
    }

    /// Layers that this kiosk listens to, in the order of the merge.
    fn layer_names(&self) -> Vec<LayerName> {
        confirmed::layer_names(&self.site)
    }

    /// Stores the state as it is now.
    fn persist(&mut self, intent: Intent, now: Now) -> Effect {
        let names = self.layer_names();
        for LayerState { layer, staged, .. } in &mut self.durable.layers {
            let since = self.received.insert(layer.clone(), now.monotonic).unwrap_or(now.monotonic);
            if let Some(staged) = staged {
                let passed = now.monotonic.saturating_sub(since).as_secs();
                staged.age_s = staged.age_s.saturating_add(passed);
            }
        }
        // Layers of groups that the kiosk left: their order is remembered, within limits.
        let strangers = self.durable.layers.iter().filter(|layer| !names.contains(&layer.layer)).count();
        let mut surplus = strangers.saturating_sub(MAX_LAYERS - names.len().min(MAX_LAYERS));
        self.durable.layers.retain(|layer| {
            let keep = names.contains(&layer.layer) || surplus == 0;
            surplus -= usize::from(!keep);
            keep
        });
        self.intent = Some(intent);
        Effect::Persist(Box::new(self.durable.clone()))
    }

    fn age(&self, layer: &LayerName, age_s: u64, now: Now) -> Duration {
        let since = self.received.get(layer).copied().unwrap_or(now.monotonic);
        Duration::from_secs(age_s).saturating_add(now.monotonic.saturating_sub(since))
    }

    /// Puts a configuration in force, if it is another one.
    fn apply(&mut self, effective: Effective, effects: &mut Vec<Effect>) {
        let changed = effective.merged.difference(&self.in_force.merged);
        if !changed.is_empty() {
            let config = effective.merged.config.clone();
            effects.push(Effect::Apply(Box::new(Application { config, changed })));
        }
        self.in_force = effective;
    }

    fn site_changed(&mut self, site: Site, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.site = site;
        let on_trial = self.run.is_some();
        if on_trial {
            effects.push(Effect::StopProbes);
            self.run = None;
            self.back_to_staged(now);
        }
        (self.confirmed, self.left_out) = confirmed::effective(&self.site, &self.durable, None);
        self.apply(self.confirmed.clone(), &mut effects);
        if on_trial {
            effects.push(self.persist(Intent::Receive, now));
        }
        effects.push(self.report());
        effects
    }
}

/// What takes longest of these changes.
fn takes_effect(changed: &BTreeSet<(String, String)>) -> TakesEffect {
    let of = |(section, key): &(String, String)| crate::config::key_rules(section, key).map(|rules| rules.takes_effect);
    changed.iter().filter_map(of).max().unwrap_or(TakesEffect::AtOnce)
}
