use super::*;
use crate::agent::BrowserEnd;
use kiosk_proto::figures::EndpointFigures;

fn good() -> Report {
    let end = |transport: &str, port| EndpointFigures { transport: transport.into(), address: "10.0.0.1".into(), port };
    let pair = Some(PairFigures { local: end("tcp", 50000), remote: end("tcp", 40003), via: None });
    let browser = |port| BrowserEnd { protocol: "tcp".into(), tcptype: None, address: None, port };
    let agent_pair = |leg: &str| BrowserPair { leg: leg.into(), local: browser(9), remote: browser(40099) };
    Report {
        seconds: 15.0,
        media_ports: "40000-40099".into(),
        agent: AgentSide {
            frames_decoded: 450,
            audio_packets: 750,
            audible: true,
            pairs: vec![agent_pair("publish"), agent_pair("subscribe")],
            ..AgentSide::default()
        },
        kiosk: KioskSide {
            frames_decoded: 450,
            audio_packets: 750,
            audible: true,
            publish: pair.clone(),
            receive: pair,
            ..KioskSide::default()
        },
        sockets: Sockets { samples: 150, audit_samples: 15, ..Sockets::default() },
        setup_ms: Setup { webrtcup: Some(200), agent_media: Some(3000) },
        push: Push {
            bitrate_kbps: 300,
            outcome: "confirmed".into(),
            target_before: 900_000,
            target_after: 300_000,
            ..Push::default()
        },
        ..Report::default()
    }
}

#[test]
fn a_call_as_it_should_be_passes() {
    assert_eq!(problems(&good()), Vec::<String>::new());
    assert!(good().judged().passed);
}

/// Breaks one thing of a good report; exactly that must be found.
fn finds(break_it: impl FnOnce(&mut Report), expected: &str) {
    let mut report = good();
    break_it(&mut report);
    let report = report.judged();
    assert!(!report.passed, "passed, but: {expected}");
    assert!(report.problems.iter().any(|problem| problem.contains(expected)), "{:?} lacks {expected}", report.problems);
}

#[test]
fn each_missing_stream_fails() {
    finds(|report| report.agent.frames_decoded = 10, "the agent decoded 10 frames");
    finds(|report| report.kiosk.frames_decoded = 0, "the kiosk decoded 0 frames");
    finds(|report| report.agent.audio_packets = 0, "the agent got 0 packets of sound");
    finds(|report| report.kiosk.audio_packets = 3, "the kiosk got 3 packets of sound");
    finds(|report| report.agent.audible = false, "the agent heard only silence");
    finds(|report| report.kiosk.audible = false, "the kiosk heard only silence");
    finds(|report| report.seconds = 0.0, "not watched");
}

#[test]
fn each_wrong_pair_fails() {
    fn publish(report: &mut Report) -> &mut PairFigures {
        report.kiosk.publish.as_mut().unwrap()
    }
    finds(|report| publish(report).local.transport = "udp".into(), "publish pair is udp to tcp");
    finds(|report| publish(report).remote.transport = "udp".into(), "publish pair is tcp to udp");
    finds(|report| publish(report).remote.port = 40100, "port 40100");
    finds(|report| report.kiosk.receive = None, "no selected pair for receive");
    finds(|report| report.agent.pairs[0].remote.protocol = "udp".into(), "agent's publish pair is tcp to udp");
    finds(|report| report.agent.pairs[1].remote.port = 39999, "port 39999");
    finds(|report| drop(report.agent.pairs.remove(1)), "no selected pair for subscribe");
    finds(|report| report.media_ports = "nonsense".into(), "not to nonsense");
}

#[test]
fn each_sign_of_udp_fails_and_so_does_not_looking() {
    finds(|report| report.sockets.udp_peak = 1, "1 UDP sockets, seen from outside");
    finds(|report| report.sockets.udp_peak_of_audit = 2, "audit saw 2");
    finds(|report| report.sockets.samples = 5, "only 5 looks");
    finds(|report| report.sockets.failed_samples = 1, "1 looks");
    finds(|report| report.sockets.audit_samples = 0, "never looked");
    finds(|report| report.setup_ms.webrtcup = None, "webrtcup");
}

#[test]
fn only_what_happened_while_watching_counts() {
    let first = BrowserStats { frames_decoded: 100, ..BrowserStats::default() };
    let last = BrowserStats { frames_decoded: 400, ..first.clone() };
    let side = AgentSide::between(&first, &last, 10.0);
    assert_eq!((side.frames_decoded, side.frames_per_second), (300, 30.0));
    assert!(!side.audible);
    let mut before = CallFigures::default();
    before.receive.video.frames = 50;
    let side = KioskSide::between(&before, &before, true, 10.0);
    assert_eq!((side.frames_decoded, side.frames_per_second), (0, 0.0));
}

#[test]
fn a_push_without_effect_fails() {
    finds(|report| report.push.outcome = "partly".into(), "was not confirmed: partly");
    finds(|report| report.push.target_after = 900_000, "after a push of 300000 for 900000");
    finds(|report| report.push.target_before = 200_000, "was asked for 200000 b/s");
    finds(|report| report.push.target_after = 0, "for 0");
}
