//! The agent leaves and comes back: the kiosk waits meanwhile, and its own connection stays as it is.

use kiosk_harness::{
    scene::{SETUP, Scene},
    world::scenario,
};
use std::time::Duration;

#[test]
fn the_kiosk_waits_for_an_agent_who_left_and_keeps_its_connection() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        let before = scene.kiosk.figures()?.publish.pair;
        assert!(before.is_some());
        for _ in 0..2 {
            scene.agent.tell("leave")?;
            scene.agent.wait_event("left", SETUP)?;
            scene.kiosk.wait_state("waiting", SETUP)?;
            let figures = scene.kiosk.wait_figures(SETUP, "figures without an agent", |f| f.receive.pair.is_none())?;
            assert_eq!(figures.publish.pair, before);
            assert_eq!(scene.kiosk.faults()?, [], "a customer who waits is nothing wrong");

            scene.agent.tell("join")?;
            scene.flows(SETUP)?;
            assert_eq!(scene.kiosk.figures()?.publish.pair, before);
        }
        let log = scene.kiosk.process().log_text();
        let count = |text: &str| log.matches(text).count();
        assert_eq!((count("AGENT=agent/agent"), count("the agent left")), (3, 2));
        scene.kiosk.end_call()?;
        scene.kiosk.wait_state("idle", Duration::from_secs(5))
    });
}
