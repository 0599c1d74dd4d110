//! A pushed configuration that cuts the kiosk off, from the broker, from the server or from its camera, takes itself
//! back, and is remembered.

use kiosk_harness::{
    Result,
    fleet::{self, Fleet, desired, layer},
    scene,
    world::scenario,
};
use serde_json::{Value, json};
use std::time::Duration;

/// The deadline of a trial here, and what its end takes.
const TRIAL: Duration = Duration::from_secs(25);

/// Waits until the push was taken back; gives the reasons.
fn taken_back(fleet: &mut Fleet, revision: u64, before: &Value) -> Result<String> {
    let attempt = fleet.wait_phase_for(TRIAL, revision, "rolled-back")?;
    let phases: Vec<&str> =
        attempt["phases"].as_array().into_iter().flatten().filter_map(|phase| phase["phase"].as_str()).collect();
    assert_eq!(phases, ["received", "verified", "validated", "staged", "trial", "rolled-back"]);
    let reported = fleet.wait_reported("the report", |reported| reported["effective"] == reported["confirmed"])?;
    assert_eq!(reported["effective"], before["effective"]);
    Ok(attempt["errors"].to_string())
}

#[test]
fn what_cuts_the_kiosk_off_takes_itself_back_and_is_remembered() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let mut fleet = Fleet::start_with(world, fleet::broker(world)?, config, |config| {
            config.with("fleet", "trial_deadline_s", 5)
        })?;
        let before = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;

        // The broker: nobody listens there. The kiosk comes back by itself, since nobody can tell it to.
        let elsewhere = json!({"fleet": {"broker": "mqtts://10.77.1.2:8899"}});
        fleet.push(&desired(1, elsewhere.clone()))?;
        fleet.wait_presence(false)?;
        let why = taken_back(&mut fleet, 1, &before)?;
        assert!(why.contains("the broker was not reached") && why.contains("10.77.1.2:8899"), "{why}");
        fleet.wait_presence(true)?;

        fleet.push(&desired(2, json!({"janus": {"url": "wss://10.77.1.2:9999/"}})))?;
        let why = taken_back(&mut fleet, 2, &before)?;
        assert!(why.contains("the media server was not reached") && why.contains("10.77.1.2:9999"), "{why}");
        assert!(!why.contains("the broker was"), "{why}");

        fleet.push(&desired(3, json!({"camera": {"source": "file", "file": "/absent.mp4"}})))?;
        let why = taken_back(&mut fleet, 3, &before)?;
        assert!(why.contains("the camera and the encoder") && why.contains("/absent.mp4"), "{why}");

        // What failed is refused, also after a restart, until it is forced.
        fleet.kiosk.process().kill()?;
        fleet.kiosk.restart()?;
        fleet.push(&desired(4, elsewhere.clone()))?;
        let attempt = fleet.wait_phase(4, "rejected")?;
        assert!(attempt["errors"].to_string().contains("push with force"), "{attempt}");
        let mut forced = desired(5, elsewhere);
        forced.force = true;
        fleet.push(&forced)?;
        taken_back(&mut fleet, 5, &before)?;

        // And what is good still goes.
        fleet.push(&desired(6, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(6, "confirmed")?;
        Ok(())
    });
}

#[test]
fn a_push_waits_for_the_end_of_a_call_unless_the_call_does_not_notice() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        fleet.kiosk.start_call()?;
        fleet.kiosk.wait_state("waiting", scene::SETUP)?;
        let call = fleet.kiosk.call_id()?;
        fleet.push(&desired(1, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(1, "staged")?;
        // The link may be made anew in a call, which does not notice.
        let mut now = desired(2, json!({"fleet": {"keepalive_s": 7}}));
        now.apply = kiosk_proto::fleet::Apply::Now;
        fleet.push(&now)?;
        fleet.wait_phase(2, "confirmed")?;
        assert_eq!(fleet.kiosk.call_id()?, call);
        fleet.push(&desired(3, json!({"camera": {"width": 640, "height": 360}, "fleet": {"keepalive_s": 7}})))?;
        fleet.wait_phase(3, "staged")?;
        fleet.kiosk.end_call()?;
        fleet.wait_phase(3, "confirmed")?;
        let reported = fleet.wait_reported("a report", |reported| reported["effective"] == reported["confirmed"])?;
        assert_eq!(layer(&reported, "device")["confirmed"]["revision"], 3);
        Ok(())
    });
}

#[test]
fn a_push_that_needs_a_restart_is_tried_by_the_daemon_that_started_with_it() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let before = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;
        let pid = fleet.kiosk.process().pid();

        // The same bus by another path.
        let folder = world.dir().display().to_string();
        let address = |path: &str| format!("unix:path={folder}/{path}");
        fleet.push(&desired(1, json!({"control": {"bus": address("./kioskd.bus")}})))?;
        fleet.wait_phase_for(TRIAL, 1, "confirmed")?;
        let after = fleet.wait_reported("a report", |reported| reported["effective"] == reported["confirmed"])?;
        assert_ne!(after["effective"], before["effective"]);
        fleet.kiosk.process().must_run()?;
        assert_eq!((fleet.starts(), fleet.kiosk.process().pid()), (2, pid), "it starts again in the same process");

        // With a bus that is not there the daemon does not come up. Whoever starts it again, as systemd does, has what
        // was confirmed.
        fleet.push(&desired(2, json!({"control": {"bus": address("absent.bus")}})))?;
        for _ in 0..2 {
            let status = fleet.kiosk.process().wait(TRIAL)?;
            assert!(!status.success(), "{status}");
            // The first of them tries the push once more, and ends again.
            fleet.kiosk.launch_again()?;
        }
        let attempt = fleet.wait_phase_for(TRIAL, 2, "rolled-back")?;
        assert!(attempt["errors"].to_string().contains("for the second time"), "{attempt}");
        let last = fleet.wait_reported("a report", |reported| reported["effective"] == reported["confirmed"])?;
        assert_eq!(last["effective"], after["effective"]);
        Ok(())
    });
}

#[test]
fn with_the_broker_gone_for_the_whole_trial_the_kiosk_decides_alone_and_tells_later() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let mut fleet = Fleet::start_with(world, fleet::broker(world)?, config, |config| {
            config.with("fleet", "trial_deadline_s", 5)
        })?;
        let before = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;
        // A trial that can't end at once, and in it the broker goes.
        fleet.push(&desired(1, json!({"janus": {"url": "wss://10.77.1.2:9999/"}})))?;
        fleet.wait_phase(1, "trial")?;
        fleet.broker.stop()?;
        fleet.kiosk.process().wait_log("phase: RolledBack", TRIAL)?;
        fleet.broker.restart()?;
        let why = taken_back(&mut fleet, 1, &before)?;
        assert!(
            why.contains("the media server was not reached") && why.contains("the broker was not reached"),
            "{why}"
        );

        // What is pushed while the kiosk is away is there when it comes back.
        world.cut(kiosk_harness::world::Host::Kiosk)?;
        fleet.wait_presence(false)?;
        fleet.push(&desired(2, json!({"camera": {"width": 640, "height": 360}})))?;
        world.restore(kiosk_harness::world::Host::Kiosk)?;
        fleet.wait_phase_for(Duration::from_secs(60), 2, "confirmed")?;
        Ok(())
    });
}
