//! The power fails, or the disk: at whatever step, the kiosk comes back with what was confirmed last.

use kiosk_harness::{
    Error,
    fleet::{self, Fleet, desired, layer},
    power::kill_at,
    scene,
    wait::until,
    world::{Host, scenario},
};
use serde_json::json;
use std::{fs, time::Duration};

/// System calls by which a state file changes; each is counted by itself.
const CALLS: [&str; 5] = ["fsync", "fdatasync", "linkat", "rename", "unlink"];

#[test]
fn killed_at_every_step_of_a_push_it_comes_back_with_what_was_confirmed_last() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let mut last = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;
        let (mut cut_short, mut kept, mut revision) = (0, 0, 0);
        for call in CALLS {
            for step in 1.. {
                assert!(step < 50, "a push has no end");
                revision += 1;
                let width = if revision % 2 == 0 { 320 } else { 640 };
                let push = desired(revision, json!({"camera": {"width": width, "height": 360}}));
                let strace = kill_at(world, fleet.kiosk.process().pid(), call, step)?;
                fleet.push(&push)?;
                // Either it is killed, or the push has fewer of these steps.
                let killed = until(fleet::SOON, "the end of the push or of the daemon", || {
                    let ended = fleet.kiosk.process().ended()?.is_some();
                    let told =
                        |event: serde_json::Value| event["revision"] == revision && event["phase"] == "confirmed";
                    let done = !ended && fleet.said("event").into_iter().any(told);
                    Ok((ended || done).then_some(ended))
                })?;
                drop(strace);
                if killed {
                    let said = fleet.said("reported");
                    fleet.kiosk.restart()?;
                    let first =
                        until(fleet::SOON, "the first report", || Ok(fleet.said("reported").get(said.len()).cloned()))?;
                    // What was told as confirmed stays; what was not is not in force.
                    let confirmed = &layer(&first, "device")["confirmed"]["revision"];
                    assert_eq!(first["effective"], first["confirmed"], "{call} {step}");
                    if *confirmed == revision {
                        kept += 1;
                    } else {
                        let told =
                            said.last().is_some_and(|said| layer(said, "device")["confirmed"]["revision"] == revision);
                        assert!(!told, "{call} {step}: what was told as confirmed was taken back");
                        assert_eq!(first["effective"], last["effective"], "{call} {step}");
                        cut_short += usize::from(first.to_string().contains("it is tried once more"));
                    }
                } else {
                    println!("measured: {call}: killed at {} steps", step - 1);
                    assert!(step > 2, "{call} was not met");
                }
                // What the admin wants is in force in the end, though nobody pushes it again.
                last = fleet.wait_reported("the push", |reported| {
                    layer(reported, "device")["confirmed"]["revision"] == revision
                        && reported["effective"] == reported["confirmed"]
                })?;
                if !killed {
                    break;
                }
            }
        }
        println!("measured: {cut_short} trials cut short, {kept} pushes kept");
        assert!(cut_short >= 3 && kept >= 1, "the daemon was not killed where it stores");
        Ok(())
    });
}

