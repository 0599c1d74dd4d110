//! What Janus says of itself, of the room, and what it offers in a trial negotiation.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::{Finding, Text};
use crate::ice::{Direction, Rejection, TcpOnlyPolicy};
use crate::janus::VIDEOROOM;

/// Judges the answer to `{"janus": "info"}` (Janus' `server_info`).
#[must_use]
pub fn info(answer: &Value) -> Vec<Finding> {
    let version = answer.get("version_string").and_then(Value::as_str).unwrap_or("?");
    let name = answer.get("name").and_then(Value::as_str).unwrap_or("?");
    let mut findings = vec![Finding::pass(
        "janus.version",
        Text::new("Janus answers", "Janus 응답"),
        Text::same(format!("{name} {version}")),
    )];
    let title = Text::new("ICE over TCP is on", "ICE-TCP 사용");
    findings.push(if answer.get("ice-tcp") == Some(&Value::Bool(true)) {
        Finding::pass("janus.ice-tcp", title, Text::same("ice-tcp: true"))
    } else {
        let remedy = Text::new(
            "On the server: nat: { ice_tcp = true } in janus.jcfg, or kioskctl server check --fix",
            "서버에서 janus.jcfg의 nat: { ice_tcp = true } 설정 또는 kioskctl server check --fix 실행",
        );
        Finding::fail("janus.ice-tcp", title, Text::same("ice-tcp: false"), remedy)
    });
    let title = Text::new("the videoroom plugin is loaded", "videoroom 플러그인");
    findings.push(match answer.pointer(&format!("/plugins/{VIDEOROOM}/version_string")) {
        Some(version) => Finding::pass("janus.videoroom", title, Text::same(version.as_str().unwrap_or("?"))),
        None => Finding::fail(
            "janus.videoroom",
            title,
            Text::new("not among its plugins", "플러그인 목록에 없음"),
            Text::new("Take it out of plugins.disable in janus.jcfg", "janus.jcfg의 plugins.disable에서 빼십시오"),
        ),
    });
    findings
}

/// Judges the room in the answer to the videoroom's `list`.
#[must_use]
pub fn room(list: &Value, room: u64) -> Vec<Finding> {
    let title = Text::new(format!("room {room}"), format!("상담방 {room}"));
    let rooms = list.get("list").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some(found) = rooms.iter().find(|found| found.get("room").and_then(Value::as_u64) == Some(room)) else {
        let remedy = Text::new(
            "Compare janus.room with the rooms of the server's site.toml",
            "janus.room 값을 서버 site.toml의 방 번호와 비교하십시오",
        );
        let seen = Text::new(format!("not among {} rooms", rooms.len()), format!("방 {}개 중에 없음", rooms.len()));
        return vec![Finding::fail("janus.room", title, seen, remedy)];
    };
    let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |key: &str| found.get(key).and_then(Value::as_u64);
    let mut findings = vec![Finding::pass("janus.room", title.clone(), Text::same(text("description")))];
    // An older Janus does not tell the codecs; then the negotiation shows them.
    for (key, codec) in [("videocodec", "h264"), ("audiocodec", "opus")] {
        let set = text(key);
        if !set.is_empty() && !set.split(',').any(|set| set.trim().eq_ignore_ascii_case(codec)) {
            findings.push(Finding::fail(
                "janus.room-codec",
                title.clone(),
                Text::same(format!("{key} = {set}")),
                Text::new(
                    format!("The room must have {key} = \"{codec}\""),
                    format!("방 설정에 {key} = \"{codec}\"가 필요합니다"),
                ),
            ));
        }
    }
    if number("max_publishers") != Some(2) {
        findings.push(Finding::fail(
            "janus.room-publishers",
            title,
            Text::same(format!("max_publishers = {}", number("max_publishers").unwrap_or_default())),
            Text::new("The room must have publishers = 2", "방 설정에 publishers = 2가 필요합니다"),
        ));
    }
    findings
}

/// What a trial negotiation showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Passive TCP candidates within the range: to be dialled.
    pub dial: Vec<SocketAddr>,
    /// The lines of the list.
    pub findings: Vec<Finding>,
}

