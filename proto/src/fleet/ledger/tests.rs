use proptest::prelude::*;
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

#[test]
fn a_command_is_executed_once_and_answered_as_often_as_it_is_asked() {
    let mut world = World::new();
    let ping = payload(1, Command::Ping {});
    world.send(&ping).unwrap();
    assert_eq!((world.executed.len(), world.answers.len(), world.acked), (1, 0, 1));
    world.send(&ping).unwrap();
    assert_eq!(world.executed.len(), 1, "it comes again while it is executed");
    world.finish(1).unwrap();
    world.send(&ping).unwrap();
    world.restart().unwrap();
    world.send(&ping).unwrap();
    assert_eq!((world.executed.len(), world.answers.len()), (1, 3));
    for answer in &world.answers {
        assert_eq!((answer.outcome, &answer.result), (Outcome::Done, &json!({"n": 1})));
    }
    // Until the broker has the answer, it is sent with each link.
    world.input(LedgerInput::LinkUp).unwrap();
    assert_eq!(world.answers.len(), 4);
    world.input(LedgerInput::Delivered(ping.id)).unwrap();
    world.input(LedgerInput::LinkUp).unwrap();
    assert_eq!(world.answers.len(), 4);
}

#[test]
fn a_result_that_is_too_large_to_be_kept_comes_once_and_this_is_said() {
    for (length, kept) in [(MAX_KEPT_RESULT - 2, true), (MAX_KEPT_RESULT - 1, false)] {
        let mut world = World::new();
        let ping = payload(1, Command::Ping {});
        world.send(&ping).unwrap();
        let result = json!("x".repeat(length));
        let (id, message) = (ping.id.clone(), "two of three".to_owned());
        world.input(LedgerInput::Finished { id, outcome: Outcome::Done, message, result: result.clone() }).unwrap();
        assert_eq!((&world.answers[0].result, world.last().1), (&result, "two of three"));
        // Whoever asks again, and the link that is up again before the broker had the answer.
        world.send(&ping).unwrap();
        world.input(LedgerInput::LinkUp).unwrap();
        for answer in &world.answers[1..] {
            assert_eq!(
                (answer.outcome, answer.result == result, answer.result.is_null()),
                (Outcome::Done, kept, !kept)
            );
            let said = "two of three; its result of 4097 bytes was sent once and is not kept";
            assert_eq!(answer.message.starts_with(said), !kept, "{}", answer.message);
        }
        assert_eq!(world.answers.len(), 3);
    }
}

#[test]
fn a_restart_is_answered_after_it_and_anything_else_was_interrupted() {
    let mut world = World::new();
    world.send(&payload(1, Command::Reboot {})).unwrap();
    world.send(&payload(2, Command::SelfCheck {})).unwrap();
    world.restart().unwrap();
    world.input(LedgerInput::LinkUp).unwrap();
    let outcomes: Vec<Outcome> = world.answers.iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::Interrupted]);
    assert_eq!(world.executed.len(), 2);
}

#[test]
fn what_would_end_a_call_waits_is_refused_or_is_forced() {
    let mut world = World::new();
    world.call(true).unwrap();
    world.send(&payload(1, Command::Ping {})).unwrap();
    assert_eq!(world.executed.len(), 1, "harmless");
    world.send(&payload(2, Command::Reboot {})).unwrap();
    assert_eq!(world.last(), (Outcome::Waiting, "a customer is in a call"));
    let refuse = CommandPayload { when_busy: WhenBusy::Refuse, ..payload(3, Command::RestartDaemon {}) };
    world.send(&refuse).unwrap();
    assert_eq!(world.last().0, Outcome::Refused);
    world.send(&payload(4, Command::EndCall {})).unwrap();
    assert_eq!(world.last(), (Outcome::Refused, "a customer is in a call; push with force to end it"));
    assert_eq!(world.executed.len(), 1);
    let forced = CommandPayload { force: true, ..payload(5, Command::EndCall {}) };
    world.send(&forced).unwrap();
    assert_eq!(world.executed.len(), 2);
    world.call(false).unwrap();
    assert_eq!(world.executed.len(), 2, "what ends the call is not cut off by what waited for that");
    world.finish(1).unwrap();
    world.finish(5).unwrap();
    assert_eq!(world.executed[2].2, Command::Reboot {});
    // What was refused stays refused, whoever sends it again.
    world.send(&refuse).unwrap();
    assert_eq!((world.last().0, world.executed.len()), (Outcome::Refused, 3));
    world.send(&payload(6, Command::EndCall {})).unwrap();
    assert_eq!(world.last(), (Outcome::Done, "there is no call"));
}

