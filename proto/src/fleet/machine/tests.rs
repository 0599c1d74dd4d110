use serde_json::json;

use super::world::*;
use super::*;
use crate::fleet::{Apply, Phase};

const DEVICE: LayerName = LayerName::Device;

fn world() -> World {
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
fn layers_merge_in_their_order_and_every_value_knows_who_set_it() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    let group = json!({"video": {"bitrate_kbps": 800, "min_bitrate_kbps": 200}});
    world.publish(&north(), push(&north(), 1, group)).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.in_force.video.min_bitrate_kbps.0), (700, 200));
    let keys = ["video.bitrate_kbps", "video.min_bitrate_kbps", "video.encoder", "janus.room"].map(String::from);
    insta::assert_json_snapshot!(world.state.explain(&keys));
    assert!(world.state.explain(&[]).len() > 30);

    // The layer is taken away by a signed payload, and what is below it shows.
    world.publish(&DEVICE, push(&DEVICE, 2, json!({}))).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (800, Phase::Confirmed));
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

/// A bit rate, and with it something that takes effect with the next call.
fn size_too(kbps: u32) -> serde_json::Value {
    json!({"video": {"bitrate_kbps": kbps}, "camera": {"width": 640}})
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
fn what_is_older_or_taken_or_the_same_is_told_apart() {
    let mut world = world();
    let five = push(&DEVICE, 5, bitrate(700));
    world.publish(&DEVICE, five.clone()).unwrap();
    world.wait(1).unwrap();
    // Two admins at once: the second one is told, and the first one's stays.
    world.publish(&DEVICE, push(&DEVICE, 5, bitrate(800))).unwrap();
    insta::assert_snapshot!("conflict", world.refusal(&DEVICE).1.replace(&digest_of(&five).short(), "DIGEST"));
    assert_eq!(world.refusal(&DEVICE).0, "conflict");
    world.publish(&DEVICE, push(&DEVICE, 4, bitrate(800))).unwrap();
    assert_eq!(world.refusal(&DEVICE).0, "stale");
    world.deliver().unwrap();
    assert_eq!(world.layer(&DEVICE).refused.unwrap().count, 2);
    assert_eq!(world.kbps(), 700);
    world.publish(&DEVICE, five).unwrap();
    assert_eq!(world.layer(&DEVICE).refused, None, "the same once more is no error");

    let mut next = payload(&DEVICE, 1, bitrate(900));
    next.epoch = 2;
    world.publish(&DEVICE, signed(&next, &[1])).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (900, Phase::Confirmed), "a new epoch counts from the start");
}

#[test]
fn what_is_not_for_this_kiosk_or_not_signed_for_it_is_refused_with_a_reason() {
    let mut world = world();
    let good = payload(&DEVICE, 1, bitrate(700));
    let mut other = good.clone();
    other.target = crate::fleet::Target::Device(crate::config::KioskId::try_from("a-2".to_owned()).unwrap());
    let mut late = good.clone();
    (late.created, late.expires) = (START - 100, Some(START - 1));
    let mut backwards = good.clone();
    backwards.expires = Some(START - 1);
    let mut silent = good.clone();
    silent.reason = " ".into();
    let unknown =
        String::from_utf8(serde_json::to_vec(&good).unwrap()).unwrap().replace("\"epoch\"", "\"x\":1,\"epoch\"");
    let keys = [key(1)];
    let raw = |bytes: &[u8]| {
        let kind = crate::fleet::PayloadType::Desired;
        crate::fleet::sign(kind, bytes, &[&keys[0]]).unwrap().to_bytes().unwrap()
    };
    let mut flipped = signed(&good, &[1]);
    let at = flipped.iter().position(|b| *b == b'"').unwrap() + 90;
    flipped[at] ^= 1;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("unknown key", signed(&good, &[9])),
        ("changed", flipped),
        ("no envelope", b"{\"video\":{}}".to_vec()),
        ("too large", vec![b' '; 200_000]),
        ("another kiosk's", signed(&other, &[1])),
        ("a group's", signed(&payload(&north(), 1, bitrate(700)), &[1])),
        ("late", signed(&late, &[1])),
        ("backwards", signed(&backwards, &[1])),
        ("without a reason", signed(&silent, &[1])),
        ("with an unknown key", raw(unknown.as_bytes())),
        ("not JSON", raw(b"video: 1")),
    ];
    let told = cases.into_iter().map(|(name, bytes)| {
        world.publish(&DEVICE, bytes).unwrap();
        let (code, message) = world.refusal(&DEVICE);
        format!("{name}: {code}: {message}")
    });
    let told: Vec<String> = told.collect();
    insta::assert_snapshot!(told.join("\n"));
    assert_eq!((world.disk.is_none(), world.acked.len()), (true, 11), "nothing of it is stored, all is acknowledged");
    assert_eq!(world.kbps(), 1000);
}

