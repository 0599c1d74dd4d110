//! Canaries: how they get it, what stops a rollout, and how it goes on after a crash.

use super::place::{Kind, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::time::Duration;

const CANARY: [&str; 6] = ["--group", "seoul", "--canary", "10%", "--then", "50%"];

#[test]
fn canaries_go_first_and_are_as_before_in_the_end() {
    let trial = Trial::start(10, |_| Kind::default());
    trial.push(&["--selector", "k-*", "--set", "audio.gain_db=1.5"]);
    let (code, pushed) = trial.push(&[&CANARY[..], &["--set", "video.bitrate_kbps=800"]].concat());
    assert_eq!((code, &pushed["result"]["outcome"]), (0, &json!("confirmed")), "{pushed}");
    assert_eq!(pushed["kiosks"].as_object().unwrap().len(), 10);
    let explained = |kiosk: &str| trial.json(&["config", "explain", "video.bitrate_kbps", "--device", kiosk]);
    for kiosk in 0..10 {
        // Not from their own layers, which hold what they held.
        let explained = explained(&format!("k-{kiosk}"));
        assert_eq!((&explained["value"], &explained["set_by"]), (&json!(800), &json!("group seoul")));
    }
    let status = trial.json(&["config", "status"]);
    let own: Vec<u64> = status
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["layer"] == "device")
        .map(|line| line["confirmed"].as_u64().unwrap())
        .collect();
    assert_eq!(own.iter().filter(|revision| **revision == 3).count(), 5, "five were canaries: {own:?}");
}

#[test]
fn canaries_that_fail_keep_the_others_from_getting_it() {
    let trial = Trial::start(10, |_| Kind { fails: true, ..Kind::default() });
    let (code, pushed) = trial.push(&[&CANARY[..], &["--set", "video.bitrate_kbps=800"]].concat());
    assert_eq!((code, &pushed["result"]["outcome"]), (4, &json!("stopped")), "{pushed}");
    assert_eq!(pushed["kiosks"].as_object().unwrap().len(), 1);
    let status = trial.json(&["config", "status"]);
    let group = status.as_array().unwrap().iter().filter(|line| line["layer"] != "device").count();
    assert_eq!(group, 0, "the group got nothing: {status}");
    let (_, text, _) = trial.run(&["config", "status"]);
    assert!(text.contains("device  2"), "the canary has back what it had: {text}");
}

#[test]
fn after_ctrl_c_or_a_crash_it_goes_on_where_it_was() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let trial = Trial::start(10, |_| Kind { trial: Duration::from_secs(3), ..Kind::default() });
        let push = ["config", "push", "--yes", "--reason", "a test"];
        let mut running = trial.spawn(&[&push[..], &CANARY[..], &["--set", "video.bitrate_kbps=800"]].concat());
        // In the midst of the first step.
        trial.until("a kiosk that tries it", |trial| trial.run(&["config", "status"]).1.contains("trial"));
        kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), signal).unwrap();
        let code = running.wait().unwrap().code();
        assert_eq!(code, (signal == Signal::SIGINT).then_some(130));
        let rollouts = trial.broker.config_folder().join("rollouts");
        let file = std::fs::read_dir(rollouts).unwrap().next().unwrap().unwrap().path().display().to_string();
        let done = trial.json(&["config", "push", "--resume", &file, "--yes"]);
        assert_eq!(done["result"]["outcome"], "confirmed", "{signal}: {done}");
        assert_eq!(done["kiosks"].as_object().unwrap().len(), 10);
        assert_eq!(trial.value("k-7", "video.bitrate_kbps"), 800);
    }
}

#[test]
fn the_broker_may_be_away_meanwhile() {
    let mut trial = Trial::start(4, |_| Kind { trial: Duration::from_secs(3), ..Kind::default() });
    let push = ["config", "push", "--yes", "--json", "--reason", "a test", "--canary", "25%", "--set"];
    let running = trial.spawn(&[&push[..], &["video.bitrate_kbps=800", "--group", "seoul"]].concat());
    trial.until("a kiosk that tries it", |trial| trial.run(&["config", "status"]).1.contains("trial"));
    trial.broker.kill().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    trial.broker.start_again().unwrap();
    let output = running.wait_with_output().unwrap();
    let done: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(done["result"]["outcome"], "confirmed", "{done}");
}

#[test]
fn two_admins_at_once_one_of_them_is_told() {
    let trial = Trial::start(2, |_| Kind { trial: Duration::from_secs(2), ..Kind::default() });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("saved.json").display().to_string();
    let save =
        ["config", "push", "--reason", "a", "--group", "seoul", "--set", "video.bitrate_kbps=800", "--save", &file];
    assert_eq!(trial.run(&save).0, 0);
    // Meanwhile somebody else pushes to the same group.
    assert_eq!(trial.push(&["--group", "seoul", "--set", "video.bitrate_kbps=700"]).0, 0);
    let (code, told) = trial.coded(&["config", "push", "--resume", &file, "--yes"]);
    assert_eq!((code, &told["result"]["outcome"]), (4, &json!("overtaken")), "{told}");
    assert_eq!(trial.value("k-0", "video.bitrate_kbps"), 700);
}

#[test]
fn what_the_broker_does_not_take_is_told_before_anything_is_sent() {
    let mut trial = Trial::start(2, |_| Kind::default());
    trial.broker.limit_packets(4096).unwrap();
    // As long as it may be, in characters that take four bytes each.
    let reason = "\u{1f3e6}".repeat(kiosk_proto::fleet::MAX_REASON);
    let group = ["--group", "seoul", "--canary", "50%", "--set", "video.bitrate_kbps=800"];
    let push = [&["config", "push", "--yes", "--reason", &reason], &group[..]].concat();
    let (code, _, told) = trial.run(&push);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("is more than the broker takes (4096 bytes)") && told.contains("max_packet_size"), "{told}");
    assert_eq!(trial.json(&["config", "status"]), json!([]), "nothing was sent");
    // What fits goes.
    assert_eq!(trial.push(&["--group", "seoul", "--set", "video.bitrate_kbps=800"]).0, 0);
}

