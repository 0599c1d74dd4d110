//! A whole call of a kiosk that is in a fleet: reconnects of the link don't touch it, all is TCP, and nothing that is
//! published has a word of the agent's, a token, or the call's identifier.

use flate2::read::GzDecoder;
use kiosk_harness::{
    Error,
    agent::{Browser, BrowserOptions, Part},
    fleet::{self, Fleet, command, desired},
    janus::ROOM,
    scene::{self, SETUP},
    wait::until,
    world::{Host, scenario},
};
use kiosk_proto::fleet::{Command, LogLevel, Upload};
use serde_json::json;
use std::{fs, io::Read, os::unix::fs::PermissionsExt, time::Duration};

/// The name of an agent, as nothing that is published may have it.
const AGENT: &str = "Canary Lovelace";

#[test]
fn a_call_does_not_notice_the_fleet_and_the_fleet_learns_nothing_of_who_calls() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let (token, room_token) = janus.kiosk_token_files(ROOM)?;
        let read = |path: &std::path::Path| fs::read_to_string(path).map_err(Error::io(path.display().to_string()));
        let mut canaries = vec![AGENT.to_owned(), "Canary".to_owned(), "Lovelace".to_owned()];
        canaries.push(Host::Agent2.address().to_string());
        for file in [&token, &room_token] {
            canaries.push(read(file)?.trim().to_owned());
        }
        // The journal of this machine is what the daemon writes.
        let tools = world.dir().join("tools");
        fs::create_dir(&tools).map_err(Error::io("a folder"))?;
        let journalctl = tools.join("journalctl");
        fs::write(&journalctl, format!("#!/bin/sh\ncat {}/*-kioskd.log\n", world.dir().display()))
            .and_then(|()| fs::set_permissions(&journalctl, fs::Permissions::from_mode(0o755)))
            .map_err(Error::io("a script"))?;
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
        let config = scene::kiosk_config(&janus)?;
        let mut fleet = Fleet::start_in(world, fleet::broker(world)?, config, &[("PATH", path)])?;
        // Whatever it can write down.
        fleet.run(&command(Command::SetLogLevel { level: LogLevel::Trace, minutes: 10 }))?;

        fleet.kiosk.start_call()?;
        let mut options = BrowserOptions::new(Part::Agent, AGENT, &janus, ROOM)?;
        canaries.extend([options.token.clone(), options.room_token.clone()]);
        options.chromium.push("--disable-gpu".into());
        let mut agent = Browser::start(&world.at(Host::Agent2)?, &options)?;
        scene::flows(&mut fleet.kiosk, &mut agent, SETUP)?;
        let call_id = fleet.kiosk.call_id()?;
        assert!(fleet.kiosk.process().log_text().contains(AGENT), "the daemon never learnt the agent's name");

        // The broker goes and comes, and a push waits; the call flows on.
        let before = fleet.kiosk.figures()?;
        for kill in [true, false] {
            if kill {
                fleet.broker.kill()?
            } else {
                fleet.broker.stop()?
            }
            let presence = fleet.said("presence").len();
            fleet.broker.restart()?;
            until(Duration::from_secs(30), "the kiosk at the broker", || {
                Ok((fleet.said("presence").len() > presence).then_some(()))
            })?;
        }
        fleet.push(&desired(1, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(1, "staged")?;
        scene::flows(&mut fleet.kiosk, &mut agent, SETUP)?;
        let during = fleet.kiosk.figures()?;
        assert_eq!((fleet.kiosk.call_id()?, &during.setup), (call_id.clone(), &before.setup));
        assert_eq!((during.sockets.udp_peak, fleet.kiosk.faults()?), (0, vec![]));
        let metrics = fleet.topic("metrics");
        fleet.wait_last(fleet::SOON, "figures of the call", &metrics, |metrics| {
            metrics["call_state"] == "active" && metrics["call"]["received_frames_per_second"].as_f64() > Some(1.0)
        })?;

        let upload = Upload::Mqtt { max_bytes: 4 * 1024 * 1024 };
        let collect = command(Command::CollectDiagnostics { journal_minutes: 60, upload });
        assert_eq!(fleet.run(&collect)?["outcome"], "done");
        fleet.kiosk.end_call()?;
        fleet.wait(fleet::SOON, "the call's end", |message| message.json()["kind"] == "call-ended")?;
        fleet.wait_phase(1, "confirmed")?;

        let chunk = fleet.topic(&format!("chunk/{}", collect.id));
        let (mut parts, mut published) = (Vec::new(), String::new());
        for message in fleet.all.messages() {
            if message.topic == chunk {
                parts.extend(message.payload());
            } else {
                published.push_str(&message.text());
            }
        }
        assert!(!published.contains(&call_id), "the call's identifier was published");
        let mut diagnostics = String::new();
        GzDecoder::new(parts.as_slice()).read_to_string(&mut diagnostics).map_err(Error::io("the diagnostics"))?;
        assert!(diagnostics.contains("an agent publishes"), "the journal is missing");
        println!("measured: searched {} bytes on topics, {} of diagnostics", published.len(), diagnostics.len());
        for canary in canaries {
            for (name, text) in [("a topic", &published), ("the diagnostics", &diagnostics)] {
                assert!(!text.contains(&canary), "{canary:?} was published on {name}");
            }
        }
        Ok(())
    });
}
