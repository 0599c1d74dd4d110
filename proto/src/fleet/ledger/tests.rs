mod basics;
mod clock;
mod power;

use serde_json::json;

use super::*;
use crate::fleet::machine::Delivery;
use crate::fleet::{LogLevel, TrustedKey, Upload, sign};

const START: u64 = 1_800_000_000;

fn key(seed: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
}

fn kiosk() -> KioskId {
    KioskId::try_from("a-1".to_owned()).unwrap()
}

fn payload(number: u8, command: Command) -> CommandPayload {
    CommandPayload {
        target: Target::Device(kiosk()),
        id: CommandId::from_random([number; 16]),
        created: START,
        expires: START + 60,
        author: "Ada".into(),
        reason: "because".into(),
        force: false,
        when_busy: WhenBusy::Wait,
        command,
    }
}

fn signed(payload: &CommandPayload, seed: u8) -> Vec<u8> {
    let bytes = serde_json::to_vec(payload).unwrap();
    sign(PayloadType::Command, &bytes, &[&key(seed)]).unwrap().to_bytes().unwrap()
}

/// A kiosk around the ledger: a disk, and what was executed and answered.
#[derive(Clone)]
struct World {
    disk: Option<LedgerFile>,
    ledger: Ledger,
    /// Seconds since the beginning, and since the daemon's start.
    time: u64,
    since_start: u64,
    clock_is_right: bool,
    executed: Vec<(u64, CommandId, Command)>,
    answers: Vec<Response>,
    acked: usize,
    disk_full: bool,
    /// Effects before the power is lost.
    fuel: Option<usize>,
    effects: usize,
    in_call: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Crash;

impl World {
    fn new() -> Self {
        let now = Now { monotonic: Duration::ZERO, wall: Some(START) };
        let (ledger, effects) = Ledger::start(kiosk(), None, now);
        assert_eq!(effects, []);
        Self {
            disk: None,
            ledger,
            time: 0,
            since_start: 0,
            clock_is_right: true,
            executed: Vec::new(),
            answers: Vec::new(),
            acked: 0,
            disk_full: false,
            fuel: None,
            effects: 0,
            in_call: false,
        }
    }

    fn now(&self) -> Now {
        let wall = self.clock_is_right.then_some(START + self.time);
        Now { monotonic: Duration::from_secs(self.since_start), wall }
    }

    fn input(&mut self, input: LedgerInput) -> Result<(), Crash> {
        let effects = self.ledger.handle(self.now(), input);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<LedgerEffect>) -> Result<(), Crash> {
        let files = effects.iter().filter(|effect| matches!(effect, LedgerEffect::Persist(_))).count();
        assert!(files <= 1 && self.ledger.file.entries.len() <= MAX_ENTRIES);
        for effect in effects {
            if self.fuel == Some(0) {
                return Err(Crash);
            }
            self.fuel = self.fuel.map(|fuel| fuel - 1);
            self.effects += 1;
            match effect {
                LedgerEffect::Persist(_) if self.disk_full => {
                    return self.input(LedgerInput::PersistFailed("no space left on device".into()));
                }
                LedgerEffect::Persist(file) => self.disk = Some(LedgerFile::decode(&file.encode()).unwrap()),
                LedgerEffect::Ack(_) => self.acked += 1,
                LedgerEffect::Execute(id, command) => self.executed.push((self.time, id, command)),
                LedgerEffect::Respond(_, response) => self.answers.push(response),
                LedgerEffect::Emit(_) => {}
            }
        }
        Ok(())
    }

    fn send(&mut self, payload: &CommandPayload) -> Result<(), Crash> {
        self.send_bytes(signed(payload, 1))
    }

    fn send_bytes(&mut self, bytes: Vec<u8>) -> Result<(), Crash> {
        let trusted = vec![TrustedKey::new(key(1).verifying_key(), None).unwrap()];
        let reply = Reply { topic: "bk/v1/device/a-1/response".into(), correlation: Some(vec![1, 2]) };
        self.input(LedgerInput::Message { bytes, reply, delivery: Delivery(1), trusted })
    }

    fn finish(&mut self, number: u8) -> Result<(), Crash> {
        let id = CommandId::from_random([number; 16]);
        self.input(LedgerInput::Finished {
            id,
            outcome: Outcome::Done,
            message: String::new(),
            result: json!({"n": number}),
        })
    }

    fn call(&mut self, on: bool) -> Result<(), Crash> {
        self.in_call = on;
        self.input(if on { LedgerInput::CallStarted } else { LedgerInput::CallEnded })
    }

    fn wait(&mut self, seconds: u64) -> Result<(), Crash> {
        let end = self.time + seconds;
        for _ in 0..100 {
            match self.ledger.deadline(self.now()) {
                Some(at) if at.as_secs() <= self.since_start + (end - self.time) => {
                    let step = at.as_secs().saturating_sub(self.since_start);
                    (self.time, self.since_start) = (self.time + step, self.since_start + step);
                    self.input(LedgerInput::Tick)?;
                }
                _ => {
                    self.since_start += end - self.time;
                    self.time = end;
                    return Ok(());
                }
            }
        }
        panic!("a deadline is never served");
    }

    fn restart(&mut self) -> Result<(), Crash> {
        (self.since_start, self.in_call) = (0, false);
        let (ledger, effects) = Ledger::start(kiosk(), self.disk.clone(), self.now());
        self.ledger = ledger;
        self.carry_out(effects)
    }

    fn last(&self) -> (Outcome, &str) {
        let last = self.answers.last().unwrap();
        (last.outcome, last.message.as_str())
    }
}
