//! Clocks that are fast, lost or set back, and what is forgotten by them.

use super::*;

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