/// What a process said in the end, with `--json`.
fn ended(running: std::process::Child) -> (i32, Value) {
    let output = running.wait_with_output().unwrap();
    let told = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{:?} {}", output.status, String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), told)
}

#[test]
fn of_two_who_send_in_the_same_moment_one_wins_and_the_other_one_is_told() {
    let trial = Trial::start(3, |_| Kind { trial: Duration::from_secs(3), ..Kind::default() });
    let dir = tempfile::tempdir().unwrap();
    let all = ["k-0", "k-1", "k-2"];
    let rounds: [(&str, &[&str]); 3] = [("--group=seoul", &all), ("--group=seoul", &all), ("--device=k-1", &["k-1"])];
    for (round, (target, kiosks)) in rounds.into_iter().enumerate() {
        let wanted = [800 + round, 700 + round];
        // Planned on the same ground, and signed with the same revision.
        let files = wanted.map(|kbps| {
            let file = dir.path().join(format!("{kbps}.json")).display().to_string();
            let set = format!("video.bitrate_kbps={kbps}");
            let (code, _, told) =
                trial.run(&["config", "push", "--reason", "a", target, "--set", &set, "--save", &file]);
            assert_eq!(code, 0, "{told}");
            file
        });
        let running = files.map(|file| trial.spawn(&["config", "push", "--resume", &file, "--yes", "--json"]));
        let told = running.map(ended);
        let outcomes = told.each_ref().map(|(code, told)| (*code, told["result"]["outcome"].as_str().unwrap_or("")));
        let winner = outcomes.iter().position(|outcome| *outcome == (0, "confirmed"));
        let winner = winner.unwrap_or_else(|| panic!("nobody won: {told:?}"));
        assert_eq!(outcomes[1 - winner], (4, "overtaken"), "{told:?}");
        // It is in force everywhere, and it is what the broker has for who comes later.
        let status = trial.json(&["config", "status"]);
        for kiosk in kiosks {
            assert_eq!(trial.value(kiosk, "video.bitrate_kbps"), wanted[winner], "{kiosk} {told:?}");
        }
        for line in status.as_array().unwrap() {
            assert_eq!(line["phase"], "confirmed", "{status}");
        }
        let set = format!("video.bitrate_kbps={}", wanted[winner]);
        let (_, text, _) = trial.run(&["config", "diff", target, "--set", &set]);
        assert!(text.contains("nothing changes"), "{text}");
    }
}

#[test]
fn two_pushes_that_are_begun_in_the_same_moment_end_with_one_of_them_whole() {
    let trial = Trial::start(3, |_| Kind { trial: Duration::from_secs(1), ..Kind::default() });
    let push = ["config", "push", "--yes", "--json", "--reason", "a test", "--group", "seoul", "--set"];
    let wanted = [800, 700];
    let running = wanted.map(|kbps| trial.spawn(&[&push[..], &[&format!("video.bitrate_kbps={kbps}")]].concat()));
    let told = running.map(ended);
    // One may have been over before the other one began: then both were whole, one after the other.
    assert!(told.iter().all(|(code, _)| [0, 4].contains(code)) && told.iter().any(|(code, _)| *code == 0), "{told:?}");
    let values = ["k-0", "k-1", "k-2"].map(|kiosk| trial.value(kiosk, "video.bitrate_kbps").as_u64().unwrap());
    assert!(values.iter().all(|value| *value == values[0]), "{values:?} {told:?}");
    let winners = wanted.iter().zip(&told).filter(|(_, (code, _))| *code == 0).map(|(kbps, _)| *kbps);
    assert!(winners.into_iter().any(|kbps| kbps == values[0]), "{values:?} {told:?}");
}

#[test]
fn who_is_away_gets_it_later_and_is_told_as_silent() {
    let mut trial = Trial::start(3, |_| Kind::default());
    trial.cut("k-2");
    let push = ["config", "push", "--yes", "--reason", "a test", "--timeout", "8s", "--group", "seoul"];
    let (code, told) = trial.coded(&[&push[..], &["--set", "video.bitrate_kbps=800"]].concat());
    assert_eq!((code, &told["result"]["outcome"]), (3, &json!("partly")), "{told}");
    assert_eq!(told["kiosks"]["k-2"]["state"], "silent");

    // What was planned with 15 minutes for each step waits as long as the one who sends it says.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("saved.json").display().to_string();
    let set = ["--group", "seoul", "--set", "video.bitrate_kbps=700"];
    assert_eq!(trial.run(&[&["config", "push", "--reason", "a", "--save", &file], &set[..]].concat()).0, 0);
    let resume = ["config", "push", "--resume", &file, "--yes"];
    for other in [&["--max-failures", "1"][..], &["--canary", "5%"], &["--reason", "b"], &["--force"], &["--now"]] {
        let (code, _, told) = trial.run(&[&resume[..], other].concat());
        assert!(code == 2 && told.contains("cannot be used with"), "{other:?}: {code} {told}");
    }
    let (code, _, told) = trial.run(&["config", "push", "--abandon", &file, "--timeout", "8s"]);
    assert!(code == 2 && told.contains("cannot be used with"), "{told}");
    let (code, told) = trial.coded(&[&resume[..], &["--timeout", "8s"]].concat());
    assert_eq!((code, &told["kiosks"]["k-2"]["state"]), (3, &json!("silent")), "{told}");
}
