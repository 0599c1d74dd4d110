//! What needs no broker: files that are checked, keys, profiles.

use kiosk_harness::janus::built;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};
use tempfile::TempDir;

/// An admin with an empty home.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("kioskctl")).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Exit code, standard output and standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(built("kioskctl").unwrap());
        command.current_dir(self.0.path()).env("XDG_CONFIG_HOME", self.0.path()).env_remove("KIOSKCTL_PROFILE");
        let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(self.0.path().to_str().unwrap(), "HOME");
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, output, errors) = self.run(&[arguments, &["--json"]].concat());
        (code, serde_json::from_str(&output).unwrap_or_else(|_| panic!("{arguments:?}: {code} {output} {errors}")))
    }
}

#[test]
fn a_file_is_checked_by_line_and_key() {
    let desk = Desk::new();
    desk.write("good.toml", "[video]\nbitrate_kbps = 800\n");
    let (code, told, errors) = desk.run(&["config", "check", "good.toml"]);
    assert_eq!((code, told.as_str(), errors.as_str()), (0, "good.toml: no errors, as a layer\n", ""));
    let fine = json!({ "file": "good.toml", "kind": "a layer", "errors": [], "note": null });
    assert_eq!(desk.json(&["config", "check", "good.toml"]), (0, fine));

    desk.write("layer.toml", "[video]\nbitrate_kbps = 800\n\n[camera]\nwidht = 640\n\n[fleet]\ngroups = [\"a\"]\n");
    let (code, told, errors) = desk.run(&["config", "check", "layer.toml"]);
    assert_eq!((code, told.as_str()), (1, ""));
    insta::assert_snapshot!(errors, @r#"
    layer.toml:5:1: camera.widht: unknown key; did you mean width?
        5 | widht = 640
          | ^^^^^
    layer.toml:8:1: fleet.groups: only the kiosk's own kiosk.toml sets this; take it out of what is pushed
        8 | groups = ["a"]
          | ^^^^^^
    "#);
    let (code, told) = desk.json(&["config", "check", "layer.toml"]);
    let place = |error: &Value| (error["line"].as_u64().unwrap(), error["key"].as_str().unwrap().to_owned());
    let places: Vec<_> = told["errors"].as_array().unwrap().iter().map(place).collect();
    assert_eq!((code, places), (1, vec![(5, "camera.widht".into()), (8, "fleet.groups".into())]), "{told}");

    // The same keys in a whole kiosk.toml are right, as far as they are.
    desk.write("kiosk.toml", "[kiosk]\nid = \"A b\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1001\n");
    let (code, _, errors) = desk.run(&["config", "check", "kiosk.toml"]);
    assert!(code == 1 && errors.starts_with("kiosk.toml:2:6: kiosk.id: found \"A b\"; allowed: "), "{errors}");
    let (code, told) = desk.json(&["config", "check", "kiosk.toml", "--layer"]);
    assert_eq!((code, &told["kind"]), (1, &json!("a layer")), "{told}");

    desk.write("broken.toml", "[video\n");
    let (code, _, errors) = desk.run(&["config", "check", "broken.toml"]);
    assert!(code == 1 && errors.starts_with("broken.toml:1:7: not TOML: "), "{errors}");
    let (code, told, errors) = desk.run(&["config", "check", "missing.toml", "--json"]);
    assert_eq!((code, told.as_str()), (1, ""));
    assert!(errors.starts_with("cannot read missing.toml: "), "{errors}");
    assert_eq!(desk.run(&["config", "check"]).0, 2, "no file is named");
}

#[test]
fn a_key_is_made_once_and_listed_without_its_secret() {
    let desk = Desk::new();
    assert_eq!(desk.json(&["key", "list"]), (0, json!([])));
    let (code, told, _) = desk.run(&["key", "new", "anna"]);
    assert!(code == 0 && told.contains("\n  keys = [\"ed25519:") && told.contains("= anna\"]"), "{told}");
    let file = desk.0.path().join("kioskctl/keys/anna.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    let (code, _, errors) = desk.run(&["key", "new", "anna"]);
    assert!(code == 1 && errors.contains("anna.key is there already"), "{errors}");
    assert_eq!(fs::read_to_string(&file).unwrap(), secret);

    let (code, made) = desk.json(&["key", "new", "ben"]);
    assert_eq!(code, 0, "{made}");
    let (code, list) = desk.json(&["key", "list"]);
    let names: Vec<&str> = list.as_array().unwrap().iter().filter_map(|key| key["name"].as_str()).collect();
    assert_eq!((code, names), (0, vec!["anna", "ben"]));
    assert_eq!((&list[1]["id"], &list[1]["public"]), (&made["id"], &made["public"]));
    let (_, table, _) = desk.run(&["key", "list"]);
    for text in [told, list.to_string(), table] {
        assert!(!secret.lines().filter(|line| line.len() > 20).any(|line| text.contains(line)), "{text}");
    }
}

#[test]
fn a_profile_is_named_or_the_default_and_what_is_missing_is_told() {
    let desk = Desk::new();
    let fails = |arguments: &[&str]| {
        let (code, told, errors) = desk.run(arguments);
        assert_eq!((code, told.as_str()), (1, ""), "{errors}");
        errors
    };
    let list = ["fleet", "list", "--profile"];
    let missing = fails(&["fleet", "list"]);
    assert!(
        missing.starts_with("the broker's address is not set: give --broker, or `broker` in a profile"),
        "{missing}"
    );
    let profile = |name: &str, port: u16| {
        format!(
            "[profile.{name}]\nbroker = \"mqtts://127.0.0.1:{port}\"\nca = \"{name}.pem\"\ncert = \"c\"\nkey = \"k\"\n"
        )
    };
    desk.write("kioskctl/profiles.toml", &format!("default = \"a\"\n{}{}", profile("a", 1), profile("b", 2)));
    // Each is known by its own authority, which is looked for beside the profiles.
    assert!(fails(&["fleet", "list"]).contains("HOME/kioskctl/a.pem"));
    assert!(fails(&[&list[..], &["b"]].concat()).contains("HOME/kioskctl/b.pem"));
    let unknown = fails(&[&list[..], &["c"]].concat());
    assert!(unknown.contains("has no profile \"c\"; it has: a, b"), "{unknown}");
    assert!(fails(&["fleet", "list", "--ca", "other.pem"]).contains("authority other.pem"));
    desk.write("kioskctl/profiles.toml", "[profile.a]\nbrokr = \"mqtts://a\"\n");
    let wrong = fails(&[&list[..], &["a"]].concat());
    assert!(wrong.contains("profiles.toml") && wrong.contains("brokr"), "{wrong}");
}
