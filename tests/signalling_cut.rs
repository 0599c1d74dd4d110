//! The WebSocket is cut for ten seconds: the media flows on, and the session is taken over without a new connection.

use kiosk_harness::{
    Error, Result,
    janus::WSS_PORT,
    scene::{SETUP, Scene},
    wait::until,
    world::{Host, scenario},
};
use std::time::{Duration, Instant};

const CUT: Duration = Duration::from_secs(10);

/// Both directions of signalling, dropped without a word, as a firewall that lost its state does.
fn rules() -> String {
    format!(
        "table inet cut {{
    counter cut {{}}
    chain output {{ type filter hook output priority 0; tcp dport {WSS_PORT} counter name cut drop; }}
    chain input {{ type filter hook input priority 0; tcp sport {WSS_PORT} counter name cut drop; }}
}}"
    )
}

/// Frames that the agent and the kiosk have decoded.
fn frames(scene: &Scene) -> Result<(u64, u64)> {
    Ok((scene.agent.stats()?.frames_decoded, scene.kiosk.figures()?.receive.video.frames))
}

/// Waits until both sides have decoded some more frames; a reading is up to a second old.
fn pictures_move(scene: &mut Scene) -> Result<()> {
    // The cut lasts for as long as this takes, but for less than the server keeps a session.
    const STALL: Duration = Duration::from_secs(15);
    let before = frames(scene)?;
    let moved = until(STALL, "moving pictures while signalling is cut", || {
        let now = frames(scene)?;
        Ok((now.0 > before.0 + 5 && now.1 > before.1 + 5).then_some(()))
    });
    moved.map_err(|error| scene.kiosk.process().explain(error))
}

#[test]
fn media_flows_on_while_signalling_is_cut_and_the_session_is_claimed() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        let before = scene.kiosk.figures()?;
        let pairs = scene.agent.stats()?.pairs;
        assert!(before.publish.pair.is_some() && before.receive.pair.is_some(), "{before:?}");
        let setups = setups(&mut scene);

        world.nft(Host::Kiosk, &rules())?;
        let start = Instant::now();
        let mut noticed = None;
        while start.elapsed() < CUT || (noticed.is_none() && start.elapsed() < 2 * CUT) {
            pictures_move(&mut scene)?;
            if noticed.is_none() && scene.kiosk.state()? == "recovering" {
                noticed = Some(start.elapsed());
            }
        }
        let dropped = world.counter(Host::Kiosk, "cut")?.packets;
        assert!(dropped > 0, "nothing was cut");
        world.run(Host::Kiosk, "nft", &["delete", "table", "inet", "cut"])?;
        let noticed = noticed.ok_or_else(|| Error::Other("the kiosk did not notice the cut".into()))?;

        let back = Instant::now();
        scene.kiosk.wait_state("active", SETUP)?;
        println!("measured: noticed after {noticed:.1?}, taken over {:.1?} after the cut's end", back.elapsed());
        scene.kiosk.wait_no_fault(SETUP)?;
        scene.flows(SETUP)?;
        let after = scene.kiosk.figures()?;
        assert_eq!((&after.publish.pair, &after.receive.pair), (&before.publish.pair, &before.receive.pair));
        assert_eq!(scene.agent.stats()?.pairs, pairs);
        let log = scene.kiosk.process().log_text();
        assert_eq!(log.matches("signalling is back; the media went on").count(), 1, "{log}");
        assert_eq!(self::setups(&mut scene), setups, "a new connection");

        // The session is good for more than keeping it: events arrive, requests are answered.
        scene.agent.tell("leave")?;
        scene.kiosk.wait_state("waiting", SETUP)?;
        scene.agent.tell("join")?;
        scene.flows(SETUP)?;
        scene.kiosk.end_call()?;
        scene.kiosk.wait_state("idle", SETUP)
    });
}

/// Peer connections that Janus has made so far.
fn setups(scene: &mut Scene) -> usize {
    scene.janus.process().log_text().matches("Creating ICE agent").count()
}
