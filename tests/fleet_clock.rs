//! What has an end ends by the clock, while that is synchronised and can be right; a clock that is ten years off keeps
//! nobody from pushing what has no end.

use kiosk_harness::{
    Result,
    clock::{Synchronised, off_by},
    fleet::{self, Fleet, command, desired, layer, now},
    janus::Janus,
    scene,
    world::{World, scenario},
};
use kiosk_proto::fleet::{Command, DesiredPayload};
use serde_json::json;
use std::{thread, time::Duration};

/// A kiosk whose clock is so far off, and which believes it.
fn kiosk(world: &World, janus: &Janus, offset: Option<&str>) -> Result<(Fleet, Synchronised)> {
    let environment = offset.map(|offset| off_by(offset, world.dir())).transpose()?.unwrap_or_default();
    let mut fleet = Fleet::start_in(world, fleet::broker(world)?, scene::kiosk_config(janus)?, &environment)?;
    // As long as nobody says that the clock is synchronised, it decides nothing, whatever it shows.
    assert_eq!(fleet.run(&command(Command::Ping {}))?["outcome"], "done");
    let clock = Synchronised::on(&fleet.kiosk)?;
    fleet.kiosk.process().kill()?;
    fleet.wait_presence(false)?;
    fleet.kiosk.restart()?;
    fleet.wait_presence(true)?;
    let metrics = fleet.topic("metrics");
    let figures = fleet.wait_last(fleet::SOON, "a clock that is synchronised", &metrics, |metrics| {
        metrics["host"]["clock_synchronised"] == true
    })?;
    let at = figures["at"].as_u64().unwrap_or_default();
    assert_eq!(at.abs_diff(now()) > 300_000_000, offset.is_some(), "the kiosk's clock shows {at}");
    Ok((fleet, clock))
}

/// A layer that is good for so many seconds from now on.
fn ending(revision: u64, width: u32, seconds: i64) -> DesiredPayload {
    let mut payload = desired(revision, json!({"camera": {"width": width, "height": 360}}));
    let created = now().saturating_sub(3600);
    (payload.created, payload.expires) = (created, now().checked_add_signed(seconds));
    payload
}

fn refused_as_expired(fleet: &mut Fleet) -> Result<String> {
    let reported =
        fleet.wait_reported("the refusal", |reported| layer(reported, "device")["refused"]["code"] == "expired")?;
    Ok(layer(&reported, "device")["refused"]["message"].to_string())
}

#[test]
fn what_has_expired_is_not_taken_and_what_expires_in_a_call_is_not_tried() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let (mut fleet, _clock) = kiosk(world, &janus, None)?;
        fleet.push(&ending(1, 640, -5))?;
        assert!(refused_as_expired(&mut fleet)?.contains("it expired at"));
        let mut late = command(Command::Ping {});
        (late.created, late.expires) = (now() - 100, now() - 10);
        let answer = fleet.run(&late)?;
        assert_eq!(answer["outcome"], "expired", "{answer}");
        // An admin whose clock is fast is told so, and keeps nobody else from the kiosk.
        let mut fast = command(Command::Ping {});
        (fast.created, fast.expires) = (now() + 1000, now() + 1060);
        let answer = fleet.run(&fast)?;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(answer["outcome"] == "refused" && message.contains("the clock of the admin's machine"), "{answer}");
        assert_eq!(fleet.run(&command(Command::Ping {}))?["outcome"], "done");

        fleet.kiosk.start_call()?;
        fleet.kiosk.wait_state("waiting", scene::SETUP)?;
        let short = ending(2, 640, 15);
        fleet.push(&short)?;
        fleet.wait_phase(2, "staged")?;
        while short.expires.is_some_and(|end| now() <= end) {
            thread::sleep(Duration::from_millis(200));
        }
        fleet.kiosk.end_call()?;
        let attempt = fleet.wait_phase(2, "rejected")?;
        assert!(attempt["errors"].to_string().contains("before it could be tried"), "{attempt}");

        fleet.push(&ending(3, 320, 600))?;
        fleet.wait_phase(3, "confirmed")?;
        Ok(())
    });
}

#[test]
fn a_clock_ten_years_fast_ends_what_has_an_end_and_says_what_it_shows() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let (mut fleet, _clock) = kiosk(world, &janus, Some("+3650d"))?;
        fleet.push(&ending(1, 640, 600))?;
        assert!(refused_as_expired(&mut fleet)?.contains("this kiosk's clock shows"));
        assert_eq!(fleet.run(&command(Command::Ping {}))?["outcome"], "expired");
        // Nothing is ordered by the clock: what has no end goes as ever.
        fleet.push(&desired(2, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(2, "confirmed")?;
        Ok(())
    });
}

#[test]
fn a_clock_ten_years_slow_leaves_pushes_to_their_age_and_commands_are_told_that_it_is_wrong() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let (mut fleet, _clock) = kiosk(world, &janus, Some("-3650d"))?;
        fleet.push(&ending(1, 640, 600))?;
        fleet.wait_phase(1, "confirmed")?;
        // Whether this clock is slow or the admin's is fast can't be known here.
        let answer = fleet.run(&command(Command::Ping {}))?;
        assert_eq!(answer["outcome"], "refused");
        assert!(answer["message"].as_str().is_some_and(|text| text.contains("One of the two is wrong")), "{answer}");
        fleet.push(&desired(2, json!({"camera": {"width": 320, "height": 180}})))?;
        fleet.wait_phase(2, "confirmed")?;
        Ok(())
    });
}
