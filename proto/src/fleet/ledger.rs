//! Commands: each is executed at most once, across restarts, and never after its time.
//!
//!
//! The rules for the shell are those of [`super::machine`]: effects one after the other, and when a
//! [`LedgerEffect::Persist`] fails, the rest of the list is left out and [`LedgerInput::PersistFailed`] comes next.

mod entry;
mod memory;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::Value;

use super::clock::{MAX_AHEAD_S, Now, Validity};
use super::command::{Command, CommandPayload, Outcome, Response, WhenBusy};
use super::desired::Target;
use super::digest::Digest;
use super::dsse::{Envelope, PayloadType};
use super::event::EventKind;
use super::key::TrustedKey;
use super::machine::Delivery;
use super::name::CommandId;
use super::strict;
use super::{MAX_AUTHOR, MAX_REASON};
use crate::config::KioskId;
use entry::{Entry, State};

pub use entry::{LedgerFile, Reply};

/// The longest time between `created` and `expires`, seconds.
pub const MAX_VALIDITY_S: u64 = 86_400;
/// How many commands are remembered at once. What is remembered is not forgotten before its time: one more is refused.
const MAX_ENTRIES: usize = 256;
/// How long what waits goes on waiting when the disk did not take that it is begun.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// The largest result that is kept to be sent again, bytes of JSON.
const MAX_KEPT_RESULT: usize = 4_096;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum LedgerInput {
    /// A message on the command topic, as it came.
    Message {
        /// The payload.
        bytes: Vec<u8>,
        /// Where its answer goes; the response topic was checked with [`super::response_topic`].
        reply: Reply,
        /// To be acknowledged.
        delivery: Delivery,
        /// What [`DesiredState::trusted`](super::machine::DesiredState::trusted) gives.
        trusted: Vec<TrustedKey>,
    },
    /// The link to the broker is up: answers that were not delivered are sent again.
    LinkUp,
    /// The broker has the answer to a command.
    Delivered(CommandId),
    /// A customer starts a call.
    CallStarted,
    /// No call any more.
    CallEnded,
    /// A command was executed.
    Finished {
        /// Which.
        id: CommandId,
        /// How it went: [`Outcome::Done`], [`Outcome::Failed`] or [`Outcome::Refused`].
        outcome: Outcome,
        /// Why, for people.
        message: String,
        /// What it yields.
        result: Value,
    },
    /// A file could not be stored: why, for people.
    PersistFailed(String),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum LedgerEffect {
    /// Store this; it is on the disk before the next effect begins.
    Persist(Box<LedgerFile>),
    /// Acknowledge a message.
    Ack(Delivery),
    /// Do it, and say how it went with [`LedgerInput::Finished`]; one that restarts the daemon is answered after that.
    Execute(CommandId, Command),
    /// Publish an answer.
    Respond(Reply, Response),
    /// Tell the fleet.
    Emit(EventKind),
}

/// Every command that may still come again.
#[derive(Debug, Clone)]
pub struct Ledger {
    kiosk: KioskId,
    file: LedgerFile,
    /// What is on the disk.
    saved: LedgerFile,
    /// What was accepted in the last list of effects, to be refused if it can't be stored.
    accepted: Vec<CommandId>,
    storing: bool,
    /// When ages were last written.
    since: Duration,
    in_call: bool,
    /// What waits is not begun before this: the disk did not take that it was.
    again: Duration,
}

/// Why a message is no command of this kiosk.
type Refused = (Option<CommandId>, Outcome, String);

impl Ledger {
    /// After a start of the daemon, with what the file holds.
    ///
    /// A command that was being executed is not executed again: one that restarts is done, any other was interrupted.
    /// There is no call any more: what waited for its end begins, or has expired, with [`LedgerInput::Tick`].
    #[must_use]
    pub fn start(kiosk: KioskId, stored: Option<LedgerFile>, now: Now) -> (Self, Vec<LedgerEffect>) {
        let file = stored.unwrap_or_default();
        let saved = file.clone();
        let mut ledger = Self {
            kiosk,
            file,
            saved,
            accepted: Vec::new(),
            storing: false,
            since: now.monotonic,
            in_call: false,
            again: Duration::ZERO,
        };
        let mut effects = Vec::new();
        let mut finished = Vec::new();
        for entry in &mut ledger.file.entries {
            if let State::Running { restarts } = entry.state {
                let (outcome, message) = match restarts {
                    true => (Outcome::Done, String::new()),
                    false => (Outcome::Interrupted, "the daemon stopped meanwhile; it is not done again".to_owned()),
                };
                entry.finish(outcome, message, Value::Null);
                finished.push(entry.finished(outcome));
            }
        }
        if !finished.is_empty() {
            effects.push(ledger.persist(now));
            effects.extend(finished.into_iter().map(LedgerEffect::Emit));
        }
        (ledger, effects)
    }

    /// When [`LedgerInput::Tick`] is due at the latest, on the clock of [`Now::monotonic`].
    #[must_use]
    pub fn deadline(&self, now: Now) -> Option<Duration> {
        let begins = (self.waits() && self.is_free()).then(|| now.monotonic.max(self.again));
        let waiting = self.file.entries.iter().filter(|entry| matches!(entry.state, State::Waiting(_)));
        let left = waiting.map(|entry| match now.wall {
            Some(wall) if wall >= entry.created => entry.expires.saturating_sub(wall),
            _ => entry.expires.saturating_sub(entry.created).saturating_sub(self.age(entry, now).as_secs()),
        });
        left.map(|seconds| now.monotonic.saturating_add(Duration::from_secs(seconds))).chain(begins).min()
    }

    /// What follows from something that happened.
    #[must_use]
    pub fn handle(&mut self, now: Now, input: LedgerInput) -> Vec<LedgerEffect> {
        if let LedgerInput::PersistFailed(why) = input {
            return self.not_stored(&why, now);
        }
        if std::mem::take(&mut self.storing) {
            self.saved = self.file.clone();
            self.accepted.clear();
        }
        let lowered = self.check_floor(now);
        let mut effects = self.decide(now, input);
        if lowered && !effects.iter().any(|effect| matches!(effect, LedgerEffect::Persist(_))) {
            // The last one: nothing else depends on it.
            effects.push(self.persist(now));
        }
        effects
    }

    fn decide(&mut self, now: Now, input: LedgerInput) -> Vec<LedgerEffect> {
        match input {
            LedgerInput::Message { bytes, reply, delivery, trusted } => match self.verify(&bytes, &trusted, now) {
                Ok(payload) => self.accept(payload, reply, delivery, now),
                Err((id, outcome, message)) => {
                    let response = Response { id, outcome, message, result: Value::Null };
                    vec![LedgerEffect::Ack(delivery), LedgerEffect::Respond(reply, response)]
                }
            },
            LedgerInput::LinkUp => {
                let mut effects: Vec<_> = self.file.entries.iter().filter_map(Entry::undelivered).collect();
                effects.extend(self.begin_waiting(now));
                effects
            }
            LedgerInput::Delivered(id) => {
                if let Some(entry) = self.entry_mut(&id) {
                    entry.delivered();
                }
                Vec::new()
            }
            LedgerInput::CallStarted => {
                self.in_call = true;
                Vec::new()
            }
            LedgerInput::CallEnded => {
                self.in_call = false;
                self.begin_waiting(now)
            }
            LedgerInput::Finished { id, outcome, message, result } => self.finish(&id, outcome, message, result, now),
            LedgerInput::PersistFailed(_) | LedgerInput::Tick => self.begin_waiting(now),
        }
    }

    fn verify(&self, bytes: &[u8], trusted: &[TrustedKey], now: Now) -> Result<(CommandPayload, Digest), Refused> {
        let refused = |message: String| (None, Outcome::Refused, message);
        let envelope = Envelope::parse(bytes).map_err(|error| refused(error.to_string()))?;
        let verified = envelope.verify(PayloadType::Command, trusted).map_err(|error| refused(error.to_string()))?;
        let payload: CommandPayload = strict::parse(&verified.payload).map_err(|error| refused(error.to_string()))?;
        let id = Some(payload.id.clone());
        let refused = |message: &str| (id.clone(), Outcome::Refused, message.to_owned());
        if !matches!(&payload.target, Target::Device(device) if *device == self.kiosk) {
            return Err(refused(&format!("it was signed for another target than kiosk {}", self.kiosk)));
        }
        let said = super::machine::is_said;
        if !said(&payload.author, MAX_AUTHOR) || !said(&payload.reason, MAX_REASON) {
            return Err(refused("author and reason must each be a text in one line"));
        }
        if !(1..=MAX_VALIDITY_S).contains(&payload.expires.saturating_sub(payload.created)) {
            return Err(refused("it must expire within a day after it was made"));
        }
        check_ranges(&payload.command).map_err(|allowed| refused(&allowed))?;
        let known = self.file.entries.iter().find(|entry| entry.id == payload.id);
        if let Some(known) = known {
            return if known.digest == verified.digest {
                Ok((payload, verified.digest))
            } else {
                Err(refused("another command has this id; each needs one of its own"))
            };
        }
        if payload.created <= self.file.floor {
            return Err(refused("it is older than commands that were forgotten: it may have been executed before"));
        }
        if let Some(wall) = now.wall.filter(|wall| payload.created.saturating_sub(*wall) > MAX_AHEAD_S) {
            let made = payload.created;
            return Err(refused(&format!(
                "it was made at {made} by the clock of the admin's machine, and this kiosk's clock shows {wall}: \
                 allowed: at most {MAX_AHEAD_S} seconds ahead. One of the two is wrong; see timedatectl on both"
            )));
        }
        let validity = Validity { created: payload.created, expires: payload.expires };
        if validity.is_over(Duration::ZERO, now) {
            let wall = now.wall.unwrap_or_default();
            let message = format!("it expired at {}; this kiosk's clock shows {wall}", payload.expires);
            return Err((id, Outcome::Expired, message));
        }
        Ok((payload, verified.digest))
    }

    fn accept(
        &mut self,
        (payload, digest): (CommandPayload, Digest),
        reply: Reply,
        delivery: Delivery,
        now: Now,
    ) -> Vec<LedgerEffect> {
        if let Some(entry) = self.entry_mut(&payload.id) {
            // It came twice. Whoever asks last gets the answer.
            entry.reply = reply;
            let answer = entry.answer();
            return std::iter::once(LedgerEffect::Ack(delivery)).chain(answer).collect();
        }
        self.forget(now);
        if self.file.entries.len() >= MAX_ENTRIES && !self.make_room(now) {
            let message = format!("{MAX_ENTRIES} commands are remembered until they expire; send fewer");
            let response = Response { id: Some(payload.id), outcome: Outcome::Refused, message, result: Value::Null };
            return vec![LedgerEffect::Ack(delivery), LedgerEffect::Respond(reply, response)];
        }
        let busy = self.in_call && payload.command.ends_a_call() && !payload.force;
        let end_call = matches!(payload.command, Command::EndCall {});
        let id = payload.id.clone();
        let mut entry = Entry::new(&payload, digest, reply);
        let mut rest = Vec::new();
        if end_call && !self.in_call {
            entry.finish(Outcome::Done, "there is no call".into(), Value::Null);
            rest.push(LedgerEffect::Emit(entry.finished(Outcome::Done)));
        } else if busy && (end_call || payload.when_busy == WhenBusy::Refuse) {
            let message = "a customer is in a call; push with force to end it".to_owned();
            entry.finish(Outcome::Refused, message, Value::Null);
            rest.push(LedgerEffect::Emit(entry.finished(Outcome::Refused)));
        } else if busy {
            entry.state = State::Waiting(payload.command);
        } else {
            entry.state = State::Running { restarts: payload.command.restarts() };
            rest.push(LedgerEffect::Execute(id.clone(), payload.command));
        }
        let answer = entry.answer();
        self.file.entries.push(entry);
        self.accepted.push(id);
        let mut effects = vec![self.persist(now), LedgerEffect::Ack(delivery)];
        effects.extend(answer);
        effects.extend(rest);
        effects
    }

    fn waits(&self) -> bool {
        self.file.entries.iter().any(|entry| matches!(entry.state, State::Waiting(_)))
    }

    /// Whether what waits may begin. What is being carried out, such as the command that ended the call, ends first: a
    /// restart would cut it off.
    fn is_free(&self) -> bool {
        !self.in_call && !self.file.entries.iter().any(|entry| matches!(entry.state, State::Running { .. }))
    }

    /// What waited for too long has expired; if there is no call, the rest begins, in the order in which it came.
    fn begin_waiting(&mut self, now: Now) -> Vec<LedgerEffect> {
        let mut effects = self.take_expired(now);
        if self.is_free() && now.monotonic >= self.again {
            for entry in &mut self.file.entries {
                if let State::Waiting(command) = entry.state.clone() {
                    entry.state = State::Running { restarts: command.restarts() };
                    effects.push(LedgerEffect::Execute(entry.id.clone(), command));
                }
            }
        }
        if !effects.is_empty() {
            effects.insert(0, self.persist(now));
        }
        effects
    }

    /// What waited for too long.
    fn take_expired(&mut self, now: Now) -> Vec<LedgerEffect> {
        let since = self.since;
        let mut effects = Vec::new();
        for entry in &mut self.file.entries {
            if matches!(entry.state, State::Waiting(_)) && entry.is_over(since, now) {
                entry.finish(Outcome::Expired, "the call did not end in time".into(), Value::Null);
                effects.extend(entry.answer());
                effects.push(LedgerEffect::Emit(entry.finished(Outcome::Expired)));
            }
        }
        effects
    }

    fn finish(
        &mut self,
        id: &CommandId,
        outcome: Outcome,
        message: String,
        result: Value,
        now: Now,
    ) -> Vec<LedgerEffect> {
        let Some(entry) = self.entry_mut(id).filter(|entry| matches!(entry.state, State::Running { .. })) else {
            return Vec::new();
        };
        let size = serde_json::to_string(&result).map_or(0, |text| text.len());
        if size <= MAX_KEPT_RESULT {
            entry.finish(outcome, message.clone(), result.clone());
        } else {
            let before = if message.is_empty() { String::new() } else { format!("{message}; ") };
            let message = format!(
                "{before}its result of {size} bytes was sent once and is not kept (at most {MAX_KEPT_RESULT} are): \
                 to have it, send the command anew"
            );
            entry.finish(outcome, message, Value::Null);
        }
        let response = Response { id: Some(id.clone()), outcome, message, result };
        let respond = LedgerEffect::Respond(entry.reply.clone(), response);
        let emit = LedgerEffect::Emit(entry.finished(outcome));
        let mut effects = self.begin_waiting(now);
        if effects.is_empty() {
            effects.push(self.persist(now));
        }
        // Stored once, and told before what comes next.
        effects.splice(1..1, [respond, emit]);
        effects
    }

    /// What can't be stored is not executed; what was executed is answered all the same.
    fn not_stored(&mut self, why: &str, now: Now) -> Vec<LedgerEffect> {
        self.storing = false;
        let accepted = std::mem::take(&mut self.accepted);
        let mut effects = Vec::new();
        for entry in &mut self.file.entries {
            let was = self.saved.entries.iter().find(|saved| saved.id == entry.id).map(|saved| &saved.state);
            match (&entry.state, was) {
                (_, None) if accepted.contains(&entry.id) => {
                    let message = format!("not done: the kiosk could not store it: {why}");
                    entry.finish(Outcome::Failed, message, Value::Null);
                    effects.extend(entry.answer());
                }
                // It waits on, and is tried again.
                (State::Running { .. }, Some(State::Waiting(command))) => {
                    entry.state = State::Waiting(command.clone());
                    self.again = now.monotonic.saturating_add(TRY_AGAIN);
                }
                (State::Done { .. }, Some(State::Running { .. } | State::Waiting(_))) => {
                    effects.extend(entry.answer());
                }
                _ => {}
            }
        }
        self.file.entries.retain(|entry| !accepted.contains(&entry.id));
        effects
    }

    fn entry_mut(&mut self, id: &CommandId) -> Option<&mut Entry> {
        self.file.entries.iter_mut().find(|entry| entry.id == *id)
    }

    fn age(&self, entry: &Entry, now: Now) -> Duration {
        entry.age(self.since, now)
    }

    fn persist(&mut self, now: Now) -> LedgerEffect {
        self.forget(now);
        let passed = now.monotonic.saturating_sub(self.since);
        // Only whole seconds are written; the rest goes on counting.
        let seconds = passed.as_secs();
        for entry in &mut self.file.entries {
            entry.age_s = entry.age_s.saturating_add(if entry.fresh { 0 } else { seconds });
            entry.fresh = false;
        }
        self.since += Duration::from_secs(seconds);
        self.storing = true;
        LedgerEffect::Persist(Box::new(self.file.clone()))
    }
}

/// What the schema says of a command's values, and the types can't.
fn check_ranges(command: &Command) -> Result<(), String> {
    let within = |name: &str, value: u64, most: u64| match (1..=most).contains(&value) {
        true => Ok(()),
        false => Err(format!("{name}: found {value}; allowed: 1 to {most}")),
    };
    match command {
        Command::SetLogLevel { minutes, .. } => within("minutes", (*minutes).into(), 1_440),
        Command::Identify { seconds } => within("seconds", (*seconds).into(), 600),
        Command::CollectDiagnostics { journal_minutes, upload } => {
            within("journal_minutes", (*journal_minutes).into(), 1_440)?;
            match upload {
                super::Upload::Mqtt { max_bytes } => within("max_bytes", (*max_bytes).into(), 16 * 1024 * 1024),
                super::Upload::Https { url } if !url.starts_with("https://") || url.len() > 2_048 => {
                    Err("url: allowed: an https:// address of at most 2048 characters".into())
                }
                super::Upload::Https { .. } => Ok(()),
            }
        }
        Command::ExplainConfig { keys } if keys.len() > 64 => Err("keys: allowed: at most 64".into()),
        _ => Ok(()),
    }
}
