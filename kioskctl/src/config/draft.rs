//! Makes the messages and the stages of a push, from what is known of the fleet. Pure: nothing is signed or sent here.

use super::change::{flat, nested, object};
use super::difference::name;
use crate::fleet::view::View;
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::rollout::{Addressed, Plan, Stage, StageKind, share};
use kiosk_proto::fleet::{Apply, DesiredPayload, Digest, GroupName, Revision, Target};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What every message of a push says.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Who pushes it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds.
    pub expires: Option<u64>,
    /// When it is applied.
    pub apply: Apply,
    /// Also where it failed before.
    pub force: bool,
    /// Shares of the kiosks that go first, percent, growing; empty: all at once.
    pub canaries: Vec<u8>,
    /// See [`Plan`].
    pub max_failures: u32,
    /// See [`Plan`].
    pub stage_timeout_ms: u64,
}

/// Messages that are not signed yet, and when they are sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What is to be signed; the plan names them by their place.
    pub payloads: Vec<DesiredPayload>,
    /// Stages that send them.
    pub stages: Vec<Stage>,
    /// Messages that take back what canaries were given.
    pub undo: Vec<usize>,
}

/// Why a push can't be planned.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// What a group's layer no longer sets can't be shown by a layer above it.
    #[error(
        "canaries can't show what happens when {0} is taken out of the group's layer: a kiosk's own layer can set a key, \
         and not unset it. Set it to the value that it is to have, or push without --canary"
    )]
    TakenOut(String),
    /// Nobody is there.
    #[error("no kiosk of that kind is known to the broker")]
    NoKiosk,
    /// The last place in the order of pushes is taken.
    #[error("the broker holds revision {0}.{1} of {2}, and there is none after it: give its kiosks another group")]
    NoRevision(u32, u64, String),
}

/// A layer by the kiosk.
pub type LayerOf<'a> = &'a dyn Fn(&KioskId) -> Map<String, Value>;

impl Draft {
    /// A layer for a group. With canaries, each of them first gets it as a part of its own layer; then the group gets
    /// it, and the canaries' own layers become what they were.
    pub fn for_group(
        view: &View,
        group: &GroupName,
        layer: &Map<String, Value>,
        terms: &Terms,
    ) -> Result<Self, DraftError> {
        let target = Target::Group(group.clone());
        let members = view.members(group);
        let mut draft = Self { payloads: Vec::new(), stages: Vec::new(), undo: Vec::new() };
        let whole = draft.add(view, &target, layer.clone(), terms, 0)?;
        let steps = steps(view, &members, &terms.canaries);
        if !steps.is_empty() {
            let held = view.pushed(&target).map(|pushed| flat(&pushed.payload.config.0)).unwrap_or_default();
            let sets: BTreeSet<String> = flat(layer).into_iter().map(|(key, _)| key).collect();
            if let Some((key, _)) = held.into_iter().find(|(key, _)| !sets.contains(key)) {
                return Err(DraftError::TakenOut(key));
            }
        }
        let mut tidy = BTreeMap::new();
        for (percent, kiosks) in steps {
            let mut stage = stage(format!("{percent} %"), StageKind::Canary);
            for id in kiosks {
                let own = Target::Device(id.clone());
                let before = view.pushed(&own).map(|pushed| pushed.payload.config.0.clone()).unwrap_or_default();
                let shown = as_own(view, &id, group, layer, &before);
                let message = draft.add(view, &own, shown, terms, 0)?;
                stage.send.push(message);
                stage.expect.insert(id.clone(), message);
                let restored = draft.add(view, &own, before, terms, 1)?;
                draft.undo.push(restored);
                tidy.insert(id, restored);
            }
            draft.stages.push(stage);
        }
        let mut rest = stage(if draft.stages.is_empty() { "all" } else { "100 %" }.into(), StageKind::Rest);
        rest.send.push(whole);
        rest.expect = members.into_iter().map(|id| (id, whole)).collect();
        draft.stages.push(rest);
        if !tidy.is_empty() {
            let mut last = stage("tidy up".into(), StageKind::Tidy);
            last.send = tidy.values().copied().collect();
            last.expect = tidy;
            draft.stages.push(last);
        }
        Ok(draft)
    }

    /// A layer for each of some kiosks.
    pub fn for_kiosks(view: &View, kiosks: &[KioskId], layer: LayerOf<'_>, terms: &Terms) -> Result<Self, DraftError> {
        if kiosks.is_empty() {
            return Err(DraftError::NoKiosk);
        }
        let mut draft = Self { payloads: Vec::new(), stages: Vec::new(), undo: Vec::new() };
        let mut left: BTreeSet<&KioskId> = kiosks.iter().collect();
        let add = |draft: &mut Self, title: String, kind, kiosks: Vec<KioskId>| -> Result<(), DraftError> {
            let mut stage = stage(title, kind);
            for id in kiosks {
                let message = draft.add(view, &Target::Device(id.clone()), layer(&id), terms, 0)?;
                stage.send.push(message);
                stage.expect.insert(id, message);
            }
            draft.stages.push(stage);
            Ok(())
        };
        for (percent, some) in steps(view, kiosks, &terms.canaries) {
            left.retain(|id| !some.contains(id));
            add(&mut draft, format!("{percent} %"), StageKind::Canary, some)?;
        }
        let rest: Vec<KioskId> = left.into_iter().cloned().collect();
        let title = if draft.stages.is_empty() { "all" } else { "100 %" };
        if !rest.is_empty() {
            add(&mut draft, title.into(), StageKind::Rest, rest)?;
        }
        Ok(draft)
    }

