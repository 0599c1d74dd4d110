//! Whole calls, played against the machine without a network.

mod course;
mod media;
mod properties;
mod server;

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::config::PortRange;
use crate::ice::Direction;
use crate::janus::{HandleId, JanusError, Participant, RoomEvent, SessionId};

const SDP: &str = "v=0\r\nm=audio 9 x 111\r\na=rtpmap:111 opus/48000/2\r\nm=video 9 x 96\r\na=rtpmap:96 H264/90000\r\n\
    a=candidate:1 1 tcp 1 192.0.2.1 40003 typ host tcptype passive\r\n\
    a=candidate:2 1 udp 1 192.0.2.1 40004 typ host\r\n";
const PUBLISHER: u64 = 20;
const RECEIVER: u64 = 30;

fn settings() -> Settings {
    Settings {
        room: 1001,
        display: "kiosk/a".to_owned(),
        pin: None,
        token: Some(Secret::new("api")),
        room_token: Some(Secret::new("room")),
        keepalive: Duration::from_secs(25),
        policy: TcpOnlyPolicy { media_ports: PortRange::try_from("40000-40099".to_owned()).unwrap() },
    }
}

fn sdp(direction: Direction) -> TcpOnlySdp {
    TcpOnlySdp::filter(&settings().policy, direction, SDP).unwrap()
}

/// The machine with a clock, and what it did since the last question.
struct Rig {
    call: Call,
    settings: Settings,
    now: Duration,
    effects: Vec<Effect>,
    /// Transaction of the last request, which the next event of the room answers.
    last: Option<String>,
}

impl Rig {
    fn started() -> Self {
        Self::started_with(settings())
    }

    fn started_with(settings: Settings) -> Self {
        let (now, effects) = (Duration::from_secs(100), Vec::new());
        let mut rig = Self { call: Call::default(), settings, now, effects, last: None };
        rig.event(Event::Start { call_id: "c".to_owned() });
        rig
    }

    fn event(&mut self, event: Event) {
        self.effects.extend(self.call.handle(self.now, u32::MAX / 2, &self.settings, event));
    }

    /// What was sent since the last look, as JSON.
    fn sent(&mut self) -> Vec<Value> {
        let texts = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(text) => Some(serde_json::from_str(text).unwrap()),
            _ => None,
        });
        let sent = texts.collect();
        self.effects.clear();
        sent
    }

    /// The one request that was sent since the last look; its transaction.
    fn request(&mut self, kind: &str) -> String {
        let sent = self.sent();
        let found: Vec<_> =
            sent.iter().filter(|message| message["janus"] == kind || message["body"]["request"] == kind).collect();
        assert_eq!(found.len(), 1, "{kind} in {sent:?}");
        assert_eq!(found[0]["token"], "api", "every request carries the token");
        let transaction = found[0]["transaction"].as_str().unwrap().to_owned();
        self.last = Some(transaction.clone());
        transaction
    }

    fn success(&mut self, transaction: String, id: u64) {
        self.event(Event::Message(Message::Success { transaction, id: Some(id), event: None }));
    }

    fn room(&mut self, sender: u64, event: RoomEvent, jsep: Option<&str>) {
        let transaction = self.last.take();
        self.event(Event::Message(Message::Event {
            transaction,
            sender: HandleId(sender),
            event,
            jsep: jsep.map(|kind| (kind.to_owned(), SDP.to_owned())),
        }));
    }

    fn peer(&self, wanted: fn(&Effect) -> Option<PeerId>) -> PeerId {
        self.effects.iter().find_map(wanted).expect("a peer connection is started")
    }

    /// As far as `joined`; the publisher's peer.
    fn joined(&mut self, present: Vec<Participant>) -> PeerId {
        self.event(Event::SocketOpen);
        let peer = self.peer(|effect| if let Effect::StartPublisher(peer) = effect { Some(*peer) } else { None });
        let create = self.request("create");
        self.success(create, 7);
        let attach = self.request("attach");
        self.success(attach, PUBLISHER);
        self.request("join");
        self.room(PUBLISHER, RoomEvent::Joined(present), None);
        peer
    }

    /// As far as `webrtcup`.
    fn waiting() -> (Self, PeerId) {
        let mut rig = Self::started();
        let peer = rig.joined(Vec::new());
        rig.event(Event::OfferReady(peer, sdp(Direction::Outgoing)));
        rig.request("publish");
        rig.room(PUBLISHER, RoomEvent::Configured, Some("answer"));
        rig.event(Event::Message(Message::WebRtcUp(HandleId(PUBLISHER))));
        (rig, peer)
    }

    /// As far as the agent's first media; the receiver's peer.
    fn active() -> (Self, PeerId) {
        let (mut rig, _) = Self::waiting();
        rig.effects.clear();
        rig.room(PUBLISHER, RoomEvent::Publishers(vec![agent(5)]), None);
        let peer = rig.subscribed();
        (rig, peer)
    }

    fn subscribed(&mut self) -> PeerId {
        let attach = self.request("attach");
        self.success(attach, RECEIVER);
        self.request("join");
        self.room(RECEIVER, RoomEvent::Attached, Some("offer"));
        let peer = self.peer(|effect| if let Effect::StartReceiver(peer, _) = effect { Some(*peer) } else { None });
        self.event(Event::AnswerReady(peer, sdp(Direction::Outgoing)));
        self.request("start");
        self.event(Event::AgentMedia(peer));
        peer
    }

    fn fault(&self) -> Option<FaultCode> {
        self.call.faults().keys().next().copied()
    }

    /// Lets time pass until the machine wants to do something.
    fn wait(&mut self) {
        self.now = self.call.deadline().unwrap();
        self.event(Event::Tick);
    }
}

fn agent(feed: u64) -> Participant {
    Participant { feed: FeedId(feed), display: "agent/kim".to_owned(), publishing: true }
}

fn lost() -> Event {
    Event::SocketClosed(Fault::new(FaultCode::ServerLost, "x"))
}
