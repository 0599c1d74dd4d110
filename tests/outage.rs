//! The kiosk's way out carries nothing for some seconds: the customer's session goes on, and what is seen after it is new.

use kiosk_harness::{
    Result,
    scene::{SETUP, Scene},
    wait::until,
    world::{Host, World, scenario},
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Everything, both ways, dropped without a word, as a modem without its line does.
const RULES: &str = "table inet outage {
    chain output { type filter hook output priority 0; oifname != \"lo\" drop; }
    chain input { type filter hook input priority 0; iifname != \"lo\" drop; }
}";

fn carries_nothing(world: &World, time: Duration) -> Result<()> {
    world.nft(Host::Kiosk, RULES)?;
    thread::sleep(time);
    world.run(Host::Kiosk, "nft", &["delete", "table", "inet", "outage"]).map(drop)
}

/// The kiosk sends again what is acknowledged: time since `begin`.
fn carries_again(scene: &mut Scene, begin: Instant) -> Result<Duration> {
    let sent = until(SETUP, "the kiosk's pictures on their way", || {
        let figures = scene.kiosk.figures()?;
        let flows = figures.publish.state == "connected" && !figures.link.dead && figures.link.key_frames > 0;
        Ok((flows && figures.publish.video.frames_per_second > 1.0).then(|| begin.elapsed()))
    });
    sent.map_err(|error| scene.kiosk.process().explain(error))
}

#[test]
fn ten_seconds_without_a_link_end_no_session() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        let before = scene.kiosk.figures()?;

        carries_nothing(world, Duration::from_secs(10))?;
        let back = Instant::now();
        println!("measured: pictures on their way {:.1?} after the link's return", carries_again(&mut scene, back)?);
        scene.flows(SETUP)?;
        println!("measured: pictures and sound both ways {:.1?} after it", back.elapsed());

        let after = scene.kiosk.figures()?;
        assert_eq!(after.call_id, before.call_id, "the customer's session is the same");
        scene.kiosk.wait_no_fault(SETUP)?;
        let log = scene.kiosk.process().log_text();
        assert!(log.contains("nothing is acknowledged any more"), "{log}");
        assert!(log.contains("carries nothing; the kiosk makes a new one"), "{log}");
        assert_eq!(log.matches("the call starts").count(), 1, "{log}");
        scene.kiosk.end_call()?;
        scene.kiosk.wait_state("idle", SETUP)
    });
}

#[test]
fn three_seconds_without_a_link_leave_nothing_stale() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        carries_nothing(world, Duration::from_secs(3))?;
        let back = Instant::now();
        println!("measured: pictures on their way {:.1?} after the link's return", carries_again(&mut scene, back)?);
        scene.flows(SETUP)?;
        let log = scene.kiosk.process().log_text();
        assert!(log.contains("the picture that waited is thrown away"), "{log}");
        scene.kiosk.wait_no_fault(SETUP)?;
        scene.kiosk.end_call()
    });
}
