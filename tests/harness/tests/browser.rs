//! Two browsers talk through Janus in a world: what the scenarios stand on, without the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use kiosk_harness::{
    agent::{Browser, BrowserOptions, Part},
    capture::Capture,
    janus::{Janus, JanusOptions, ROOM},
    world::{Host, scenario},
};
use std::time::Duration;

#[test]
fn an_agent_sees_a_kiosk_made_of_chromium_over_tcp() {
    scenario(|world| {
        let janus = Janus::start(&world.at(Host::Server)?, JanusOptions::new(Host::Server.address()))?;
        let capture = Capture::start(world, Host::Kiosk)?;
        let options = BrowserOptions::new(Part::PublishingKiosk, "kiosk", &janus, ROOM)?;
        let kiosk = Browser::start(&world.at(Host::Kiosk)?, &options)?;
        let options = BrowserOptions::new(Part::Agent, "agent", &janus, ROOM)?;
        let mut agent = Browser::start(&world.at(Host::Agent)?, &options)?;
        let wait = Duration::from_secs(30);
        let stats = agent.wait_stats(wait, "60 frames of the kiosk", |stats| stats.frames_decoded >= 60)?;
        assert_eq!((stats.frame_width, stats.frame_height), (1280, 720));
        assert!(stats.audio.packets > 0, "{stats:?}");
        for pair in &stats.pairs {
            assert_eq!((pair.local.protocol.as_str(), pair.remote.protocol.as_str()), ("tcp", "tcp"), "{pair:?}");
            assert!((40000..=40099).contains(&pair.remote.port), "{pair:?}");
        }
        assert!(!stats.pairs.is_empty(), "no candidate pair");
        agent.end()?;
        kiosk.end()?;
        let packets = capture.stop()?;
        let media = packets.matching("tcp portrange 40000-40099")?.len();
        assert!(media > 100, "only {media} packets of media were captured");
        Ok(())
    });
}
