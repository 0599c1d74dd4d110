//! The power fails in a trial that comes to nothing, and in one that needs a restart of the daemon: at whatever step, the
//! kiosk ends where it would have ended without.

use kiosk_harness::{
    Result,
    fleet::{self, Fleet, desired, layer},
    power::{kill_at, kill_once_stopped, stop_at_exec},
    scene,
    wait::until,
    world::{World, scenario},
};
use kiosk_proto::fleet::DesiredPayload;
use serde_json::{Value, json};
use std::time::Duration;

/// System calls that stand for all steps: a state file is synced before it takes the place of the old one, its folder is
/// after that, and each event is. What lies between two of them is done when the second begins.
const CALLS: [&str; 2] = ["fsync", "fdatasync"];
/// A trial to its deadline, and what a start takes on a busy machine.
const TRIAL: Duration = Duration::from_secs(30);

/// The daemon that is killed.
#[derive(Clone, Copy, PartialEq)]
enum Which {
    /// The one that gets the push.
    First,
    /// The one that it makes of itself.
    Second,
}

/// Cuts the power at each step of a push and of all that follows from it; each push must come to `end` all the same.
/// Revisions count up from the one that is given. Gives the number of cuts.
fn walk(
    world: &World,
    fleet: &mut Fleet,
    which: Which,
    mut revision: u64,
    end: &str,
    push: impl Fn(u64) -> DesiredPayload,
    ended: impl Fn(&Value, &Value),
) -> Result<u64> {
    let mut before = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;
    let mut cuts = 0;
    for call in CALLS {
        for step in 1.. {
            assert!(step < 40, "a push has no end");
            revision += 1;
            let pid = fleet.kiosk.process().pid();
            let mut strace = match which {
                Which::First => kill_at(world, pid, call, step)?,
                Which::Second => stop_at_exec(world, pid)?,
            };
            fleet.push(&push(revision))?;
            if which == Which::Second {
                strace = kill_once_stopped(world, strace, fleet.kiosk.process(), call, step)?;
            }
            // Either it is killed, or the push has fewer of these steps.
            let killed = until(TRIAL, "the end of the push or of the daemon", || {
                let killed = fleet.kiosk.process().ended()?.is_some();
                let told = |event: Value| event["revision"] == revision && event["phase"] == end;
                let done = !killed && fleet.said("event").into_iter().any(told);
                Ok((killed || done).then_some(killed))
            })?;
            drop(strace);
            if killed {
                cuts += 1;
                let said = fleet.said("reported").len();
                fleet.kiosk.restart()?;
                let first = until(fleet::SOON, "the first report", || Ok(fleet.said("reported").get(said).cloned()))?;
                assert_eq!(first["confirmed"], confirmed(&first, &before, revision), "{call} {step}: {first}");
            }
            let attempt = fleet.wait_phase_for(TRIAL, revision, end)?;
            let now = fleet.wait_reported("the end", |reported| reported["effective"] == reported["confirmed"])?;
            ended(&attempt, &now);
            before = now;
            if !killed {
                println!("measured: {call}: killed at {} steps", step - 1);
                assert!(step > 2, "{call} was not met");
                break;
            }
        }
    }
    Ok(cuts)
}

/// What a kiosk must have for confirmed when it is back: what it had, unless it says that this push is.
fn confirmed(first: &Value, before: &Value, revision: u64) -> Value {
    match layer(first, "device")["confirmed"]["revision"] == revision {
        true => first["effective"].clone(),
        false => before["confirmed"].clone(),
    }
}

#[test]
fn killed_at_every_step_of_a_push_that_fails_it_ends_with_what_was_confirmed_before() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let mut fleet = Fleet::start_with(world, fleet::broker(world)?, config, |config| {
            config.with("fleet", "trial_deadline_s", 5)
        })?;
        let before = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;
        // Nobody listens there; each is another one, since what failed is refused from then on.
        let push =
            |revision| desired(revision, json!({"janus": {"url": format!("wss://10.77.1.2:{}/", 9000 + revision)}}));
        let cuts = walk(world, &mut fleet, Which::First, 0, "rolled-back", push, |attempt, now| {
            assert!(attempt["errors"].to_string().contains("the media server was not reached"), "{attempt}");
            assert_eq!(now["effective"], before["effective"]);
            assert_eq!(layer(now, "device")["confirmed"], Value::Null);
        })?;
        println!("measured: {cuts} power cuts");
        // And what is good still goes.
        fleet.push(&desired(1000, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(1000, "confirmed")?;
        Ok(())
    });
}

#[test]
fn killed_at_every_step_of_a_push_that_needs_a_restart_it_ends_with_the_new_one() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let folder = world.dir().display().to_string();
        // The same bus by another path each time.
        let bus = |revision: u64| format!("unix:path={folder}/{}kioskd.bus", "./".repeat(revision as usize));
        let push = |revision| desired(revision, json!({"control": {"bus": bus(revision)}}));
        let mut revision = 0;
        for which in [Which::First, Which::Second] {
            let starts = fleet.starts();
            let cuts = walk(world, &mut fleet, which, revision, "confirmed", push, |attempt, now| {
                assert_eq!(layer(now, "device")["confirmed"]["revision"], attempt["revision"]);
            })?;
            revision += cuts + 2;
            // Each push takes a start, each cut one more.
            let starts = (fleet.starts() - starts) as u64;
            println!("measured: {cuts} power cuts, {starts} starts");
            assert!(starts >= 2 * cuts, "{starts} starts after {cuts} power cuts");
        }
        Ok(())
    });
}
