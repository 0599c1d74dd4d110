//! Every effect is a place where the power can be lost: scripts are played once for each effect that they cause, up to
//! it, and after the start that follows everything must still come right.

use serde_json::json;

use super::world::*;
use super::*;
use crate::fleet::Phase;

const DEVICE: LayerName = LayerName::Device;

/// What an admin, a customer and the network do.
type Script = fn(&mut World) -> Result<(), Crash>;

/// Janus can't be reached with a bit rate above 2000, and the camera not with the session's bus.
fn some_fail(probe: Probe, config: &Config) -> bool {
    match probe {
        Probe::Broker => true,
        Probe::Janus => config.video.bitrate_kbps.0 <= 2_000,
        Probe::Camera => config.control.bus == crate::config::Bus::System || config.audio.gain_db > 0.0,
    }
}

const SCRIPTS: [(&str, Script); 9] = [
    ("one push", |world| {
        world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700)))?;
        world.wait(5)
    }),
    ("a good one, a bad one, a good one", |world| {
        world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700)))?;
        world.wait(5)?;
        world.publish(&DEVICE, push(&DEVICE, 2, bitrate(3_000)))?;
        world.wait(DEADLINE + 5)?;
        world.publish(&DEVICE, push(&DEVICE, 3, bitrate(800)))?;
        world.wait(5)
    }),
    ("two layers at once", |world| {
        world.publish(&north(), push(&north(), 1, json!({"video": {"bitrate_kbps": 900, "min_bitrate_kbps": 200}})))?;
        world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700)))?;
        world.wait(5)?;
        world.publish(&DEVICE, push(&DEVICE, 2, json!({})))?;
        world.wait(5)
    }),
    ("a newer one in the trial", |world| {
        world.publish(&DEVICE, push(&DEVICE, 1, bitrate(3_000)))?;
        world.input(Input::Tick)?;
        world.publish(&DEVICE, push(&DEVICE, 2, bitrate(700)))?;
        world.wait(DEADLINE * 2)
    }),
    ("a restart, good and bad", |world| {
        world.publish(&DEVICE, push(&DEVICE, 1, json!({"control": {"bus": "session"}, "audio": {"gain_db": 1.0}})))?;
        world.wait(5)?;
        world.link()?;
        world.wait(5)?;
        world.publish(&DEVICE, push(&DEVICE, 2, json!({"control": {"bus": "unix:path=/x"}})))?;
        world.wait(5)?;
        world.link()?;
        world.wait(DEADLINE + 5)?;
        world.link()?;
        world.wait(5)
    }),
    ("a call before and in the trial", |world| {
        world.call(true)?;
        world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700)))?;
        world.wait(100)?;
        world.call(false)?;
        world.input(Input::Tick)?;
        world.call(true)?;
        world.wait(100)?;
        world.call(false)?;
        world.wait(5)
    }),
    ("rejected, withdrawn, pushed at the same time", |world| {
        world.publish(&DEVICE, push(&DEVICE, 1, json!({"video": {"x": 1}})))?;
        world.call(true)?;
        world.publish(&DEVICE, push(&DEVICE, 2, bitrate(700)))?;
        world.publish(&DEVICE, Vec::new())?;
        world.call(false)?;
        world.publish(&DEVICE, push(&DEVICE, 3, bitrate(800)))?;
        world.publish(&DEVICE, push(&DEVICE, 3, bitrate(900)))?;
        world.wait(5)?;
        world.publish(&DEVICE, push(&DEVICE, 4, bitrate(850)))?;
        world.wait(5)
    }),
    ("a full disk at every step", |world| {
        world.disk_full = true;
        world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700)))?;
        world.wait(45)?;
        world.disk_full = false;
        world.deliver()?;
        world.disk_full = true;
        world.wait(45)?;
        world.disk_full = false;
        world.input(Input::Tick)?;
        world.wait(31)?;
        world.disk_full = true;
        world.wait(45)?;
        world.disk_full = false;
        world.wait(120)
    }),
    ("the link comes and goes", |world| {
        world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700)))?;
        world.input(Input::Tick)?;
        world.linked = false;
        world.input(Input::LinkDown)?;
        world.wait(DEADLINE + 5)?;
        world.link()?;
        world.publish(&DEVICE, push(&DEVICE, 2, bitrate(750)))?;
        world.wait(5)
    }),
];

fn begin() -> World {
    let mut world = World::new(false);
    world.passes = some_fail;
    world.link().unwrap();
    world
}

/// What must hold whenever the effects of an input are carried out.
fn check(world: &World, at: &str) {
    if !world.state.on_trial() {
        let reported = world.state.reported();
        assert_eq!(reported.effective, reported.confirmed, "{at}");
    }
    assert_eq!(world.in_force, *world.state.config(), "{at}: the shell has what the machine thinks is in force");
}

