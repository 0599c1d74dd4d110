//! Commands and events, certificates of others, and what is said when something is missing.

use super::place::{Kind, Trial};
use kiosk_harness::local::simulated::Order;
use kiosk_proto::fleet::EventKind;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::time::Duration;

#[test]
fn a_command_is_answered_by_every_kiosk() {
    let mut trial = Trial::start(3, |_| Kind::default());
    trial.cut("k-2");
    let (code, table, _) = trial.run(&["run", "ping", "--group", "seoul", "--yes"]);
    insta::assert_snapshot!(table, @r"
    KIOSK  OUTCOME        ANSWER
    k-0    done
    k-1    done
    k-2    not connected
    ");
    assert_eq!(code, 3, "one of them did not do it");
    let json = trial.json(&["run", "identify", "--device", "k-0", "--seconds", "5"]);
    assert_eq!(json["answers"]["k-0"]["outcome"], "done");
    let (code, _, told) = trial.run(&["run", "reboot", "--group", "seoul"]);
    assert_eq!((code, told.trim()), (1, "this is no terminal to ask on: say --yes"));
}

#[test]
fn every_command_comes_to_the_kiosk_as_it_was_given() {
    let trial = Trial::start(1, |_| Kind::default());
    let upload = json!({ "to": "https", "url": "https://files.bank.example/a" });
    for (words, wanted) in [
        ("restart-daemon --force", json!({ "kind": "restart-daemon" })),
        ("reboot --refuse-when-busy", json!({ "kind": "reboot" })),
        ("set-log-level debug --minutes 7", json!({ "kind": "set-log-level", "level": "debug", "minutes": 7 })),
        ("self-check", json!({ "kind": "self-check" })),
        ("identify --seconds 9", json!({ "kind": "identify", "seconds": 9 })),
        (
            "diagnostics --journal-minutes 3 --url https://files.bank.example/a",
            json!({ "kind": "collect-diagnostics", "journal_minutes": 3, "upload": upload }),
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let told = trial.json(&[&["run"], &words[..], &["--device", "k-0"]].concat());
        let answer = &told["answers"]["k-0"];
        assert_eq!((&answer["outcome"], &answer["result"]), (&json!("done"), &wanted), "{told}");
    }
    // The kiosk itself knows that there is nothing to end.
    let told = trial.json(&["run", "end-call", "--force", "--device", "k-0"]);
    assert_eq!(told["answers"]["k-0"]["message"], "there is no call", "{told}");
    let (code, _, errors) = trial.run(&["run", "set-log-level", "loud", "--device", "k-0"]);
    assert!(code == 2 && errors.contains("possible values: error, warn, info, debug, trace"), "{errors}");
}

#[test]
fn events_are_seen_as_they_happen() {
    let trial = Trial::start(2, |_| Kind::default());
    let mut follow = trial.spawn(&["events", "follow", "--device", "k-1"]);
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    // Until it listens: nobody tells when that is.
    let (seen, found) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.by_ref().map_while(Result::ok).for_each(|line| drop(seen.send(line))));
    let line = std::iter::repeat_with(|| {
        for kiosk in ["k-0", "k-1"] {
            trial.order(kiosk, Order::Happens(EventKind::FaultRaised { code: "camera-unavailable".into() }));
        }
        found.recv_timeout(Duration::from_millis(300)).ok()
    })
    .take(200)
    .flatten()
    .next()
    .expect("an event");
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(line.contains("  k-1  #") && line.ends_with("  fault-raised  code=camera-unavailable"), "{line}");
}

#[test]
fn a_kiosk_s_certificate_is_no_admin_s() {
    let trial = Trial::start(1, |_| Kind::default());
    let identity = trial.broker.kiosk("k-0");
    let (certificate, key) = (identity.certificate.display().to_string(), identity.key.display().to_string());
    let (code, _, told) = trial.run(&["fleet", "list", "--cert", &certificate, "--key", &key]);
    assert_eq!(code, 1);
    assert!(told.contains("is this certificate in the broker's list of admins?"), "{told}");
}

#[test]
fn every_command_has_a_man_page_and_a_completion() {
    let trial = Trial::start(0, |_| Kind::default());
    let dir = tempfile::tempdir().unwrap();
    let (code, _, told) = trial.run(&["man", &dir.path().display().to_string()]);
    assert_eq!(code, 0, "{told}");
    for page in ["kioskctl.1", "kioskctl-config-push.1", "kioskctl-run-diagnostics.1", "kioskctl-events-follow.1"] {
        let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    for command in ["push", "rollback"] {
        let page = std::fs::read_to_string(dir.path().join(format!("kioskctl-config-{command}.1"))).unwrap();
        let (_, help, _) = trial.run(&["config", command, "--help"]);
        for text in [page, help] {
            for code in ["0    all kiosks confirmed", "3    some kiosks did not", "4    stopped by", "130  interrupted"]
            {
                assert!(text.contains(code), "{command} {code}: {text}");
            }
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        let (code, text, _) = trial.run(&["completions", shell]);
        assert!(code == 0 && text.contains("max-failures"), "{shell}: {text}");
    }
}

#[test]
fn a_broker_that_is_not_there_is_told_with_its_address() {
    let mut trial = Trial::start(0, |_| Kind::default());
    trial.broker.kill().unwrap();
    let (code, _, told) = trial.run(&["config", "explain", "video.bitrate_kpbs", "--device", "k-0"]);
    let expected = "video.bitrate_kpbs: unknown key; did you mean bitrate_kbps?";
    assert_eq!((code, told.trim()), (1, expected), "a misspelt key needs no broker");
    let (code, _, told) = trial.run(&["fleet", "list"]);
    assert_eq!(code, 1);
    let port = trial.broker.admin_port;
    let expected = format!("no connection to the broker localhost:{port}: connection refused: does the broker run");
    assert!(told.starts_with(&expected), "{told}");
}
