use proptest::prelude::*;

use super::leaf::leaf;
use super::*;

const MINIMAL: &str = "[kiosk]\nid = \"demo-1\"\n[janus]\nurl = \"wss://janus.bank.example:8989/\"\nroom = 1001\n";

fn errors(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The minimal configuration with more lines in one section.
fn with(section: &str, lines: &str) -> String {
    let header = format!("[{section}]\n");
    match MINIMAL.find(&header) {
        Some(at) => {
            let (before, after) = MINIMAL.split_at(at + header.len());
            format!("{before}{lines}\n{after}")
        }
        None => format!("{MINIMAL}{header}{lines}\n"),
    }
}

#[test]
fn three_keys_are_enough_and_the_rest_has_the_documented_defaults() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.kiosk.id.as_str(), "demo-1");
    assert_eq!((config.camera.width, config.camera.height, config.camera.frames_per_second), (1280, 720, 30));
    assert_eq!(config.video.bitrate_kbps, Kbps(1000));
    assert_eq!(config.video.keyframe_min_interval_ms, 500);
    assert_eq!(config.janus.keepalive_s, 25);
    assert_eq!(config.janus.media_ports.to_string(), "40000-40099");
    assert_eq!(config.control.bus, Bus::System);
    assert_eq!(config.fleet, None);
}

const FLEET: &str = "broker = \"mqtts://broker.bank.example\"\ncert_file = \"/etc/kiosk/fleet.crt\"\n\
                     key_file = \"/etc/kiosk/fleet.key\"\n\
                     keys = [\"ed25519:6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw= Ada\"]";

#[test]
fn the_fleet_section_has_the_documented_defaults() {
    let fleet = parse(&with("fleet", FLEET)).unwrap().fleet.unwrap();
    assert_eq!((fleet.broker.host(), fleet.broker.port()), ("broker.bank.example", 8883));
    assert_eq!((fleet.groups.len(), fleet.keys[0].name()), (0, Some("Ada")));
    assert_eq!((fleet.metrics_interval_s, fleet.keepalive_s, fleet.trial_deadline_s), (60, 30, 60));
    assert_eq!(fleet.state_dir.to_str(), Some("/var/lib/kiosk/fleet"));
    assert!(!fleet.two_signatures);
}

#[test]
fn a_fleet_section_with_mistakes() {
    insta::assert_snapshot!(
        "fleet_values",
        errors(&with(
            "fleet",
            "broker = \"mqtt://broker.bank.example\"\ngroups = [\"north\", \"Big City\"]\nkeys = []\n\
             keep_alive_s = 3\ntwo_signatures = 2"
        ))
    );
    let key = "ed25519:6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";
    let twice = FLEET.replace(&format!("[\"{key} Ada\"]"), &format!("[\"{key}\", \"{key} Ada\"]"));
    insta::assert_snapshot!(
        "fleet_rules",
        errors(&with("fleet", &format!("{twice}\ngroups = [\"a\", \"b\", \"a\"]\ntwo_signatures = true")))
    );
}

#[test]
fn a_proxy_section_and_its_mistakes() {
    let proxy = parse(&with("proxy", "address = \"[2001:DB8::3]:3128\"")).unwrap().proxy.unwrap();
    assert_eq!((proxy.address.host(), proxy.address.port(), &proxy.username), ("2001:db8::3", 3128, &None));
    for bad in
        ["proxy", "proxy:0", "http://proxy:3128", "proxy:3128/", "user:x@proxy:3128", ":3128", "2001:db8::3:3128"]
    {
        assert!(parse(&with("proxy", &format!("address = \"{bad}\""))).is_err(), "{bad}");
    }
    insta::assert_snapshot!(errors(&with("proxy", "username = \"branch:7\"\npassword_file = \"pw\"")));
    let named = |name: &str| parse(&with("proxy", &format!("address = \"proxy:3128\"\nusername = \"{name}\"")));
    assert!(named("kiosk").is_err(), "without a password");
}

