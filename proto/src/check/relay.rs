//! The relay: what its answers mean to a technician, and what else means less because it is there.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Finding, Outcome, Text};
use crate::config::{PortRange, RelayPolicy};
use crate::turn::Refusal;
use crate::via::Via;

use super::reach::{MEDIA_PORTS, media_ports};

/// What a relay's refusal says and asks for.
fn told(refusal: &Refusal) -> (Text, Text) {
    let (seen, remedy) = match refusal {
        Refusal::Credentials => (
            ("it does not take the kiosk's credentials (401)".to_owned(), "인증 정보가 거부됨(401)".to_owned()),
            (
                "Compare the file of relay.secret_file with static-auth-secret of the relay (or username and password_file), and the clocks of both",
                "relay.secret_file의 내용과 릴레이의 static-auth-secret(또는 username, password_file), 양쪽 시계를 비교하십시오",
            ),
        ),
        Refusal::Forbidden => (
            ("it forbids this (403)".to_owned(), "허용되지 않음(403)".to_owned()),
            (
                "Janus's address must be one of peers in the relay's site.toml (allowed-peer-ip)",
                "릴레이 site.toml의 peers(allowed-peer-ip)에 Janus 주소를 넣으십시오",
            ),
        ),
        Refusal::NoTcp => (
            ("it makes no TCP connections for clients (442)".to_owned(), "TCP 중계를 하지 않음(442)".to_owned()),
            (
                "Take no-tcp-relay out of the relay's configuration: kioskctl server check --coturn FILE --fix",
                "릴레이 설정에서 no-tcp-relay를 빼십시오: kioskctl server check --coturn FILE --fix",
            ),
        ),
        Refusal::Family(code) => (
            (
                format!("it has no address of the server's family ({code})"),
                format!("서버와 같은 종류의 IP 주소가 없음({code})"),
            ),
            (
                "The relay needs an IPv6 address when Janus is dialled by IPv6, and an IPv4 address otherwise",
                "Janus가 IPv6이면 릴레이에도 IPv6 주소가, IPv4이면 IPv4 주소가 필요합니다",
            ),
        ),
        Refusal::NoWay => (
            ("it has no connection to the server (447)".to_owned(), "릴레이에서 서버로 연결되지 않음(447)".to_owned()),
            (
                "Is Janus running, and are its media ports open between relay and Janus?",
                "Janus가 실행 중인지, 릴레이와 Janus 사이에 미디어 포트가 열려 있는지 확인하십시오",
            ),
        ),
        Refusal::Full(code) => (
            (format!("it has no room ({code})"), format!("릴레이 용량 초과({code})")),
            (
                "Raise limits.calls of the relay's site.toml (user-quota, total-quota, min-port to max-port)",
                "릴레이 site.toml의 limits.calls(user-quota, total-quota, min-port~max-port)를 늘리십시오",
            ),
        ),
        Refusal::Error(code, reason) => (
            (format!("it answers with error {code} ({reason})"), format!("오류 {code} 응답({reason})")),
            ("See the relay's log: journalctl -u coturn", "릴레이 로그를 확인하십시오: journalctl -u coturn"),
        ),
        Refusal::Malformed(reason) => (
            (reason.to_string(), format!("TURN 응답이 아님: {reason}")),
            (
                "Is relay.url the port of a TURN server, with turns: for TLS and turn: without?",
                "relay.url이 TURN 서버의 포트인지, TLS이면 turns:, 아니면 turn:인지 확인하십시오",
            ),
        ),
        Refusal::Unproven => (
            ("its answer proves nothing".to_owned(), "응답이 인증되지 않음".to_owned()),
            ("Is it the bank's relay? Compare relay.url", "은행의 릴레이가 맞는지 relay.url을 확인하십시오"),
        ),
        Refusal::Ended => (
            ("it ended the connection without an answer".to_owned(), "응답 없이 연결을 끊음".to_owned()),
            (
                "Is relay.url the port of a TURN server, and does nothing on the way close the connection?",
                "relay.url이 TURN 서버의 포트인지, 중간 장비가 연결을 끊지 않는지 확인하십시오",
            ),
        ),
        Refusal::Silent => (
            ("it does not answer in time".to_owned(), "제한 시간 안에 응답 없음".to_owned()),
            (
                "Is the relay busy, and does it reach Janus's media ports?",
                "릴레이가 바쁜지, Janus의 미디어 포트에 접속할 수 있는지 확인하십시오",
            ),
        ),
    };
    (Text::new(seen.0, seen.1), Text::new(remedy.0, remedy.1))
}

/// A connection that the relay refused.
#[must_use]
pub fn refused(id: &'static str, title: Text, refusal: &Refusal) -> Finding {
    let (seen, remedy) = told(refusal);
    Finding::fail(id, title, seen, remedy)
}