    /// The plan, once the digests are known.
    pub fn plan(self, revisions: &[Revision], terms: &Terms) -> Plan {
        let messages = self.payloads.into_iter().zip(revisions);
        Plan {
            messages: messages
                .map(|(payload, revision)| Addressed { target: payload.target, revision: *revision })
                .collect(),
            stages: self.stages,
            undo: self.undo,
            max_failures: terms.max_failures,
            stage_timeout_ms: terms.stage_timeout_ms,
        }
    }

    fn add(
        &mut self,
        view: &View,
        target: &Target,
        config: Map<String, Value>,
        terms: &Terms,
        later: u64,
    ) -> Result<usize, DraftError> {
        let (epoch, revision) = next_revision(view, target, later)?;
        self.payloads.push(DesiredPayload {
            target: target.clone(),
            epoch,
            revision,
            author: terms.author.clone(),
            reason: terms.reason.clone(),
            created: terms.created,
            expires: terms.expires,
            apply: terms.apply,
            force: terms.force,
            config: object(config),
        });
        Ok(self.payloads.len() - 1)
    }
}

fn stage(title: String, kind: StageKind) -> Stage {
    Stage { title, kind, send: Vec::new(), expect: BTreeMap::new() }
}

/// A kiosk's own layer with which it is configured as it would be with the group's new one.
fn as_own(
    view: &View,
    id: &KioskId,
    group: &GroupName,
    layer: &Map<String, Value>,
    own: &Map<String, Value>,
) -> Map<String, Value> {
    let groups = view.groups_of(id);
    let above = groups.iter().skip_while(|found| *found != group).skip(1);
    let above = above.filter_map(|group| view.groups.get(group)).flat_map(|pushed| flat(&pushed.payload.config.0));
    let covered: BTreeSet<String> = above.map(|(key, _)| key).collect();
    let shown = flat(layer).into_iter().filter(|(key, _)| !covered.contains(key));
    nested(shown.chain(flat(own)))
}

/// Which kiosks go in which step: those that are connected first, otherwise in an order that has nothing to do with
/// their names, so that canaries are not all from one branch.
fn steps(view: &View, kiosks: &[KioskId], canaries: &[u8]) -> Vec<(u8, Vec<KioskId>)> {
    let mut order: Vec<&KioskId> = kiosks.iter().collect();
    order.sort_by_key(|id| (!view.is_online(id), *Digest::of(id.as_str().as_bytes()).as_bytes()));
    let mut taken = 0;
    let step = |percent: &u8| {
        let upto = share(order.len(), *percent);
        let some = order.get(taken..upto.max(taken)).unwrap_or_default().iter().map(|id| (*id).clone()).collect();
        taken = upto.max(taken);
        (*percent, some)
    };
    let steps = canaries.iter().filter(|percent| **percent < 100).map(step);
    steps.filter(|(_, some): &(u8, Vec<KioskId>)| !some.is_empty()).collect()
}

/// A revision that a kiosk reports counts below this: nobody pushes so often, and JSON's numbers are exact up to here.
const PLAUSIBLE: u64 = 1 << 53;

/// The revision of a target's message, which `later` others of the same push go before: above everything that the
/// broker holds. What kiosks report counts where the broker has lost what it held: the newest of it when it holds
/// nothing for the target, and what most of a group's kiosks have, when a crash set it back. So no single kiosk decides
/// where a group goes on.
fn next_revision(view: &View, target: &Target, later: u64) -> Result<(u32, u64), DraftError> {
    let held = view.pushed(target);
    let known = held.into_iter().chain(view.earlier(target)).map(|pushed| place(pushed.revision));
    let mut told: Vec<(u32, u64)> = reported(view, target).into_iter().map(|(_, place)| place).collect();
    told.retain(|(_, revision)| *revision < PLAUSIBLE);
    told.sort_by_key(|place| std::cmp::Reverse(*place));
    let newest = match (held, target) {
        (Some(_), Target::Group(group)) => told.get((view.members(group).len() / 2).max(1)),
        _ => told.first(),
    };
    let Some((epoch, revision)) = known.chain(newest.copied()).max() else { return Ok((1, 1 + later)) };
    match revision.checked_add(1 + later) {
        Some(revision) => Ok((epoch, revision)),
        None => {
            let next = epoch.checked_add(1).map(|epoch| (epoch, 1 + later));
            next.ok_or_else(|| DraftError::NoRevision(epoch, revision, name(target)))
        }
    }
}

/// The newest that each kiosk of a target says it has of its layer.
fn reported(view: &View, target: &Target) -> Vec<(KioskId, (u32, u64))> {
    let kiosks: Vec<KioskId> = match target {
        Target::Device(id) => vec![id.clone()],
        Target::Group(group) => view.members(group),
    };
    let newest = |id: KioskId| {
        let layer = view.layer(&id, target)?;
        let all = layer.confirmed.into_iter().chain(layer.attempts.iter().map(|attempt| attempt.revision));
        let newest = all.map(place).max()?;
        Some((id, newest))
    };
    kiosks.into_iter().filter_map(newest).collect()
}

/// Kiosks that say they have something as new as a message, or newer, and will refuse it.
pub fn ahead(view: &View, target: &Target, message: Revision) -> Vec<KioskId> {
    let ahead = reported(view, target).into_iter().filter(|(_, newest)| *newest >= place(message));
    ahead.map(|(id, _)| id).collect()
}

fn place(revision: Revision) -> (u32, u64) {
    (revision.epoch, revision.revision)
}

/// What the messages of a draft make of each target in the end; for showing what changes.
pub fn layers(payloads: &[DesiredPayload]) -> BTreeMap<String, Map<String, Value>> {
    payloads.iter().map(|payload| (name(&payload.target), payload.config.0.clone())).collect()
}

#[cfg(test)]
mod tests;
