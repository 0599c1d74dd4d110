//! A rollout: signed messages that are sent stage by stage, each only when enough kiosks of the one before confirmed.
//!
//! All messages are made and signed before the first is sent, so that what is left to do after a crash needs neither a
//! key nor a decision: it follows from the plan, what was sent, and what the kiosks report.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::desired::Target;
use super::digest::Digest;
use super::reported::{LayerName, PathError, Phase, Reported, Revision};
use crate::config::KioskId;

/// What is sent in which order, and what is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The messages; stages name them by their place in this list.
    pub messages: Vec<Addressed>,
    /// One after the other.
    pub stages: Vec<Stage>,
    /// Messages that take back what canaries were given, when the rollout is given up.
    pub undo: Vec<usize>,
    /// More kiosks than this that do not confirm end the rollout.
    pub max_failures: u32,
    /// How long a stage waits for its kiosks while the broker can be reached, milliseconds.
    pub stage_timeout_ms: u64,
}

/// One message of a plan: where it goes, and how it is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressed {
    /// Whom it is for.
    pub target: Target,
    /// Its place among the messages to that target.
    pub revision: Revision,
}

/// What is sent at once, and the kiosks that must confirm it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What it is, for people.
    pub title: String,
    /// What is done in it.
    pub kind: StageKind,
    /// Messages to send.
    pub send: Vec<usize>,
    /// The kiosks, and the message that each must confirm.
    pub expect: BTreeMap<KioskId, usize>,
}

/// What a stage is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageKind {
    /// A part of the kiosks goes first: who stays silent counts as a failure.
    Canary,
    /// All that are left: who is away gets it when it is back.
    Rest,
    /// What canaries were given for themselves is taken away again.
    Tidy,
}

/// How far one kiosk is with what the stages gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Progress {
    /// Nothing was heard of it yet.
    Waiting,
    /// It is on it.
    Trying {
        /// How far.
        phase: Phase,
    },
    /// It is in force there for good.
    Confirmed,
    /// It was refused, or tried and taken back.
    Failed {
        /// What the kiosk says.
        errors: Vec<PathError>,
    },
    /// It did not come to an end in time.
    Silent,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Every kiosk confirmed, and there was one.
    Confirmed,
    /// Everything was sent; not every kiosk confirmed, or nobody listens to it.
    Partly,
    /// Too few canaries confirmed: the rest was not sent, and canaries have back what they had.
    Stopped {
        /// Why, for people.
        why: String,
    },
    /// Somebody else pushed to the same target meanwhile.
    Overtaken {
        /// Which target.
        target: Target,
    },
}

/// Where a rollout is. It is written down before the first message of each stage is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// What is to be done.
    pub plan: Plan,
    /// The stage that runs.
    pub stage: usize,
    /// Messages that the broker has.
    pub sent: BTreeSet<usize>,
    /// Messages that were seen where they belong.
    #[serde(default)]
    pub stood: BTreeSet<usize>,
    /// Those of them that were put back once, over another of the same place.
    #[serde(default)]
    pub put_back: BTreeSet<usize>,
    /// How long this stage has waited, milliseconds.
    pub waited_ms: u64,
    /// The kiosks of all stages so far: the worst that became of each.
    pub kiosks: BTreeMap<KioskId, Progress>,
    /// The kiosks of this stage.
    pub current: BTreeMap<KioskId, Progress>,
    /// Why it is being given up: then only `undo` is sent.
    pub giving_up: Option<Outcome>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// What a rollout is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The broker can be reached, for the first time or again, and all that it retains was told.
    Connected,
    /// The broker has this message.
    Published(usize),
    /// A kiosk reports.
    Reported(KioskId, Box<Reported>),
    /// What stands on a target's desired topic now.
    Retained(Target, Revision),
    /// So much time went by with the broker in reach, milliseconds.
    Elapsed(u64),
    /// The admin gives it up.
    Abandon,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write the rollout down, before what follows.
    Persist,
    /// Send this message, retained, and say when the broker has it. Sending it twice does no harm.
    Publish(usize),
    /// It is over.
    Finished(Outcome),
}