#[test]
fn what_waits_for_too_long_expires_by_the_clock_or_by_its_age() {
    for clock_is_right in [true, false] {
        let mut world = World::new();
        world.clock_is_right = clock_is_right;
        world.call(true).unwrap();
        world.send(&payload(1, Command::Reboot {})).unwrap();
        world.wait(59).unwrap();
        assert_eq!(world.last().0, Outcome::Waiting);
        world.wait(1).unwrap();
        assert_eq!(world.last(), (Outcome::Expired, "the call did not end in time"), "clock {clock_is_right}");
        world.call(false).unwrap();
        assert_eq!(world.executed, []);
    }
}

#[test]
fn what_is_not_a_command_for_this_kiosk_now_is_refused_with_a_reason() {
    let mut world = World::new();
    let good = payload(1, Command::Ping {});
    let other = Target::Device(KioskId::try_from("a-2".to_owned()).unwrap());
    let group = Target::Group(crate::fleet::GroupName::try_from("north".to_owned()).unwrap());
    let level = Command::SetLogLevel { level: LogLevel::Debug, minutes: 0 };
    let upload = Upload::Https { url: "http://10.0.0.1/".into() };
    let unknown = String::from_utf8(serde_json::to_vec(&good).unwrap()).unwrap().replace("ping", "format-disk");
    let raw = |bytes: &[u8]| sign(PayloadType::Command, bytes, &[&key(1)]).unwrap().to_bytes().unwrap();
    world.send(&payload(9, Command::Ping {})).unwrap();
    for (name, bytes) in [
        ("unknown key", signed(&good, 2)),
        ("another kiosk's", signed(&CommandPayload { target: other, ..good.clone() }, 1)),
        ("a group's", signed(&CommandPayload { target: group, ..good.clone() }, 1)),
        ("late", signed(&CommandPayload { created: START - 9, expires: START, ..good.clone() }, 1)),
        ("for two days", signed(&CommandPayload { expires: START + 172_800, ..good.clone() }, 1)),
        ("backwards", signed(&CommandPayload { expires: START - 1, ..good.clone() }, 1)),
        ("no author", signed(&CommandPayload { author: "\u{1b}[2J".into(), ..good.clone() }, 1)),
        ("no minutes", signed(&CommandPayload { command: level, ..good.clone() }, 1)),
        (
            "not encrypted",
            signed(
                &CommandPayload { command: Command::CollectDiagnostics { journal_minutes: 5, upload }, ..good.clone() },
                1,
            ),
        ),
        ("another with the same id", signed(&payload(9, Command::Reboot {}), 1)),
        ("a layer", sign(PayloadType::Desired, b"{}", &[&key(1)]).unwrap().to_bytes().unwrap()),
        ("unknown command", raw(unknown.as_bytes())),
        ("noise", b"\xff\xfe".to_vec()),
    ] {
        world.send_bytes(bytes).unwrap();
        let answer = world.answers.pop().unwrap();
        world.answers.push(Response { message: format!("{name}: {}", answer.message), ..answer });
    }
    let told: Vec<String> =
        world.answers.iter().map(|answer| format!("{:?} {}", answer.outcome, answer.message)).collect();
    insta::assert_snapshot!(told.join("\n"));
    assert_eq!((world.executed.len(), world.acked), (1, 14));
}

#[test]
fn what_is_forgotten_can_not_come_again_also_when_the_clock_is_lost() {
    let mut world = World::new();
    let ping = payload(1, Command::Ping {});
    world.send(&ping).unwrap();
    world.finish(1).unwrap();
    world.wait(120).unwrap();
    world.send(&CommandPayload { created: START + 100, expires: START + 160, ..payload(2, Command::Ping {}) }).unwrap();
    world.finish(2).unwrap();
    assert_eq!(world.ledger.file.entries.len(), 1, "the first is forgotten");
    world.restart().unwrap();
    world.clock_is_right = false;
    world.send(&ping).unwrap();
    assert_eq!((world.last().0, world.executed.len()), (Outcome::Refused, 2));
}

const TEN_YEARS: u64 = 10 * 365 * 86_400;

