//! A disk that is full, and power that is lost in a trial.

use serde_json::json;

use super::tests::{DEVICE, world};
use super::world::*;
use super::*;
use crate::fleet::Phase;

#[test]
fn a_full_disk_keeps_what_is_confirmed_and_what_was_not_stored_comes_again() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    world.wait(1).unwrap();
    world.disk_full = true;
    world.acked.clear();
    world.publish(&DEVICE, push(&DEVICE, 2, bitrate(800))).unwrap();
    assert_eq!((world.acked.len(), world.layer(&DEVICE).attempts.len()), (0, 1), "not acknowledged, not begun");
    assert_eq!(world.state.reported().storage.as_deref(), Some("no space left on device"));
    world.wait(300).unwrap();
    assert_eq!(world.kbps(), 700);
    world.disk_full = false;
    world.wait(60).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (800, Phase::Confirmed));
    assert_eq!(world.state.reported().storage, None);

    // Full in the trial: what can't be kept is taken back, as a power cut would.
    world.publish(&DEVICE, push(&DEVICE, 3, bitrate(900))).unwrap();
    world.input(Input::Tick).unwrap();
    world.disk_full = true;
    world.wait(5).unwrap();
    assert_eq!(world.kbps(), 800);
    assert_ne!(world.phase(&DEVICE), Phase::Confirmed);
    world.disk_full = false;
    world.wait(60).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (800, Phase::RolledBack));
}

#[test]
fn the_end_of_a_trial_is_stored_once_there_is_room_also_behind_another_push() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    world.input(Input::Tick).unwrap();
    world.restart().unwrap();
    world.link().unwrap();
    world.input(Input::Tick).unwrap();
    world.disk_full = true;
    world.restart().unwrap();
    assert_eq!(world.kbps(), 1000);
    world.disk_full = false;
    world.linked = true;
    world.input(Input::LinkUp).unwrap();
    world.publish(&DEVICE, push(&DEVICE, 2, bitrate(800))).unwrap();
    world.wait(5).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (800, Phase::Confirmed));
    let first = world.layer(&DEVICE).attempts[1].clone();
    assert_eq!(first.phase, Phase::RolledBack);
}

#[test]
fn a_failed_trial_is_recorded_though_a_push_came_while_the_disk_was_full_and_expired_on_it() {
    let mut world = world();
    world.publish(&north(), push(&north(), 1, bitrate(700))).unwrap();
    world.input(Input::Tick).unwrap();
    world.disk_full = true;
    // The trial passes, and can't be kept.
    world.wait(5).unwrap();
    let mut second = payload(&north(), 2, bitrate(700));
    second.expires = Some(START + 60);
    world.publish(&north(), signed(&second, &[1])).unwrap();
    world.wait(90).unwrap();
    world.disk_full = false;
    world.wait(90).unwrap();
    assert_eq!((world.kbps(), world.phase(&north())), (1000, Phase::RolledBack));
}

#[test]
fn what_did_not_prove_itself_in_time_is_taken_back_on_a_full_disk_too() {
    let mut world = world();
    world.passes = |probe, config| probe != Probe::Janus || config.video.bitrate_kbps.0 <= 2_000;
    world.publish(&north(), push(&north(), 1, bitrate(3_000))).unwrap();
    world.input(Input::Tick).unwrap();
    world.disk_full = true;
    world.publish(&north(), push(&north(), 2, bitrate(700))).unwrap();
    world.wait(DEADLINE + 1).unwrap();
    assert_eq!(world.kbps(), 1000);
    world.disk_full = false;
    world.wait(90).unwrap();
    assert_eq!((world.kbps(), world.phase(&north())), (700, Phase::Confirmed));
    assert_eq!(world.layer(&north()).attempts[1].phase, Phase::RolledBack);
}

#[test]
fn a_trial_that_was_cut_short_is_tried_again_though_the_disk_was_full_at_the_start() {
    let mut world = world();
    world.publish(&north(), push(&north(), 1, json!({"control": {"bus": "session"}}))).unwrap();
    world.input(Input::Tick).unwrap();
    world.disk_full = true;
    world.restart().unwrap();
    world.link().unwrap();
    world.wait(90).unwrap();
    assert_eq!(world.phase(&north()), Phase::Staged);
    world.disk_full = false;
    // The first link sees it restart, the second one confirms it.
    for _ in 0..2 {
        world.link().unwrap();
        world.wait(31).unwrap();
    }
    assert_eq!(world.phase(&north()), Phase::Confirmed);
}

#[test]
fn the_version_before_the_newest_does_not_condemn_what_was_on_trial_in_it() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    world.input(Input::Tick).unwrap();
    let on_trial = world.disk.clone();
    world.wait(1).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Confirmed);
    world.disk = on_trial;
    world.written.clear();
    world.start(true).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (1000, Phase::Staged));
    world.link().unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (700, Phase::Confirmed));
}

#[test]
fn a_trial_that_was_cut_short_is_tried_once_more_and_not_a_third_time() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, size_too(700))).unwrap();
    world.input(Input::Tick).unwrap();
    world.restart().unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (1000, Phase::Staged), "what is confirmed is back");
    assert!(world.attempt(&DEVICE).errors[0].message.ends_with("it is tried once more"));
    // A full disk does not make it forget, nor does a call.
    let mut twice = world.clone();
    world.link().unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (700, Phase::Confirmed));
    assert!(world.attempt(&DEVICE).errors.is_empty());

    twice.disk_full = true;
    twice.restart().unwrap();
    twice.disk_full = false;
    twice.link().unwrap();
    twice.input(Input::Tick).unwrap();
    twice.call(true).unwrap();
    assert_eq!(twice.phase(&DEVICE), Phase::Staged);
    twice.call(false).unwrap();
    twice.input(Input::Tick).unwrap();
    assert_eq!(twice.phase(&DEVICE), Phase::Trial);
    twice.restart().unwrap();
    twice.link().unwrap();
    twice.wait(5).unwrap();
    assert_eq!((twice.kbps(), twice.phase(&DEVICE)), (1000, Phase::RolledBack));
    twice.publish(&DEVICE, push(&DEVICE, 2, size_too(700))).unwrap();
    assert!(twice.attempt(&DEVICE).errors[0].message.contains("for the second time; push with force"));
}
