//! Commands are carried out once, not in a customer's way, and answered; diagnostics come without secrets.

use flate2::read::GzDecoder;
use kiosk_harness::{
    Error, Result,
    fleet::{self, Fleet, UPLOAD_PORT, command, now},
    janus::ROOM,
    scene,
    wait::until,
    world::{Host, scenario},
};
use kiosk_proto::fleet::{Command, LogLevel, PayloadType, Upload, WhenBusy};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, io::Read, os::unix::fs::PermissionsExt};

#[test]
fn a_command_that_would_end_a_call_waits_is_refused_or_is_forced() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        fleet.kiosk.start_call()?;
        fleet.kiosk.wait_state("waiting", scene::SETUP)?;

        let mut refuse = command(Command::RestartDaemon {});
        refuse.when_busy = WhenBusy::Refuse;
        assert_eq!(fleet.run(&refuse)?["outcome"], "refused");
        assert_eq!(fleet.run(&command(Command::EndCall {}))?["outcome"], "refused");

        // It waits for the end of the call, and is done once, though it comes twice.
        let restart = command(Command::RestartDaemon {});
        fleet.send(&restart)?;
        fleet.wait_answer(restart.id.as_str(), |answer| answer["outcome"] == "waiting")?;
        fleet.send(&restart)?;
        assert_eq!(fleet.kiosk.state()?, "waiting");
        let pid = fleet.kiosk.process().pid();
        let mut end = command(Command::EndCall {});
        end.force = true;
        assert_eq!(fleet.run(&end)?["outcome"], "done");
        fleet.wait_answer(restart.id.as_str(), |answer| answer["outcome"] == "done")?;
        until(fleet::SOON, "the second start", || Ok((fleet.starts() == 2).then_some(())))?;
        // And again, when all is over.
        fleet.send(&restart)?;
        let done = |fleet: &Fleet| fleet.said("response/test").iter().filter(|a| a["outcome"] == "done").count();
        until(fleet::SOON, "the same answer again", || Ok((done(&fleet) >= 3).then_some(())))?;
        fleet.kiosk.process().must_run()?;
        assert_eq!((fleet.starts(), fleet.kiosk.process().pid()), (2, pid));
        let ended = fleet.said("event").into_iter().find(|event| event["kind"] == "call-ended");
        assert_eq!(ended.map(|event| event["reason"].clone()), Some(json!("asked to end")));
        Ok(())
    });
}

#[test]
fn levels_of_the_journal_dry_runs_and_what_set_a_value() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let level = Command::SetLogLevel { level: LogLevel::Debug, minutes: 1 };
        assert_eq!(fleet.run(&command(level))?["outcome"], "done");
        fleet.kiosk.start_call()?;
        fleet.kiosk.process().wait_log("DEBUG", fleet::SOON)?;
        fleet.kiosk.end_call()?;

        let Value::Object(wide) = json!({"camera": {"width": 640}, "video": {"bitrate_kbps": 20}}) else {
            return Ok(());
        };
        let layer = kiosk_proto::fleet::LayerName::Device;
        let wrong = command(Command::DryRun { config: kiosk_proto::fleet::Object(wide), layer: layer.clone() });
        let answer = fleet.run(&wrong)?;
        assert!(answer["result"]["errors"].to_string().contains("video.bitrate_kbps"), "{answer}");
        let Value::Object(good) = json!({"camera": {"width": 640}}) else { return Ok(()) };
        let answer = fleet.run(&command(Command::DryRun { config: kiosk_proto::fleet::Object(good), layer }))?;
        assert_eq!(answer["result"]["changes"], json!([{"key": "camera.width", "from": 1280, "to": 640}]));

        fleet.push(&fleet::desired(1, json!({"camera": {"width": 640}})))?;
        fleet.wait_phase(1, "confirmed")?;
        let keys = vec!["camera.width".into(), "camera.height".into(), "janus.room".into()];
        let answer = fleet.run(&command(Command::ExplainConfig { keys }))?;
        let set_by: Vec<&str> =
            answer["result"].as_array().into_iter().flatten().filter_map(|line| line["set_by"].as_str()).collect();
        assert_eq!(set_by, ["default", "device", "site"]);
        // The screen sees for how long it is to show which machine this is; who asks last says how long.
        assert!(!fleet.kiosk.identify()?);
        for (seconds, shown) in [(600, true), (1, false)] {
            assert_eq!(fleet.run(&command(Command::Identify { seconds }))?["outcome"], "done");
            until(fleet::SOON, "the D-Bus property", || Ok((fleet.kiosk.identify()? == shown).then_some(())))?;
        }
        // There is no logind here, and it is said.
        let answer = fleet.run(&command(Command::Reboot {}))?;
        assert_eq!(answer["outcome"], "failed");
        assert!(answer["message"].as_str().is_some_and(|text| text.contains("logind")), "{answer}");
        Ok(())
    });
}

