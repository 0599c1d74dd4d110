//! A configuration proves itself, or is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::confirmed::{self, Effective};
use super::receive::validity;
use super::{DesiredState, Effect, Intent, Probe, takes_effect};
use crate::config::TakesEffect;
use crate::fleet::clock::Now;
use crate::fleet::desired::Apply;
use crate::fleet::durable::{Failed, Pushed, Staged, Trial, TrialStart};
use crate::fleet::reported::{LayerName, PathError, Phase};

/// A trial that runs.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub deadline: Duration,
    pub wanted: BTreeSet<Probe>,
    pub passed: BTreeSet<Probe>,
    /// Why a probe did not pass, the last time.
    pub failures: BTreeMap<Probe, String>,
    /// It began with a start of the daemon, and is taken back with one.
    pub restart: bool,
}

impl Run {
    /// What was not reached, for people.
    pub(super) fn missing(&self) -> Vec<PathError> {
        let missing = self.wanted.difference(&self.passed).map(|probe| {
            let why = self.failures.get(probe).map_or_else(String::new, |why| format!(": {why}"));
            let message = format!("{} was not reached in time with it{why}", probe.as_str());
            PathError { path: String::new(), message }
        });
        missing.collect()
    }
}

/// Of a trial that a start of the daemon finds unfinished.
const CUT_SHORT: &str = "the power was lost, or the daemon stopped, before it had proved itself";

const ALL: [Probe; 3] = [Probe::Broker, Probe::Janus, Probe::Camera];

impl DesiredState {
    /// Whether the trial has to be taken back by a restart, which the call would not survive.
    pub(super) fn must_wait_for_the_call(&self) -> bool {
        self.in_call && self.run.as_ref().is_some_and(|run| run.restart)
    }

    /// The layer whose turn it is: the lowest one that waits and may be tried now.
    fn next(&self) -> Option<LayerName> {
        // What the last effects store is stored, or the next input says that it is not.
        let recorded = self.unrecorded.is_none() || self.intent == Some(Intent::RollBack);
        let free = self.linked && !self.on_trial() && self.durable.trial.is_none() && recorded;
        let may = |name: &LayerName| {
            let Some(staged) = self.durable.layer(name).and_then(|layer| layer.staged.as_ref()) else { return false };
            !self.in_call || (staged.pushed.payload.apply == Apply::Now && self.is_harmless(name, &staged.pushed))
        };
        self.layer_names().into_iter().find(|name| free && may(name))
    }

    pub(super) fn may_begin(&self) -> bool {
        self.next().is_some()
    }

    /// Whether a running call goes on with what it changes.
    fn is_harmless(&self, layer: &LayerName, pushed: &Pushed) -> bool {
        // What does not fit any more is rejected, which is harmless.
        self.with(layer, pushed).map_or(true, |effective| {
            takes_effect(&effective.merged.difference(&self.confirmed.merged)) == TakesEffect::AtOnce
        })
    }

    /// What is in force once a layer is confirmed. It has to fit, and nothing that is in force may have to go for it.
    pub(super) fn with(&self, layer: &LayerName, pushed: &Pushed) -> Result<Effective, Vec<PathError>> {
        let (effective, mut left_out) = confirmed::effective(&self.site, &self.durable, Some((layer, pushed)));
        let own = left_out.remove(layer);
        let other = left_out.into_iter().find(|(name, _)| !self.left_out.contains_key(name)).map(|(_, errors)| errors);
        own.or(other).map_or(Ok(effective), Err)
    }

