//! What is installed on a kiosk: the unit of systemd, its users, the example of the configuration.

use super::place::{done, repository};
use kiosk_proto::config::{Config, parse};
use std::process::Command;

/// What `systemd-analyze security` may say at most: 0 is safe, 10 is open.
const EXPOSURE: f64 = 2.0;

fn unit() -> String {
    std::fs::read_to_string(repository("systemd/kioskd.service")).unwrap()
}

#[test]
fn the_unit_is_hardened() {
    let report = done(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(repository("systemd/kioskd.service")),
    );
    let exposure = report.lines().find_map(|line| line.split_once("Overall exposure level for kioskd.service: "));
    let exposure: f64 = exposure.unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(exposure <= EXPOSURE, "{exposure}\n{report}");
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    // The daemon need not be installed where the test runs.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kioskd.service");
    std::fs::write(&path, unit().replace("ExecStart=/usr/bin/kioskd", "ExecStart=/bin/true")).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_unit_leaves_nothing_of_a_customer_behind_and_lets_the_daemon_work() {
    let unit = unit();
    for line in [
        "Type=notify",
        "WatchdogSec=20",
        "Restart=always",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "User=kiosk",
        "SupplementaryGroups=video audio render",
        "LimitCORE=0",
        "MemorySwapMax=0",
        "WatchdogSignal=SIGKILL",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "SocketBindDeny=ipv4:udp",
        "SocketBindDeny=ipv6:udp",
        "DeviceAllow=char-video4linux rw",
        "DeviceAllow=char-media rw",
        "DeviceAllow=char-alsa rw",
        "DeviceAllow=char-drm rw",
    ] {
        assert!(unit.lines().any(|have| have == line), "{line}");
    }
}

#[test]
fn the_users_of_the_unit_and_of_the_bus_are_created() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    let root_argument = format!("--root={}", root.path().display());
    done(Command::new("systemd-sysusers").arg(&root_argument).arg(repository("systemd/sysusers.d/kiosk.conf")));
    let groups = std::fs::read_to_string(root.path().join("etc/group")).unwrap();
    for group in ["kiosk:", "kiosk-screen:"] {
        assert!(groups.lines().any(|line| line.starts_with(group)), "{groups}");
    }
}

#[test]
fn the_example_of_the_configuration_shows_the_defaults() {
    let example = std::fs::read_to_string(repository("config/kiosk.toml")).unwrap();
    let config = parse(&example).unwrap();
    // Every setting that is commented out, put in force, but for those that have no default.
    let no_default = ["ca_file", "pin_file", "local_address", "file"];
    let complete: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ").and_then(|text| Some((text, text.split_once(" = ")?.0))) {
            Some((setting, key)) if !key.contains(' ') && !no_default.contains(&key) => setting,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(parse(&complete).unwrap(), config);
    // And no key of the schema is missing in it.
    let written = serde_json::to_value::<Config>(config).unwrap();
    for (section, keys) in written.as_object().unwrap() {
        for key in keys.as_object().unwrap().keys() {
            assert!(complete.lines().any(|line| line.starts_with(&format!("{key} = "))), "{section}.{key}");
        }
    }
    for key in no_default {
        assert!(example.contains(&format!("\n# {key} = ")), "{key}");
    }
}
