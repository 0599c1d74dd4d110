//! The agent leaves and comes back, or falls silent: the kiosk waits meanwhile, and its own connection stays as it is.

use kiosk_harness::{
    procfs::family,
    scene::{SETUP, Scene},
    world::scenario,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

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
        scene.kiosk.wait_state("idle", SETUP)
    });
}

#[test]
fn an_agent_who_falls_silent_is_received_anew() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        let before = scene.kiosk.figures()?;
        assert!(before.publish.pair.is_some() && before.receive.pair.is_some());
        // The agent's machine stands still: nothing arrives, and no connection ends.
        let browser = family(scene.agent.process().pid());
        let tell = |signal| {
            for pid in &browser {
                // A helper of the browser may have ended.
                let _ = kill(Pid::from_raw(*pid as i32), signal);
            }
        };
        tell(Signal::SIGSTOP);
        let noticed = scene.kiosk.process().wait_log("nothing of the agent has arrived for 6 s", SETUP);
        tell(Signal::SIGCONT);
        noticed?;
        scene.flows(SETUP)?;
        let after = scene.kiosk.figures()?;
        assert_eq!(after.publish.pair, before.publish.pair, "the kiosk's own connection");
        assert_ne!(after.receive.pair, before.receive.pair, "the agent's");
        assert_eq!((after.call_id, scene.kiosk.faults()?), (before.call_id, vec![]));
        Ok(())
    });
}
