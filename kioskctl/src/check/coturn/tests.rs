use super::*;
use crate::site::RelaySite;
use kiosk_proto::check::Outcome;
use kiosk_proto::secret::Secret;

const SECRET: &str = "8f1d0c5b7a9e46e2b3f4a5968778695a";

/// What `kioskctl server render` writes for the example.
fn rendered() -> String {
    let site = RelaySite::parse(include_str!("../../../../config/coturn/site.example.toml")).unwrap();
    site.render(&Secret::new(SECRET)).unwrap().1
}

fn bad(text: &str) -> Vec<(&'static str, Outcome)> {
    let all = judge(text).into_iter().map(|judged| (judged.finding.id, judged.finding.outcome));
    all.filter(|(_, outcome)| *outcome != Outcome::Pass).collect()
}

fn mended(text: &str) -> String {
    let edits: Vec<Edit> = judge(text).into_iter().flat_map(|judged| judged.edits).collect();
    apply(text, &edits)
}

#[test]
fn what_is_rendered_passes_and_each_thing_that_is_wrong_is_found_and_mended_where_it_can_be() {
    let good = rendered();
    assert_eq!(bad(&good), []);
    assert_eq!(mended(&good), good);
    for (from, to, id, outcome, is_mended) in [
        ("no-udp\n", "", "relay.clients", Outcome::Fail, true),
        ("no-udp\n", "no-udp=0\n", "relay.clients", Outcome::Fail, true),
        ("no-dtls\n", "#no-dtls\n", "relay.clients", Outcome::Fail, true),
        ("no-udp-relay\n", "no-tcp-relay\nno-udp-relay\n", "relay.transport", Outcome::Fail, true),
        ("no-udp-relay\n", "", "relay.transport", Outcome::Fail, true),
        ("no-tlsv1\n", "", "relay.tls-versions", Outcome::Warn, true),
        ("no-cli\n", "web-admin\n", "relay.doors", Outcome::Warn, true),
        ("no-cli\n", "no-cli\nallow-loopback-peers\n", "relay.doors", Outcome::Warn, true),
        ("cert=", "#cert=", "relay.tls", Outcome::Fail, false),
        ("pkey=", "#pkey=", "relay.tls", Outcome::Fail, false),
        ("no-udp\n", "no-udp\nno-tls\n", "relay.tls", Outcome::Fail, true),
        ("no-tcp\n", "", "relay.plain", Outcome::Warn, true),
        (
            "denied-peer-ip=0.0.0.0-255.255.255.255",
            "denied-peer-ip=10.0.0.0-10.255.255.255",
            "relay.peers",
            Outcome::Fail,
            true,
        ),
        ("denied-peer-ip=::-", "#denied-peer-ip=::-", "relay.peers", Outcome::Fail, true),
        ("allowed-peer-ip=192.0.2.10", "", "relay.peers", Outcome::Fail, false),
        ("allowed-peer-ip=192.0.2.10", "allowed-peer-ip=192.0.2.0-192.0.2.255", "relay.peers", Outcome::Fail, false),
        ("use-auth-secret\n", "no-auth\n", "relay.users", Outcome::Fail, true),
        ("use-auth-secret\n", "lt-cred-mech\n", "relay.users", Outcome::Fail, true),
        ("use-auth-secret\n", "use-auth-secret\nuser=kiosk:pass\n", "relay.users", Outcome::Warn, false),
        ("static-auth-secret=", "#static-auth-secret=", "relay.secret", Outcome::Fail, false),
        (SECRET, "north", "relay.secret", Outcome::Fail, false),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        assert_eq!(bad(&text), [(id, outcome)], "{to}");
        let left = if is_mended { vec![] } else { vec![(id, outcome)] };
        assert_eq!(bad(&mended(&text)), left, "{to}");
        assert!(mended(&text).contains("# --- who may ---"), "comments stay");
    }
    // A port without TLS that somebody wanted.
    assert_eq!(bad(&good.replacen("no-tcp\n", "listening-port=3478\n", 1)), []);
}

#[test]
fn a_setting_may_stand_before_blanks_and_the_last_one_counts() {
    let text = "  no-udp \nno-udp=false\ntls-listening-port 443\n\tcert = /a\nno-tls true\n# realm=x\n";
    let all = Settings::parse(text);
    assert_eq!((all.is_on("no-udp"), all.is_on("no-tls"), all.port()), (false, true, 443));
    assert_eq!((all.get("cert"), all.get("realm")), (Some("/a"), None));
}

#[test]
fn what_debian_installs_is_no_relay_for_kiosks_and_no_secret_is_shown() {
    assert!(bad("").iter().filter(|(_, outcome)| *outcome == Outcome::Fail).count() >= 5);
    let judged = judge("use-auth-secret\nstatic-auth-secret=logen\nuser=kiosk:hunter2\n");
    let shown = format!("{judged:?}");
    assert!(!shown.contains("logen") && !shown.contains("hunter2"), "{shown}");
    assert!(judged.iter().filter_map(|judged| judged.finding.remedy.as_ref()).all(|text| text.ko != text.en));
}
