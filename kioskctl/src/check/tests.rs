use super::jcfg::Setting;
use super::*;
use crate::site::PortRange;
use kiosk_proto::check::Outcome;

/// What a reader of the guide writes.
const GUIDE: &str = r#"
general: { debug_level = 4; token_auth = true; token_auth_secret = "8f1d0c5b7a9e46e2b3f4a5968778695a"
           admin_secret = "01b2c3d4e5f60718293a4b5c6d7e8f90" }
media: {
	rtp_min_port = 40000
	rtp_max_port = 40099
}
nat: {
	ice_tcp = true
	ice_lite = false
	ice_enforce_list = "tcp"		# TCP only
	public_ip = "203.0.113.7"
	turn_server = "turn:turn.example.org"
	turn_type = "tcp"
}
transports: { wss = true }
"#;

fn here() -> janus::Interfaces {
    janus::Interfaces {
        names: vec!["lo".to_owned(), "eth0".to_owned()],
        addresses: vec!["192.0.2.10".parse().unwrap()],
    }
}

fn outcomes(text: &str) -> Vec<(&'static str, Outcome)> {
    janus::core(&jcfg::parse(text).unwrap(), &here(), 3).iter().map(|j| (j.finding.id, j.finding.outcome)).collect()
}

fn worst(text: &str, id: &str) -> Outcome {
    outcomes(text).into_iter().filter(|(found, _)| *found == id).map(|(_, outcome)| outcome).max().unwrap()
}

#[test]
fn every_wrong_setting_of_the_guide_is_found_explained_and_mended() {
    let judged = janus::core(&jcfg::parse(GUIDE).unwrap(), &here(), 3);
    let bad: Vec<_> = judged.iter().filter(|judged| judged.finding.remedy.is_some()).collect();
    let text: String =
        bad.iter().map(|judged| format!("{}: {}\n", judged.finding.id, judged.finding.seen.en)).collect();
    insta::assert_snapshot!(text);
    assert!(bad.iter().all(|judged| judged.finding.remedy.as_ref().is_some_and(|text| text.ko != text.en)));

    let mended = bad
        .iter()
        .flat_map(|judged| &judged.edits)
        .fold(GUIDE.to_owned(), |text, edit| edit::apply(&text, edit).unwrap());
    let left: Vec<_> = outcomes(&mended).into_iter().filter(|(_, outcome)| *outcome > Outcome::Pass).collect();
    assert_eq!(left, [], "{mended}");
    let document = jcfg::parse(&mended).unwrap();
    assert_eq!(document.get("media.rtp_port_range").map(Setting::text), Some("40000-40099"));
    assert_eq!(document.get("nat.nat_1_1_mapping").map(Setting::text), Some("203.0.113.7"));
}

#[test]
fn each_check_can_fail() {
    let good = "general: { token_auth = true; token_auth_secret = \"8f1d0c5b7a9e46e2b3f4a5968778695a\"\n\
                admin_secret = \"01b2c3d4e5f60718293a4b5c6d7e8f90\" }\n\
                media: { rtp_port_range = \"40000-40099\" }\nnat: { ice_tcp = true; ice_lite = true }\n";
    assert!(outcomes(good).iter().all(|(_, outcome)| *outcome == Outcome::Pass), "{:?}", outcomes(good));
    for (id, from, to, wanted) in [
        ("janus.ice-tcp", "ice_tcp = true;", "", Outcome::Fail),
        ("janus.enforce-list", "nat: {", "nat: { ice_enforce_list = \"eth7\";", Outcome::Fail),
        ("janus.enforce-list", "nat: {", "nat: { ice_enforce_list = \"192.0.2.10\";", Outcome::Pass),
        ("janus.media-ports", "40000-40099", "40000-40007", Outcome::Warn),
        ("janus.media-ports", "40000-40099", "40099-40000", Outcome::Fail),
        ("janus.ice-lite", "ice_lite = true", "ice_lite = false", Outcome::Warn),
        ("janus.ice-lite", "nat: {", "nat: { nat_1_1_mapping = \"203.0.113.7\";", Outcome::Warn),
        ("janus.address", "nat: {", "nat: { nat_1_1_mapping = \"janus.example.org\";", Outcome::Fail),
        ("janus.secrets", "token_auth = true", "token_auth = false", Outcome::Fail),
        ("janus.secrets", "01b2c3d4e5f60718293a4b5c6d7e8f90", "janusoverlord", Outcome::Fail),
        ("janus.log-level", "general: {", "general: { debug_level = 5;", Outcome::Warn),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{id}");
        assert_eq!(worst(&text, id), wanted, "{id}: {text}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let text = "general: { token_auth = true; token_auth_secret = \"janusrocks\" }";
    let judged = janus::core(&jcfg::parse(text).unwrap(), &here(), 1);
    assert!(!format!("{judged:?}").contains("janusrocks"));
}

#[test]
fn rooms_of_the_wrong_kind_are_named() {
    let rooms =
        "general: {}\nroom-1: { videocodec = \"h264\"; publishers = 2 }\nroom-2: { publishers = 6; fir_freq = 10 }";
    let judged = janus::rooms(&jcfg::parse(rooms).unwrap());
    let found: Vec<_> = judged.iter().map(|judged| (judged.finding.id, judged.finding.title.en.as_str())).collect();
    let wanted = [
        ("janus.room-codec", "room room-2"),
        ("janus.room-publishers", "room room-2"),
        ("janus.room-keyframes", "room room-2"),
    ];
    assert_eq!(found, wanted);
    let mended = judged
        .iter()
        .flat_map(|judged| &judged.edits)
        .fold(rooms.to_owned(), |text, edit| edit::apply(&text, edit).unwrap());
    assert_eq!(janus::rooms(&jcfg::parse(&mended).unwrap())[0].finding.outcome, Outcome::Pass);
    assert_eq!(janus::rooms(&Document::default())[0].finding.outcome, Outcome::Fail);
}

#[test]
fn a_websocket_that_everyone_can_read_is_a_fault() {
    let judged = |text: &str| janus::websockets(&jcfg::parse(text).unwrap()).iter().map(|j| j.finding.outcome).max();
    assert_eq!(judged("general: { wss = true; ws = true; ws_ip = \"127.0.0.1\" }"), Some(Outcome::Pass));
    assert_eq!(judged("general: { wss = true; ws = true }"), Some(Outcome::Fail));
    assert_eq!(judged("general: { ws = false }"), Some(Outcome::Fail));
}

#[test]
fn a_certificate_is_judged_by_its_dates_and_names() {
    let now = 1_900_000_000;
    let made = |from: i64, to: i64, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        let at = |offset: i64| time::OffsetDateTime::from_unix_timestamp(now + offset * 86_400).unwrap();
        (parameters.not_before, parameters.not_after) = (at(from), at(to));
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    };
    let judged = |pem: &str| certificate::judge(pem.as_bytes(), now).outcome;
    assert_eq!(judged(&made(-1, 90, &["janus.example.org"])), Outcome::Pass);
    assert_eq!(judged(&made(-1, 20, &["janus.example.org"])), Outcome::Warn);
    assert_eq!(judged(&made(-9, -1, &["janus.example.org"])), Outcome::Fail);
    assert_eq!(judged(&made(1, 90, &["janus.example.org"])), Outcome::Fail);
    assert_eq!(judged(&made(-1, 90, &[])), Outcome::Fail);
    assert_eq!(judged("-----BEGIN NOTHING-----"), Outcome::Fail);
}

#[test]
fn a_range_counts_its_calls() {
    assert_eq!(PortRange::try_from("40000-40099".to_owned()).map(PortRange::count), Ok(100));
}
