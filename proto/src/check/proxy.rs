//! The branch's HTTP proxy: what its answers mean to a technician.

use super::reach::{MEDIA_PORTS, Reach, media_ports};
use super::{Finding, Text};
use crate::config::PortRange;
use crate::proxy::Refusal;

/// What a proxy's refusal says and asks for.
fn told(refusal: &Refusal) -> (Text, Text) {
    let (seen, remedy) = match refusal {
        Refusal::WrongCredentials(code) => (
            (
                format!("it does not take the user name and the password ({code})"),
                format!("사용자 이름 또는 암호가 거부됨({code})"),
            ),
            (
                "Compare proxy.username and the file of proxy.password_file with the proxy's",
                "proxy.username과 proxy.password_file의 내용을 프록시 설정과 비교하십시오",
            ),
        ),
        Refusal::NoCredentials => (
            ("it wants a user name and a password (407)".to_owned(), "사용자 이름과 암호를 요구함(407)".to_owned()),
            ("Set proxy.username and proxy.password_file", "proxy.username과 proxy.password_file을 설정하십시오"),
        ),
        Refusal::OtherMethod(method) => (
            (
                format!("it wants {method} (407), and the kiosk knows only Basic"),
                format!("{method} 인증을 요구함(407). 키오스크는 Basic만 지원"),
            ),
            (
                "Let it take Basic for the kiosk, or let in the kiosk's address without a password",
                "키오스크에 Basic 인증을 허용하거나 키오스크 주소를 암호 없이 허용하십시오",
            ),
        ),
        Refusal::Forbidden => (
            ("it forbids this (403)".to_owned(), "프록시가 허용하지 않음(403)".to_owned()),
            (
                "Have the branch's proxy allow CONNECT to this host and port for the kiosk's address",
                "지점 프록시에서 이 키오스크의 CONNECT(해당 호스트와 포트)를 허용해 달라고 요청하십시오",
            ),
        ),
        Refusal::NoConnect(code) => (
            (format!("it does not do CONNECT ({code})"), format!("CONNECT를 지원하지 않음({code})")),
            ("Is proxy.address the port of a forward proxy?", "proxy.address가 정방향 프록시의 포트인지 확인하십시오"),
        ),
        Refusal::NoWay(code) => (
            (format!("it has no connection to there ({code})"), format!("프록시에서 연결되지 않음({code})")),
            (
                "Is the server running, and does the bank let the proxy reach this port?",
                "서버가 실행 중인지, 프록시에서 이 포트로 나갈 수 있는지 확인하십시오",
            ),
        ),
        Refusal::Status(code) => (
            (format!("it answers with status {code}"), format!("상태 코드 {code} 응답")),
            ("See the proxy's log", "프록시 로그를 확인하십시오"),
        ),
        Refusal::NotHttp | Refusal::TooLong => (
            ("it does not answer in HTTP/1".to_owned(), "HTTP/1 응답이 아님".to_owned()),
            ("Is proxy.address the plain HTTP port of a proxy?", "proxy.address가 프록시의 HTTP 포트인지 확인하십시오"),
        ),
        Refusal::Ended => (
            ("it ended the connection without an answer".to_owned(), "응답 없이 연결을 끊음".to_owned()),
            (
                "Is proxy.address an HTTP proxy, and does it let in the kiosk's address?",
                "proxy.address가 HTTP 프록시인지, 키오스크 주소를 허용하는지 확인하십시오",
            ),
        ),
        Refusal::Silent(seconds) => (
            (format!("it does not answer in {seconds} s"), format!("{seconds}초 동안 응답 없음")),
            (
                "Does the bank let the proxy reach this host and port?",
                "프록시에서 이 호스트와 포트로 나갈 수 있는지 확인하십시오",
            ),
        ),
    };
    (Text::new(seen.0, seen.1), Text::new(remedy.0, remedy.1))
}

/// A tunnel that the proxy refused.
#[must_use]
pub fn refused(id: &'static str, title: Text, refusal: &Refusal) -> Finding {
    let (seen, remedy) = told(refusal);
    Finding::fail(id, title, seen, remedy)
}

/// Whether the proxy itself answers, at `address`.
#[must_use]
pub fn reached(address: &str, reach: &Reach) -> Finding {
    let title = Text::new(format!("the proxy {address} answers"), format!("프록시 {address} 응답"));
    super::reach::port("proxy.reach", title, &Text::new("the proxy", "프록시"), reach)
}

