//! A link that becomes slower than the encoder, with a bottleneck that would queue two seconds: the delay must not build up,
//! the picture goes on, and what the link carries is used again when it is back.

use kiosk_harness::{
    Error, Result,
    kiosk::Kiosk,
    scene::{SETUP, Scene},
    world::{Host, World, scenario},
};
use std::{thread, time::Duration};

/// The kiosk's way out, at `kbit/s` or unlimited.
fn shape(world: &World, kbps: Option<u32>) -> Result<()> {
    let route = world.run(Host::Kiosk, "ip", &["route", "get", &Host::Server.address().to_string()])?;
    let device = route.split_whitespace().skip_while(|word| *word != "dev").nth(1);
    let device = device.ok_or_else(|| Error::Other(format!("no device in {route:?}")))?;
    let rate = kbps.map(|kbps| format!("{kbps}kbit"));
    let arguments: Vec<&str> = match &rate {
        Some(rate) => vec!["replace", "dev", device, "root", "tbf", "rate", rate, "burst", "8kb", "latency", "2000ms"],
        None => vec!["del", "dev", device, "root"],
    };
    world.run(Host::Kiosk, "tc", &[&["qdisc"], arguments.as_slice()].concat()).map(|_| ())
}

/// Delays of the queue over some seconds, sorted, milliseconds.
fn delays(kiosk: &mut Kiosk, seconds: u64) -> Result<Vec<f64>> {
    let mut delays = Vec::new();
    for _ in 0..seconds {
        thread::sleep(Duration::from_secs(1));
        delays.push(kiosk.figures()?.link.queue_delay_ms);
    }
    delays.sort_by(f64::total_cmp);
    Ok(delays)
}

#[test]
fn on_a_slow_link_the_picture_gets_smaller_and_not_later() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        let fast = scene.kiosk.wait_figures(SETUP, "a measured link", |f| f.link.target_bits_per_second > 0)?;
        println!("before: {:?}", fast.link);
        scene.kiosk.wait_figures(SETUP, "reports of arrivals", |f| f.link.reported_queue_ms.is_some())?;

        shape(world, Some(500))?;
        let kiosk = &mut scene.kiosk;
        let slow =
            kiosk.wait_figures(SETUP, "a bitrate below the link's", |f| f.link.target_bits_per_second < 500_000)?;
        println!("slow: {:?}", slow.link);
        let delays = delays(kiosk, 15)?;
        println!("delays on the slow link: {delays:?} ms");
        let gate = kiosk.figures()?.publish.gate;
        println!("the gate on the slow link: {gate:?}");
        // As it comes, libnice loses a third of them here.
        assert_eq!((gate.packets_lost, gate.video.packets_discarded, gate.audio.packets_discarded), (0, 0, 0));
        // As it comes, webrtcbin stands at two to four seconds here, for as long as the link is slow.
        assert!(delays[delays.len() * 9 / 10] < 500.0, "{delays:?}");
        scene.flows(SETUP)?;

        shape(world, None)?;
        let back = |f: &kiosk_proto::figures::CallFigures| f.link.target_bits_per_second > 800_000;
        let fast = scene.kiosk.wait_figures(SETUP, "the bitrate of the fast link", back)?;
        println!("after: {:?}", fast.link);
        scene.flows(SETUP)?;
        assert_eq!(scene.kiosk.faults()?, []);
        scene.kiosk.end_call()
    });
}
