use serde_json::json;

use super::world::*;
use super::*;
use crate::fleet::{Apply, Phase};

pub(super) const DEVICE: LayerName = LayerName::Device;

pub(super) fn world() -> World {
    let mut world = World::new(false);
    world.link().unwrap();
    world
}

/// Nothing that fits on the wire is reachable with a bit rate above 2000.
fn at_most_2000(probe: Probe, config: &Config) -> bool {
    probe != Probe::Janus || config.video.bitrate_kbps.0 <= 2_000
}

fn phases(world: &World, layer: &LayerName) -> Vec<&'static str> {
    world.attempt(layer).phases.iter().map(|at| at.phase.as_str()).collect()
}

#[test]
fn a_push_is_tried_and_confirmed_and_survives_a_restart() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (1000, Phase::Staged));
    assert_eq!(world.acked, [7]);
    world.input(Input::Tick).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (700, Phase::Trial));
    assert_eq!(world.probing, [Probe::Broker, Probe::Janus, Probe::Camera].into());
    let reported = world.state.reported();
    assert_ne!(reported.effective, reported.confirmed);
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (700, Phase::Confirmed));
    assert_eq!(phases(&world, &DEVICE), ["received", "verified", "validated", "staged", "trial", "confirmed"]);
    assert!(!world.state.on_trial() && world.probing.is_empty());

    world.restart().unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (700, Phase::Confirmed));
    let before = world.effects;
    world.link().unwrap();
    assert_eq!(world.effects - before, 3, "a report, and for what is known already an acknowledgement and a report");
    insta::assert_json_snapshot!(world.state.reported(), {".effective" => "", ".confirmed" => ""});
}

#[test]
fn what_does_not_prove_itself_is_taken_back_and_not_tried_again() {
    let mut world = world();
    world.passes = at_most_2000;
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(1500))).unwrap();
    world.wait(1).unwrap();
    world.publish(&DEVICE, push(&DEVICE, 2, bitrate(3000))).unwrap();
    world.wait(DEADLINE - 1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (3000, Phase::Trial));
    world.wait(2).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (1500, Phase::RolledBack));
    insta::assert_json_snapshot!(world.attempt(&DEVICE).errors);

    // Neither what is retained, nor the same content with a new revision, nor in another layer; also after a restart.
    world.restart().unwrap();
    world.link().unwrap();
    world.wait(200).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (1500, Phase::RolledBack));
    world.publish(&DEVICE, push(&DEVICE, 3, bitrate(3000))).unwrap();
    world.wait(200).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (1500, Phase::Rejected));
    let message = world.attempt(&DEVICE).errors[0].message.clone();
    assert!(message.contains("push with force"), "{message}");

    world.passes = |_, _| true;
    let mut forced = payload(&DEVICE, 4, bitrate(3000));
    forced.force = true;
    world.publish(&DEVICE, signed(&forced, &[1])).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (3000, Phase::Confirmed));
    // It has proved itself: it is not a bad one any more.
    world.publish(&DEVICE, push(&DEVICE, 5, bitrate(900))).unwrap();
    world.wait(1).unwrap();
    world.publish(&DEVICE, push(&DEVICE, 6, bitrate(3000))).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (3000, Phase::Confirmed));
}

#[test]
fn nothing_is_applied_in_a_call_unless_it_is_harmless_and_so_marked() {
    let mut world = world();
    world.call(true).unwrap();
    world.publish(&DEVICE, push(&DEVICE, 1, size_too(700))).unwrap();
    world.wait(10_000).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (1000, Phase::Staged));

    // A later layer that is harmless does not wait behind it.
    let mut metrics = payload(&north(), 1, json!({"fleet": {"metrics_interval_s": 5}}));
    world.publish(&north(), signed(&metrics, &[1])).unwrap();
    world.wait(10).unwrap();
    assert_eq!(world.phase(&north()), Phase::Staged, "it is not marked");
    (metrics.revision, metrics.apply) = (2, Apply::Now);
    world.publish(&north(), signed(&metrics, &[1])).unwrap();
    world.input(Input::Tick).unwrap();
    assert_eq!(world.probing, [Probe::Broker].into(), "the call has the camera");
    world.wait(1).unwrap();
    assert_eq!(world.phase(&north()), Phase::Confirmed);
    assert_eq!(world.in_force.fleet.as_ref().unwrap().metrics_interval_s, 5);

    // Marked, and not harmless: the mark does not help.
    let mut now = payload(&DEVICE, 2, size_too(600));
    now.apply = Apply::Now;
    world.publish(&DEVICE, signed(&now, &[1])).unwrap();
    world.wait(10).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Staged);
    world.call(false).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (600, Phase::Confirmed));
}