/// Judges the candidates in Janus' answer to a trial offer. `server` is the address at which signalling was reached; none
/// when a proxy knows it.
#[must_use]
pub fn candidates(sdp: &str, policy: &TcpOnlyPolicy, server: Option<IpAddr>) -> Offered {
    let (mut dial, mut udp, mut outside) = (Vec::new(), 0, Vec::new());
    for line in sdp.lines().filter(|line| line.starts_with("a=candidate:")) {
        match policy.judge(Direction::Incoming, 0, line) {
            Ok(candidate) => {
                let candidate = candidate.candidate();
                dial.extend(candidate.ip().map(|ip| SocketAddr::new(ip, candidate.port)));
            }
            Err(Rejection::Udp) => udp += 1,
            Err(Rejection::PortOutsideRange(port)) => outside.push(port),
            Err(_) => {}
        }
    }
    let mut findings = Vec::new();
    let title = || Text::new("TCP candidates of Janus", "Janus의 TCP 후보");
    if dial.is_empty() {
        let (seen, remedy) = if let Some(port) = outside.first() {
            (
                format!("port {port} is outside janus.media_ports {}", policy.media_ports),
                Text::new(
                    "Set the same range on both sides: media.ports of site.toml, janus.media_ports of the kiosk, and the firewall",
                    "서버 site.toml의 media.ports, 키오스크의 janus.media_ports, 방화벽의 범위를 같게 하십시오",
                ),
            )
        } else {
            (
                format!("none; {udp} UDP candidates"),
                Text::new(
                    "On the server: kioskctl server check (nat.ice_tcp, ice_enforce_list)",
                    "서버에서 kioskctl server check를 실행하십시오 (nat.ice_tcp, ice_enforce_list)",
                ),
            )
        };
        findings.push(Finding::fail("ice.candidates", title(), Text::same(seen), remedy));
    } else {
        let list = dial.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let seen = Text::new(
            format!("tcptype passive: {list}; {udp} UDP candidates, all stripped"),
            format!("tcptype passive: {list}, UDP 후보 {udp}개는 모두 제거"),
        );
        findings.push(Finding::pass("ice.candidates", title(), seen));
        if let Some(server) = server.filter(|server| !is_private(*server))
            && dial.iter().all(|address| is_private(address.ip()))
        {
            findings.push(Finding::fail(
                "ice.nat",
                Text::new("addresses of the candidates", "후보의 주소"),
                Text::new(
                    format!("{list} is private, but the server was reached at {server}"),
                    format!("{list}은(는) 사설 주소이지만 서버에는 {server}(으)로 접속했습니다"),
                ),
                Text::new(
                    "The server stands behind a NAT and does not know its public address: media.public_address in site.toml (nat_1_1_mapping)",
                    "서버가 NAT 뒤에 있으나 공인 주소를 모릅니다: site.toml의 media.public_address(nat_1_1_mapping)를 설정하십시오",
                ),
            ));
        }
    }
    Offered { dial, findings }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Outcome, exit_code};
    use serde_json::json;

    fn ids(findings: &[Finding]) -> Vec<(&'static str, Outcome)> {
        findings.iter().map(|finding| (finding.id, finding.outcome)).collect()
    }

    #[test]
    fn a_server_without_ice_tcp_or_videoroom_is_found() {
        let good = json!({"name": "Janus", "version_string": "1.1.2", "ice-tcp": true,
            "plugins": {"janus.plugin.videoroom": {"version_string": "0.0.9"}}});
        assert_eq!(exit_code(&info(&good)), 0);
        let bad = ids(&info(&json!({"ice-tcp": false, "plugins": {}})));
        assert_eq!(bad[1..], [("janus.ice-tcp", Outcome::Fail), ("janus.videoroom", Outcome::Fail)]);
    }

    #[test]
    fn a_room_that_is_missing_or_wrong_is_found() {
        let list = json!({"list": [
            {"room": 1, "description": "ok", "max_publishers": 2, "videocodec": "h264"},
            {"room": 2, "description": "bad", "max_publishers": 6, "videocodec": "vp8,vp9"},
        ]});
        assert_eq!(exit_code(&room(&list, 1)), 0);
        let bad = ids(&room(&list, 2));
        assert_eq!(bad[1..], [("janus.room-codec", Outcome::Fail), ("janus.room-publishers", Outcome::Fail)]);
        assert_eq!(ids(&room(&list, 3)), [("janus.room", Outcome::Fail)]);
    }

    fn offered(lines: &[&str], server: &str) -> Offered {
        let policy = TcpOnlyPolicy { media_ports: "40000-40099".to_owned().try_into().unwrap() };
        let sdp: String = lines.iter().map(|line| format!("a=candidate:{line}\r\n")).collect();
        candidates(&sdp, &policy, server.parse().ok())
    }

    #[test]
    fn candidates_are_counted_and_a_forgotten_nat_is_named() {
        const TCP: &str = "1 1 tcp 1000 10.0.0.5 40003 typ host tcptype passive";
        const UDP: &str = "2 1 udp 2000 10.0.0.5 40004 typ host";
        let inside = offered(&[TCP, UDP], "10.0.0.5");
        assert_eq!(ids(&inside.findings), [("ice.candidates", Outcome::Pass)]);
        assert_eq!(inside.dial, ["10.0.0.5:40003".parse().unwrap()]);
        assert!(inside.findings[0].seen.en.contains("1 UDP"));
        assert_eq!(ids(&offered(&[TCP], "203.0.113.7").findings)[1], ("ice.nat", Outcome::Fail));
        assert_eq!(ids(&offered(&[TCP], "by proxy").findings), [("ice.candidates", Outcome::Pass)]);
        assert_eq!(ids(&offered(&[UDP], "10.0.0.5").findings), [("ice.candidates", Outcome::Fail)]);
        let outside = offered(&["1 1 tcp 1000 10.0.0.5 50003 typ host tcptype passive"], "10.0.0.5");
        assert!(outside.findings[0].seen.en.contains("50003"), "{outside:?}");
    }
}