#[test]
fn a_relay_section_and_its_mistakes() {
    let of = |url: &str, more: &str| {
        parse(&with("relay", &format!("url = \"{url}\"\n{more}"))).map(|config| config.relay.unwrap())
    };
    let secret = "secret_file = \"/etc/kiosk/relay\"";
    for (url, parts) in [
        ("turns:turn.bank.example:443", (true, "turn.bank.example", 443)),
        ("turns:Turn.bank.example?transport=tcp", (true, "turn.bank.example", 5349)),
        ("turn:[2001:db8::9]", (false, "2001:db8::9", 3478)),
    ] {
        let url = of(url, secret).unwrap().url;
        assert_eq!((url.is_tls(), url.host(), url.port()), parts);
        assert_eq!(RelayUrl::try_from(url.to_string()), Ok(url));
    }
    for bad in ["turn.bank.example", "turns://turn.bank.example", "turn:a:0", "turn:a?transport=udp", "stun:a", "turn:"]
    {
        assert!(of(bad, secret).is_err(), "{bad}");
    }
    let relay = of("turn:a", secret).unwrap();
    assert_eq!((relay.policy, relay.after_s), (RelayPolicy::Auto, 2));
    let given = "username = \"kiosk\"\npassword_file = \"/etc/kiosk/relay\"";
    assert!(of("turn:a", given).is_ok());
    assert!(of("turn:a", &format!("{given}\n{secret}")).is_err());
    insta::assert_snapshot!(of("turn:a", "username = \"kiosk\"\nafter_s = 9\npolicy = \"both\"").unwrap_err());
}

#[test]
fn misspelt_keys() {
    insta::assert_snapshot!(errors(
        r#"
[kiosk]
id = "branch-7"
colour = "blue"

[janus]
url = "wss://janus.bank.example:8989/"
room = 1001
medai_ports = "40000-40099"
width = 640
pin = "839201"

[cammera]
widht = 640

[camera]
widht = 640
"Frames_Per_Second" = 15
"#
    ));
}

#[test]
fn values_of_a_wrong_type_or_out_of_range() {
    insta::assert_snapshot!(errors(
        r#"
display = "window"
[kiosk]
id = "Branch 7"
[janus]
url = 8989
room = "1001"
keepalive_s = 60
media_ports = "40099-40000"
ca_file = "ca.pem"
[ice]
local_address = "0.0.0.0"
[camera]
source = "usb"
device = "video0"
width = 1281
height = 99999999999999999999
frames_per_second = 0
exposure = "bright"
focus = -1
[video]
encoder = "x264enc tune=zerolatency"
bitrate_kbps = 1.5
[audio]
source = "pulse"
source_device = ""
echo_cancellation = "yes"
gain_db = nan
[control]
bus = "tcp:host=10.0.0.1"
"#
    ));
}

#[test]
fn missing_keys() {
    insta::assert_snapshot!("empty", errors(""));
    insta::assert_snapshot!("in_a_section", errors("[kiosk]\n[janus]\nroom = 5\n"));
    insta::assert_snapshot!("section_is_not_one", errors("kiosk = \"demo-1\"\n[[janus]]\nroom = 5\n"));
}

#[test]
fn rules_between_keys() {
    let all = format!(
        "{MINIMAL}[ice]\nlocal_address = \"127.0.0.1\"\n[camera]\nsource = \"file\"\n[video]\nbitrate_kbps = 100\n\
         min_bitrate_kbps = 200\n"
    )
    .replace("janus.bank.example", "10.1.2.3");
    insta::assert_snapshot!(errors(&all));
}

#[test]
fn a_rule_about_a_default_points_at_the_key_that_the_file_has() {
    insta::assert_snapshot!(errors(&with("video", "min_bitrate_kbps = 2000")));
}

#[test]
fn addresses_of_janus() {
    let url = |url: &str| parse(&MINIMAL.replace("wss://janus.bank.example:8989/", url)).map(|config| config.janus.url);
    for (good, parts) in [
        ("wss://Janus.bank.example", (true, "janus.bank.example", 443, "/")),
        ("wss://10.1.2.3:8989/janus", (true, "10.1.2.3", 8989, "/janus")),
        ("wss://[2001:db8::1]:8989", (true, "2001:db8::1", 8989, "/")),
        ("ws://127.0.0.1:8188/", (false, "127.0.0.1", 8188, "/")),
        ("ws://[::1]/", (false, "::1", 80, "/")),
        ("ws://localhost:8188", (false, "localhost", 8188, "/")),
    ] {
        let url = url(good).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((url.is_tls(), url.host(), url.port(), url.path()), parts, "{good}");
        assert_eq!(JanusUrl::try_from(url.to_string()), Ok(url));
    }
    for bad in [
        "https://janus.bank.example/",
        "wss://",
        "wss://:8989/",
        "wss://a..b/",
        "wss://10.1.2.300/",
        "wss://janus:0/",
        "wss://janus:70000/",
        "wss://2001:db8::1/",
        "wss://[::1/",
        "wss://janus/a b",
        "ws://localhost.bank.example/",
        "ws://10.1.2.3/",
    ] {
        assert!(url(bad).is_err(), "{bad}");
    }
    insta::assert_snapshot!(url("ws://janus.bank.example:8188/").unwrap_err().in_file("/etc/kiosk/kiosk.toml"));
}