/// After a power cut, before anything else comes: what is confirmed is in force, or what a planned start brought.
fn check_start(world: &World, at: &str) {
    check(world, at);
    let planned = world
        .state
        .durable
        .trial
        .as_ref()
        .is_some_and(|trial| trial.start == super::super::durable::TrialStart::Started);
    assert_eq!(world.state.on_trial(), planned, "{at}");
    for (layer, revision) in &world.written {
        let confirmed = world.layer(layer).confirmed.unwrap();
        assert_eq!((confirmed.epoch, confirmed.revision), *revision, "{at}: what was confirmed is lost");
    }
}

/// The network is there, nobody calls: everything comes to rest, on a configuration that proved itself.
fn settle(world: &mut World, at: &str) {
    (world.fuel, world.disk_full) = (None, false);
    for _ in 0..4 {
        world.call(false).unwrap();
        world.link().unwrap();
        world.wait(DEADLINE * 3).unwrap();
    }
    check(world, at);
    assert!(!world.state.on_trial() && world.state.durable.trial.is_none(), "{at}");
    let config = world.state.config();
    for probe in [Probe::Broker, Probe::Janus, Probe::Camera] {
        assert!(some_fail(probe, config), "{at}: {probe:?} is cut off for good");
    }
    for layer in world.state.layer_names() {
        let report = world.layer(&layer);
        assert!(report.attempts.iter().all(|attempt| attempt.phase.is_final()), "{at}: {report:?}");
        // What is said to be confirmed is confirmed, and nothing else is.
        if let Some(newest) = report.attempts.iter().find(|attempt| attempt.phase == Phase::Confirmed) {
            assert_eq!(report.confirmed.map(|confirmed| confirmed.digest), Some(newest.revision.digest), "{at}");
        }
    }
    assert_eq!(world.disk.clone().unwrap_or_default(), world.state.durable, "{at}: all of it is on the disk");
}

#[test]
fn the_power_can_be_lost_at_any_effect() {
    let mut crashes = 0;
    for (name, script) in SCRIPTS {
        let mut whole = begin();
        whole.effects = 0;
        script(&mut whole).unwrap();
        check(&whole, name);
        let effects = whole.effects;
        settle(&mut whole, name);
        for fuel in 0..effects {
            let mut world = begin();
            world.fuel = Some(fuel);
            assert_eq!(script(&mut world), Err(Crash), "{name}: {fuel} of {effects}");
            let at = format!("{name}: power lost at effect {fuel} of {effects}");
            // And again, at each effect of the start that follows.
            for second in 0.. {
                let mut again = world.clone();
                again.fuel = Some(second);
                let started = again.restart();
                again.fuel = None;
                if started.is_err() {
                    again.restart().unwrap();
                }
                crashes += 1;
                let at = format!("{at}, then at {second} of the start");
                check_start(&again, &at);
                settle(&mut again, &at);
                if started.is_ok() {
                    break;
                }
            }
        }
    }
    // A script that stops causing effects would make this test say nothing.
    assert!(crashes > 200, "only {crashes} places");
}

#[test]
fn what_was_retained_when_the_power_was_lost_is_in_force_in_the_end() {
    // A single good push: whatever the place of the crash, it is confirmed, also when it was on trial then. When the
    // power is lost in its second trial too, it is taken back.
    let mut outcomes = std::collections::BTreeMap::new();
    let script = SCRIPTS[0].1;
    let mut whole = begin();
    whole.effects = 0;
    script(&mut whole).unwrap();
    for fuel in 0..whole.effects {
        let mut world = begin();
        world.fuel = Some(fuel);
        script(&mut world).unwrap_err();
        let on_trial = |world: &World| world.disk.as_ref().is_some_and(|disk| disk.trial.is_some());
        let once = on_trial(&world);
        for second in 0.. {
            let mut again = world.clone();
            again.fuel = Some(second);
            let ended = again.restart().and_then(|()| again.link()).and_then(|()| again.wait(5)).is_ok();
            // As long as the start has not written that the first trial was cut short, it is that trial still.
            let twice = !ended && again.disk.as_ref().and_then(|disk| disk.trial.as_ref()).is_some_and(|t| t.again);
            assert!(!twice || once, "{fuel}, {second}");
            again.fuel = None;
            again.restart().unwrap();
            settle(&mut again, "one push");
            let outcome = (again.phase(&DEVICE).as_str(), again.kbps());
            let expected = if twice { ("rolled-back", 1000) } else { ("confirmed", 700) };
            assert_eq!(outcome, expected, "power lost at effect {fuel}, and at {second} after it");
            *outcomes.entry((once, outcome.0)).or_insert(0) += 1;
            if ended {
                break;
            }
        }
    }
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
}
