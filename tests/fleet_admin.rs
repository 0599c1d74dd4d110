//! The admin's program and the daemon, without anything simulated between them: a push, what set a value, diagnostics.

use flate2::read::GzDecoder;
use kiosk_harness::{
    Error, Result,
    fleet::{self, Fleet},
    janus::built,
    mosquitto::Mosquitto,
    place::Place,
    scene,
    wait::until,
    world::{Host, World, scenario},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

/// An admin with a profile and a key of her own.
struct Admin {
    place: Place,
    home: PathBuf,
    public: String,
}

impl Admin {
    fn new(world: &World, broker: &Mosquitto) -> Result<Self> {
        let home = world.dir().join("admin");
        let folder = home.join("kioskctl");
        fs::create_dir_all(&folder).map_err(Error::io("the admin's folder"))?;
        let (url, ca, identity) = (broker.admin_url(), broker.ca(), broker.admin());
        let (certificate, key) = (identity.certificate.display(), identity.key.display());
        let profile = format!(
            "default = \"bank\"\n[profile.bank]\nbroker = \"{url}\"\nca = \"{}\"\ncert = \"{certificate}\"\nkey = \"{key}\"\n\
             signing_key = \"keys/ada.key\"\nauthor = \"Ada\"\n",
            ca.display()
        );
        fs::write(folder.join("profiles.toml"), profile).map_err(Error::io("the profile"))?;
        let mut admin = Self { place: world.at(Host::Agent)?, home, public: String::new() };
        let (code, made) = admin.json(&["key", "new", "ada"])?;
        admin.public = made["public"].as_str().unwrap_or_default().to_owned();
        assert_eq!(code, 0, "{made}");
        Ok(admin)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.place.command(built("kioskctl")?);
        command.env("XDG_CONFIG_HOME", &self.home).args(arguments).arg("--json").stdin(Stdio::null());
        Ok(command)
    }

    /// Its exit code, and what it says.
    fn json(&self, arguments: &[&str]) -> Result<(i32, Value)> {
        let output = self.command(arguments)?.output().map_err(Error::io("kioskctl"))?;
        let told = serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::Other(format!("{error}: {}", String::from_utf8_lossy(&output.stderr))))?;
        Ok((output.status.code().unwrap_or(-1), told))
    }
}

#[test]
fn an_admin_pushes_watches_asks_and_gets_diagnostics_of_a_real_kiosk() {
    scenario(|world| {
        let (janus, broker) = (scene::janus(world)?, fleet::broker(world)?);
        let admin = Admin::new(world, &broker)?;
        // The journal of this machine: more than one message carries.
        let tools = world.dir().join("tools");
        fs::create_dir(&tools).map_err(Error::io("a folder"))?;
        let journalctl = tools.join("journalctl");
        fs::write(&journalctl, "#!/bin/sh\nhead -c 400000 /dev/urandom | base64 -w 100\necho 'the last line'\n")
            .map_err(Error::io("a script"))?;
        fs::set_permissions(&journalctl, fs::Permissions::from_mode(0o755)).map_err(Error::io("a script"))?;
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
        let config = scene::kiosk_config(&janus)?;
        let keys = vec![admin.public.clone()];
        let change = |config: kiosk_harness::kiosk::KioskConfig| config.with("fleet", "keys", keys);
        let mut fleet = Fleet::start_with_in(world, broker, config, change, &[("PATH", path)])?;

        let mut watch =
            admin.command(&["fleet", "watch"])?.stdout(Stdio::piped()).spawn().map_err(Error::io("watch"))?;
        let lines = watch.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let push =
            ["config", "push", "--device", fleet::KIOSK, "--yes", "--reason", "less", "--timeout", "30s", "--set"];
        let (code, pushed) = admin.json(&[&push[..], &["video.bitrate_kbps=800"]].concat())?;
        assert_eq!((code, &pushed["result"]["outcome"]), (0, &json!("confirmed")), "{pushed}");
        let (_, explained) = admin.json(&["config", "explain", "video.bitrate_kbps", "--device", fleet::KIOSK])?;
        let said = [&explained["value"], &explained["set_by"], &explained["author"], &explained["reason"]];
        assert_eq!(said, [&json!(800), &json!("device"), &json!("Ada"), &json!("less")], "{explained}");
        // Who watches sees it confirmed, line by line.
        let (told, seen) = mpsc::channel();
        thread::spawn(move || {
            let confirmed = lines.into_iter().flatten().map_while(std::result::Result::ok).any(|line| {
                let kiosk: Value = serde_json::from_str(&line).unwrap_or_default();
                let attempt = &fleet::layer(&kiosk["reported"], "device")["attempts"][0];
                kiosk["online"] == true && attempt["phase"] == "confirmed" && attempt["reason"] == "less"
            });
            told.send(confirmed)
        });
        let seen = seen.recv_timeout(fleet::SOON).unwrap_or_default();
        watch.kill().map_err(Error::io("watch"))?;
        watch.wait().map_err(Error::io("watch"))?;
        assert!(seen, "the watch did not show it");
        let (_, list) = admin.json(&["fleet", "list"])?;
        assert_eq!((&list[0]["id"], &list[0]["online"]), (&json!(fleet::KIOSK), &json!(true)), "{list}");

        let out = world.dir().display().to_string();
        let (code, told) = admin.json(&["run", "diagnostics", "--device", fleet::KIOSK, "--out", &out])?;
        assert_eq!((code, &told["answers"][fleet::KIOSK]["outcome"]), (0, &json!("done")), "{told}");
        let file = told["files"][fleet::KIOSK].as_str().unwrap_or_default().to_owned();
        let bytes = fs::read(&file).map_err(Error::io(file.clone()))?;
        assert_eq!(told["answers"][fleet::KIOSK]["result"]["bytes"], bytes.len(), "{told}");
        assert!(bytes.len() > 200_000, "one part alone: {}", bytes.len());
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).map_err(Error::io("the diagnostics"))?;
        let facts: Value = serde_json::from_str(&text).map_err(Error::json("the diagnostics"))?;
        let last = facts["journal"].as_array().and_then(|lines| lines.last());
        assert_eq!(last, Some(&json!("the last line")));
        assert_eq!(facts["config"]["video"]["bitrate_kbps"], 800, "{}", facts["config"]);

        let (code, told) = admin.json(&["run", "end-call", "--device", fleet::KIOSK])?;
        assert_eq!((code, &told["answers"][fleet::KIOSK]["message"]), (0, &json!("there is no call")), "{told}");

        // A group that the kiosk has in its file, and the broker has not: it hears nothing, and the admin is told why.
        fleet.broker.set_groups(fleet::KIOSK, &[])?;
        fleet.broker.stop()?;
        fleet.broker.restart()?;
        fleet.wait_presence(true)?;
        let push = ["config", "push", "--group", fleet::GROUP, "--yes", "--reason", "all", "--timeout", "2s"];
        let (code, pushed) = admin.json(&[&push[..], &["--set", "audio.gain_db=1.5"]].concat())?;
        assert_eq!((code, &pushed["kiosks"][fleet::KIOSK]["state"]), (3, &json!("silent")), "{pushed}");
        let told = until(fleet::SOON, "the kiosk to be connected", || {
            let (_, status) = admin.json(&["config", "status", "--group", fleet::GROUP])?;
            Ok(status[0]["why"].as_str().filter(|why| !why.is_empty()).map(str::to_owned))
        })?;
        assert!(told.contains("is it in this group in the broker's site file?"), "{told}");
        fleet.kiosk.process().must_run()?;
        Ok(())
    });
}