#[test]
fn a_call_that_begins_in_a_trial_has_the_confirmed_configuration() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, size_too(700))).unwrap();
    world.input(Input::Tick).unwrap();
    assert_eq!(world.kbps(), 700);
    world.call(true).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (1000, Phase::Staged));
    assert!(world.probing.is_empty());
    world.wait(1_000).unwrap();
    assert_eq!(world.kbps(), 1000);
    world.call(false).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (700, Phase::Confirmed), "it was nobody's fault");

    // What takes effect while the call goes on stays on trial, without the camera.
    world.publish(&DEVICE, push(&DEVICE, 2, json!({"fleet": {"keepalive_s": 20}}))).unwrap();
    world.wait(1).unwrap();
    world.publish(&north(), push(&north(), 1, json!({"fleet": {"metrics_interval_s": 9}}))).unwrap();
    world.input(Input::Tick).unwrap();
    world.call(true).unwrap();
    assert_eq!(world.probing, [Probe::Broker].into());
    world.wait(1).unwrap();
    assert_eq!(world.phase(&north()), Phase::Confirmed);
}

#[test]
fn a_key_that_needs_a_restart_is_on_trial_after_it_and_another_start_takes_it_back() {
    let session = json!({"control": {"bus": "session"}});
    let mut good = world();
    good.publish(&DEVICE, push(&DEVICE, 1, session.clone())).unwrap();
    good.input(Input::Tick).unwrap();
    assert_eq!((good.restarts, good.state.on_trial()), (1, true));
    assert_eq!(good.in_force.control.bus, crate::config::Bus::Session);
    good.link().unwrap();
    good.wait(1).unwrap();
    assert_eq!(good.phase(&DEVICE), Phase::Confirmed);

    let mut bad = world();
    bad.publish(&DEVICE, push(&DEVICE, 1, session.clone())).unwrap();
    bad.input(Input::Tick).unwrap();
    for phase in [Phase::Staged, Phase::RolledBack] {
        bad.restart().unwrap();
        assert_eq!((bad.phase(&DEVICE), bad.in_force.control.bus.clone()), (phase, crate::config::Bus::System));
        bad.link().unwrap();
        bad.input(Input::Tick).unwrap();
    }
    assert_eq!(bad.phase(&DEVICE), Phase::RolledBack, "it is not tried a third time");

    // A machine that was slow to start it takes nothing of its time.
    let mut slow = world();
    slow.publish(&DEVICE, push(&DEVICE, 1, session.clone())).unwrap();
    slow.input(Input::Tick).unwrap();
    slow.time += DEADLINE + 1;
    slow.state.up(slow.now());
    slow.input(Input::Tick).unwrap();
    assert!(slow.state.on_trial());
    slow.link().unwrap();
    slow.wait(1).unwrap();
    assert_eq!(slow.phase(&DEVICE), Phase::Confirmed);

    // Without proof, a restart takes it back; not while a customer is in a call.
    let mut late = world();
    late.passes = |probe, config| probe != Probe::Camera || config.control.bus == crate::config::Bus::System;
    late.publish(&DEVICE, push(&DEVICE, 1, session)).unwrap();
    late.input(Input::Tick).unwrap();
    late.link().unwrap();
    late.call(true).unwrap();
    late.wait(10_000).unwrap();
    assert_eq!((late.restarts, late.phase(&DEVICE)), (1, Phase::Trial));
    late.call(false).unwrap();
    late.wait(DEADLINE + 1).unwrap();
    assert_eq!((late.restarts, late.phase(&DEVICE)), (2, Phase::RolledBack));
    assert_eq!(late.in_force.control.bus, crate::config::Bus::System);
}

#[test]
fn a_trial_waits_for_the_link() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    world.linked = false;
    world.input(Input::LinkDown).unwrap();
    // The tick that was due came too late: it has begun, and the broker has to be reached before it ends.
    world.wait(1).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Staged);
    world.wait(5_000).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Staged, "without the link it could not prove itself");
    world.link().unwrap();
    world.input(Input::Tick).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Trial);
    world.input(Input::ProbePassed(Probe::Broker)).unwrap();
    world.linked = false;
    world.input(Input::LinkDown).unwrap();
    for probe in [Probe::Janus, Probe::Camera] {
        world.input(Input::ProbePassed(probe)).unwrap();
    }
    assert_eq!(world.phase(&DEVICE), Phase::Trial, "the broker was lost again");
}