/// A ping that was made at this time, and holds for a minute.
fn made(number: usize, created: u64) -> CommandPayload {
    let mut random = [0; 16];
    random[..8].copy_from_slice(&number.to_le_bytes());
    let id = CommandId::from_random(random);
    CommandPayload { id, created, expires: created + 60, ..payload(0, Command::Ping {}) }
}

fn finish(world: &mut World, ping: &CommandPayload) {
    let id = ping.id.clone();
    world
        .input(LedgerInput::Finished { id, outcome: Outcome::Done, message: String::new(), result: Value::Null })
        .unwrap();
}

/// It is taken, carried out and answered.
fn is_done(world: &mut World, ping: &CommandPayload) {
    let executed = world.executed.len();
    world.send(ping).unwrap();
    assert_eq!(world.executed.len(), executed + 1, "{:?}", world.answers.last());
    finish(world, ping);
    assert_eq!(world.last().0, Outcome::Done);
}

#[test]
fn a_command_made_by_a_fast_clock_is_refused_and_keeps_nobody_out() {
    let mut world = World::new();
    for ahead in [MAX_AHEAD_S + 1, TEN_YEARS] {
        world.send(&made(1, START + ahead)).unwrap();
        let (outcome, message) = world.last();
        assert_eq!(outcome, Outcome::Refused);
        assert!(message.contains(&format!("made at {} by the clock of the admin's machine", START + ahead)));
    }
    is_done(&mut world, &made(2, START + MAX_AHEAD_S));
    world.wait(120).unwrap();
    is_done(&mut world, &made(3, START + 120));
}

#[test]
fn without_a_clock_too_a_fast_one_keeps_nobody_out_and_what_it_made_is_done_once() {
    let mut world = World::new();
    world.clock_is_right = false;
    let fast = made(1, START + TEN_YEARS);
    is_done(&mut world, &fast);
    for number in 2..MAX_ENTRIES * 2 {
        world.wait(61).unwrap();
        let created = START + world.time;
        is_done(&mut world, &made(number, created));
    }
    assert_eq!(world.ledger.file.entries.len(), MAX_ENTRIES, "there is room without a clock");
    let executed = world.executed.len();
    // The one that was forgotten, the fast one that was not; and the fast one when its time comes.
    let check = |world: &mut World| {
        world.send(&made(2, START + 61)).unwrap();
        assert_eq!(world.last().0, Outcome::Refused);
        world.send(&fast).unwrap();
        assert_eq!((world.last().0, world.executed.len()), (Outcome::Done, executed));
    };
    check(&mut world);
    world.restart().unwrap();
    check(&mut world);
    world.clock_is_right = true;
    check(&mut world);
    world.wait(TEN_YEARS - world.time + 30).unwrap();
    world.send(&fast).unwrap();
    assert_eq!((world.last().0, world.executed.len()), (Outcome::Done, executed));
    let now = START + world.time;
    is_done(&mut world, &made(9_999, now));
}

