//! What it means when a TCP connection is accepted, refused, or not answered at all.

use std::time::Duration;

use super::{Finding, Text};
use crate::config::PortRange;

/// How an attempt to connect ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Accepted, after one round trip.
    Connected(Duration),
    /// Accepted, and ended so soon afterwards, before anything was sent.
    BrokenOff(Duration),
    /// Refused by a host: the way there is open, nobody listens.
    Refused(Duration),
    /// No answer within this time: something on the way drops packets, or the host is off.
    Dropped(Duration),
    /// The system knows no way there; its own words.
    NoRoute(String),
}

impl Reach {
    fn seen(&self) -> Text {
        let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        match self {
            Self::Connected(rtt) => Text::new(format!("connected in {}", ms(rtt)), format!("연결됨, {}", ms(rtt))),
            Self::BrokenOff(after) => Text::new(
                format!("connected, and broken off within {}", ms(after)),
                format!("연결 후 {} 안에 끊김", ms(after)),
            ),
            Self::Refused(rtt) => Text::new(format!("refused after {}", ms(rtt)), format!("{} 후 거절됨", ms(rtt))),
            Self::Dropped(after) => Text::new(
                format!("no answer within {} s", after.as_secs()),
                format!("{}초 동안 응답 없음", after.as_secs()),
            ),
            Self::NoRoute(reason) => Text::new(reason.clone(), format!("경로 없음: {reason}")),
        }
    }

    /// `who` is what must listen there.
    fn remedy(&self, who: &Text) -> Option<Text> {
        match self {
            Self::Connected(_) => None,
            Self::Refused(_) => Some(Text::new(
                format!(
                    "The machine answers, but nothing listens on this port: is {} running, and is this its port?",
                    who.en
                ),
                format!(
                    "해당 장비는 응답하지만 이 포트에서 수신하는 프로그램이 없습니다. {} 실행 여부와 포트를 확인하십시오",
                    who.ko
                ),
            )),
            Self::BrokenOff(_) => Some(Text::new(
                "A box on the way takes the connection and resets it, or the server's program does: have this port exempted from inspection, for this kiosk's address",
                "중간 장비가 연결을 받은 뒤 끊고 있습니다(또는 서버 프로그램). 이 키오스크 주소의 이 포트를 검사 대상에서 제외해 달라고 요청하십시오",
            )),
            Self::Dropped(_) => Some(Text::new(
                "A firewall on the way drops this port, or the machine is off: have the port opened for this kiosk's address",
                "중간 방화벽이 이 포트를 막고 있거나 장비가 꺼져 있습니다. 이 키오스크 주소에 대해 포트를 열어 달라고 요청하십시오",
            )),
            Self::NoRoute(_) => Some(Text::new(
                "Check cable, address and gateway of this kiosk: ip address; ip route",
                "키오스크의 케이블, IP 주소, 게이트웨이를 확인하십시오: ip address; ip route",
            )),
        }
    }
}

/// A port that must accept; `who` is what must listen there.
#[must_use]
pub fn port(id: &'static str, title: Text, who: &Text, reach: &Reach) -> Finding {
    match reach.remedy(who) {
        None => Finding::pass(id, title, reach.seen()),
        Some(remedy) => Finding::fail(id, title, reach.seen(), remedy),
    }
}

/// The program that listens at signalling and media ports.
pub const JANUS: &str = "Janus";
/// The name of the checks of the media range.
pub const MEDIA_PORTS: &str = "network.media-ports";

/// What the checks of the media range are called.
#[must_use]
pub fn media_ports(range: PortRange) -> Text {
    Text::new(format!("media ports {range}"), format!("미디어 포트 {range}"))
}

/// A sample of the media range while no call runs: nobody listens there, so being refused is as good as being accepted.
#[must_use]
pub fn media_range(range: PortRange, samples: &[(u16, Reach)]) -> Finding {
    let (id, title) = (MEDIA_PORTS, media_ports(range));
    let closed: Vec<&(u16, Reach)> =
        samples.iter().filter(|(_, reach)| !matches!(reach, Reach::Connected(_) | Reach::Refused(_))).collect();
    let ports = |list: &[&(u16, Reach)]| list.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ");
    let Some((_, worst)) = closed.first() else {
        let all: Vec<&(u16, Reach)> = samples.iter().collect();
        let seen =
            Text::new(format!("the server answers on {}", ports(&all)), format!("{} 포트에서 서버 응답", ports(&all)));
        return Finding::pass(id, title, seen);
    };
    let seen = Text::new(
        format!("{}: {}", ports(&closed), worst.seen().en),
        format!("{}: {}", ports(&closed), worst.seen().ko),
    );
    match worst.remedy(&Text::same(JANUS)) {
        Some(remedy) => Finding::fail(id, title, seen, remedy),
        None => Finding::pass(id, title, seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    const MS: Duration = Duration::from_millis(3);

    #[test]
    fn a_refused_media_port_is_an_open_way() {
        let range: PortRange = "40000-40099".to_owned().try_into().unwrap();
        let judged = |samples: &[(u16, Reach)]| media_range(range, samples).outcome;
        assert_eq!(judged(&[(40000, Reach::Refused(MS)), (40099, Reach::Connected(MS))]), Outcome::Pass);
        assert_eq!(judged(&[(40000, Reach::Refused(MS)), (40099, Reach::Dropped(MS))]), Outcome::Fail);
        assert_eq!(judged(&[(40000, Reach::NoRoute("no".to_owned()))]), Outcome::Fail);
        assert_eq!(judged(&[(40000, Reach::Refused(MS)), (40099, Reach::BrokenOff(MS))]), Outcome::Fail);
    }

    #[test]
    fn refused_dropped_and_broken_off_have_different_remedies() {
        let remedy = |reach: Reach| port("x", Text::same("x"), &Text::same("y"), &reach).remedy.map(|text| text.en);
        assert_eq!(remedy(Reach::Connected(MS)), None);
        assert_ne!(remedy(Reach::Refused(MS)), remedy(Reach::Dropped(MS)));
        assert_ne!(remedy(Reach::BrokenOff(MS)), remedy(Reach::Dropped(MS)));
        assert!(remedy(Reach::Refused(MS)).is_some() && remedy(Reach::BrokenOff(MS)) != remedy(Reach::Refused(MS)));
    }
}
