//! The five proofs that a call runs over TCP alone, each from evidence of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::{Finding, Text};
use crate::audit::SelectedPair;
use crate::config::PortRange;
use crate::figures::SocketFigures;
use crate::packet::{Flows, Kind, Packet};

/// Where SSDP is sent, by which libnice would look for a router to open a port.
const SSDP: u16 = 1900;

fn broken(id: &'static str, title: Text, seen: Text) -> Finding {
    let remedy = Text::new(
        "This must never be. Put the kiosk out of service and send this report with the journal to the manufacturer",
        "있어서는 안 되는 상태입니다. 키오스크 사용을 멈추고 이 보고서와 로그를 제조사에 보내십시오",
    );
    Finding::fail(id, title, seen, remedy)
}

/// Candidates and descriptions of a trial call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signalled {
    /// Descriptions that were sent to Janus.
    pub sent: Vec<String>,
    /// Descriptions as Janus sent them.
    pub received: Vec<String>,
    /// The same as they were given to the ICE agent.
    pub taken: Vec<String>,
    /// Candidate lines that were sent to Janus beside the descriptions.
    pub trickled: Vec<String>,
}

/// TCP and UDP candidates in descriptions or lines.
fn count<'a>(texts: impl IntoIterator<Item = &'a String>) -> (usize, usize) {
    let (mut tcp, mut udp) = (0, 0);
    for line in texts.into_iter().flat_map(|text| text.lines()) {
        let Some(candidate) = line.strip_prefix("a=").unwrap_or(line).strip_prefix("candidate:") else { continue };
        match candidate.split_ascii_whitespace().nth(2) {
            Some(transport) if transport.eq_ignore_ascii_case("tcp") => tcp += 1,
            _ => udp += 1,
        }
    }
    (tcp, udp)
}

/// First proof: what was offered as candidates, and what was let through.
#[must_use]
pub fn candidates(signalled: &Signalled) -> Finding {
    let (id, title) = ("proof.candidates", Text::new("proof 1: candidates", "증거 1: 후보"));
    let (tcp, udp) = count(&signalled.received);
    let (kept, left) = count(&signalled.taken);
    let (own, own_udp) = count(signalled.trickled.iter().chain(&signalled.sent));
    let seen = Text::new(
        format!("Janus offered {tcp} TCP and {udp} UDP; {kept} TCP and {left} UDP used; own: {own} TCP, {own_udp} UDP"),
        format!(
            "Janus 제안 TCP {tcp}개, UDP {udp}개 / 사용 TCP {kept}개, UDP {left}개 / 키오스크 TCP {own}개, UDP {own_udp}개"
        ),
    );
    match (kept, left + own_udp) {
        (_, 1..) => broken(id, title, seen),
        (0, 0) => Finding::skipped(id, title, Text::new("no candidate was seen", "후보 없음")),
        _ => Finding::pass(id, title, seen),
    }
}

/// Second proof: the descriptions themselves, as they were sent and as they were used.
#[must_use]
pub fn descriptions(signalled: &Signalled) -> Finding {
    let (id, title) = ("proof.sdp", Text::new("proof 2: SDP sent and received", "증거 2: 송수신 SDP"));
    let used: Vec<&String> = signalled.sent.iter().chain(&signalled.taken).collect();
    if used.is_empty() {
        return Finding::skipped(id, title, Text::new("no description was exchanged", "교환된 SDP 없음"));
    }
    let lines = |texts: &[String]| {
        let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("a=candidate:"));
        lines.map(|line| line.trim_start_matches("a=").to_owned()).collect::<BTreeSet<_>>()
    };
    let taken = lines(&signalled.taken).into_iter().collect::<Vec<_>>().join("; ");
    let (sent, received) = (signalled.sent.len(), signalled.received.len());
    let seen = Text::new(
        format!("{sent} sent, {received} received; used of Janus: {taken}"),
        format!("송신 {sent}개, 수신 {received}개, 사용한 후보: {taken}"),
    );
    if count(used).1 > 0 { broken(id, title, seen) } else { Finding::pass(id, title, seen) }
}