#[test]
fn a_port_range_holds_its_ends_and_nothing_outside() {
    let range = PortRange::try_from("40000-40009".to_owned()).unwrap();
    let inside: Vec<bool> = [39_999, 40_000, 40_009, 40_010].map(|port| range.contains(port)).into();
    assert_eq!(inside, [false, true, true, false]);
    for bad in ["40000", "40000-", "-1", "0-5", "5-5", "40000-70000", "+5-9", "1-2-3", "40000 - 40009"] {
        assert!(PortRange::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn text_that_is_not_toml() {
    insta::assert_snapshot!(errors("[kiosk]\nid = \"demo-1\nname = \"x\"\n[janus\nroom = 10 01\nroom = 3\n"));
}

#[test]
fn no_secret_is_printed() {
    let text = format!(
        "{}[camera]\npassword = \"s3cr3t-a\"\n",
        MINIMAL.replace("wss://", "wss://agent:s3cr3t-b@").replace("room = 1001", "room = 0\npin_file = \"s3cr3t-c\"")
    ) + "token = s3cr3t-d\n";
    insta::assert_snapshot!(errors(&text));
    assert!(!errors(&text).contains("s3cr3t"));
    let multi_line = text + "secret = \"\"\"\ns3cr3t-e=\n\\q\"\"\"\n";
    assert!(!errors(&multi_line).contains("s3cr3t"));
}

#[test]
fn a_text_of_any_size_is_bounded() {
    insta::assert_snapshot!(errors(&"#".repeat(100_000)));
}

/// Calls `visit` for each key of the schema.
fn each_key(visit: impl Fn(&str, &serde_json::Value)) {
    for (section, schema) in json_schema()["properties"].as_object().unwrap() {
        for (key, schema) in schema["properties"].as_object().unwrap() {
            visit(&format!("{section}.{key}"), schema);
        }
    }
}

#[test]
fn every_default_and_example_of_the_schema_is_allowed_by_it() {
    each_key(|key, schema| {
        let values = schema.get("default").into_iter().chain(schema.get("examples").and_then(|e| e.get(0)));
        for value in values {
            let text = value.to_string();
            let value = toml::de::DeValue::parse(&text).unwrap();
            leaf(value.get_ref(), schema).unwrap_or_else(|allowed| panic!("{key}: {text} is not {allowed}"));
        }
        assert!(schema.get("description").is_some(), "{key} says nothing about itself");
    });
}

#[test]
fn the_schema_in_the_repository_is_the_one_that_is_enforced() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/kiosk.schema.json");
    let enforced = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &enforced).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == enforced,
        "config/kiosk.schema.json is not what the code enforces; write it anew with\n\
         UPDATE_SCHEMA=1 cargo test -p kiosk-proto the_schema_in_the_repository"
    );
}

fn text(pattern: &'static str) -> BoxedStrategy<String> {
    proptest::string::string_regex(pattern).unwrap().boxed()
}