/// Its answer to the request for a tunnel to the server, `target`: whether it takes the kiosk for who it is, and whether
/// it leads there.
#[must_use]
pub fn tunnel(target: &str, answer: &Result<(), Refusal>) -> Vec<Finding> {
    let credentials = || Text::new("the proxy lets the kiosk in", "프록시 인증");
    let leads = || Text::new(format!("the proxy leads to {target}"), format!("프록시 경유 {target}"));
    let accepted = || Finding::pass("proxy.credentials", credentials(), Text::new("it does", "승인됨"));
    match answer {
        Ok(()) => vec![accepted(), Finding::pass("network.proxy", leads(), Text::new("it does", "연결됨"))],
        Err(refusal @ (Refusal::WrongCredentials(_) | Refusal::NoCredentials | Refusal::OtherMethod(_))) => {
            vec![refused("proxy.credentials", credentials(), refusal)]
        }
        Err(refusal) => vec![refused("network.proxy", leads(), refusal)],
    }
}

/// A sample of the media range, by CONNECT, while no call runs: nobody listens there, so that the proxy tried is as good as
/// a tunnel.
#[must_use]
pub fn media_range(range: PortRange, samples: &[(u16, Result<(), Refusal>)]) -> Finding {
    let (id, title) = (MEDIA_PORTS, media_ports(range));
    let ports = samples.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ");
    let bad = samples.iter().filter_map(|(port, answer)| Some((port, answer.as_ref().err()?)));
    match bad.into_iter().find(|(_, refusal)| !matches!(refusal, Refusal::NoWay(_))) {
        Some((port, refusal)) => {
            let finding = refused(id, title, refusal);
            let seen = Text::new(format!("{port}: {}", finding.seen.en), format!("{port}: {}", finding.seen.ko));
            Finding { seen, ..finding }
        }
        None => Finding::pass(
            id,
            title,
            Text::new(format!("the proxy takes CONNECT to {ports}"), format!("프록시가 CONNECT 허용: {ports}")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn ids(findings: &[Finding]) -> Vec<(&'static str, Outcome)> {
        findings.iter().map(|finding| (finding.id, finding.outcome)).collect()
    }

    #[test]
    fn a_password_that_is_refused_is_not_a_port_that_is_refused() {
        let judged = |answer| ids(&tunnel("janus.bank.example:8989", &answer));
        assert_eq!(judged(Ok(())), [("proxy.credentials", Outcome::Pass), ("network.proxy", Outcome::Pass)]);
        for refusal in
            [Refusal::WrongCredentials(407), Refusal::NoCredentials, Refusal::OtherMethod("Negotiate".to_owned())]
        {
            assert_eq!(judged(Err(refusal)), [("proxy.credentials", Outcome::Fail)]);
        }
        for refusal in [Refusal::Forbidden, Refusal::NoWay(503), Refusal::Ended, Refusal::Silent(10)] {
            assert_eq!(judged(Err(refusal)), [("network.proxy", Outcome::Fail)]);
        }
    }

    #[test]
    fn a_media_port_that_is_forbidden_is_found_and_one_where_nobody_listens_is_open() {
        let range: PortRange = "40000-40099".to_owned().try_into().unwrap();
        let judged = |last| media_range(range, &[(40000, Err(Refusal::NoWay(503))), (40099, last)]);
        assert_eq!(judged(Err(Refusal::NoWay(500))).outcome, Outcome::Pass);
        assert_eq!(judged(Ok(())).outcome, Outcome::Pass);
        let forbidden = judged(Err(Refusal::Forbidden));
        assert!(
            forbidden.outcome == Outcome::Fail && forbidden.seen.en.starts_with("40099: it forbids"),
            "{forbidden:?}"
        );
    }

    #[test]
    fn a_proxy_that_does_not_answer_is_found() {
        let ms = std::time::Duration::from_millis(1);
        assert_eq!(reached("192.0.2.9:3128", &Reach::Connected(ms)).outcome, Outcome::Pass);
        assert_eq!(reached("192.0.2.9:3128", &Reach::Dropped(ms)).outcome, Outcome::Fail);
    }
}