impl Rollout {
    /// A rollout of which nothing was done yet.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let mut rollout = Self {
            plan,
            stage: 0,
            sent: BTreeSet::new(),
            stood: BTreeSet::new(),
            put_back: BTreeSet::new(),
            waited_ms: 0,
            kiosks: BTreeMap::new(),
            current: BTreeMap::new(),
            giving_up: None,
            outcome: None,
        };
        rollout.enter();
        rollout
    }

    /// The stage that runs.
    #[must_use]
    pub fn current_stage(&self) -> Option<&Stage> {
        self.plan.stages.get(self.stage)
    }

    /// Kiosks that were given something and did not confirm it.
    #[must_use]
    pub fn failures(&self) -> usize {
        let all = self.kiosks.iter().chain(self.current.iter().filter(|(id, _)| !self.failed_before(id)));
        all.filter(|(_, progress)| matches!(progress, Progress::Failed { .. } | Progress::Silent)).count()
    }

    fn failed_before(&self, id: &KioskId) -> bool {
        matches!(self.kiosks.get(id), Some(Progress::Failed { .. } | Progress::Silent))
    }

    /// Takes one event in; gives what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        match event {
            // All of it once more: a broker that crashed may have lost what it had acknowledged.
            Event::Connected => return self.wanted().into_iter().map(Effect::Publish).collect(),
            Event::Published(message) => {
                if !self.sent.insert(message) {
                    return Vec::new();
                }
            }
            Event::Reported(id, report) => {
                if !self.note(&id, &report) {
                    return Vec::new();
                }
            }
            Event::Retained(target, revision) => {
                if !self.is_overtaken(&target, revision) {
                    return Vec::new();
                }
                if let Some(message) = self.came_first(&target, revision) {
                    return vec![Effect::Publish(message)];
                }
                let outcome = Outcome::Overtaken { target };
                return self.give_up(outcome);
            }
            Event::Elapsed(milliseconds) => {
                self.waited_ms = self.waited_ms.saturating_add(milliseconds);
                if self.waited_ms < self.plan.stage_timeout_ms || self.giving_up.is_some() {
                    return Vec::new();
                }
                for progress in self.current.values_mut() {
                    if matches!(progress, Progress::Waiting | Progress::Trying { .. }) {
                        *progress = Progress::Silent;
                    }
                }
            }
            Event::Abandon => return self.give_up(Outcome::Stopped { why: "it was given up by hand".into() }),
        }
        self.advance()
    }

    /// Messages of this stage, or of the way back.
    fn wanted(&self) -> Vec<usize> {
        match (&self.giving_up, self.current_stage()) {
            (Some(_), _) => self.undo(),
            (None, Some(stage)) => stage.send.clone(),
            (None, None) => Vec::new(),
        }
    }

    /// Those of them that the broker does not have yet.
    fn unsent(&self) -> Vec<usize> {
        self.wanted().into_iter().filter(|message| !self.sent.contains(message)).collect()
    }

    /// What takes back what was sent, or may have been: only to targets that got something.
    fn undo(&self) -> Vec<usize> {
        let Some(outcome) = &self.giving_up else { return Vec::new() };
        let reached = self.plan.stages.iter().take(self.stage + 1).flat_map(|stage| &stage.send);
        let touched: BTreeSet<String> = reached.filter_map(|message| self.target(*message)).collect();
        let overtaken = match outcome {
            Outcome::Overtaken { target } => Some(key(target)),
            _ => None,
        };
        let undo = self.plan.undo.iter().copied();
        undo.filter(|message| {
            self.target(*message).is_some_and(|target| touched.contains(&target) && Some(&target) != overtaken.as_ref())
        })
        .collect()
    }

    fn target(&self, message: usize) -> Option<String> {
        self.plan.messages.get(message).map(|message| key(&message.target))
    }

    /// Whether something that is none of this rollout's stands where one of its messages is, or would be, put, and is
    /// not older.
    fn is_overtaken(&mut self, target: &Target, found: Revision) -> bool {
        let here = || self.plan.messages.iter().enumerate().filter(|(_, message)| message.target == *target);
        let first = here().map(|(_, message)| place(message.revision)).min();
        let own = here().find(|(_, message)| message.revision == found).map(|(index, _)| index);
        self.stood.extend(own);
        self.giving_up.is_none() && own.is_none() && first.is_some_and(|first| place(found) >= first)
    }

    /// Two admins have pushed at the same time, with the same place in the order. The broker has put their messages in
    /// an order, which both see and every connected kiosk too: the first one counts, and the second one, which stands
    /// there now, makes way for it. This gives the message to put back; once, so that two who differ about the order do
    /// not go on for ever.
    fn came_first(&mut self, target: &Target, found: Revision) -> Option<usize> {
        let addressed = |index: &usize| self.plan.messages.get(*index).filter(|message| message.target == *target);
        let stood = self.stood.iter().filter_map(|index| Some((place(addressed(index)?.revision), *index)));
        let (newest, message) = stood.max()?;
        let given = self.sent.contains(&message) || self.wanted().contains(&message);
        (newest >= place(found) && given && self.put_back.insert(message)).then_some(message)
    }

    /// What a report says about the message that its kiosk must confirm; whether that is new.
    fn note(&mut self, id: &KioskId, report: &Reported) -> bool {
        if self.giving_up.is_some() {
            return false;
        }
        let Some(message) = self.current_stage().and_then(|stage| stage.expect.get(id)) else { return false };
        let Some(wanted) = self.plan.messages.get(*message) else { return false };
        let (layer, digest) = (LayerName::of(&wanted.target), wanted.revision.digest);
        let Some(now) = progress_of(report, &layer, digest) else { return false };
        match self.current.get_mut(id) {
            // A late word of who was given up is as good as an early one. Only an end moves the rollout on.
            Some(progress) if *progress != now => {
                *progress = now;
                progress.is_final()
            }
            _ => false,
        }
    }

    fn advance(&mut self) -> Vec<Effect> {
        if self.giving_up.is_some() {
            return self.end_of_undo();
        }
        let Some(stage) = self.current_stage() else { return Vec::new() };
        let kind = stage.kind;
        let failures = self.failures();
        if kind != StageKind::Tidy && failures > self.plan.max_failures as usize && self.is_followed() {
            let why = format!("{failures} kiosks did not confirm, and {} may fail", self.plan.max_failures);
            return self.give_up(Outcome::Stopped { why });
        }
        // What is reported is retained, and sending twice does no harm: only the step to the next stage is written down.
        if !self.unsent().is_empty() || !self.current.values().all(Progress::is_final) {
            return Vec::new();
        }
        if kind == StageKind::Canary && !self.current.values().any(|progress| *progress == Progress::Confirmed) {
            return self
                .give_up(Outcome::Stopped { why: format!("no kiosk of the stage {:?} confirmed", stage.title) });
        }
        self.leave();
        self.stage += 1;
        if self.stage < self.plan.stages.len() {
            self.enter();
            let mut effects = vec![Effect::Persist];
            effects.extend(self.unsent().into_iter().map(Effect::Publish));
            return effects;
        }
        // Nobody at all is not everybody: the name of the group may be misspelt.
        let all = !self.kiosks.is_empty() && self.kiosks.values().all(|progress| *progress == Progress::Confirmed);
        self.finish(if all { Outcome::Confirmed } else { Outcome::Partly })
    }

    /// Whether a stage follows that reaches more kiosks.
    fn is_followed(&self) -> bool {
        self.plan.stages.iter().skip(self.stage + 1).any(|stage| stage.kind != StageKind::Tidy)
    }

    fn enter(&mut self) {
        self.waited_ms = 0;
        let expected = self.current_stage().map(|stage| stage.expect.keys().cloned().collect::<Vec<_>>());
        self.current = expected.unwrap_or_default().into_iter().map(|id| (id, Progress::Waiting)).collect();
    }

    /// Keeps what became of this stage's kiosks: a failure is not made good by a later stage.
    fn leave(&mut self) {
        for (id, progress) in std::mem::take(&mut self.current) {
            if !self.failed_before(&id) {
                self.kiosks.insert(id, progress);
            }
        }
    }

    fn give_up(&mut self, outcome: Outcome) -> Vec<Effect> {
        if self.giving_up.is_none() {
            self.leave();
            self.giving_up = Some(outcome);
        }
        let mut effects = vec![Effect::Persist];
        effects.extend(self.unsent().into_iter().map(Effect::Publish));
        if effects.len() == 1 { self.end_of_undo() } else { effects }
    }

    fn end_of_undo(&mut self) -> Vec<Effect> {
        match &self.giving_up {
            Some(outcome) if self.unsent().is_empty() => {
                let outcome = outcome.clone();
                self.finish(outcome)
            }
            _ => Vec::new(),
        }
    }

    fn finish(&mut self, outcome: Outcome) -> Vec<Effect> {
        self.outcome = Some(outcome.clone());
        vec![Effect::Persist, Effect::Finished(outcome)]
    }
}

