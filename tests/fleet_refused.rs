//! What is not signed by a trusted key for this kiosk, in order and in time, changes nothing, and the admin reads why.

use kiosk_harness::{
    Result,
    fleet::{self, Fleet, GROUP, Signer, command, desired, envelope, group, kiosk_id, layer},
    scene,
    world::scenario,
};
use kiosk_proto::fleet::{Command, PayloadType, Target};
use serde_json::{Value, json};

/// The refusal that is reported for the kiosk's own layer.
fn refused(fleet: &mut Fleet, code: &str, words: &str) -> Result<()> {
    fleet.wait_reported(&format!("the refusal {code} with {words:?}"), |reported| {
        let refused = &layer(reported, "device")["refused"];
        refused["code"] == code && refused["message"].as_str().is_some_and(|message| message.contains(words))
    })?;
    Ok(())
}

#[test]
fn pushes_that_do_not_count_are_refused_with_the_reason() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let config = || json!({"camera": {"width": 640, "height": 360}});
        let (own, stranger) = (fleet.topic("desired"), Signer::new(9));
        let before = fleet.wait_reported("a report", |reported| reported["effective"].is_string())?;

        fleet.push_signed(&desired(1, config()), &[&stranger])?;
        refused(&mut fleet, "unknown-key", "is not in [fleet] keys")?;

        let mut bytes =
            String::from_utf8_lossy(&envelope(PayloadType::Desired, &desired(1, config()), &[&fleet.signer])?)
                .into_owned();
        bytes = bytes.replace("\"sig\":\"", "\"sig\":\"AAAA");
        let cut = bytes.rfind("\"}]").map_or(bytes.len(), |end| end - 4);
        bytes.replace_range(cut..cut + 4, "");
        fleet.broker.publish(&fleet.admin, &own, bytes.as_bytes(), true)?;
        refused(&mut fleet, "wrong-signature", "does not fit the payload")?;

        // What was signed for another kiosk, or for a group, put on this kiosk's topic.
        for target in [Target::Device(kiosk_id("kiosk-2")), Target::Group(group(GROUP))] {
            let mut payload = desired(1, config());
            payload.target = target;
            let bytes = envelope(PayloadType::Desired, &payload, &[&fleet.signer])?;
            fleet.broker.publish(&fleet.admin, &own, &bytes, true)?;
            refused(&mut fleet, "wrong-target", "it was signed for")?;
        }

        // A command is no layer.
        let bytes = envelope(PayloadType::Command, &command(Command::Ping {}), &[&fleet.signer])?;
        fleet.broker.publish(&fleet.admin, &own, &bytes, true)?;
        refused(&mut fleet, "malformed", "belongs on this topic")?;

        for (bytes, code, words) in [
            (b"rubbish".to_vec(), "malformed", "no signed envelope"),
            (vec![b' '; 140 * 1024], "too-large", "allowed: 131072"),
        ] {
            fleet.broker.publish(&fleet.admin, &own, &bytes, true)?;
            refused(&mut fleet, code, words)?;
        }

        // In order: what is older, and what has the same number and is something else.
        fleet.push(&desired(5, config()))?;
        fleet.wait_phase(5, "confirmed")?;
        fleet.push(&desired(4, json!({})))?;
        refused(&mut fleet, "stale", "is older than 1.5")?;
        fleet.push(&desired(5, json!({"camera": {"width": 320, "height": 180}})))?;
        refused(&mut fleet, "conflict", "push again with a higher revision")?;

        // Wrong by its keys, each told.
        fleet.push(&desired(6, json!({"camera": {"widht": 5}, "kiosk": {"id": "other"}})))?;
        let attempt = fleet.wait_phase(6, "rejected")?;
        let paths: Vec<&str> =
            attempt["errors"].as_array().into_iter().flatten().filter_map(|error| error["path"].as_str()).collect();
        assert_eq!(paths, ["camera.widht", "kiosk.id"]);
        let last = fleet.wait_reported("a report", |reported| reported["effective"] != before["effective"])?;
        assert_eq!(layer(&last, "device")["confirmed"]["revision"], 5);
        assert!(!fleet.said("event").iter().any(|event| event["phase"] == "trial" && event["revision"] == 1));
        Ok(())
    });
}

