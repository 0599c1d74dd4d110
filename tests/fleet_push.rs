//! A signed push takes effect in the running kiosk once it has proved itself, and is in force after a restart.

use kiosk_harness::{
    fleet::{self, Fleet, desired, layer},
    scene::{self, SETUP},
    wait::until,
    world::scenario,
};
use serde_json::json;

#[test]
fn a_push_is_tried_confirmed_and_in_force() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let before = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;
        assert_eq!(before["effective"], before["confirmed"]);

        fleet.push(&desired(1, json!({"camera": {"width": 640, "height": 360}})))?;
        let attempt = fleet.wait_phase(1, "confirmed")?;
        let phases: Vec<&str> =
            attempt["phases"].as_array().into_iter().flatten().filter_map(|phase| phase["phase"].as_str()).collect();
        assert_eq!(phases, ["received", "verified", "validated", "staged", "trial", "confirmed"]);
        let after = fleet.wait_reported("a report", |reported| reported["effective"] != before["effective"])?;
        assert_eq!(after["effective"], after["confirmed"]);
        assert_eq!(layer(&after, "device")["confirmed"]["revision"], 1);

        fleet.kiosk.start_call()?;
        fleet.kiosk.wait_figures(SETUP, "a picture of 640x360", |figures| {
            let video = &figures.publish.video;
            (video.width, video.height) == (640, 360) && video.frames > 10
        })?;
        let metrics = fleet.topic("metrics");
        fleet.wait_last(fleet::SOON, "figures of the call", &metrics, |metrics| {
            metrics["call_state"] == "waiting"
                && metrics["call"]["width"] == 640
                && metrics["config"] == after["effective"]
        })?;
        fleet.kiosk.end_call()?;

        // It is in force after a restart too, and the same push again changes nothing.
        let said = fleet.said("reported").len();
        fleet.kiosk.process().kill()?;
        fleet.wait_presence(false)?;
        fleet.kiosk.restart()?;
        fleet.wait_presence(true)?;
        let again = fleet.wait_reported("a report", |reported| reported["effective"] == after["effective"])?;
        assert_eq!(layer(&again, "device")["confirmed"]["revision"], 1);
        fleet.push(&desired(2, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(2, "confirmed")?;
        assert!(fleet.said("reported").len() > said);
        Ok(())
    });
}

#[test]
fn a_broker_that_has_lost_its_sessions_is_subscribed_to_again() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        fleet.push(&desired(1, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(1, "confirmed")?;
        fleet.broker.lose_everything()?;
        let before = fleet.said("presence").len();
        fleet.broker.restart()?;
        until(fleet::SOON, "the kiosk at the broker", || Ok((fleet.said("presence").len() > before).then_some(())))?;
        // It reports again what nobody knows any more, and hears what is pushed now.
        fleet.wait_phase(1, "confirmed")?;
        fleet.push(&desired(2, json!({"camera": {"width": 320, "height": 180}})))?;
        fleet.wait_phase(2, "confirmed")?;
        Ok(())
    });
}