/// The answer to the kiosk's request for an allocation of TCP, on its own: whether it is taken for who it is, and whether
/// it gets one. `granted` is how long the allocation would stand.
#[must_use]
pub fn allocation(granted: &Result<Duration, Refusal>) -> Vec<Finding> {
    let credentials = || Text::new("the relay takes the kiosk's credentials", "릴레이 인증");
    let allocation = || Text::new("the relay makes TCP connections for the kiosk", "릴레이 TCP 중계");
    let accepted = || Finding::pass("relay.credentials", credentials(), Text::new("accepted", "승인됨"));
    match granted {
        Ok(lifetime) => {
            let seconds = lifetime.as_secs();
            let seen = Text::new(format!("an allocation for {seconds} s"), format!("할당됨, 유효 시간 {seconds}초"));
            vec![accepted(), Finding::pass("relay.allocation", allocation(), seen)]
        }
        Err(refusal @ Refusal::Credentials) => vec![refused("relay.credentials", credentials(), refusal)],
        // These are said to who was recognised.
        Err(refusal @ (Refusal::Forbidden | Refusal::NoTcp | Refusal::Family(_) | Refusal::Full(_))) => {
            vec![accepted(), refused("relay.allocation", allocation(), refusal)]
        }
        Err(refusal) => vec![refused("relay.allocation", allocation(), refusal)],
    }
}

/// STUN, which guides want to be reachable. `seen_as` is what a relay answered over TCP; no other server is asked.
#[must_use]
pub fn stun(seen_as: Option<SocketAddr>) -> Finding {
    let (asked_en, asked_ko) = match seen_as {
        Some(address) => {
            (format!("the relay sees this kiosk as {address}"), format!("릴레이에서 본 키오스크 주소 {address}"))
        }
        None => ("no server is asked".to_owned(), "STUN 서버에 묻지 않음".to_owned()),
    };
    let seen = Text::new(
        format!(
            "{asked_en}; not needed: STUN finds addresses at which others reach a kiosk by UDP, and here the kiosk dials, by TCP"
        ),
        format!("{asked_ko}. 필요 없음: STUN은 UDP로 접속받을 주소를 찾는 기능이며, 키오스크는 TCP로 직접 접속함"),
    );
    Finding::info("network.stun", Text::same("STUN"), seen)
}

/// The media range where a relay always carries media: not tried.
#[must_use]
pub fn media_range_not_needed(range: PortRange) -> Finding {
    let why = Text::new(
        "not tried: the relay carries the media (relay.policy = \"relay\"), and the branch need not open them",
        "확인하지 않음: 릴레이가 미디어를 중계하므로(relay.policy = \"relay\") 지점에서 열 필요 없음",
    );
    Finding::skipped(MEDIA_PORTS, media_ports(range), why)
}

/// What a finding about the direct way and those about the relay mean together: with `auto`, the one is no fault as long as
/// the other works. `direct` is none where it could not be tried on its own.
#[must_use]
pub fn either(policy: RelayPolicy, direct: Option<Finding>, mut relay: Vec<Finding>) -> Vec<Finding> {
    let fails = |finding: &Finding| finding.outcome == Outcome::Fail;
    let direct_fails = direct.as_ref().is_some_and(fails);
    let relay_fails = relay.iter().any(fails);
    let direct = direct.map(|finding| {
        if policy != RelayPolicy::Auto || !direct_fails || relay_fails {
            return finding;
        }
        let seen = Text::new(
            format!("{}; so calls go by way of the relay (relay.policy = \"auto\")", finding.seen.en),
            format!("{}, 통화는 릴레이를 경유함(relay.policy = \"auto\")", finding.seen.ko),
        );
        Finding::info(finding.id, finding.title, seen)
    });
    if policy == RelayPolicy::Auto && direct.is_some() && !direct_fails {
        for finding in relay.iter_mut().filter(|finding| fails(finding)) {
            // Calls go directly, until they can't any more.
            finding.outcome = Outcome::Warn;
        }
    }
    direct.into_iter().chain(relay).collect()
}