prop_compose! {
    fn any_config()(
        id in text("[a-z0-9-]{1,63}"),
        (host, path) in (text("[a-z]{1,20}(\\.[a-z]{1,9})?"), text("(/[a-z0-9]{1,5}){0,2}")),
        (port, first, ports) in (1..=u16::MAX, 1..60_000_u16, 1..100_u16),
        (room, keepalive) in (1..9_007_199_254_740_991_u64, 1..=55_u32),
        secret in proptest::option::of(text("/[ -~]{1,30}")),
        address in proptest::option::of(text("10\\.[1-9]\\.[1-9]\\.[1-9]")),
        (width, height, rate) in (80..=1920_u32, 60..=1080_u32, 1..=60_u32),
        (least, more) in (50..1000_u32, 0..1000_u32),
        exposure in proptest::option::of(0..=1_000_000_u32),
        (gain, device) in (-30.0..=30.0_f64, text("[ -~]{1,128}")),
        (fleet, address_of_proxy) in (any::<bool>(), proptest::option::of(text("[a-z]{1,9}:[1-9][0-9]{3}"))),
        (source, camera, bus) in (0..3_usize, text("/dev/[a-z0-9/]{1,9}"), text("unix:[ -~]{1,40}")),
    ) -> Config {
        let mut config = parse(MINIMAL).unwrap();
        config.kiosk.id = KioskId::try_from(id).unwrap();
        config.janus.url = JanusUrl::try_from(format!("wss://{host}:{port}{path}")).unwrap();
        config.janus.media_ports = PortRange::try_from(format!("{first}-{}", first + ports)).unwrap();
        (config.janus.room, config.janus.keepalive_s) = (room, keepalive);
        config.janus.token_file = secret.map(|path| SecretFile(path.into()));
        config.ice.local_address = address.map(|address| address.parse().unwrap());
        config.camera.source = [CameraSource::V4l2, CameraSource::File, CameraSource::Test][source];
        config.camera.device = CameraDevice::Path(camera.into());
        config.camera.file = (source == 1).then(|| "/opt/clip.mp4".into());
        (config.camera.width, config.camera.height) = (width * 2, height * 2);
        config.camera.frames_per_second = rate;
        config.camera.exposure = exposure.map_or(Adjustment::Auto, Adjustment::Fixed);
        config.video.min_bitrate_kbps = Kbps(least);
        config.video.bitrate_kbps = Kbps(least + more);
        (config.audio.gain_db, config.audio.source_device) = (gain, device);
        config.control.bus = Bus::Address(bus);
        config.proxy = address_of_proxy.map(|address| Proxy {
            address: ProxyAddress::try_from(address).unwrap(),
            username: config.janus.token_file.as_ref().map(|_| "kiosk".to_owned()),
            password_file: config.janus.token_file.clone(),
        });
        config.relay = config.janus.token_file.as_ref().map(|file| Relay {
            url: RelayUrl::try_from(format!("turns:{host}:{port}")).unwrap(),
            policy: RelayPolicy::Relay,
            after_s: 1 + keepalive % 4,
            ca_file: None,
            secret_file: Some(file.clone()),
            username: None,
            password_file: None,
        });
        config.fleet = fleet.then(|| parse(&with("fleet", FLEET)).unwrap().fleet.unwrap());
        config
    }
}

proptest! {
    #[test]
    fn a_valid_configuration_survives_being_written_and_read(config in any_config()) {
        let text = toml::to_string(&config).unwrap();
        prop_assert_eq!(parse(&text).map_err(|errors| errors.to_string()), Ok(config));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        if let Err(errors) = parse(&text) {
            prop_assert!(errors.iter().count() > 0);
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    /// Cuts and pastes within a good file reach deeper than noise does.
    #[test]
    fn no_damage_makes_it_panic(
        config in any_config(),
        (cut, length) in (0..900_usize, 0..60_usize),
        paste in "[\\PC\n\"=\\[\\]]{0,12}",
    ) {
        let mut text: Vec<char> = toml::to_string(&config).unwrap().chars().collect();
        let cut = cut.min(text.len());
        text.splice(cut..(cut + length).min(text.len()), paste.chars());
        let text: String = text.into_iter().collect();
        if let Err(errors) = parse(&text) {
            let lines = text.lines().count() + 1;
            for error in errors.iter() {
                prop_assert!(error.line >= 1 && error.line <= lines, "{errors}");
                // The structs refuse nothing that the schema allows.
                prop_assert!(!(error.key.is_empty() && matches!(error.problem, Problem::Rule(_))), "{errors}");
            }
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated(
        key in "(janus\\.)?(pin|pin_file|room_token|api-key|password)",
        secret in "[A-Za-z0-9+/]{12,40}={0,2}",
        quoted in any::<bool>(),
    ) {
        let value = if quoted { format!("\"{secret}\"") } else { secret.clone() };
        let line = format!("{key} = {value}");
        for file in [format!("{line}\n{MINIMAL}"), format!("{line} x\n"), format!("{line}\n]")] {
            if let Err(errors) = parse(&file) {
                prop_assert!(!errors.to_string().contains(&secret), "{errors}");
                prop_assert!(!format!("{errors:?}").contains(&secret), "{errors:?}");
            }
        }
    }
}
