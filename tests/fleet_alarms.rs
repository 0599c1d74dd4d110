//! What must not go unseen reaches the admin over MQTT: a camera that is lost, a socket that is not TCP, and what the
//! kiosk's firewall dropped.

use gstreamer as gst;
use gstreamer::prelude::*;
use kiosk_harness::{
    Error, Result,
    fleet::{self, Fleet},
    process::run,
    scene::{self, SETUP},
    world::{Host, World, repository, scenario},
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command, time::Duration};

/// A recording is read ahead, and read again a few times before it counts as lost.
const NOTICED: Duration = Duration::from_secs(30);

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Other(format!("GStreamer: {error}"))
}

/// Two seconds of a picture that moves.
fn record(file: &Path) -> Result<Vec<u8>> {
    gst::init().map_err(failed)?;
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers=60 pattern=smpte horizontal-speed=4 ! video/x-raw,width=320,height=180,framerate=30/1 \
         ! jpegenc ! matroskamux ! filesink location={}",
        file.display()
    ));
    let pipeline = pipeline.map_err(failed)?;
    pipeline.set_state(gst::State::Playing).map_err(failed)?;
    let bus = pipeline.bus().ok_or_else(|| failed("no bus"))?;
    let end =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).map_err(failed)?;
    if !end.is_some_and(|message| message.type_() == gst::MessageType::Eos) {
        return Err(failed("the recording does not end"));
    }
    fs::read(file).map_err(Error::io("recording"))
}

/// The variables of a daemon that holds a UDP socket while the file is there.
fn holds_udp(world: &World, wanted: &Path) -> Result<[(&'static str, String); 2]> {
    let library = world.dir().join("hold.so");
    let source = repository().join("tests/audit_catches/hold.c");
    run(Command::new("cc").args(["-shared", "-fPIC", "-pthread", "-o"]).arg(&library).arg(source))?;
    Ok([("LD_PRELOAD", library.display().to_string()), ("HOLD_WHILE", wanted.display().to_string())])
}

/// What `kiosk-counters.service` runs.
fn read_counters(world: &World) -> Result<()> {
    let unit = repository().join("systemd/kiosk-counters.service");
    let unit = fs::read_to_string(&unit).map_err(Error::io("kiosk-counters.service"))?;
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let Some(line) = line else { return Err(Error::Other("the unit starts nothing".into())) };
    world.run(Host::Kiosk, "sh", &["-c", line]).map(drop)
}

fn wait_event(fleet: &mut Fleet, wanted: Value) -> Result<()> {
    fleet.wait(NOTICED, &wanted.to_string(), |message| {
        let event = message.json();
        wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| event[key] == *value))
    })?;
    Ok(())
}

#[test]
fn a_lost_camera_a_udp_socket_and_what_the_firewall_dropped_are_told() {
    scenario(|world| {
        let (file, hold) = (world.dir().join("recording.mkv"), world.dir().join("hold"));
        let recording = record(&file)?;
        let write = |bytes: &[u8]| fs::write(&file, bytes).map_err(Error::io("recording"));
        world.run(Host::Kiosk, "mkdir", &["-p", "/run/kiosk-counters"])?;
        let server = format!("{{ {} }}", Host::Server.address());
        world.firewall(Host::Kiosk, "kiosk.nft", &[("server_addresses", &server)])?;

        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let config = config.with("camera", "source", "file").with("camera", "file", file.display().to_string());
        let mut fleet = Fleet::start_in(world, fleet::broker(world)?, config, &holds_udp(world, &hold)?)?;

        // A program of the kiosk tries UDP: it goes nowhere, and the figures say so.
        let _ = world.run(Host::Kiosk, "bash", &["-c", &format!("echo x >/dev/udp/{}/53", Host::Server.address())]);
        read_counters(world)?;
        let metrics = fleet.topic("metrics");
        let counted = fleet.wait_last(fleet::SOON, "the firewall's counters", &metrics, |metrics| {
            metrics["firewall"]["dropped"]["udp_out"].as_u64().is_some_and(|packets| packets > 0)
        })?;
        let truth = world.counter(Host::Kiosk, "udp_out")?.packets;
        assert_eq!(counted["firewall"]["dropped"]["udp_out"], truth);
        assert_eq!(counted["firewall"]["dropped"].as_object().map(serde_json::Map::len), Some(5), "{counted}");

        fleet.kiosk.start_call()?;
        fleet.kiosk.wait_state("waiting", SETUP)?;
        write(&[])?;
        wait_event(&mut fleet, json!({"kind": "fault-raised", "code": "camera-unavailable"}))?;
        fleet.wait_last(fleet::SOON, "the fault in the figures", &metrics, |metrics| {
            metrics["faults"].to_string().contains("camera-unavailable")
        })?;
        write(&recording)?;
        wait_event(&mut fleet, json!({"kind": "fault-cleared", "code": "camera-unavailable"}))?;

        assert!(fleet.said("event").iter().all(|event| event["kind"] != "tcp-only-violation"));
        fs::write(&hold, "").map_err(Error::io("hold"))?;
        wait_event(&mut fleet, json!({"kind": "tcp-only-violation"}))?;
        wait_event(&mut fleet, json!({"kind": "call-ended"}))?;
        Ok(())
    });
}
