//! Power lost at any effect, a full disk, and any course of events.

use proptest::prelude::*;

use super::*;

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