/// The way that the trial call's connections took: for each, what stood between.
#[must_use]
pub fn way(policy: Option<RelayPolicy>, ways: &[Option<Via>]) -> Option<Finding> {
    let (id, title) = ("call.way", Text::new("trial call: way of the media", "시험 통화: 미디어 경로"));
    let mut shown: Vec<Text> = Vec::new();
    for way in ways {
        let text = match way {
            None => Text::new("directly to the server", "서버에 직접 연결"),
            Some(via) => Text::new(format!("by way of {via}"), format!("{via} 경유")),
        };
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    let join = |texts: Vec<&str>| texts.join("; ");
    let (mut en, mut ko) = (
        join(shown.iter().map(|text| text.en.as_str()).collect()),
        join(shown.iter().map(|text| text.ko.as_str()).collect()),
    );
    if ways.is_empty() {
        return None;
    }
    let relayed = ways.iter().flatten().any(Via::is_relay);
    match policy {
        Some(RelayPolicy::Auto) if relayed => {
            en.push_str(", because the server itself could not be reached");
            ko.push_str(" (서버에 직접 연결할 수 없음)");
        }
        Some(RelayPolicy::Auto) => {
            en.push_str("; the relay was not needed");
            ko.push_str(" (릴레이는 필요 없음)");
        }
        _ => {}
    }
    Some(Finding::pass(id, title, Text::new(en, ko)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(findings: &[Finding]) -> Vec<(&'static str, Outcome)> {
        findings.iter().map(|finding| (finding.id, finding.outcome)).collect()
    }

    #[test]
    fn refused_credentials_are_named_as_such() {
        assert_eq!(
            ids(&allocation(&Ok(Duration::from_secs(600)))),
            [("relay.credentials", Outcome::Pass), ("relay.allocation", Outcome::Pass)]
        );
        let wrong = allocation(&Err(Refusal::Credentials));
        assert_eq!(ids(&wrong), [("relay.credentials", Outcome::Fail)]);
        assert!(wrong[0].remedy.as_ref().is_some_and(|remedy| remedy.en.contains("static-auth-secret")), "{wrong:?}");
        assert_eq!(
            ids(&allocation(&Err(Refusal::NoTcp))),
            [("relay.credentials", Outcome::Pass), ("relay.allocation", Outcome::Fail)]
        );
        assert_eq!(ids(&allocation(&Err(Refusal::Silent))), [("relay.allocation", Outcome::Fail)]);
    }

    #[test]
    fn every_refusal_has_words_of_its_own_in_both_languages() {
        let all = [
            Refusal::Credentials,
            Refusal::Forbidden,
            Refusal::NoTcp,
            Refusal::Family(440),
            Refusal::NoWay,
            Refusal::Full(486),
            Refusal::Error(500, "x".to_owned()),
            Refusal::Unproven,
            Refusal::Ended,
            Refusal::Silent,
        ];
        let told: Vec<(Text, Text)> = all.iter().map(told).collect();
        for (at, (seen, remedy)) in told.iter().enumerate() {
            assert!(seen.en != seen.ko && remedy.en != remedy.ko, "{seen:?}");
            assert!(told.iter().skip(at + 1).all(|(other, _)| other != seen), "{seen:?}");
        }
    }

    #[test]
    fn stun_is_information_whoever_answers() {
        let told = |address: Option<&str>| stun(address.map(|address| address.parse().unwrap()));
        let relay = told(Some("203.0.113.9:50001"));
        assert!(relay.outcome == Outcome::Info && relay.seen.en.contains("203.0.113.9:50001; not needed"), "{relay:?}");
        assert!(told(None).outcome == Outcome::Info && told(None).seen.en.starts_with("no server is asked"));
    }

    fn closed() -> Finding {
        Finding::fail(MEDIA_PORTS, Text::same("media"), Text::same("no answer"), Text::same("open them"))
    }

    fn open() -> Finding {
        Finding::pass(MEDIA_PORTS, Text::same("media"), Text::same("answers"))
    }

    #[test]
    fn with_auto_one_of_two_ways_is_enough() {
        let (works, broken) = (|| allocation(&Ok(Duration::from_secs(600))), || allocation(&Err(Refusal::Credentials)));
        let judged = |direct, relay| ids(&either(RelayPolicy::Auto, Some(direct), relay));
        assert_eq!(judged(closed(), works())[0], (MEDIA_PORTS, Outcome::Info));
        assert_eq!(judged(open(), works())[0], (MEDIA_PORTS, Outcome::Pass));
        assert_eq!(judged(open(), broken())[1], ("relay.credentials", Outcome::Warn));
        assert_eq!(judged(closed(), broken()), [(MEDIA_PORTS, Outcome::Fail), ("relay.credentials", Outcome::Fail)]);
        let alone = either(RelayPolicy::Relay, None, broken());
        assert_eq!(ids(&alone), [("relay.credentials", Outcome::Fail)]);
    }

    #[test]
    fn the_way_of_the_trial_call_is_told() {
        let relay = Some(Via::Relay("turns:turn.bank.example:443".to_owned()));
        let seen = |policy, ways: &[Option<Via>]| way(policy, ways).map(|finding| finding.seen.en);
        let auto = Some(RelayPolicy::Auto);
        assert_eq!(
            seen(auto, &[relay.clone(), relay.clone()]).unwrap(),
            "by way of relay turns:turn.bank.example:443, because the server itself could not be reached"
        );
        assert_eq!(seen(auto, &[None, None]).unwrap(), "directly to the server; the relay was not needed");
        assert_eq!(seen(None, &[None]).unwrap(), "directly to the server");
        assert_eq!(seen(Some(RelayPolicy::Relay), &[relay]).unwrap(), "by way of relay turns:turn.bank.example:443");
        assert_eq!(way(auto, &[]), None);
    }
}