#[test]
fn a_layer_that_is_no_configuration_is_rejected_by_path() {
    let mut world = world();
    let config = json!({"video": {"bitrate": 5, "bitrate_kbps": "x"}, "kiosk": {"id": "b"}});
    world.publish(&DEVICE, push(&DEVICE, 1, config)).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Rejected);
    insta::assert_json_snapshot!(world.attempt(&DEVICE).errors);

    // It fits once another layer has changed: what is retained is looked at again, and without news nothing is written.
    world.publish(&DEVICE, push(&DEVICE, 2, json!({"video": {"min_bitrate_kbps": 1200}}))).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Rejected);
    let disk = world.disk.clone();
    world.link().unwrap();
    assert_eq!(world.disk, disk);
    world.publish(&north(), push(&north(), 1, bitrate(1500))).unwrap();
    world.wait(1).unwrap();
    world.link().unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.phase(&DEVICE), world.in_force.video.min_bitrate_kbps.0), (Phase::Confirmed, 1200));
}

#[test]
fn what_can_cut_the_kiosk_off_needs_two_signatures_where_the_site_says_so() {
    let mut world = World::new(true);
    world.link().unwrap();
    let elsewhere = payload(&DEVICE, 1, json!({"janus": {"url": "wss://other.bank.example/"}}));
    world.publish(&DEVICE, signed(&elsewhere, &[1])).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Rejected);
    insta::assert_json_snapshot!(world.attempt(&DEVICE).errors);
    world.publish(&DEVICE, signed(&elsewhere, &[1, 1])).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Rejected, "the same key twice is one");
    // The second admin signs the same bytes.
    world.publish(&DEVICE, signed(&elsewhere, &[1, 2])).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.phase(&DEVICE), world.in_force.janus.url.host()), (Phase::Confirmed, "other.bank.example"));

    // Other keys, with the address as it is, need one; to take the address away needs two again.
    let with_more = json!({"janus": {"url": "wss://other.bank.example/"}, "video": {"bitrate_kbps": 700}});
    world.publish(&DEVICE, push(&DEVICE, 2, with_more)).unwrap();
    world.wait(1).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Confirmed);
    world.publish(&DEVICE, push(&DEVICE, 3, json!({}))).unwrap();
    assert_eq!((world.phase(&DEVICE), world.in_force.janus.url.host()), (Phase::Rejected, "other.bank.example"));
    assert!(world.state.dry_run(&DEVICE, Default::default()).two_signatures);
}

#[test]
fn a_key_is_retired_by_a_configuration_that_another_key_signed() {
    let mut world = world();
    let second = crate::fleet::TrustedKey::new(key(2).verifying_key(), None).unwrap();
    let keys = payload(&DEVICE, 1, json!({"fleet": {"keys": [second.to_string()]}}));
    world.publish(&DEVICE, signed(&keys, &[2])).unwrap();
    world.wait(1).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Confirmed);
    world.publish(&DEVICE, push(&DEVICE, 2, bitrate(700))).unwrap();
    assert_eq!(world.refusal(&DEVICE).0, "unknown-key");
}

