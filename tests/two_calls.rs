//! Two kiosks and two agents on one server: each pair sees its own.

use kiosk_harness::{
    Error,
    agent::{Browser, BrowserOptions, Part},
    janus::{Janus, JanusOptions, ROOM},
    kiosk::{Kiosk, KioskConfig},
    scene::{self, SETUP},
    world::{Host, scenario},
};
use std::fs;

const ROOM_2: u64 = 1002;

/// A camera of 320x240 for Chromium: two grey frames, which it plays in a loop.
fn small_camera() -> Vec<u8> {
    let mut file = b"YUV4MPEG2 W320 H240 F15:1 Ip A1:1 C420jpeg\n".to_vec();
    for luma in [64, 192] {
        file.extend(b"FRAME\n");
        file.extend([luma].repeat(320 * 240));
        file.extend([128].repeat(320 * 240 / 2));
    }
    file
}

#[test]
fn two_calls_at_once_are_not_mixed_up() {
    scenario(|world| {
        let mut options = JanusOptions::new(Host::Server.address());
        options.rooms.push((ROOM_2, "Test branch, kiosk 2".into()));
        let janus = Janus::start(&world.at(Host::Server)?, options)?;
        let camera = world.dir().join("camera.y4m");
        fs::write(&camera, small_camera()).map_err(Error::io("the small camera"))?;

        // The pictures of the two calls differ in size: 16:9 in the first, 4:3 in the second, both ways.
        let mut kiosk = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        let config =
            KioskConfig::new("kiosk-2", &janus, ROOM_2)?.with("camera", "width", 640).with("camera", "height", 480);
        let mut kiosk_2 = Kiosk::start(&world.at(Host::Kiosk2)?, "kioskd-2", &config)?;
        kiosk.start_call()?;
        kiosk_2.start_call()?;
        let options = BrowserOptions::new(Part::Agent, "kim", &janus, ROOM)?;
        let mut kim = Browser::start(&world.at(Host::Agent)?, &options)?;
        let options = BrowserOptions {
            video: Some(camera.display().to_string()),
            ..BrowserOptions::new(Part::Agent, "lee", &janus, ROOM_2)?
        };
        let mut lee = Browser::start(&world.at(Host::Agent2)?, &options)?;
        scene::flows(&mut kiosk, &mut kim, SETUP)?;
        scene::flows(&mut kiosk_2, &mut lee, SETUP)?;
        // Still the first one too, now that both run.
        scene::flows(&mut kiosk, &mut kim, SETUP)?;

        let (at_kim, at_lee) = (kim.stats()?, lee.stats()?);
        assert_eq!((at_kim.frame_width, at_kim.frame_height), (1280, 720));
        assert_eq!((at_lee.frame_width, at_lee.frame_height), (640, 480));
        let (figures, figures_2) = (kiosk.figures()?, kiosk_2.figures()?);
        // A browser makes its picture smaller on a busy machine; the shape stays.
        let (from_kim, from_lee) = (&figures.receive.video, &figures_2.receive.video);
        assert_eq!(from_kim.width * 9, from_kim.height * 16, "{from_kim:?}");
        assert_eq!(from_lee.width * 3, from_lee.height * 4, "{from_lee:?}");
        for (kiosk, own, other) in [(&mut kiosk, "agent/kim", "agent/lee"), (&mut kiosk_2, "agent/lee", "agent/kim")] {
            let log = kiosk.process().log_text();
            assert!(log.contains(own) && !log.contains(other), "{log}");
        }
        let mut ports: Vec<_> = [&figures, &figures_2]
            .iter()
            .flat_map(|figures| [&figures.publish.pair, &figures.receive.pair])
            .flatten()
            .map(|pair| pair.remote.port)
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 4, "four connections, four ports of the server: {ports:?}");

        // The end of one is no matter of the other.
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        let before = kiosk_2.figures()?;
        scene::flows(&mut kiosk_2, &mut lee, SETUP)?;
        let after = kiosk_2.figures()?;
        assert_eq!((after.publish.pair, after.receive.pair), (before.publish.pair, before.receive.pair));
        Ok(())
    });
}
