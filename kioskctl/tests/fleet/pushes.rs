//! One layer: pushed, shown, explained, taken back, signed by two.

use super::place::{Kind, Trial};
use serde_json::json;

#[test]
fn a_push_to_a_group_is_confirmed_shown_and_explained() {
    let trial = Trial::start(3, |_| Kind::default());
    let (code, pushed) = trial.push(&["--group", "seoul", "--set", "video.bitrate_kbps=800"]);
    assert_eq!((code, &pushed["result"]["outcome"]), (0, &json!("confirmed")), "{pushed}");
    assert_eq!(pushed["kiosks"].as_object().unwrap().len(), 3);

    let explained = trial.json(&["config", "explain", "video.bitrate_kbps", "--device", "k-1"]);
    assert_eq!(explained["value"], 800);
    assert_eq!(explained["set_by"], "group seoul");
    assert_eq!(explained["author"], "demo");
    assert_eq!(explained["reason"], "a test");
    let (_, text, _) = trial.run(&["config", "explain", "video.bitrate_kbps", "--device", "k-1"]);
    assert!(text.starts_with("video.bitrate_kbps = 800\nset by   the layer of group seoul\n"), "{text}");
    let (_, text, _) = trial.run(&["config", "explain", "video.encoder", "--device", "k-1"]);
    assert!(text.contains("set by   the built-in default"), "{text}");

    let (_, table, _) = trial.run(&["config", "status"]);
    insta::assert_snapshot!(table, @r"
    KIOSK  LAYER        PUSHED  CONFIRMED  STATE      BY    REASON  WHAT IS WRONG
    k-0    group seoul  1       1          confirmed  demo  a test
    k-1    group seoul  1       1          confirmed  demo  a test
    k-2    group seoul  1       1          confirmed  demo  a test
    ");
    let (_, table, _) = trial.run(&["fleet", "list"]);
    insta::assert_snapshot!(table, @r"
    KIOSK  ONLINE  VERSION    GROUPS  CONFIGURATION            CALL  WHAT IS WRONG
    k-0    yes     simulated  seoul   confirmed (group seoul)  -
    k-1    yes     simulated  seoul   confirmed (group seoul)  -
    k-2    yes     simulated  seoul   confirmed (group seoul)  -

    3 kiosks, 3 online
    ");
}

#[test]
fn what_would_change_is_shown_by_the_layers_and_by_the_kiosks() {
    let trial = Trial::start(3, |_| Kind::default());
    trial.push(&["--group", "seoul", "--set", "video.bitrate_kbps=800"]);
    trial.push(&["--device", "k-2", "--set", "video.bitrate_kbps=600"]);
    let (_, text, _) = trial.run(&["config", "diff", "--group", "seoul", "--set", "video.bitrate_kbps=700"]);
    insta::assert_snapshot!(text, @r"
      2 kiosks:
        video.bitrate_kbps  800 -> 700
      k-2: nothing changes
    ");
    let dry = ["config", "push", "--dry-run", "--group", "seoul", "--set"];
    let (code, text, _) = trial.run(&[&dry[..], &["audio.gain_db=3.5"]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("audio.gain_db  0.0 -> 3.5"), "{text}");
    // Each is allowed alone; that they do not go together only the kiosk sees, with its site file.
    let (code, json) = trial.coded(&[&dry[..], &["video.min_bitrate_kbps=5000"]].concat());
    assert_eq!((code, &json["fine"]), (3, &json!(false)), "{json}");
    assert_eq!(trial.value("k-0", "video.bitrate_kbps"), 800);
}

#[test]
fn a_push_that_fails_is_told_with_the_reason_and_taken_back() {
    let trial = Trial::start(2, |number| Kind { fails: number == 1, ..Kind::default() });
    let (code, pushed) = trial.push(&["--group", "seoul", "--set", "video.bitrate_kbps=800"]);
    assert_eq!((code, &pushed["result"]["outcome"]), (3, &json!("partly")), "{pushed}");
    let failed = &pushed["kiosks"]["k-1"];
    assert_eq!(failed["state"], "failed");
    assert!(failed["errors"].to_string().contains("no route to the media server"), "{failed}");
    assert_eq!(trial.value("k-0", "video.bitrate_kbps"), 800);
    assert_eq!(trial.value("k-1", "video.bitrate_kbps"), 1000);
}

#[test]
fn rollback_pushes_what_was_confirmed_before() {
    let trial = Trial::start(2, |_| Kind::default());
    for value in ["video.bitrate_kbps=800", "video.bitrate_kbps=700"] {
        assert_eq!(trial.push(&["--group", "seoul", "--set", value]).0, 0);
    }
    assert_eq!(trial.value("k-1", "video.bitrate_kbps"), 700);
    let back = trial.json(&["config", "rollback", "--group", "seoul", "--yes"]);
    assert_eq!(back["result"]["outcome"], "confirmed");
    let explained = trial.json(&["config", "explain", "video.bitrate_kbps", "--device", "k-1"]);
    assert_eq!((&explained["value"], &explained["revision"]["revision"]), (&json!(800), &json!(3)));
    assert_eq!(explained["reason"], "back to revision 1");
}

#[test]
fn what_can_cut_a_kiosk_off_needs_a_second_admin_where_the_site_says_so() {
    let trial = Trial::start(1, |_| Kind { two_signatures: true, ..Kind::default() });
    let change = ["--device", "k-0", "--set", "janus.url=wss://other.example/"];
    let (code, pushed) = trial.push(&change);
    assert_eq!(code, 3, "{pushed}");
    assert!(
        pushed["kiosks"]["k-0"]["errors"].to_string().contains("two trusted keys have to sign it, and one has"),
        "{pushed}"
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("change.json").display().to_string();
    let save = ["config", "push", "--reason", "moved", "--save", &file];
    let (code, _, told) = trial.run(&[&save[..], &change].concat());
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("NOTE: janus.url can cut a kiosk off"), "{told}");
    let (again, _, told) = trial.run(&["config", "sign", &file, "--yes"]);
    assert_eq!(again, 1);
    assert!(told.contains("has signed it already"), "{told}");
    let (ben, _) = trial.broker.another_key("carl").unwrap();
    let ben = ben.with_file_name("ben.key").display().to_string();
    let signed = trial.json(&["config", "sign", &file, "--yes", "--signing-key", &ben]);
    assert_eq!((&signed["file"], signed["signed_by"].as_array().unwrap().len()), (&json!(file), 2), "{signed}");
    let pushed = &signed["messages"][0]["payload"];
    assert_eq!(pushed["config"]["janus"]["url"], "wss://other.example/", "{signed}");
    let done = trial.json(&["config", "push", "--resume", &file, "--yes"]);
    assert_eq!(done["result"]["outcome"], "confirmed", "{done}");
    assert_eq!(trial.value("k-0", "janus.url"), "wss://other.example:443/");
}

#[test]
fn a_push_that_nobody_listens_to_is_told_before_and_is_no_success() {
    let trial = Trial::start(1, |_| Kind::default());
    let push = ["config", "push", "--reason", "a test", "--group", "seuol", "--set", "video.bitrate_kbps=800"];
    let nobody = "no kiosk is in group seuol; there are: seoul\n";
    let (code, shown, told) = trial.run(&push);
    assert_eq!((code, shown.as_str()), (1, ""));
    assert!(told.starts_with(nobody) && told.ends_with("this is no terminal to ask on: say --yes\n"), "{told}");
    let (code, shown, told) = trial.run(&[&push[..], &["--yes"]].concat());
    assert_eq!((code, shown.as_str()), (3, "sent; no kiosk listens to it yet\n"));
    assert!(told.starts_with(nobody), "{told}");
    let (code, told) = trial.push(&["--group", "seuol", "--set", "video.bitrate_kbps=700"]);
    assert_eq!((code, &told["result"]["outcome"]), (3, &json!("partly")), "{told}");
    assert_eq!(trial.run(&[&push[..], &["--dry-run"]].concat()).0, 3);

    // Such a layer is not hidden, and neither is one of a kiosk that never said anything.
    let push = ["--device", "k-9", "--set", "video.bitrate_kbps=600", "--timeout", "1s"];
    let (code, _, told) = trial.run(&[&["config", "push", "--yes", "--reason", "early"], &push[..]].concat());
    assert_eq!(code, 3, "{told}");
    let (_, table, _) = trial.run(&["config", "status"]);
    insta::assert_snapshot!(table, @r"
    KIOSK  LAYER        PUSHED  CONFIRMED  STATE     BY    REASON  WHAT IS WRONG
    -      group seuol  2       -          no kiosk  demo  a test
    k-9    device       1       -          no kiosk  demo  early
    ");
    for (which, lines) in [(["--group", "seuol"], 1), (["--device", "k-9"], 1), (["--group", "seoul"], 0)] {
        let status = trial.json(&[&["config", "status"], &which[..]].concat());
        assert_eq!(status.as_array().unwrap().len(), lines, "{which:?} {status}");
    }
}

#[test]
fn nothing_is_built_upon_what_an_unknown_key_has_signed() {
    let trial = Trial::start(1, |_| Kind::default());
    let (other, _) = trial.broker.another_key("carl").unwrap();
    let other = other.display().to_string();
    let set = ["--device", "k-0", "--set", "video.bitrate_kbps=800"];
    // The kiosk does not trust it either.
    let (code, pushed) = trial.push(&[&set[..], &["--signing-key", &other]].concat());
    assert_eq!(code, 3);
    assert!(pushed["kiosks"]["k-0"]["errors"].to_string().contains("unknown-key"), "{pushed}");
    let push = ["config", "push", "--yes", "--reason", "a test"];
    let (code, _, told) = trial.run(&[&push[..], &set].concat());
    assert_eq!(code, 1);
    assert!(told.contains("nothing is built upon it"), "{told}");
}