#[test]
fn a_stored_floor_that_is_ahead_of_the_clock_is_lowered_once_the_clock_is_right() {
    let mut world = World::new();
    let older = format!(r#"{{"format": 1, "entries": [], "floor": {}}}"#, START + TEN_YEARS);
    world.disk = Some(LedgerFile::from_json(older.as_bytes()).unwrap());
    world.clock_is_right = false;
    world.restart().unwrap();
    world.send(&made(1, START)).unwrap();
    assert_eq!(world.last().0, Outcome::Refused, "without a clock nobody knows");
    world.clock_is_right = true;
    world.input(LedgerInput::Tick).unwrap();
    assert_eq!(world.disk.as_ref().unwrap().floor, START + MAX_AHEAD_S);
    // All that may have been executed is refused: below the floor, or ahead.
    for created in [START, START + MAX_AHEAD_S, START + MAX_AHEAD_S + 1, START + TEN_YEARS] {
        world.send(&made(2, created)).unwrap();
        assert_eq!(world.last().0, Outcome::Refused, "{created}");
    }
    world.wait(MAX_AHEAD_S + 1).unwrap();
    is_done(&mut world, &made(3, START + MAX_AHEAD_S + 1));
}

#[test]
fn a_clock_that_goes_back_brings_no_command_back() {
    let mut world = World::new();
    world.wait(10_000).unwrap();
    let ping = made(1, START + 10_000);
    is_done(&mut world, &ping);
    world.wait(100).unwrap();
    is_done(&mut world, &made(2, START + 10_100));
    assert_eq!(world.ledger.file.floor, ping.created, "the first is forgotten");
    for time in [0, 9_990, 10_010] {
        world.time = time;
        world.input(LedgerInput::Tick).unwrap();
        world.restart().unwrap();
        world.send(&ping).unwrap();
        assert_eq!((world.last().0, world.executed.len()), (Outcome::Refused, 2), "{time}");
    }
}

#[test]
fn the_ledger_is_bounded_and_forgets_nothing_before_its_time() {
    let mut world = World::new();
    for number in 0..MAX_ENTRIES + 10 {
        world.send(&made(number, START)).unwrap();
    }
    assert_eq!((world.executed.len(), world.last().0), (MAX_ENTRIES, Outcome::Refused));
    assert!(world.disk.as_ref().unwrap().encode().len() < 256 * 1024);
}

#[test]
fn what_can_not_be_stored_is_not_executed() {
    let mut world = World::new();
    world.disk_full = true;
    world.send(&payload(1, Command::Reboot {})).unwrap();
    assert_eq!(world.executed, []);
    assert_eq!(world.last(), (Outcome::Failed, "not done: the kiosk could not store it: no space left on device"));
    world.disk_full = false;
    world.send(&payload(2, Command::Ping {})).unwrap();
    world.disk_full = true;
    world.finish(2).unwrap();
    assert_eq!(world.last().0, Outcome::Done, "what was done is answered");
}

/// A script with every kind of turn, each effect of it a place where the power is lost.
fn script(world: &mut World) -> Result<(), Crash> {
    let [ping, reboot, refused, forced, check] = scripted();
    world.send(&ping)?;
    world.finish(1)?;
    world.call(true)?;
    world.send(&reboot)?;
    world.send(&refused)?;
    world.send(&forced)?;
    world.finish(4)?;
    world.call(false)?;
    world.restart()?;
    world.send(&check)?;
    world.finish(5)
}

/// What the script sends.
fn scripted() -> [CommandPayload; 5] {
    [
        payload(1, Command::Ping {}),
        payload(2, Command::Reboot {}),
        CommandPayload { when_busy: WhenBusy::Refuse, ..payload(3, Command::RestartDaemon {}) },
        CommandPayload { force: true, ..payload(4, Command::EndCall {}) },
        payload(5, Command::SelfCheck {}),
    ]
}

/// Goes on until nothing happens by itself: what is begun ends, and a machine that is started again starts.
fn come_to_rest(world: &mut World, mut executed: usize) {
    loop {
        world.wait(1).unwrap();
        let Some((_, id, command)) = world.executed.get(executed).cloned() else { break };
        executed += 1;
        if command.restarts() {
            world.restart().unwrap();
        } else {
            let (outcome, message) = (Outcome::Done, String::new());
            world.input(LedgerInput::Finished { id, outcome, message, result: Value::Null }).unwrap();
        }
    }
    world.input(LedgerInput::LinkUp).unwrap();
}

#[test]
fn the_power_can_be_lost_at_any_effect_and_each_command_ends_and_is_not_executed_twice() {
    let mut whole = World::new();
    script(&mut whole).unwrap();
    assert!(whole.effects > 20);
    for fuel in 0..whole.effects {
        let mut world = World::new();
        world.fuel = Some(fuel);
        assert_eq!(script(&mut world), Err(Crash));
        world.fuel = None;
        let (executed, answered) = (world.executed.len(), world.answers.len());
        // What is on the disk was accepted: nobody has to send it again for it to end.
        let accepted = world.disk.clone().unwrap_or_default().entries;
        world.restart().unwrap();
        come_to_rest(&mut world, executed);
        for entry in accepted {
            let last = world.answers[answered..].iter().rfind(|answer| answer.id.as_ref() == Some(&entry.id));
            let ended = last.is_some_and(|answer| answer.outcome != Outcome::Waiting);
            assert!(ended, "power lost at effect {fuel}: {} has no end: {last:?}", entry.kind);
        }
        // The broker sends everything again that was not acknowledged, and somebody sends the rest again.
        let executed = world.executed.len();
        for payload in scripted() {
            world.send(&payload).unwrap();
        }
        come_to_rest(&mut world, executed);
        let mut ids: Vec<&CommandId> = world.executed.iter().map(|(_, id, _)| id).collect();
        ids.sort();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "executed twice, power lost at effect {fuel}");
    }
}