#[test]
fn keys_that_nobody_who_signed_holds_are_refused() {
    let trusted = |seed| crate::fleet::TrustedKey::new(key(seed).verifying_key(), None).unwrap().to_string();
    // Seeds of the keys that sign, and of those that are to be trusted.
    let case = |two: bool, signers: &[u8], keys: &[u8]| {
        let mut world = World::new(two);
        world.link().unwrap();
        let keys: Vec<String> = keys.iter().map(|seed| trusted(*seed)).collect();
        let payload = payload(&DEVICE, 1, json!({"fleet": {"keys": keys}}));
        world.publish(&DEVICE, signed(&payload, signers)).unwrap();
        world.wait(1).unwrap();
        (world.phase(&DEVICE), world.attempt(&DEVICE).errors.first().map(|error| error.path.clone()))
    };
    let confirmed = (Phase::Confirmed, None);
    let refused = (Phase::Rejected, Some("fleet.keys".to_owned()));
    assert_eq!(case(false, &[1], &[9]), refused);
    assert_eq!(case(false, &[1], &[2]), refused, "it may be nobody's, for all the kiosk knows");
    assert_eq!(case(false, &[1], &[1, 9]), confirmed);
    assert_eq!(case(true, &[1, 2], &[2, 9]), refused);
    assert_eq!(case(true, &[1, 2], &[1, 2, 9]), confirmed);
}

#[test]
fn a_key_on_trial_counts_for_nothing_before_it_is_confirmed() {
    let mut world = world();
    let before = world.state.trusted().to_vec();
    let keys = [1, 3].map(|seed| crate::fleet::TrustedKey::new(key(seed).verifying_key(), None).unwrap());
    let texts = keys.each_ref().map(ToString::to_string);
    world.publish(&DEVICE, push(&DEVICE, 1, json!({"fleet": {"keys": texts}}))).unwrap();
    world.input(Input::Tick).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Trial);
    assert_eq!(world.state.config().fleet.as_ref().unwrap().keys, keys);
    assert_eq!(world.state.trusted(), before);
    world.wait(1).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Confirmed);
    assert_eq!(world.state.trusted(), keys);
}

#[test]
fn expiry_goes_by_the_clock_or_by_the_age_and_ends_only_what_waits() {
    let mut soon = payload(&DEVICE, 1, bitrate(700));
    soon.expires = Some(START + 600);
    for clock_is_right in [true, false] {
        let mut world = world();
        world.clock_is_right = clock_is_right;
        world.call(true).unwrap();
        world.publish(&DEVICE, signed(&soon, &[1])).unwrap();
        world.wait(400).unwrap();
        // Its age goes on counting across a restart.
        world.publish(&north(), push(&north(), 1, bitrate(900))).unwrap();
        world.restart().unwrap();
        world.in_call = true;
        world.input(Input::CallStarted).unwrap();
        world.link().unwrap();
        world.wait(250).unwrap();
        world.call(false).unwrap();
        world.wait(5).unwrap();
        assert_eq!((world.kbps(), world.phase(&DEVICE)), (900, Phase::Rejected), "clock {clock_is_right}");
        assert!(world.attempt(&DEVICE).errors[0].message.contains("expired"));
        world.link().unwrap();
        world.wait(5).unwrap();
        assert_eq!(world.phase(&DEVICE), Phase::Rejected, "what comes again is not younger for it");
    }
    let mut world = world();
    world.publish(&DEVICE, signed(&soon, &[1])).unwrap();
    world.wait(10_000).unwrap();
    world.restart().unwrap();
    world.link().unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (700, Phase::Confirmed), "what is in force stays");
}

