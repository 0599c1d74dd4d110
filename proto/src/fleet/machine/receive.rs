//! A message on a desired topic: from its bytes to what waits to be tried, or to why it is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use super::confirmed::{Effective, path_errors};
use super::{Delivery, DesiredState, Effect, Intent};
use crate::config::{Layer, Pushed as PushedBy, key_rules};
use crate::fleet::clock::{Now, Validity};
use crate::fleet::desired::{DesiredPayload, Target};
use crate::fleet::digest::Digest;
use crate::fleet::dsse::{Envelope, EnvelopeError, PayloadType, Verified};
use crate::fleet::durable::{MAX_ATTEMPTS, Pushed, Staged};
use crate::fleet::event::EventKind;
use crate::fleet::key::{KeyId, TrustedKey};
use crate::fleet::reported::{Attempt, LayerName, PathError, Phase, PhaseAt, Refusal, Revision};
use crate::fleet::strict;
use crate::fleet::{MAX_AUTHOR, MAX_REASON};

/// Why a message never becomes an attempt.
struct Refused {
    digest: Digest,
    code: &'static str,
    message: String,
}

fn code(error: &EnvelopeError) -> &'static str {
    match error {
        EnvelopeError::TooLarge { .. } => "too-large",
        EnvelopeError::Malformed(_) | EnvelopeError::WrongType { .. } => "malformed",
        EnvelopeError::UnknownKey(_) => "unknown-key",
        EnvelopeError::WrongSignature(_) => "wrong-signature",
    }
}

