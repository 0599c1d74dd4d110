//! The broker's configuration, against what a fleet of kiosks needs of it. Pure.

use kiosk_proto::check::{Finding, Text};
use kiosk_proto::fleet::MAX_PACKET_BYTES;

/// A listener with the settings that follow it (mosquitto.conf(5)).
#[derive(Debug)]
struct Listener<'a> {
    name: &'a str,
    local: bool,
    settings: Vec<(&'a str, &'a str)>,
}

fn last<'a>(settings: &[(&'a str, &'a str)], key: &str) -> Option<&'a str> {
    settings.iter().rev().find(|(found, _)| *found == key).map(|(_, value)| *value)
}

fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(char::is_whitespace).map_or((line, ""), |(key, value)| (key, value.trim())))
}

fn listeners(text: &str) -> Vec<Listener<'_>> {
    let mut found: Vec<Listener<'_>> = Vec::new();
    for (key, value) in settings(text) {
        if key == "listener" {
            let address = value.split_ascii_whitespace().nth(1).unwrap_or_default();
            let local = ["127.0.0.1", "::1", "localhost"].contains(&address) || value.starts_with("0 ");
            found.push(Listener { name: value, local, settings: Vec::new() });
        } else if let Some(listener) = found.last_mut() {
            listener.settings.push((key, value));
        }
    }
    found
}

/// Files of the certificates that listeners show.
pub fn certificates(text: &str) -> Vec<String> {
    let mut files: Vec<String> =
        listeners(text).iter().filter_map(|one| last(&one.settings, "certfile").map(str::to_owned)).collect();
    files.sort();
    files.dedup();
    files
}

/// Judges `mosquitto.conf`.
pub fn judge(text: &str) -> Vec<Finding> {
    let all: Vec<(&str, &str)> = settings(text).collect();
    let mut findings = vec![doors(&listeners(text)), who(&all), packets(&all), kept(&all)];
    findings.extend(all.iter().filter(|(key, _)| *key == "include_dir").map(|(_, folder)| {
        let why = Text::new(format!("{folder} is not looked at"), format!("{folder}은(는) 확인하지 않음"));
        Finding::skipped("broker.include", Text::same("include_dir"), why)
    }));
    findings
}

