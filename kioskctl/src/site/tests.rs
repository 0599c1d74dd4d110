use super::*;
use std::collections::BTreeMap;

const EXAMPLE: &str = include_str!("../../../config/janus/site.example.toml");

/// A site with only what it must have, and a place for more.
fn site(signalling: &str, media: &str, rooms: &str) -> String {
    format!(
        "[secrets]\ntoken_file = \"/s/token\"\nadmin_file = \"/s/admin\"\n\
         [signalling]\ncertificate = \"/s/cert.pem\"\nkey = \"/s/key.pem\"\n{signalling}\n\
         [media]\n{media}\n{rooms}"
    )
}

const ROOM: &str = "[[room]]\nid = 1001\ndescription = \"Branch 1\"\n";

fn material() -> Material {
    Material {
        token_secret: "0123456789abcdef0123456789abcdef".into(),
        admin_secret: "fedcba9876543210fedcba9876543210".into(),
        pins: BTreeMap::new(),
    }
}

fn refusal(text: &str) -> String {
    Site::parse(text).expect_err("must be refused").to_string()
}

/// A configuration file without its comments and blank lines.
fn settings(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split("\t#").next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn rendered(text: &str) -> String {
    let files = render(&Site::parse(text).unwrap(), &material()).unwrap();
    files.iter().map(|(name, text)| format!("== {name}\n{}\n", settings(text).join("\n"))).collect()
}

#[test]
fn the_least_that_a_site_can_set() {
    insta::assert_snapshot!(rendered(&site("", "", ROOM)));
}

#[test]
fn everything_that_a_site_can_set() {
    let text = site(
        "port = 8443\naddress = \"192.0.2.10\"\nloopback_port = 8188",
        "ports = \"50000-50009\"\nsimultaneous_calls = 2\naddress = \"192.0.2.10\"\npublic_address = \"203.0.113.7\"\n\
         ipv6 = true\nvideo_kbps = 500\n[janus]\nplugins_folder = \"/opt/p\"\ntransports_folder = \"/opt/t\"\n\
         log_file = \"/var/log/janus.log\"",
        "[[room]]\nid = 7\ndescription = \"강남 \\\"1\\\" \\\\ x\"\npin_file = \"/s/pin\"\n\
         [[room]]\nid = 8\ndescription = \"b\"\n",
    );
    let mut material = material();
    material.pins.insert(7, "481516".into());
    let site = Site::parse(&text).unwrap();
    assert_eq!(site.pin_files().collect::<Vec<_>>(), [(7, Path::new("/s/pin"))]);
    let files = render(&site, &material).unwrap();
    let text: String = files.iter().map(|(name, text)| format!("== {name}\n{}\n", settings(text).join("\n"))).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn the_example_is_a_valid_site_and_its_commented_lines_are_valid_too() {
    let least = Site::parse(EXAMPLE).unwrap();
    assert_eq!(least.rooms.len(), 2);
    let all: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => setting,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let all = Site::parse(&all).unwrap();
    assert_eq!(all.signalling.loopback_port, Some(8188));
    assert_eq!(all.media.simultaneous_calls, Some(25));
    assert_eq!(all.pin_files().count(), 1);
    // What the comments call a default is the default.
    assert_eq!((all.media.ports, all.media.video_kbps), (least.media.ports, least.media.video_kbps));
    assert_eq!(all.signalling.port, least.signalling.port);
}

#[test]
fn nothing_of_janus_s_samples_is_left() {
    let text = rendered(&site("", "", ROOM));
    for sample in ["janusoverlord", "adminpwd", "snakeoil", "room-1234", "room-5678", "${"] {
        assert!(!text.contains(sample), "{sample}");
    }
}

#[test]
fn each_room_has_its_own_secret() {
    let rooms = "[[room]]\nid = 1\ndescription = \"a\"\n[[room]]\nid = 2\ndescription = \"b\"\n";
    let text = rendered(&site("", "", rooms));
    let mut secrets: Vec<&str> =
        text.lines().filter(|line| line.starts_with("secret = ") || line.starts_with("admin_key")).collect();
    assert_eq!(secrets.len(), 3);
    secrets.sort_unstable_by_key(|line| line.rsplit(' ').next());
    secrets.dedup_by_key(|line| line.rsplit(' ').next());
    assert_eq!(secrets.len(), 3);
}

#[test]
fn missing_and_unknown_keys_are_refused_with_their_place() {
    insta::assert_snapshot!(refusal(&site("prot = 8989", "", ROOM)));
    let missing = refusal(&site("", "", ROOM).replace("key = \"/s/key.pem\"\n", ""));
    assert!(missing.contains("missing field `key`"), "{missing}");
    assert!(refusal("").contains("missing field `secrets`"));
}

#[test]
fn values_out_of_range_are_refused() {
    for (signalling, media, expected) in [
        ("", "ports = \"40000\"", "is no port range"),
        ("", "ports = \"80-400\"", "is no port range"),
        ("", "ports = \"40099-40000\"", "is no port range"),
        ("", "ports = \"40000-70000\"", "is no port range"),
        ("", "ports = \"40000-40002\"", "media.ports: 3 ports are too few: a call takes 4, and 1 may run"),
        ("", "ports = \"40000-40009\"\nsimultaneous_calls = 3", "set media.simultaneous_calls to at most 2"),
        ("", "simultaneous_calls = 0", "must be 1 or more"),
        ("", "simultaneous_calls = 4294967295", "too few"),
        ("", "video_kbps = 10", "64 to 100000"),
        ("", "public_address = \"127.0.0.1\"", "cannot dial a loopback address"),
        ("", "public_address = \"0.0.0.0\"", "must be the address of one host"),
        ("", "address = \"tcp\"", "invalid IP address"),
        ("", "address = \"2001:db8::1\"", "media.ipv6: an IPv6 address is given"),
        ("port = 40001", "", "signalling.port: 40001 lies in media.ports"),
        ("port = 0", "", "signalling.port: 0 is no port"),
        ("loopback_port = 8989", "", "is signalling.port already"),
        ("address = \"0.0.0.0\"", "", "leave it out to listen on every address"),
    ] {
        let message = refusal(&site(signalling, media, ROOM));
        assert!(message.contains(expected), "{signalling} {media}: {message}");
    }
}

#[test]
fn rooms_are_checked() {
    for (rooms, expected) in [
        ("", "at least one [[room]]"),
        ("[[room]]\nid = 0\ndescription = \"a\"", "room.id: 0"),
        ("[[room]]\nid = 9007199254740992\ndescription = \"a\"", "are allowed"),
        ("[[room]]\nid = 1\ndescription = \"a\"\n[[room]]\nid = 1\ndescription = \"b\"", "1 stands there twice"),
        ("[[room]]\nid = 1\ndescription = \" \"", "1 to 100 characters"),
        ("[[room]]\nid = 1\ndescription = \"a\\nb\"", "control characters"),
        ("[[room]]\nid = 1\ndescription = \"${NAME}\"", "a placeholder that nobody filled in"),
        ("[[room]]\nid = 1\ndescription = \"a\"\npin_file = \"pin\"", "is not an absolute path"),
    ] {
        let message = refusal(&site("", "", rooms));
        assert!(message.contains(expected), "{rooms}: {message}");
    }
}

#[test]
fn weak_secrets_are_refused() {
    let parsed = Site::parse(&site("", "", ROOM)).unwrap();
    let secret =
        |token: &str| render(&parsed, &Material { token_secret: token.into(), ..material() }).unwrap_err().to_string();
    assert!(secret("janusoverlord").contains("is a sample that everyone knows"));
    assert!(secret("").contains("too short"));
    assert!(secret("0123456789abcdef").contains("too short"));
    assert!(secret("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").contains("too plain"));
    assert!(secret("${TOKEN_SECRET}").contains("placeholder"));
    assert!(secret("0123456789abcdef 0123456789abcdef").contains("without blanks"));
    assert!(secret("0123456789abcdef\n0123456789abcdef").contains("one line"));
    assert!(secret(&material().admin_secret).contains("they must differ"));
    let pin = |pin: &str| {
        render(&parsed, &Material { pins: BTreeMap::from([(1001, pin.into())]), ..material() }).unwrap_err().to_string()
    };
    assert!(pin("12345").contains("too short"));
    assert!(pin("12\"\n45x").contains("one line"));
}