    pub(super) fn begin(&mut self, now: Now) -> Vec<Effect> {
        let Some(layer) = self.next() else { return Vec::new() };
        let Some(Staged { pushed, age_s, cut_short }) = self.durable.layer_mut(&layer).staged.take() else {
            return Vec::new();
        };
        let (digest, revision) = (pushed.revision.digest, pushed.revision);
        let age = self.age(&layer, age_s, now);
        let late = validity(&pushed.payload).filter(|validity| validity.is_over(age, now));
        let checked = match late {
            Some(validity) => {
                let message = format!("it expired at {} before it could be tried", validity.expires);
                Err(vec![PathError { path: String::new(), message }])
            }
            // The other layers may have changed while it waited.
            None => self.validate(&layer, &pushed).and_then(|_| self.with(&layer, &pushed)),
        };
        let candidate = match checked {
            Ok(candidate) => candidate,
            Err(errors) => {
                self.reach(&layer, &digest, Phase::Rejected, errors, now);
                let emit = self.emit(&layer, revision, Phase::Rejected);
                return vec![self.persist(Intent::Receive, now), self.report(), emit];
            }
        };
        if candidate.digest == self.confirmed.digest {
            self.reach(&layer, &digest, Phase::Confirmed, Vec::new(), now);
            self.keep(&layer, pushed);
            let emit = self.emit(&layer, revision, Phase::Confirmed);
            return vec![self.persist(Intent::Receive, now), self.report(), emit];
        }
        let changed = candidate.merged.difference(&self.confirmed.merged);
        let restart = takes_effect(&changed) == TakesEffect::Restart;
        let start = if restart { TrialStart::NextStart } else { TrialStart::Running };
        self.reach(&layer, &digest, Phase::Trial, Vec::new(), now);
        let age_s = age.as_secs();
        self.durable.trial = Some(Trial { layer: layer.clone(), pushed, age_s, start, again: cut_short });
        let emit = self.emit(&layer, revision, Phase::Trial);
        let mut effects = vec![self.persist(Intent::BeginTrial, now)];
        if restart {
            effects.extend([self.report(), emit, Effect::Restart]);
            return effects;
        }
        let mut applied = Vec::new();
        self.apply(candidate, &mut applied);
        effects.extend([self.report(), emit]);
        effects.extend(applied);
        effects.push(self.start_probes(false, now));
        effects
    }

    fn start_probes(&mut self, restart: bool, now: Now) -> Effect {
        // In a call the camera is taken, and what changes does not touch it.
        let wanted: BTreeSet<Probe> = if self.in_call { [Probe::Broker].into() } else { ALL.into() };
        let seconds = self.trial_seconds();
        self.run = Some(Run {
            deadline: now.monotonic + Duration::from_secs(seconds.into()),
            wanted: wanted.clone(),
            passed: BTreeSet::new(),
            failures: BTreeMap::new(),
            restart,
        });
        Effect::StartProbes(wanted)
    }

    pub(super) fn probe_passed(&mut self, probe: Probe, now: Now) -> Vec<Effect> {
        let Some(run) = &mut self.run else { return Vec::new() };
        run.passed.insert(probe);
        run.failures.remove(&probe);
        if run.wanted.is_subset(&run.passed) { self.confirm(now) } else { Vec::new() }
    }

    fn confirm(&mut self, now: Now) -> Vec<Effect> {
        let Some(Trial { layer, pushed, .. }) = self.durable.trial.take() else { return Vec::new() };
        let revision = pushed.revision;
        self.reach(&layer, &revision.digest, Phase::Confirmed, Vec::new(), now);
        self.keep(&layer, pushed);
        self.durable.failed.retain(|failed| failed.effective != self.confirmed.digest);
        let emit = self.emit(&layer, revision, Phase::Confirmed);
        let persist = self.persist(Intent::Confirm, now);
        // The run is kept until the next input: if this can't be stored, it is taken back.
        vec![persist, Effect::StopProbes, self.report(), emit]
    }

    /// Makes a layer one of those that are in force for good.
    pub(super) fn keep(&mut self, layer: &LayerName, pushed: Pushed) {
        self.durable.layer_mut(layer).confirmed = Some(pushed);
        (self.confirmed, self.left_out) = confirmed::effective(&self.site, &self.durable, None);
        self.in_force = self.confirmed.clone();
    }

    /// Stops trying and puts back what is confirmed; whether that takes a restart of the daemon.
    pub(super) fn leave_trial(&mut self, effects: &mut Vec<Effect>) -> bool {
        effects.push(Effect::StopProbes);
        let restart = self.run.take().is_some_and(|run| run.restart);
        let confirmed = self.confirmed.clone();
        self.apply(confirmed, effects);
        restart
    }

    /// What is confirmed is in force again before that is written: until then a start does the same.
    pub(super) fn roll_back(&mut self, errors: Vec<PathError>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let restart = self.leave_trial(&mut effects);
        effects.extend(self.record_roll_back(errors, now));
        self.restart_due = restart;
        if restart {
            effects.push(Effect::Restart);
        }
        effects
    }

    /// A trial that a restart would take back had to wait for the call, and its probes too.
    pub(super) fn call_ended(&mut self, now: Now) {
        let seconds = self.trial_seconds();
        if let Some(run) = self.run.as_mut().filter(|run| run.restart) {
            run.deadline = now.monotonic + Duration::from_secs(seconds.into());
        }
    }

    /// The daemon is up, and begins to carry out what its start asked for: however long it took to come up, a trial that
    /// began with the start has all of its time.
    pub fn up(&mut self, now: Now) {
        self.call_ended(now);
    }