fn doors(listeners: &[Listener<'_>]) -> Finding {
    let (id, title) = ("broker.listeners", Text::new("listeners of the broker", "브로커 리스너"));
    let render = || {
        Text::new(
            "kioskctl server render --server mosquitto writes listeners with TLS and client certificates",
            "kioskctl server render --server mosquitto로 TLS와 클라이언트 인증서를 쓰는 설정을 만드십시오",
        )
    };
    const WANTED: [(&str, Option<&str>); 5] = [
        ("cafile", None),
        ("certfile", None),
        ("keyfile", None),
        ("require_certificate", Some("true")),
        ("use_identity_as_username", Some("true")),
    ];
    let open = listeners.iter().filter(|listener| !listener.local).find_map(|listener| {
        let lacks = |(key, value): &(&str, Option<&str>)| {
            last(&listener.settings, key).is_none_or(|found| value.is_some_and(|wanted| wanted != found))
        };
        WANTED.iter().find(|wanted| lacks(wanted)).map(|(key, value)| (listener.name, *key, value.unwrap_or("")))
    });
    let names = listeners.iter().map(|listener| listener.name).collect::<Vec<_>>().join(", ");
    match open {
        Some((listener, key, value)) => {
            let seen = Text::new(
                format!("listener {listener} lacks {key} {value}"),
                format!("listener {listener}에 {key} {value} 설정이 없습니다"),
            );
            Finding::fail(id, title, seen, render())
        }
        None if listeners.iter().all(|listener| listener.local) => {
            let seen = Text::new("none that a kiosk can reach", "키오스크가 접속할 리스너 없음");
            Finding::fail(id, title, seen, render())
        }
        None => {
            let seen = Text::new(
                format!("{names}: TLS, and a certificate from everyone"),
                format!("{names}: TLS 및 클라이언트 인증서 필수"),
            );
            Finding::pass(id, title, seen)
        }
    }
}

fn who(all: &[(&str, &str)]) -> Finding {
    let (id, title) = ("broker.access", Text::new("who may what", "접근 권한"));
    let seen = match (last(all, "allow_anonymous"), last(all, "acl_file")) {
        (Some("true"), _) => Text::same("allow_anonymous true"),
        (_, None) => Text::new("no acl_file", "acl_file 없음"),
        (_, Some(file)) => return Finding::pass(id, title, Text::same(file)),
    };
    let remedy = Text::new(
        "Every kiosk could read and write every other one's topics: allow_anonymous false, and the acl_file that kioskctl server render --server mosquitto writes",
        "모든 키오스크가 서로의 주제를 읽고 쓸 수 있습니다. allow_anonymous false로 하고 kioskctl server render --server mosquitto가 만든 acl_file을 쓰십시오",
    );
    Finding::fail(id, title, seen, remedy)
}

fn packets(all: &[(&str, &str)]) -> Finding {
    let (id, title) = ("broker.packets", Text::new("largest packet", "최대 패킷"));
    let Some(size) = last(all, "max_packet_size").and_then(|size| size.parse::<u32>().ok()).filter(|size| *size > 0)
    else {
        return Finding::pass(id, title, Text::new("no limit", "제한 없음"));
    };
    let seen = Text::same(format!("max_packet_size {size}"));
    if size >= MAX_PACKET_BYTES {
        return Finding::pass(id, title, seen);
    }
    let remedy = Text::new(
        format!("Diagnostics and large configurations would be refused: max_packet_size {MAX_PACKET_BYTES}"),
        format!("진단 파일과 큰 설정이 거부됩니다: max_packet_size {MAX_PACKET_BYTES}"),
    );
    Finding::warn(id, title, seen, remedy)
}

fn kept(all: &[(&str, &str)]) -> Finding {
    let (id, title) = ("broker.persistence", Text::new("what was pushed survives a restart", "재시작 후 설정 유지"));
    if last(all, "persistence") == Some("true") {
        return Finding::pass(id, title, Text::same("persistence true"));
    }
    let remedy = Text::new(
        "After a restart of the broker no kiosk learns what it should be set to: persistence true",
        "브로커를 재시작하면 키오스크가 설정을 받지 못합니다: persistence true",
    );
    Finding::fail(id, title, Text::new("persistence is off", "persistence 꺼짐"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiosk_proto::check::Outcome;

    /// What `kioskctl server render` makes of the template, as far as it matters here.
    fn rendered() -> String {
        let template = include_str!("../../../config/mosquitto/mosquitto.conf");
        let mut text = template.replace("${PACKET_BYTES}", "262144").replace("${KIOSK_LISTENER}", "8883");
        text = text.replace("${ADMIN_LISTENER}", "8884 192.0.2.7").replace("${CERTIFICATE}", "/etc/c.pem");
        text.lines().filter(|line| !line.starts_with("${")).map(|line| format!("{line}\n")).collect()
    }

    fn bad(text: &str) -> Vec<(&'static str, Outcome)> {
        let findings = judge(text);
        let bad = findings.iter().filter(|finding| finding.outcome != Outcome::Pass);
        bad.map(|finding| (finding.id, finding.outcome)).collect()
    }

    #[test]
    fn what_is_rendered_passes_and_each_thing_that_is_wrong_is_found() {
        let good = rendered();
        assert_eq!(bad(&good), []);
        assert_eq!(certificates(&good), ["/etc/c.pem"]);
        let changed = |from: &str, to: &str| {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            bad(&text)
        };
        for (from, to) in [
            ("require_certificate true", "require_certificate false"),
            ("certfile", "#certfile"),
            ("use_identity_as_username true", ""),
            ("listener 8883", "listener 1883\nlistener 8883"),
        ] {
            assert_eq!(changed(from, to), [("broker.listeners", Outcome::Fail)], "{from}");
        }
        assert_eq!(changed("allow_anonymous false", "allow_anonymous true"), [("broker.access", Outcome::Fail)]);
        assert_eq!(changed("acl_file", "#acl_file"), [("broker.access", Outcome::Fail)]);
        assert_eq!(changed("262144", "10240"), [("broker.packets", Outcome::Warn)]);
        assert_eq!(changed("persistence true", "persistence false"), [("broker.persistence", Outcome::Fail)]);
        assert_eq!(changed("sys_interval", "include_dir /x\nsys_interval"), [("broker.include", Outcome::Skipped)]);
    }

    #[test]
    fn what_debian_installs_is_no_broker_for_kiosks() {
        let debian = "persistence true\nlog_dest file /var/log/mosquitto/mosquitto.log\n";
        assert_eq!(bad(debian), [("broker.listeners", Outcome::Fail), ("broker.access", Outcome::Fail)]);
        let local = format!("{debian}listener 1883 127.0.0.1\nacl_file /a\n");
        assert_eq!(bad(&local), [("broker.listeners", Outcome::Fail)]);
    }
}