/// Looks at the sockets of the process during the call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sockets {
    /// Counts of all looks.
    pub figures: SocketFigures,
    /// Where connections with media led: to the server, or to what stands between; and the server behind it.
    pub media: BTreeSet<(SocketAddr, SocketAddr)>,
    /// What the audit's rules found.
    pub violations: BTreeSet<String>,
}

/// Third proof: connections that were established.
#[must_use]
pub fn sockets(sockets: &Sockets, range: PortRange) -> Finding {
    let (id, title) = ("proof.sockets", Text::new("proof 3: sockets", "증거 3: 소켓"));
    let way = |(hop, server): &(SocketAddr, SocketAddr)| {
        if hop == server { hop.to_string() } else { format!("{hop} -> {server}") }
    };
    let list = sockets.media.iter().map(way).collect::<Vec<_>>().join(", ");
    let (looks, udp) = (sockets.figures.samples, sockets.figures.udp_peak);
    let seen = Text::new(
        format!("{looks} looks: {udp} UDP sockets; media to {list} (ports {range})"),
        format!("{looks}회 확인: UDP 소켓 {udp}개, 미디어 연결 {list} (포트 {range})"),
    );
    if let Some(violation) = sockets.violations.first() {
        return broken(id, title, Text::same(violation.clone()));
    }
    if udp > 0 {
        return broken(id, title, seen);
    }
    if looks == 0 || sockets.media.is_empty() {
        return Finding::skipped(id, title, Text::new("no media connection was seen", "미디어 연결 없음"));
    }
    Finding::pass(id, title, seen)
}

/// What was seen of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// Every packet of this machine while the call ran.
    Captured(Flows),
    /// The firewall's counters of UDP that the call added to.
    Counted {
        /// Dropped on their way out.
        out: u64,
        /// Dropped on their way in.
        r#in: u64,
        /// Why there was no capture.
        why: String,
    },
    /// Neither may be had, and why.
    Hidden(String),
}