#[test]
fn a_clock_that_is_wrong_by_ten_years_and_not_synchronised_decides_nothing() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        const TEN_YEARS: u64 = 10 * 365 * 86_400;
        for created in [now() - TEN_YEARS, now() + TEN_YEARS] {
            let mut ping = command(Command::Ping {});
            (ping.created, ping.expires) = (created, created + 60);
            assert_eq!(fleet.run(&ping)?["outcome"], "done");
        }
        assert_eq!(fleet.run(&command(Command::Ping {}))?["outcome"], "done");
        Ok(())
    });
}

#[test]
fn diagnostics_come_in_parts_and_without_secrets() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        // Making a configuration signs the kiosk's tokens too; what is signed last stands in the files.
        let config = scene::kiosk_config(&janus)?;
        let (token, _) = janus.kiosk_token_files(ROOM)?;
        let secret = fs::read_to_string(&token).map_err(Error::io("the token"))?.trim().to_owned();
        // The journal of this machine: many lines that do not compress, and one that has what no line should have.
        let tools = world.dir().join("tools");
        fs::create_dir(&tools).map_err(Error::io("a folder"))?;
        let journalctl = tools.join("journalctl");
        let script = format!(
            "#!/bin/sh\necho 'the token is {secret}'\necho 'AGENT=agent/Ada Lovelace'\n\
             head -c 400000 /dev/urandom | base64 -w 100\necho \"asked with $*\"\n"
        );
        fs::write(&journalctl, script).map_err(Error::io("a script"))?;
        fs::set_permissions(&journalctl, fs::Permissions::from_mode(0o755)).map_err(Error::io("a script"))?;
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
        let mut fleet = Fleet::start_in(world, fleet::broker(world)?, config, &[("PATH", path)])?;

        let mut collect = |max_bytes: u32| -> Result<(Value, Vec<u8>)> {
            let upload = Upload::Mqtt { max_bytes };
            let ask = command(Command::CollectDiagnostics { journal_minutes: 15, upload });
            let answer = fleet.run(&ask)?;
            let topic = fleet.topic(&format!("chunk/{}", ask.id));
            let parts = fleet.all.messages().into_iter().filter(|message| message.topic == topic);
            Ok((answer, parts.flat_map(|message| message.payload()).collect()))
        };
        let read = |bytes: &[u8]| -> Result<String> {
            let mut text = String::new();
            GzDecoder::new(bytes).read_to_string(&mut text).map_err(Error::io("the diagnostics"))?;
            Ok(text)
        };
        let (answer, bytes) = collect(4 * 1024 * 1024)?;
        assert_eq!((&answer["outcome"], &answer["result"]["bytes"]), (&json!("done"), &json!(bytes.len())));
        assert!(bytes.len() > 200_000, "one part alone: {}", bytes.len());
        let text = read(&bytes)?;
        assert!(!text.contains(&secret) && !text.contains("Lovelace"));
        let facts: Value = serde_json::from_str(&text).map_err(Error::json("the diagnostics"))?;
        assert_eq!(facts["config"]["kiosk"]["id"], fleet::KIOSK);
        assert_eq!(facts["journal"][0], "the token is [redacted]");
        let last = facts["journal"].as_array().and_then(|lines| lines.last()).cloned().unwrap_or_default();
        assert!(last.as_str().is_some_and(|line| line.contains("--since=-15min")), "{last}");

        // With less room it is the older lines that are missing.
        let (_, bytes) = collect(50_000)?;
        assert!(bytes.len() <= 50_000);
        let facts: Value = serde_json::from_str(&read(&bytes)?).map_err(Error::json("the diagnostics"))?;
        assert!(facts["journal_missing"].as_str().is_some_and(|text| text.contains("older lines")));
        assert_eq!(facts["journal"].as_array().and_then(|lines| lines.last()).cloned().unwrap_or_default(), last);
        let (answer, bytes) = collect(100)?;
        assert_eq!((&answer["outcome"], bytes.len()), (&json!("failed"), 0));
        Ok(())
    });
}