#[test]
fn a_clock_that_is_ten_years_off_orders_nothing() {
    for wall in [0, START - 315_360_000, START + 315_360_000] {
        let mut world = world();
        let now = Now { monotonic: Duration::ZERO, wall: Some(wall) };
        let message = |bytes| Input::Message { layer: DEVICE, bytes, delivery: Delivery(1) };
        for (revision, kbps) in [(1, 700), (2, 800)] {
            let effects = world.state.handle(now, message(push(&DEVICE, revision, bitrate(kbps))));
            assert!(matches!(effects[0], Effect::Persist(_)), "{effects:?}");
        }
        assert_eq!(world.state.durable.layer(&DEVICE).unwrap().newest.unwrap().revision, 2);
    }
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
fn an_empty_message_takes_back_what_waits_and_nothing_that_is_in_force() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    world.wait(1).unwrap();
    world.call(true).unwrap();
    world.publish(&DEVICE, push(&DEVICE, 2, bitrate(800))).unwrap();
    world.publish(&DEVICE, Vec::new()).unwrap();
    assert_eq!(world.phase(&DEVICE), Phase::Rejected);
    world.call(false).unwrap();
    world.wait(1).unwrap();
    assert_eq!(world.kbps(), 700, "it is not signed");
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
fn a_layer_that_the_site_file_left_out_does_not_keep_others_from_being_confirmed() {
    let mut world = world();
    world.publish(&north(), push(&north(), 1, json!({"video": {"min_bitrate_kbps": 900}}))).unwrap();
    world.wait(1).unwrap();
    world.site = Site::parse(&(site_text(false) + "[video]\nbitrate_kbps = 850\n")).unwrap();
    world.input(Input::SiteChanged(Box::new(world.site.clone()))).unwrap();
    assert_eq!((world.kbps(), world.layer(&north()).left_out.len()), (850, 1));
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.layer(&north()).left_out.len(), world.phase(&DEVICE)), (700, 1, Phase::Confirmed));
    world.restart().unwrap();
    assert_eq!(world.kbps(), 700);
    // With this one it fits again.
    world.link().unwrap();
    world.publish(&DEVICE, push(&DEVICE, 2, bitrate(1_200))).unwrap();
    world.wait(1).unwrap();
    let video = &world.in_force.video;
    assert_eq!((video.bitrate_kbps.0, video.min_bitrate_kbps.0), (1_200, 900));
    assert!(world.layer(&north()).left_out.is_empty());
}

#[test]
fn a_site_file_that_the_layers_do_not_fit_leaves_them_out_and_says_so() {
    let mut world = world();
    world.publish(&north(), push(&north(), 1, json!({"audio": {"gain_db": 3}}))).unwrap();
    world.publish(&DEVICE, push(&DEVICE, 1, json!({"video": {"min_bitrate_kbps": 900}}))).unwrap();
    world.wait(1).unwrap();
    let site = Site::parse(&(site_text(false) + "[video]\nbitrate_kbps = 500\n")).unwrap();
    world.site = site.clone();
    world.input(Input::SiteChanged(Box::new(site))).unwrap();
    let left_out = |world: &World| (world.kbps(), world.in_force.audio.gain_db, world.layer(&DEVICE).left_out.len());
    assert_eq!(left_out(&world), (500, 3.0, 1));
    world.restart().unwrap();
    assert_eq!(left_out(&world), (500, 3.0, 1));
    // The layer is kept: with the old site file it is in force again.
    world.site = Site::parse(&site_text(false)).unwrap();
    world.restart().unwrap();
    assert_eq!((world.kbps(), world.in_force.video.min_bitrate_kbps.0), (1000, 900));
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

#[test]
fn a_dry_run_says_what_would_change_and_keeps_nothing() {
    let mut world = world();
    world.publish(&north(), push(&north(), 1, bitrate(800))).unwrap();
    world.wait(1).unwrap();
    let disk = world.disk.clone();
    let object = |value: serde_json::Value| crate::fleet::Object(value.as_object().unwrap().clone());
    let run = |layer: &LayerName, value| world.state.dry_run(layer, object(value));
    insta::assert_json_snapshot!(
        "dry_run",
        [
            run(&DEVICE, json!({"video": {"bitrate_kbps": 700}, "ice": {"local_address": "10.1.2.3"}})),
            run(&north(), json!({"control": {"bus": "session"}})),
            run(&DEVICE, json!({"video": {"min_bitrate_kbps": 900}})),
            run(&DEVICE, json!({"vidoe": {}})),
            run(&DEVICE, json!({"fleet": {"metrics_interval_s": 5}})),
        ]
    );
    assert_eq!(world.disk, disk);
}