/// Fourth proof: the packets. UDP counts as the daemon's when it is exchanged with a server of the call, or is STUN, or
/// looks for a router; what other programs send (time, names) is counted and named as theirs. `media` is where the gate's
/// sockets led, as in [`Sockets`].
#[must_use]
pub fn wire(wire: &Wire, media: &BTreeSet<(SocketAddr, SocketAddr)>) -> Finding {
    let (id, title) = ("proof.capture", Text::new("proof 4: packets", "증거 4: 패킷"));
    match wire {
        Wire::Captured(flows) => captured(id, title, flows, media),
        Wire::Counted { out, r#in, why } => {
            let seen = Text::new(
                format!("the firewall counted {out} UDP packets out, {} in, during the call (no capture: {why})", r#in),
                format!("통화 중 방화벽 집계 UDP 송신 {out}개, 수신 {}개 (캡처 불가: {why})", r#in),
            );
            if *out == 0 {
                return Finding::pass(id, title, seen);
            }
            let remedy = Text::new(
                "Something on this machine sends UDP; run kioskd doctor as root to see what",
                "이 기기에서 UDP를 보내는 프로그램이 있습니다. root로 kioskd doctor를 실행해 확인하십시오",
            );
            Finding::warn(id, title, seen, remedy)
        }
        Wire::Hidden(why) => Finding::skipped(
            id,
            title,
            Text::new(format!("run as root to capture: {why}"), format!("캡처하려면 root로 실행하십시오: {why}")),
        ),
    }
}

fn captured(id: &'static str, title: Text, flows: &Flows, ways: &BTreeSet<(SocketAddr, SocketAddr)>) -> Finding {
    let hops: BTreeSet<SocketAddr> = ways.iter().map(|(hop, _)| *hop).collect();
    let servers: BTreeSet<IpAddr> = ways.iter().flat_map(|(hop, server)| [hop.ip(), server.ip()]).collect();
    let with_server = |packet: &Packet| servers.contains(&packet.from.ip()) || servers.contains(&packet.to.ip());
    let (mut media, mut own, mut others, mut first) = (0, 0, 0, None);
    for (packet, count) in flows.iter() {
        match packet.kind {
            Kind::Tcp => {
                media += if hops.contains(&packet.to) || hops.contains(&packet.from) { count } else { 0 };
            }
            Kind::Udp if !with_server(packet) && packet.to.port() != SSDP => others += count,
            Kind::Udp | Kind::Stun => {
                own += count;
                first.get_or_insert_with(|| format!("{} -> {}", packet.from, packet.to));
            }
            Kind::Other => {}
        }
    }
    let seen = Text::new(
        format!("{media} TCP packets of media, {own} UDP packets of the call; {others} UDP packets of other programs"),
        format!("미디어 TCP {media}개, 통화 UDP {own}개, 다른 프로그램 UDP {others}개"),
    );
    if let Some(first) = first {
        let seen = Text::new(format!("{}: {first}", seen.en), format!("{}: {first}", seen.ko));
        return broken(id, title, seen);
    }
    if media == 0 {
        let why = Text::new("no packet of the call was captured", "통화 패킷이 캡처되지 않음");
        return Finding::skipped(id, title, why);
    }
    let missed = flows.missed + flows.crowded_out;
    if missed > 0 {
        let seen = Text::new(format!("{}; {missed} not seen", seen.en), format!("{}, 확인 못 함 {missed}개", seen.ko));
        let remedy = Text::new(
            "This machine is too busy to capture everything: run it again",
            "기기가 바빠 일부 패킷을 놓쳤습니다. 다시 실행하십시오",
        );
        return Finding::warn(id, title, seen, remedy);
    }
    Finding::pass(id, title, seen)
}

/// Fifth proof: what the peer connections say of themselves.
#[must_use]
pub fn pairs(pairs: &[SelectedPair]) -> Finding {
    let (id, title) = ("proof.pairs", Text::new("proof 5: candidate pairs", "증거 5: 후보 쌍"));
    let shown = |pair: &SelectedPair| {
        format!("{} {}/{} to {}", pair.leg, pair.local_transport, pair.remote_transport, pair.remote)
    };
    let seen = Text::same(pairs.iter().map(shown).collect::<Vec<_>>().join("; "));
    if pairs.iter().any(|pair| pair.local_transport != "tcp" || pair.remote_transport != "tcp") {
        return broken(id, title, seen);
    }
    if pairs.len() < 2 {
        return Finding::skipped(id, title, Text::new("no pair was selected", "선택된 후보 쌍 없음"));
    }
    Finding::pass(id, title, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    const TCP: &str = "a=candidate:1 1 tcp 1000 10.0.0.5 40003 typ host tcptype passive\r\n";
    const UDP: &str = "a=candidate:2 1 udp 2000 10.0.0.5 40004 typ host\r\n";

    fn range() -> PortRange {
        PortRange::default()
    }

    #[test]
    fn udp_in_what_is_used_is_found_and_what_was_stripped_is_counted() {
        let good = Signalled {
            sent: vec!["v=0\r\n".to_owned()],
            received: vec![format!("{TCP}{UDP}{UDP}")],
            taken: vec![TCP.to_owned()],
            trickled: vec!["candidate:1 1 TCP 1 10.0.0.1 9 typ host tcptype active".to_owned()],
        };
        let finding = candidates(&good);
        assert_eq!(finding.outcome, Outcome::Pass);
        assert!(finding.seen.en.contains("1 TCP and 2 UDP; 1 TCP and 0 UDP used; own: 1 TCP"), "{finding:?}");
        assert_eq!(descriptions(&good).outcome, Outcome::Pass);
        let bad = Signalled { taken: vec![format!("{TCP}{UDP}")], ..good.clone() };
        assert_eq!((candidates(&bad).outcome, descriptions(&bad).outcome), (Outcome::Fail, Outcome::Fail));
        let told = Signalled { trickled: vec![UDP.to_owned()], ..good };
        assert_eq!(candidates(&told).outcome, Outcome::Fail);
        let nothing = Signalled::default();
        assert_eq!(
            (candidates(&nothing).outcome, descriptions(&nothing).outcome),
            (Outcome::Skipped, Outcome::Skipped)
        );
    }

    #[test]
    fn a_socket_that_must_not_be_is_found() {
        let mut seen = Sockets::default();
        assert_eq!(sockets(&seen, range()).outcome, Outcome::Skipped);
        seen.figures.samples = 3;
        let (janus, relay) = ("10.0.0.5:40003".parse().unwrap(), "10.0.0.7:443".parse().unwrap());
        seen.media = BTreeSet::from([(janus, janus), (relay, janus)]);
        let good = sockets(&seen, range());
        assert_eq!(good.outcome, Outcome::Pass);
        assert!(good.seen.en.contains("media to 10.0.0.5:40003, 10.0.0.7:443 -> 10.0.0.5:40003 ("), "{good:?}");
        let inbound = Sockets { violations: BTreeSet::from(["10.0.0.9 connected".to_owned()]), ..seen.clone() };
        assert_eq!(sockets(&inbound, range()).seen.en, "10.0.0.9 connected");
        seen.figures.udp_peak = 1;
        assert_eq!(sockets(&seen, range()).outcome, Outcome::Fail);
    }

    fn packet(kind: Kind, from: &str, to: &str) -> Packet {
        Packet { kind, from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    fn ways() -> BTreeSet<(SocketAddr, SocketAddr)> {
        let janus = "10.0.0.5:40003".parse().unwrap();
        BTreeSet::from([(janus, janus), ("10.0.0.7:443".parse().unwrap(), janus)])
    }

    fn judged(packets: &[Packet]) -> Finding {
        let mut flows = Flows::default();
        packets.iter().for_each(|packet| flows.take(*packet));
        wire(&Wire::Captured(flows), &ways())
    }

    #[test]
    fn udp_of_the_call_is_found_and_that_of_others_is_theirs() {
        let media = packet(Kind::Tcp, "10.0.0.1:50000", "10.0.0.5:40003");
        let time = packet(Kind::Udp, "10.0.0.1:40000", "10.0.0.9:123");
        let good = judged(&[media, time]);
        assert_eq!(good.outcome, Outcome::Pass);
        assert!(good.seen.en.starts_with("1 TCP packets of media, 0 UDP packets of the call; 1 UDP"), "{good:?}");
        for bad in [
            packet(Kind::Udp, "10.0.0.5:40004", "10.0.0.1:50001"),
            packet(Kind::Udp, "10.0.0.1:50001", "10.0.0.7:443"),
            packet(Kind::Stun, "10.0.0.1:50001", "10.0.0.77:3478"),
            packet(Kind::Udp, "10.0.0.1:50001", "239.255.255.250:1900"),
        ] {
            let finding = judged(&[media, bad]);
            assert!(finding.outcome == Outcome::Fail && finding.seen.en.contains(&bad.to.to_string()), "{finding:?}");
        }
        assert_eq!(judged(&[time]).outcome, Outcome::Skipped, "a capture that saw nothing proves nothing");
        let relayed = packet(Kind::Tcp, "10.0.0.7:443", "10.0.0.1:50000");
        assert_eq!(judged(&[relayed]).outcome, Outcome::Pass);
        let elsewhere = packet(Kind::Tcp, "10.0.0.1:50000", "10.0.0.5:8989");
        assert_eq!(judged(&[elsewhere]).outcome, Outcome::Skipped, "signalling is no media");
        let mut flows = Flows::default();
        flows.missed = 3;
        flows.take(media);
        assert_eq!(wire(&Wire::Captured(flows), &ways()).outcome, Outcome::Warn);
    }

    #[test]
    fn without_a_capture_the_firewall_counts_and_without_both_it_says_so() {
        let judged = |seen| wire(&seen, &BTreeSet::new()).outcome;
        let counted = |out| Wire::Counted { out, r#in: 7, why: "no".to_owned() };
        assert_eq!(judged(counted(0)), Outcome::Pass);
        assert_eq!(judged(counted(1)), Outcome::Warn);
        assert_eq!(judged(Wire::Hidden("no".to_owned())), Outcome::Skipped);
    }

    #[test]
    fn both_connections_must_be_tcp_at_both_ends() {
        let pair = |leg, remote: &str| SelectedPair {
            leg,
            local_transport: "tcp".to_owned(),
            remote_transport: remote.to_owned(),
            remote: "10.0.0.5:40003".parse().unwrap(),
            through_gate: true,
        };
        assert_eq!(pairs(&[pair("publish", "tcp"), pair("receive", "tcp")]).outcome, Outcome::Pass);
        assert_eq!(pairs(&[pair("publish", "tcp"), pair("receive", "udp")]).outcome, Outcome::Fail);
        assert_eq!(pairs(&[pair("publish", "tcp")]).outcome, Outcome::Skipped);
    }
}