#[test]
fn killed_at_every_step_of_a_command_it_carries_it_out_at_most_once_and_gives_one_answer() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let ends = |fleet: &Fleet, id: &str| -> Vec<String> {
            let answers = fleet.said("response/test").into_iter().filter(|answer| answer["id"] == id);
            answers.filter(|answer| answer["outcome"] != "waiting").map(|answer| answer.to_string()).collect()
        };
        let (mut kills, mut before, mut after) = (0, 0, 0);
        for call in CALLS {
            for step in 1.. {
                assert!(step < 30, "a command has no end");
                let ping = fleet::command(kiosk_proto::fleet::Command::Ping {});
                let id = ping.id.as_str();
                let strace = kill_at(world, fleet.kiosk.process().pid(), call, step)?;
                fleet.send(&ping)?;
                // Either it is killed, or the command has fewer of these steps. Its event is stored last.
                let events = fleet.said("event").len();
                let killed = until(fleet::SOON, "the end of the command or of the daemon", || {
                    let ended = fleet.kiosk.process().ended()?.is_some();
                    let told = fleet.said("event").iter().skip(events).any(|event| event["kind"] == "command-finished");
                    Ok((ended || (told && !ends(&fleet, id).is_empty())).then_some(ended))
                })?;
                drop(strace);
                // Each start has a log of its own.
                let line = format!("a command of the fleet is carried out id={id} ");
                let carried_out = |fleet: &mut Fleet| fleet.kiosk.process().log_text().matches(&line).count();
                let mut times = carried_out(&mut fleet);
                before += usize::from(killed && times == 0);
                after += usize::from(killed && times == 1);
                if killed {
                    kills += 1;
                    fleet.kiosk.restart()?;
                    until(fleet::SOON, "an answer", || Ok((!ends(&fleet, id).is_empty()).then_some(())))?;
                }
                // It comes again: whatever is known of it by now is the answer.
                let answers = ends(&fleet, id).len();
                fleet.send(&ping)?;
                until(fleet::SOON, "the answer again", || Ok((ends(&fleet, id).len() > answers).then_some(())))?;
                times += if killed { carried_out(&mut fleet) } else { 0 };
                assert!(times <= 1, "{call} {step}: carried out {times} times");
                let answers = ends(&fleet, id);
                assert!(answers.iter().all(|answer| *answer == answers[0]), "{call} {step}: {answers:?}");
                if !killed {
                    println!("measured: {call}: killed at {} steps", step - 1);
                    break;
                }
            }
        }
        println!("measured: {kills} kills, {before} before it was carried out, {after} after");
        assert!(before >= 2 && after >= 2, "the daemon was not killed where it stores commands");
        Ok(())
    });
}

#[test]
fn a_trial_that_is_cut_short_twice_is_not_begun_a_third_time() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, config)?;
        let before = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;
        fleet.push(&desired(1, json!({"janus": {"url": "wss://10.77.1.2:9999/"}})))?;
        for trial in 1..=2 {
            fleet.wait_reported("the trial", |reported| {
                let phases = layer(reported, "device")["attempts"][0]["phases"].as_array().cloned().unwrap_or_default();
                phases.iter().filter(|phase| phase["phase"] == "trial").count() == trial
                    && reported["effective"] != reported["confirmed"]
            })?;
            fleet.kiosk.process().kill()?;
            fleet.kiosk.restart()?;
        }
        let attempt = fleet.wait_phase(1, "rolled-back")?;
        assert!(attempt["errors"].to_string().contains("for the second time"), "{attempt}");
        let last = fleet.wait_reported("a report", |reported| reported["effective"] == reported["confirmed"])?;
        assert_eq!(last["effective"], before["effective"]);
        fleet.push(&desired(2, json!({"janus": {"url": "wss://10.77.1.2:9999/"}})))?;
        let attempt = fleet.wait_phase(2, "rejected")?;
        assert!(attempt["errors"].to_string().contains("push with force"), "{attempt}");
        Ok(())
    });
}

/// How often the kiosk said that this file was damaged.
fn damaged(fleet: &Fleet, file: &str, recovered: bool) -> usize {
    let all = fleet.said("event");
    let found = all
        .iter()
        .filter(|event| event["kind"] == "state-damaged" && event["file"] == file && event["recovered"] == recovered);
    found.count()
}

