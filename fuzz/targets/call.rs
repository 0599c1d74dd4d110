//! Any course of a call. Each line of the input is one event, and messages are read as they come from the WebSocket:
//!
//! | line | event |
//! |---|---|
//! | `{...}` | a message from Janus |
//! | `o` `c` | the socket is open, is lost |
//! | `t` `w` | time passes until the next deadline; for half a second |
//! | `p` `a` `m` `x` `e`, and a number | that peer connection has an offer, an answer, the agent's media, failed, gathered |
//! | `l`, a number, a line | that peer connection has a candidate |
//! | `f` `F` | the camera is gone, is back |
//! | `S` `E` `s` `v` | start, end, stopped, a violation |
#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use kiosk_fuzz::{assert_only_tcp, policy};
use kiosk_proto::call::{Call, CallState, Effect, Event, PeerId, Settings};
use kiosk_proto::fault::{Fault, FaultCode};
use kiosk_proto::ice::{Direction, TcpOnlySdp};
use kiosk_proto::janus::Message;
use kiosk_proto::secret::Secret;
use libfuzzer_sys::fuzz_target;

const OFFER: &str = "v=0\r\nm=audio 9 x 111\r\nm=video 9 x 96\r\na=rtpmap:96 H264/90000\r\n\
    a=candidate:1 1 TCP 1 192.0.2.4 9 typ host tcptype active\r\n";

struct World {
    call: Call,
    settings: Settings,
    own: TcpOnlySdp,
    now: Duration,
    open: BTreeSet<PeerId>,
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            room: 1001,
            display: "kiosk/a".to_owned(),
            pin: Some(Secret::new("pin")),
            token: Some(Secret::new("api")),
            room_token: None,
            keepalive: Duration::from_secs(25),
            policy: policy(),
        };
        let own = TcpOnlySdp::filter(&policy(), Direction::Outgoing, OFFER).expect("a description");
        Self { call: Call::default(), settings, own, now: Duration::ZERO, open: BTreeSet::new() }
    }

    /// One event; whatever follows from it must hold.
    fn event(&mut self, event: Event) {
        for effect in self.call.handle(self.now, u32::MAX / 2, &self.settings, event) {
            match effect {
                Effect::StartPublisher(peer) => assert!(self.open.insert(peer)),
                Effect::StartReceiver(peer, offer) => {
                    assert!(self.open.insert(peer));
                    assert_only_tcp(Direction::Incoming, &offer);
                }
                Effect::SetAnswer(_, answer) => assert_only_tcp(Direction::Incoming, &answer),
                Effect::StopPeer(peer) => assert!(self.open.remove(&peer)),
                Effect::Send(text) => {
                    let request: serde_json::Value = serde_json::from_str(&text).expect("a request is JSON");
                    assert!(request["janus"].is_string() && request["transaction"].is_string(), "{text}");
                    assert_eq!(request["token"], "api");
                }
                Effect::Ended(_) => assert!(self.open.is_empty(), "left behind: {:?}", self.open),
                _ => {}
            }
        }
        assert!(self.open.len() <= 2);
    }

    /// At a deadline the machine does what is due, once: the next deadline lies ahead.
    fn wait(&mut self) {
        let Some(deadline) = self.call.deadline().filter(|at| *at < Duration::MAX) else { return };
        self.now = self.now.max(deadline);
        for _ in 0..4 {
            self.event(Event::Tick);
            if self.call.deadline().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("the deadline {:?} is never served", self.call.deadline());
    }

    fn line(&mut self, line: &str) {
        if line.starts_with('{') {
            if let Ok(message) = Message::parse(line) {
                self.event(Event::Message(message));
            }
            return;
        }
        let mut rest = line.chars();
        let kind = rest.next();
        let (number, rest) = rest.as_str().split_once(' ').unwrap_or((rest.as_str(), ""));
        let peer = PeerId(number.parse().unwrap_or(1));
        let own = self.own.clone();
        match kind {
            Some('o') => self.event(Event::SocketOpen),
            Some('c') => self.event(Event::SocketClosed(Fault::new(FaultCode::ServerLost, "x"))),
            Some('t') => self.wait(),
            Some('w') => {
                self.now += Duration::from_millis(500);
                self.event(Event::Tick);
            }
            Some('p') => self.event(Event::OfferReady(peer, own)),
            Some('a') => self.event(Event::AnswerReady(peer, own)),
            Some('m') => self.event(Event::AgentMedia(peer)),
            Some('x') => self.event(Event::PeerFailed(peer, Fault::new(FaultCode::MediaLost, "x"))),
            Some('e') => self.event(Event::LocalCandidate(peer, None)),
            Some('l') => {
                if let Ok(candidate) = policy().judge(Direction::Outgoing, 0, rest) {
                    self.event(Event::LocalCandidate(peer, Some(candidate)));
                }
            }
            Some('f') => self.event(Event::FaultRaised(Fault::new(FaultCode::CameraUnavailable, "x"))),
            Some('F') => self.event(Event::FaultCleared(FaultCode::CameraUnavailable)),
            Some('S') => self.event(Event::Start { call_id: "c".to_owned() }),
            Some('E') => self.event(Event::End("asked to end")),
            Some('s') => self.event(Event::Stopped),
            Some('v') => self.event(Event::Violation("descriptor 9 is a UDP socket".to_owned())),
            _ => {}
        }
    }
}

fuzz_target!(|script: &str| {
    let mut world = World::new();
    world.line("S");
    for line in script.lines().take(200) {
        world.line(line);
    }
    world.line("E");
    world.line("s");
    assert_eq!((world.call.state(), world.call.deadline()), (CallState::Idle, None));
    assert!(world.open.is_empty());
});