    fn trial_seconds(&self) -> u32 {
        /// The default of the schema, for a site file that has lost its section.
        const DEFAULT: u32 = 60;
        self.confirmed.merged.config.fleet.as_ref().map_or(DEFAULT, |fleet| fleet.trial_deadline_s)
    }

    /// Writes that a trial failed, and remembers what failed.
    pub(super) fn record_roll_back(&mut self, errors: Vec<PathError>, now: Now) -> Vec<Effect> {
        let Some(Trial { layer, pushed, .. }) = self.durable.trial.take() else {
            self.unrecorded = None;
            return Vec::new();
        };
        let revision = pushed.revision;
        if let Ok(effective) = self.with(&layer, &pushed) {
            let why = errors.first().map_or_else(String::new, |error| error.message.clone());
            let failed = Failed { effective: effective.digest, layer: layer.clone(), revision, why };
            self.durable.remember(failed);
        }
        self.reach(&layer, &revision.digest, Phase::RolledBack, errors.clone(), now);
        self.unrecorded = Some(errors);
        let emit = self.emit(&layer, revision, Phase::RolledBack);
        vec![self.persist(Intent::RollBack, now), self.report(), emit]
    }

    /// A trial that is nobody's fault ends: it waits again.
    pub(super) fn back_to_staged(&mut self, now: Now) {
        let Some(Trial { layer, pushed, age_s, again, .. }) = self.durable.trial.take() else { return };
        let newer = self.durable.layer(&layer).is_some_and(|layer| layer.staged.is_some());
        if newer {
            let message = "a newer one came before it had proved itself".to_owned();
            let errors = vec![PathError { path: String::new(), message }];
            self.reach(&layer, &pushed.revision.digest, Phase::Rejected, errors, now);
            return;
        }
        let message = format!("{CUT_SHORT}; it is tried once more");
        let errors = if self.cut_short { vec![PathError { path: String::new(), message }] } else { Vec::new() };
        self.reach(&layer, &pushed.revision.digest, Phase::Staged, errors, now);
        self.received.insert(layer.clone(), now.monotonic);
        let cut_short = again || self.cut_short;
        self.durable.layer_mut(&layer).staged = Some(Staged { pushed, age_s, cut_short });
    }

    /// No customer is on a configuration that has not proved itself, unless it may change while a call goes on.
    pub(super) fn make_way_for_the_call(&mut self, now: Now) -> Vec<Effect> {
        let Some(run) = &self.run else { return Vec::new() };
        if run.restart || !run.wanted.contains(&Probe::Camera) {
            return Vec::new();
        }
        let changed = self.in_force.merged.difference(&self.confirmed.merged);
        let mut effects = Vec::new();
        if takes_effect(&changed) == TakesEffect::AtOnce {
            // The call needs the camera; what is on trial does not.
            let Some(run) = &mut self.run else { return Vec::new() };
            run.wanted = [Probe::Broker].into();
            effects.push(Effect::StopProbes);
            if run.wanted.is_subset(&run.passed) {
                effects.extend(self.confirm(now));
            } else {
                effects.push(Effect::StartProbes([Probe::Broker].into()));
            }
            return effects;
        }
        self.leave_trial(&mut effects);
        self.back_to_staged(now);
        effects.push(self.persist(Intent::Receive, now));
        effects.push(self.report());
        effects
    }

    /// After a start: a trial that was planned to begin with it begins; any other was cut short. Whether the power was
    /// lost or the configuration stopped the daemon, nobody can tell: it is tried once more, and not a third time.
    pub(super) fn resume(&mut self, recovered: bool, now: Now) -> Vec<Effect> {
        let Some(trial) = self.durable.trial.clone() else { return Vec::new() };
        // The newest file is lost: how the trial ended may have been in it.
        if recovered {
            self.back_to_staged(now);
            return vec![self.persist(Intent::Receive, now), self.report()];
        }
        if trial.start == TrialStart::NextStart
            && let Ok(candidate) = self.with(&trial.layer, &trial.pushed)
        {
            if let Some(trial) = &mut self.durable.trial {
                trial.start = TrialStart::Started;
            }
            let persist = self.persist(Intent::Start, now);
            self.in_force = candidate;
            let probes = self.start_probes(true, now);
            return vec![persist, self.report(), probes];
        }
        if trial.again {
            let message = format!("{CUT_SHORT}, for the second time");
            return self.record_roll_back(vec![PathError { path: String::new(), message }], now);
        }
        self.cut_short = true;
        self.back_to_staged(now);
        vec![self.persist(Intent::Receive, now), self.report()]
    }
}