#[test]
fn keys_that_can_cut_the_kiosk_off_need_two_signatures_where_the_site_says_so() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let keys = vec![Signer::new(1).public()?, Signer::new(2).public()?];
        let broker = fleet::broker(world)?;
        // Set before the usual section, which leaves what it does not name.
        let config = scene::kiosk_config(&janus)?.with("fleet", "two_signatures", true);
        let mut fleet = Fleet::start_with(world, broker, config, |config| config.with("fleet", "keys", keys))?;
        // The same server by another spelling.
        let url = json!({"janus": {"url": format!("{}janus", janus.wss_url())}});
        fleet.push(&desired(1, url.clone()))?;
        let attempt = fleet.wait_phase(1, "rejected")?;
        assert_eq!(attempt["errors"][0]["path"], "janus.url");
        let (one, two) = (Signer::new(1), Signer::new(2));
        fleet.push_signed(&desired(2, url), &[&one, &two])?;
        fleet.wait_phase(2, "confirmed")?;
        // All else takes one.
        fleet.push(&desired(3, json!({"video": {"bitrate_kbps": 700}})))?;
        let attempt = fleet.wait_phase(3, "rejected")?;
        assert_eq!(attempt["errors"][0]["path"], "janus.url", "taking the key back cuts off as well");
        Ok(())
    });
}

#[test]
fn commands_that_do_not_count_are_answered_with_the_reason() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let ping = command(Command::Ping {});
        let answer = fleet.run(&ping)?;
        assert_eq!((&answer["outcome"], &answer["id"]), (&json!("done"), &json!(ping.id.as_str())));
        assert_eq!(answer["result"]["version"], fleet.kiosk.version()?);

        let refuse = |fleet: &mut Fleet, bytes: &[u8], words: &str| -> Result<Value> {
            let correlation = format!("about {words}");
            let (topic, data) = (fleet.topic("command"), correlation.as_str());
            let more = ["-D", "PUBLISH", "correlation-data", data];
            fleet.broker.publish_as(&fleet.admin, kiosk_harness::mosquitto::ADMIN, &topic, bytes, &more)?;
            let answer = fleet.wait_answer(data, |_| true)?;
            assert!(answer["message"].as_str().is_some_and(|message| message.contains(words)), "{words}: {answer}");
            Ok(answer["outcome"].clone())
        };
        let sign =
            |payload: &kiosk_proto::fleet::CommandPayload| envelope(PayloadType::Command, payload, &[&Signer::new(1)]);
        let strange = envelope(PayloadType::Command, &command(Command::Ping {}), &[&Signer::new(9)])?;
        assert_eq!(refuse(&mut fleet, &strange, "is not in [fleet] keys")?, "refused");
        let mut other = command(Command::Ping {});
        other.target = Target::Device(kiosk_id("kiosk-2"));
        assert_eq!(refuse(&mut fleet, &sign(&other)?, "another target than kiosk")?, "refused");
        let mut long = command(Command::Ping {});
        long.expires = long.created + 100_000;
        assert_eq!(refuse(&mut fleet, &sign(&long)?, "within a day")?, "refused");
        let mut same = ping.clone();
        same.reason = "another payload".into();
        assert_eq!(refuse(&mut fleet, &sign(&same)?, "another command has this id")?, "refused");
        let layer = envelope(PayloadType::Desired, &desired(1, json!({})), &[&fleet.signer])?;
        assert_eq!(refuse(&mut fleet, &layer, "belongs on this topic")?, "refused");
        // An answer goes only where the kiosk's own answers go.
        let more = ["-D", "PUBLISH", "response-topic", "bk/v1/device/kiosk-2/response"];
        let bytes = sign(&command(Command::Ping {}))?;
        let admin = kiosk_harness::mosquitto::ADMIN;
        fleet.broker.publish_as(&fleet.admin, admin, &fleet.topic("command"), &bytes, &more)?;
        let plain = fleet.topic("response");
        fleet.wait_last(fleet::SOON, "a refusal", &plain, |answer| {
            answer["message"].as_str().is_some_and(|message| message.contains("is no topic of a kiosk"))
        })?;
        assert!(fleet.said("event").iter().all(|event| event["kind"] != "fault-raised"));
        // A key that is on trial counts for no command, as it counts for no push.
        let keys = [Signer::new(1).public()?, Signer::new(9).public()?];
        fleet.push(&desired(1, json!({"fleet": {"keys": keys}, "janus": {"url": "wss://10.77.1.2:9999/"}})))?;
        fleet.wait_phase(1, "trial")?;
        assert_eq!(refuse(&mut fleet, &strange, "which is not in [fleet] keys")?, "refused");
        assert_eq!(fleet.run(&command(Command::Ping {}))?["outcome"], "done");
        Ok(())
    });
}