#[test]
fn what_waited_when_the_power_was_lost_in_a_call_begins_or_expires() {
    for (away, executed, outcome) in [(10, 1, Outcome::Done), (60, 0, Outcome::Expired)] {
        let mut world = World::new();
        world.call(true).unwrap();
        world.send(&payload(1, Command::Reboot {})).unwrap();
        assert_eq!(world.last().0, Outcome::Waiting);
        world.time += away;
        world.restart().unwrap();
        come_to_rest(&mut world, 0);
        assert_eq!((world.executed.len(), world.last().0), (executed, outcome), "away for {away} s");
    }
}

#[test]
fn what_can_not_be_begun_on_a_full_disk_is_begun_when_there_is_room() {
    let mut world = World::new();
    world.call(true).unwrap();
    world.send(&payload(1, Command::Reboot {})).unwrap();
    world.disk_full = true;
    world.call(false).unwrap();
    world.wait(10).unwrap();
    assert_eq!(world.executed, []);
    world.disk_full = false;
    world.wait(30).unwrap();
    assert_eq!(world.executed.len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Send { number: u8, kind: u8, force: bool, refuse: bool },
    Later,
    Finish(u8),
    Call(bool),
    Wait(u64),
    Restart,
    Disk(bool),
    Clock(bool),
    Crash(usize),
    LinkUp,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8, 0..4_u8, any::<bool>(), any::<bool>())
            .prop_map(|(number, kind, force, refuse)| Step::Send { number, kind, force, refuse }),
        3 => (0..6_u8).prop_map(Step::Finish),
        2 => any::<bool>().prop_map(Step::Call),
        2 => (0..90_u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Disk),
        1 => any::<bool>().prop_map(Step::Clock),
        2 => (0..6_usize).prop_map(Step::Crash),
        1 => Just(Step::LinkUp),
        1 => Just(Step::Later),
    ]
}

const MONTH: u64 = 30 * 86_400;

proptest! {
    #[test]
    fn any_course_of_events_executes_each_command_at_most_once_and_in_time(
        steps in proptest::collection::vec(any_step(), 1..50),
    ) {
        let mut world = World::new();
        let mut lost = false;
        for step in steps {
            let in_call = world.in_call;
            let executed = world.executed.len();
            let mut forced = false;
            let outcome = match step {
                Step::Send { number, kind, force, refuse } => {
                    let command = [Command::Ping {}, Command::Reboot {}, Command::EndCall {}, Command::SelfCheck {}];
                    let when_busy = if refuse { WhenBusy::Refuse } else { WhenBusy::Wait };
                    forced = force;
                    let command = command[usize::from(kind)].clone();
                    // The last two were made by a clock that is a month fast.
                    let created = if number < 4 { START } else { START + MONTH };
                    let made = CommandPayload { created, expires: created + 60, ..payload(number, command) };
                    world.send(&CommandPayload { force, when_busy, ..made })
                }
                Step::Finish(number) => world.finish(number),
                Step::Call(on) => world.call(on),
                Step::Wait(seconds) => world.wait(seconds),
                Step::Later => world.wait(MONTH - world.time % MONTH),
                Step::Restart => world.restart(),
                Step::Disk(full) => { world.disk_full = full; Ok(()) }
                Step::Clock(right) => { world.clock_is_right = right; lost |= !right; Ok(()) }
                Step::Crash(fuel) => { world.fuel = Some(fuel); Ok(()) }
                Step::LinkUp => world.input(LedgerInput::LinkUp),
            };
            if outcome.is_err() {
                world.fuel = None;
                prop_assert!(world.restart().is_ok());
            }
            for (time, _, command) in &world.executed[executed..] {
                prop_assert!(!in_call || !world.in_call || forced || !command.ends_a_call(), "{command:?} in a call");
                prop_assert!(lost || *time < 60 || (MONTH - MAX_AHEAD_S..MONTH + 60).contains(time), "{command:?} late");
            }
        }
        let mut ids: Vec<&CommandId> = world.executed.iter().map(|(_, id, _)| id).collect();
        ids.sort();
        let all = ids.len();
        ids.dedup();
        prop_assert_eq!(ids.len(), all, "executed twice");
    }
}