#[test]
fn damaged_state_files_give_way_to_the_ones_before_and_it_is_said() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        fleet.push(&desired(1, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(1, "confirmed")?;
        let good = fleet.wait_reported("a report", |reported| reported["effective"] == reported["confirmed"])?;
        for (number, damage) in ["cut", "bit", "empty", "both"].into_iter().enumerate() {
            // Two versions of the commands too.
            for _ in 0..2 {
                assert_eq!(fleet.run(&fleet::command(kiosk_proto::fleet::Command::Ping {}))?["outcome"], "done");
            }
            fleet.kiosk.process().kill()?;
            fleet.wait_presence(false)?;
            let path = |name: &str| fleet.state_dir.join(name);
            let read = |name: &str| fs::read(path(name)).map_err(Error::io(name.to_owned()));
            let write = |name: &str, bytes: &[u8]| fs::write(path(name), bytes).map_err(Error::io(name.to_owned()));
            for file in ["desired", "commands"] {
                let mut bytes = read(file)?;
                match damage {
                    "cut" => bytes.truncate(bytes.len() / 2),
                    "empty" => bytes.clear(),
                    _ => {
                        let middle = bytes.len() / 2;
                        bytes[middle] ^= 4;
                    }
                }
                write(file, &bytes)?;
                if damage == "both" {
                    write(&format!("{file}.previous"), b"rubbish")?;
                }
            }
            let mut events = read("events")?;
            events.extend(b"half a rec");
            write("events", &events)?;
            fleet.kiosk.restart()?;
            let wanted = if damage == "both" { (1, false) } else { (number + 1, true) };
            until(fleet::SOON, &format!("word of the damage ({damage})"), || {
                let both = ["desired", "commands"].iter().all(|file| damaged(&fleet, file, wanted.1) >= wanted.0);
                Ok((both && damaged(&fleet, "events", true) > number).then_some(()))
            })?;
            // What the admin wants is still at the broker: the kiosk gets there again, whatever was lost.
            let now = fleet.wait_reported_for(Duration::from_secs(25), "the confirmed configuration", |reported| {
                reported["effective"] == reported["confirmed"]
                    && reported["effective"] == good["effective"]
                    && layer(reported, "device")["confirmed"]["revision"] == 1
            })?;
            assert_eq!(now["storage"], serde_json::Value::Null);
        }
        Ok(())
    });
}

#[test]
fn with_a_full_disk_nothing_is_taken_and_with_room_again_it_is() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let state = world.dir().join("state");
        fs::create_dir(&state).map_err(Error::io("the state's folder"))?;
        let state = state.display().to_string();
        world.run_product(Host::Kiosk, "mount", &["-t", "tmpfs", "-o", "size=128k", "tmpfs", &state])?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        fleet.push(&desired(1, json!({"camera": {"width": 640, "height": 360}})))?;
        fleet.wait_phase(1, "confirmed")?;
        let good = fleet.wait_reported("a report", |reported| reported["effective"] == reported["confirmed"])?;

        let fill = format!("{state}/fill");
        // It ends with an error: that is the point.
        let _ = world.run_product(Host::Kiosk, "dd", &["if=/dev/zero", &format!("of={fill}"), "bs=512"]);
        fleet.push(&desired(2, json!({"camera": {"width": 320, "height": 180}})))?;
        let full = fleet.wait_reported("word of the full disk", |reported| {
            reported["storage"].as_str().is_some_and(|text| text.contains("No space left") && text.contains(&state))
        })?;
        assert_eq!(full["effective"], good["effective"]);
        assert_eq!(layer(&full, "device")["confirmed"]["revision"], 1);
        // A command that can't be written down could be done twice: it is not done.
        let answer = fleet.run(&fleet::command(kiosk_proto::fleet::Command::Ping {}))?;
        assert_eq!(answer["outcome"], "failed", "{answer}");
        // Events wait in memory, and a call is none of the disk's business.
        fleet.kiosk.start_call()?;
        fleet.kiosk.wait_state("waiting", scene::SETUP)?;
        fleet.kiosk.end_call()?;
        fleet.wait(fleet::SOON, "the call's end", |message| message.json()["kind"] == "call-ended")?;

        world.run_product(Host::Kiosk, "rm", &[&fill])?;
        fleet.wait_phase_for(Duration::from_secs(60), 2, "confirmed")?;
        fleet.wait_reported("that all is well", |reported| reported["storage"].is_null())?;
        // And it is on the disk.
        fleet.kiosk.process().kill()?;
        fleet.kiosk.restart()?;
        fleet.wait_reported("the same after a restart", |reported| {
            reported["effective"] != good["effective"] && reported["effective"] == reported["confirmed"]
        })?;
        Ok(())
    });
}