fn place(revision: Revision) -> (u32, u64) {
    (revision.epoch, revision.revision)
}

fn key(target: &Target) -> String {
    match target {
        Target::Device(id) => format!("device/{id}"),
        Target::Group(group) => format!("group/{group}"),
    }
}

impl Progress {
    /// Whether nothing more is waited for.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Confirmed | Self::Failed { .. } | Self::Silent)
    }
}

/// What a report says about one message; nothing when it does not speak of it.
#[must_use]
pub fn progress_of(report: &Reported, layer: &LayerName, digest: Digest) -> Option<Progress> {
    let layer = report.layers.iter().find(|found| found.layer == *layer)?;
    if layer.confirmed.is_some_and(|confirmed| confirmed.digest == digest) {
        return Some(Progress::Confirmed);
    }
    if let Some(attempt) = layer.attempts.iter().find(|attempt| attempt.revision.digest == digest) {
        return Some(match attempt.phase {
            Phase::Confirmed => Progress::Confirmed,
            Phase::Rejected | Phase::RolledBack => Progress::Failed { errors: attempt.errors.clone() },
            phase => Progress::Trying { phase },
        });
    }
    let refused = layer.refused.as_ref().filter(|refusal| refusal.digest == digest)?;
    let error = PathError { path: String::new(), message: format!("{}: {}", refused.code, refused.message) };
    Some(Progress::Failed { errors: vec![error] })
}

/// How many of `total` kiosks a share in percent is: at least one, as long as there is one.
#[must_use]
pub fn share(total: usize, percent: u8) -> usize {
    (total * usize::from(percent.min(100))).div_ceil(100)
}

#[cfg(test)]
mod tests;
