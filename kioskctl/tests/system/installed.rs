//! What is installed on a kiosk: the unit of systemd, its users, the example of the configuration.

use super::place::{done, repository};
use kiosk_proto::config::{Config, parse};
use std::path::Path;
use std::process::Command;

/// What `systemd-analyze security` may say at most: 0 is safe, 10 is open.
const EXPOSURE: f64 = 2.0;

fn unit() -> String {
    std::fs::read_to_string(repository("systemd/kioskd.service")).unwrap()
}

/// Puts units and drop-ins below a root of their own; gives what `systemd-analyze security` says of `unit` there.
fn exposure(unit: &str, files: &[(&str, &Path)]) -> f64 {
    let root = tempfile::tempdir().unwrap();
    for (target, file) in files {
        let target = root.path().join("usr/lib/systemd/system").join(target);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
    let report = done(Command::new("systemd-analyze").arg(format!("--root={}", root.path().display())).args([
        "security",
        "--offline=true",
        "--no-pager",
        unit,
    ]));
    let (_, level) = report.split_once(&format!("Overall exposure level for {unit}: ")).unwrap();
    level.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_daemon_s_unit_is_hardened() {
    let unit = repository("systemd/kioskd.service");
    assert!(exposure("kioskd.service", &[("kioskd.service", &unit)]) <= EXPOSURE);
}

#[test]
fn the_drop_in_hardens_debian_s_unit_of_janus() {
    let unit = ("janus.service", Path::new("/lib/systemd/system/janus.service"));
    let drop_in = repository("systemd/janus.service.d/branch-kiosk.conf");
    assert!(exposure("janus.service", &[unit]) > EXPOSURE);
    let hardened = exposure("janus.service", &[unit, ("janus.service.d/branch-kiosk.conf", &drop_in)]);
    assert!(hardened <= EXPOSURE, "{hardened}");
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    // The daemon need not be installed where the test runs.
    let folder = tempfile::tempdir().unwrap();
    let put = |target: &str, text: String| {
        let path = folder.path().join(target);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("kioskd.service", unit().replace("ExecStart=/usr/bin/kioskd", "ExecStart=/bin/true"));
    for server in ["janus.service", "mosquitto.service"] {
        put(server, std::fs::read_to_string(format!("/lib/systemd/system/{server}")).unwrap());
        let drop_in = format!("{server}.d/branch-kiosk.conf");
        put(&drop_in, std::fs::read_to_string(repository(&format!("systemd/{drop_in}"))).unwrap());
    }
    for counters in ["kiosk-counters.service", "kiosk-counters.timer"] {
        put(counters, std::fs::read_to_string(repository(&format!("systemd/{counters}"))).unwrap());
    }
    for unit in
        ["kioskd.service", "janus.service", "mosquitto.service", "kiosk-counters.service", "kiosk-counters.timer"]
    {
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no", unit])
            .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{unit}: {said}");
    }
}

#[test]
fn the_broker_may_have_more_files_open_than_kiosks_connect() {
    let number = |file: &str, before: &str| -> u32 {
        let text = std::fs::read_to_string(repository(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(before)).unwrap();
        line.parse().unwrap()
    };
    let files = number("systemd/mosquitto.service.d/branch-kiosk.conf", "LimitNOFILE=");
    // The default, as the example's comment has it.
    let kiosks = number("config/mosquitto/site.example.toml", "# connections = ");
    assert!(files > kiosks + 1_000, "{files} files for {kiosks} kiosks");
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
        "SupplementaryGroups=video audio render systemd-journal",
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
