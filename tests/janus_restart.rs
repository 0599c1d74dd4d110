//! Janus crashes in a call and is started again: kiosk and agent find back to each other without a person.

use kiosk_harness::{
    scene::{SETUP, Scene},
    world::scenario,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long Janus stays away: as long as systemd takes to start it again.
const AWAY: Duration = Duration::from_secs(3);

#[test]
fn a_call_comes_back_by_itself_after_janus_was_killed() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        let call_id = scene.kiosk.call_id()?;
        let killed = Instant::now();
        scene.janus.kill()?;
        scene.kiosk.wait_state("recovering", SETUP)?;
        let noticed = killed.elapsed();
        let fault = scene.kiosk.wait_fault("server-unreachable", SETUP)?;
        assert!(fault.contains("10.77.1.2:8989") && fault.contains("is the server running"), "{fault}");
        thread::sleep(AWAY.saturating_sub(killed.elapsed()));
        assert_eq!(scene.kiosk.state()?, "recovering");

        scene.janus.restart()?;
        let back = Instant::now();
        scene.kiosk.wait_state("waiting", SETUP)?;
        let published = back.elapsed();
        scene.kiosk.wait_state("active", SETUP)?;
        let active = back.elapsed();
        scene.flows(SETUP)?;
        println!(
            "measured: noticed after {noticed:.1?}; from Janus being back: published {published:.1?}, active {active:.1?}"
        );
        scene.kiosk.wait_no_fault(SETUP)?;
        assert_eq!(scene.kiosk.call_id()?, call_id, "the customer is in the same call");
        assert!(scene.agent.events("left").is_empty(), "the agent never left the call");

        scene.agent.tell("leave")?;
        scene.kiosk.wait_state("waiting", SETUP)?;
        scene.kiosk.end_call()?;
        scene.kiosk.wait_state("idle", SETUP)
    });
}
