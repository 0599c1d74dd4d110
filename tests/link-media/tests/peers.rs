//! The senders that the daemon is compared with, through the real Janus over the emulated link.

#![allow(clippy::unwrap_used)]

use kiosk_harness::link::{
    peers::Peer,
    record::{Line, Medium},
    run::{self, Options},
    scenario::Scenario,
};
use kiosk_link_media::recording;
use std::fs;

#[test]
fn what_webrtcbin_sends_arrives_over_tcp_and_over_udp() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("generated.y4m");
    recording::make(None, &recording).unwrap();
    // Every kernel lets namespaces use "reno".
    let options =
        Options { recording, kioskd: None, sysctls: "net.ipv4.tcp_congestion_control=reno".into(), seconds: Some(3) };
    for peer in [Peer::WebrtcbinTcp, Peer::WebrtcbinUdp] {
        let to = dir.path().join(peer.name());
        // An error when no frame arrives.
        run::run(Scenario::find("steady10").unwrap(), peer, &options, &to).unwrap();
        let received = fs::read_to_string(to.join("received.jsonl")).unwrap();
        let lines: Vec<Line> = received.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let frames = lines.iter().filter(|line| matches!(line, Line::Frame(_))).count();
        assert!(frames > 10, "{}: {frames} frames", peer.name());
        assert!(lines.iter().any(|line| matches!(line, Line::Tone(_))), "{}: no tone", peer.name());
        let sound =
            lines.iter().any(|line| matches!(line, Line::Rtp(rtp) if rtp.medium == Medium::Audio && rtp.received > 0));
        assert!(sound, "{}: no packet of sound", peer.name());
    }
}