/// Whether a text is for people: not empty, not endless, nothing that moves a cursor.
pub(in crate::fleet) fn is_said(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

/// The end of a payload's validity, if it has one.
pub(super) fn validity(payload: &DesiredPayload) -> Option<Validity> {
    payload.expires.map(|expires| Validity { created: payload.created, expires })
}

impl DesiredState {
    pub(super) fn message(&mut self, layer: &LayerName, bytes: &[u8], delivery: Delivery, now: Now) -> Vec<Effect> {
        if !self.layer_names().contains(layer) {
            return vec![Effect::Ack(delivery)];
        }
        if bytes.is_empty() {
            return self.withdrawn(layer, delivery, now);
        }
        let (verified, payload) = match self.verify(layer, bytes, now) {
            Ok(verified) => verified,
            Err(refused) => return self.refuse(layer, refused, delivery),
        };
        self.refused.remove(layer);
        let DesiredPayload { epoch, revision, .. } = payload;
        let revision = Revision { epoch, revision, digest: verified.digest };
        let signers = verified.signers.into_iter().collect();
        let pushed = Pushed { revision, signers, payload };
        self.accept(layer, pushed, delivery, now)
    }

    /// An empty message is not signed: it takes back what waits, and nothing that is in force.
    fn withdrawn(&mut self, layer: &LayerName, delivery: Delivery, now: Now) -> Vec<Effect> {
        self.refused.remove(layer);
        let known = self.durable.layers.iter_mut().find(|state| state.layer == *layer);
        let Some(staged) = known.and_then(|state| state.staged.take()) else {
            return vec![Effect::Ack(delivery), self.report()];
        };
        let message = "it was taken from the broker before it was tried".to_owned();
        let digest = staged.pushed.revision.digest;
        self.reach(layer, &digest, Phase::Rejected, vec![PathError { path: String::new(), message }], now);
        let emit = self.emit(layer, staged.pushed.revision, Phase::Rejected);
        vec![self.persist(Intent::Receive, now), Effect::Ack(delivery), self.report(), emit]
    }

    fn refuse(&mut self, layer: &LayerName, refused: Refused, delivery: Delivery) -> Vec<Effect> {
        let Refused { digest, code, message } = refused;
        let last = self.refused.get(layer).filter(|last| last.digest == digest && last.code == code);
        let count = last.map_or(1, |last| last.count.saturating_add(1));
        self.refused.insert(layer.clone(), Refusal { digest, code: code.to_owned(), message, count });
        vec![Effect::Ack(delivery), self.report()]
    }

    /// Signature, target, order and expiry: whether it is what an admin wants of this kiosk now.
    fn verify(&self, layer: &LayerName, bytes: &[u8], now: Now) -> Result<(Verified, DesiredPayload), Refused> {
        let refused = |digest, code, message: String| Refused { digest, code, message };
        let outside = |error: EnvelopeError| refused(Digest::of(bytes), code(&error), error.to_string());
        let envelope = Envelope::parse(bytes).map_err(outside)?;
        let verified = envelope.verify(PayloadType::Desired, self.trusted()).map_err(|error| {
            let payload = envelope.unverified_payload().unwrap_or_else(|_| bytes.to_vec());
            refused(Digest::of(&payload), code(&error), error.to_string())
        })?;
        let digest = verified.digest;
        let payload: DesiredPayload =
            strict::parse(&verified.payload).map_err(|error| refused(digest, "malformed", error.to_string()))?;
        self.judge(layer, &payload, digest, now).map_err(|(code, message)| refused(digest, code, message))?;
        Ok((verified, payload))
    }

    fn judge(
        &self,
        layer: &LayerName,
        payload: &DesiredPayload,
        digest: Digest,
        now: Now,
    ) -> Result<(), (&'static str, String)> {
        if !is_said(&payload.author, MAX_AUTHOR) || !is_said(&payload.reason, MAX_REASON) {
            return Err(("malformed", "author and reason must each be a text in one line".into()));
        }
        let own = &self.site.config().kiosk.id;
        let meant = LayerName::of(&payload.target) == *layer;
        if !meant || matches!(&payload.target, Target::Device(id) if id != own) {
            let target = match &payload.target {
                Target::Device(id) => format!("kiosk {id}"),
                Target::Group(group) => format!("group {group}"),
            };
            return Err(("wrong-target", format!("it was signed for {target}, not for this topic of kiosk {own}")));
        }
        let newest = self.durable.layer(layer).and_then(|layer| layer.newest);
        if let Some(newest) = newest {
            let this = (payload.epoch, payload.revision);
            let last = (newest.epoch, newest.revision);
            if this < last {
                let message = format!("{}.{} is older than {newest}, which is known here", this.0, this.1);
                return Err(("stale", message));
            }
            if this == last && digest != newest.digest {
                let message = format!(
                    "{}.{} is taken by {newest}: somebody else pushed at the same time; push again with a higher revision",
                    this.0, this.1
                );
                return Err(("conflict", message));
            }
            if this == last {
                // It came before. Whether it has expired was decided then.
                return Ok(());
            }
        }
        if let Some(validity) = validity(payload) {
            if validity.expires <= validity.created {
                return Err(("malformed", "it expires before it was made".into()));
            }
            if validity.is_over(Duration::ZERO, now) {
                let wall = now.wall.unwrap_or_default();
                let message = format!("it expired at {}; this kiosk's clock shows {wall}", validity.expires);
                return Err(("expired", message));
            }
        }
        Ok(())
    }

    /// A payload that counts: it is staged, or it is said what is wrong with it.
    fn accept(&mut self, layer: &LayerName, pushed: Pushed, delivery: Delivery, now: Now) -> Vec<Effect> {
        let digest = pushed.revision.digest;
        let revision = pushed.revision;
        let checked = self.validate(layer, &pushed);
        let state = self.durable.layer_mut(layer);
        let known = state.newest.is_some_and(|newest| newest.digest == digest);
        // What was rejected may fit now: another layer has changed, or a second signature has come.
        if known && (!state.may_fit_later || checked.is_err()) {
            return vec![Effect::Ack(delivery), self.report()];
        }
        state.newest = Some(revision);
        state.may_fit_later = checked.is_err();
        let phases = [Phase::Received, Phase::Verified].map(|phase| PhaseAt { phase, at: now.wall });
        state.attempts.retain(|attempt| attempt.revision.digest != digest);
        state.attempts.insert(
            0,
            Attempt {
                revision,
                author: pushed.payload.author.clone(),
                reason: pushed.payload.reason.clone(),
                phase: Phase::Verified,
                phases: phases.into(),
                errors: Vec::new(),
            },
        );
        state.attempts.truncate(MAX_ATTEMPTS);
        // What waited and was never tried is overtaken.
        let overtaken = state.staged.take().map(|staged| staged.pushed.revision.digest);
        if let Some(overtaken) = overtaken.filter(|overtaken| *overtaken != digest) {
            let message = format!("{revision} came before it was tried");
            self.reach(layer, &overtaken, Phase::Rejected, vec![PathError { path: String::new(), message }], now);
        }
        let phase = match checked {
            Err(errors) => {
                self.reach(layer, &digest, Phase::Rejected, errors, now);
                Phase::Rejected
            }
            Ok(changes) => {
                self.reach(layer, &digest, Phase::Validated, Vec::new(), now);
                self.reach(layer, &digest, Phase::Staged, Vec::new(), now);
                if changes || self.durable.trial.is_some() {
                    self.received.insert(layer.clone(), now.monotonic);
                    self.durable.layer_mut(layer).staged = Some(Staged { pushed, age_s: 0, cut_short: false });
                    Phase::Staged
                } else {
                    // Nothing that is in force becomes another: there is nothing to try.
                    self.reach(layer, &digest, Phase::Confirmed, Vec::new(), now);
                    self.keep(layer, pushed);
                    Phase::Confirmed
                }
            }
        };
        let emit = self.emit(layer, revision, phase);
        vec![self.persist(Intent::Receive, now), Effect::Ack(delivery), self.report(), emit]
    }

    /// Whether the layer fits to the others, and changes anything.
    pub(super) fn validate(&self, layer: &LayerName, pushed: &Pushed) -> Result<bool, Vec<PathError>> {
        let read = Layer::read(&pushed.payload.config.0).map_err(path_errors)?;
        self.enough_signatures(layer, &read, pushed)?;
        let effective = self.with(layer, pushed)?;
        self.signers_stay(&effective, pushed)?;
        if let Some(failed) = self.durable.failure(&effective.digest).filter(|_| !pushed.payload.force) {
            let message = format!(
                "the same configuration was tried with {} and taken back: {}; push with force to try it again",
                failed.revision, failed.why
            );
            return Err(vec![PathError { path: String::new(), message }]);
        }
        Ok(effective.digest != self.confirmed.digest)
    }

    /// Keys that nobody holds would end every later push, and no trial can notice it: of those who signed, as many have to
    /// stay trusted as a push of keys needs.
    fn signers_stay(&self, effective: &Effective, pushed: &Pushed) -> Result<(), Vec<PathError>> {
        fn trusted(effective: &Effective) -> BTreeSet<KeyId> {
            effective.merged.config.fleet.iter().flat_map(|fleet| fleet.keys.iter().map(TrustedKey::id)).collect()
        }
        let keys = trusted(effective);
        let needed = if self.needs_two() { 2 } else { 1 };
        let staying = pushed.signers.iter().filter(|signer| keys.contains(signer)).count();
        if staying >= needed || keys == trusted(&self.confirmed) {
            return Ok(());
        }
        let message = format!(
            "of those who signed it {staying} would be trusted after it, and {needed} must be: sign it with keys that stay, \
             and take out an old key once the new one has signed a push"
        );
        Err(vec![PathError { path: "fleet.keys".into(), message }])
    }

    fn needs_two(&self) -> bool {
        self.site.config().fleet.as_ref().is_some_and(|fleet| fleet.two_signatures)
    }

    /// Whatever a layer changes about the keys that can cut the kiosk off, two have to sign, if the site says so.
    fn enough_signatures(&self, layer: &LayerName, read: &Layer, pushed: &Pushed) -> Result<(), Vec<PathError>> {
        if !self.needs_two() || pushed.signers.len() >= 2 {
            return Ok(());
        }
        let confirmed = self.durable.layer(layer).and_then(|layer| layer.confirmed.as_ref());
        let before = confirmed.and_then(|confirmed| Layer::read(&confirmed.payload.config.0).ok()).unwrap_or_default();
        let changed = read.difference(&before).into_iter().filter(|(section, key)| {
            key_rules(section, key).is_some_and(|rules| rules.pushed == PushedBy::TwoSignatures)
        });
        let errors: Vec<PathError> = changed
            .map(|(section, key)| PathError {
                path: format!("{section}.{key}"),
                message: "this can cut the kiosk off, so two trusted keys have to sign it, and one has".into(),
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Notes that an attempt reached a phase.
    pub(super) fn reach(&mut self, layer: &LayerName, digest: &Digest, phase: Phase, errors: Vec<PathError>, now: Now) {
        if let Some(attempt) = self.durable.layer_mut(layer).attempt_mut(digest) {
            attempt.phase = phase;
            attempt.phases.push(PhaseAt { phase, at: now.wall });
            // A payload that was staged again and again keeps its beginning and its end.
            if attempt.phases.len() > 12 {
                attempt.phases.remove(4);
            }
            attempt.errors = errors;
        }
    }

    pub(super) fn emit(&self, layer: &LayerName, revision: Revision, phase: Phase) -> Effect {
        Effect::Emit(EventKind::ConfigPhase { layer: layer.clone(), revision, phase })
    }
}
