//! What is taken, and what is refused and why.

use serde_json::json;

use super::tests::{DEVICE, world};
use super::world::*;
use super::*;
use crate::fleet::Phase;

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