#[test]
fn an_answer_that_the_broker_does_not_take_comes_without_its_result_and_says_so() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let connections =
            |fleet: &mut Fleet| fleet.kiosk.process().log_text().matches("connected to the broker").count();
        assert_eq!(connections(&mut fleet), 1);
        fleet.broker.limit_packets(3000)?;
        until(fleet::SOON, "the kiosk at the broker", || Ok((connections(&mut fleet) == 2).then_some(())))?;

        let answer = fleet.run(&command(Command::ExplainConfig { keys: Vec::new() }))?;
        let told = answer["message"].as_str().unwrap_or_default();
        assert_eq!((&answer["outcome"], &answer["result"]), (&json!("done"), &Value::Null), "{answer}");
        assert!(told.contains("more than the broker takes (3000)") && told.contains("max_packet_size"), "{answer}");
        // The same of a report: its newest attempt is there, with the first of all that is wrong with it.
        let wrong: serde_json::Map<String, Value> = (0..60).map(|n| (format!("no_key_{n}"), json!(n))).collect();
        fleet.push(&fleet::desired(1, json!({ "video": wrong })))?;
        let attempt = fleet.wait_phase(1, "rejected")?;
        assert!(attempt["errors"].as_array().is_some_and(|errors| (1..60).contains(&errors.len())), "{attempt}");
        fleet.wait_reported("what was left out", |reported| reported["omitted"].as_u64() > Some(0))?;
        // The connection is still the same, and small answers come.
        assert_eq!(fleet.run(&command(Command::Ping {}))?["outcome"], "done");
        assert_eq!(connections(&mut fleet), 2);
        Ok(())
    });
}

#[test]
fn a_command_that_is_retained_by_mistake_is_done_once() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let ping = command(Command::Ping {});
        let bytes = fleet::envelope(PayloadType::Command, &ping, &[&fleet.signer])?;
        fleet.broker.publish(&fleet.admin, &fleet.topic("command"), &bytes, true)?;
        let about_it = |answer: &Value| answer["id"] == ping.id.as_str();
        let answers = |fleet: &Fleet| -> Vec<Value> { fleet.said("response").into_iter().filter(about_it).collect() };
        for round in 1..=3 {
            // It comes with each connection, and is answered each time.
            until(fleet::SOON, &format!("answer {round}"), || Ok((answers(&fleet).len() >= round).then_some(())))?;
            if round == 1 {
                fleet.broker.stop()?;
                fleet.broker.restart()?;
            } else {
                fleet.kiosk.process().kill()?;
                fleet.kiosk.restart()?;
            }
        }
        let answers = answers(&fleet);
        assert!(answers.iter().all(|answer| *answer == answers[0] && answer["outcome"] == "done"), "{answers:#?}");
        // Of each that was done there is an event; behind this one there is no other.
        assert_eq!(fleet.run(&command(Command::Identify { seconds: 1 }))?["outcome"], "done");
        let finished = |fleet: &Fleet, word: &str| -> BTreeSet<u64> {
            let events = fleet.said("event").into_iter().filter(|event| event["command"] == word);
            events.filter_map(|event| event["sequence"].as_u64()).collect()
        };
        until(fleet::SOON, "the last event", || Ok((!finished(&fleet, "identify").is_empty()).then_some(())))?;
        assert_eq!(finished(&fleet, "ping").len(), 1);
        Ok(())
    });
}

#[test]
fn diagnostics_go_to_an_address_too_and_a_refusal_is_told() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let url = format!("https://{}:{UPLOAD_PORT}/bk/kiosk-1.gz?right=to-write", Host::Server.address());
        let ask = || {
            let upload = Upload::Https { url: url.clone() };
            command(Command::CollectDiagnostics { journal_minutes: 1, upload })
        };
        let _server = fleet.upload_server(world, "201 Created")?;
        let answer = fleet.run(&ask())?;
        assert_eq!(answer["outcome"], "done", "{answer}");
        let received = fleet::uploaded(world)?;
        let text = String::from_utf8_lossy(&received).into_owned();
        assert!(text.starts_with("PUT /bk/kiosk-1.gz?right=to-write HTTP/1.1\r\nHost: 10.77.1.2:8443\r\n"), "{text}");
        let start = received.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        let mut json = String::new();
        GzDecoder::new(&received[start..]).read_to_string(&mut json).map_err(Error::io("the upload"))?;
        assert!(json.contains("\"config\"") && answer["result"]["bytes"] == received.len() - start);

        drop(_server);
        let _server = fleet.upload_server(world, "403 Forbidden")?;
        let answer = fleet.run(&ask())?;
        assert_eq!(answer["outcome"], "failed");
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains("403 Forbidden") && !message.contains("to-write"), "{message}");
        Ok(())
    });
}
