//! Whole calls, played against the machine without a network.

use std::collections::BTreeSet;

use proptest::prelude::*;
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

#[test]
fn a_call_comes_up() {
    let (rig, peer) = Rig::waiting();
    assert_eq!(rig.call.state(), CallState::Waiting);
    let answer = rig.effects.iter().find_map(|effect| match effect {
        Effect::SetAnswer(to, answer) if *to == peer => Some(answer),
        _ => None,
    });
    assert_eq!(answer.unwrap().kept(), 1, "the UDP candidate of the answer is gone");
}

#[test]
fn the_offer_that_says_a_leaving_agents_media_is_off_begins_no_connection() {
    let (mut rig, _) = Rig::active();
    rig.effects.clear();
    let off =
        SDP.lines().map(|line| format!("{line}\r\n{}", if line.starts_with("m=") { "a=inactive\r\n" } else { "" }));
    let jsep = Some(("offer".to_owned(), off.collect::<String>()));
    rig.event(Event::Message(Message::Event {
        transaction: None,
        sender: HandleId(RECEIVER),
        event: RoomEvent::Other,
        jsep,
    }));
    assert_eq!(rig.effects, []);
}

#[test]
fn candidates_wait_for_the_offer_they_belong_to() {
    let mut rig = Rig::started();
    let peer = rig.joined(Vec::new());
    let line = "candidate:1 1 TCP 1 192.0.2.4 9 typ host tcptype active";
    let candidate = settings().policy.judge(Direction::Outgoing, 0, line).unwrap();
    rig.event(Event::LocalCandidate(peer, Some(candidate)));
    assert_eq!(rig.sent(), Vec::<Value>::new());
    rig.event(Event::OfferReady(peer, sdp(Direction::Outgoing)));
    let kinds: Vec<String> = rig.sent().iter().map(|m| m["janus"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["message", "trickle"]);
}

#[test]
fn the_agent_comes_and_goes_and_comes_back() {
    let (mut rig, peer) = Rig::active();
    assert_eq!(rig.call.state(), CallState::Active);
    rig.room(PUBLISHER, RoomEvent::Gone(FeedId(5)), None);
    assert_eq!(rig.call.state(), CallState::Waiting);
    assert!(rig.effects.contains(&Effect::StopPeer(peer)));
    rig.effects.clear();
    rig.room(PUBLISHER, RoomEvent::Publishers(vec![agent(6)]), None);
    let again = rig.subscribed();
    assert_ne!(again, peer);
    assert_eq!(rig.call.state(), CallState::Active);
}

/// Who hangs up first keeps the port: see [`Effect::Goodbye`].
#[test]
fn janus_is_told_of_the_end_after_the_media_has_hung_up() {
    let (mut rig, receiver) = Rig::active();
    rig.effects.clear();
    rig.room(PUBLISHER, RoomEvent::Gone(FeedId(5)), None);
    let goodbye = |effect: &Effect, what: &str| matches!(effect, Effect::Goodbye(text) if text.contains(what));
    assert_eq!(rig.effects.iter().position(|effect| *effect == Effect::StopPeer(receiver)), Some(1));
    assert!(goodbye(&rig.effects[2], "detach"), "{:?}", rig.effects);

    let (mut rig, _) = Rig::active();
    rig.effects.clear();
    rig.event(Event::End("test"));
    let [Effect::StopPeer(_), Effect::StopPeer(_), destroy, Effect::CloseSocket, Effect::Ended(_)] = &rig.effects[..]
    else {
        panic!("{:?}", rig.effects);
    };
    assert!(goodbye(destroy, "destroy"), "{destroy:?}");
}

#[test]
fn another_kiosk_in_the_room_is_left_alone_and_our_own_ghost_is_not_minded() {
    let kiosk = |display: &str| Participant { feed: FeedId(9), display: display.to_owned(), publishing: true };
    let mut rig = Rig::started();
    let peer = rig.joined(vec![kiosk("kiosk/b")]);
    assert_eq!((rig.call.state(), rig.fault()), (CallState::Connecting, Some(FaultCode::RoomOfAnother)));
    assert!(rig.call.faults()[&FaultCode::RoomOfAnother].starts_with("kiosk/b is in room 1001"));
    assert!(rig.effects.contains(&Effect::StopPeer(peer)));
    rig.wait();
    rig.joined(vec![kiosk("kiosk/a"), agent(5)]);
    assert!(rig.effects.contains(&Effect::Reached(Milestone::Joined)), "{:?}", rig.effects);
}

#[test]
fn another_kiosk_is_not_received() {
    let (mut rig, _) = Rig::waiting();
    rig.effects.clear();
    let kiosk = Participant { feed: FeedId(9), display: "kiosk/b".to_owned(), publishing: true };
    rig.room(PUBLISHER, RoomEvent::Publishers(vec![kiosk]), None);
    assert_eq!(rig.sent(), Vec::<Value>::new());
}

#[test]
fn a_lost_socket_is_claimed_and_the_media_goes_on() {
    let (mut rig, peer) = Rig::active();
    rig.effects.clear();
    rig.event(lost());
    assert_eq!((rig.call.state(), rig.fault()), (CallState::Recovering, Some(FaultCode::ServerLost)));
    rig.wait();
    assert!(rig.effects.contains(&Effect::OpenSocket));
    rig.event(Event::SocketOpen);
    let claim = rig.request("claim");
    rig.event(Event::Message(Message::Success { transaction: claim, id: None, event: None }));
    assert_eq!((rig.call.state(), rig.fault()), (CallState::Active, None));
    let participants = rig.request("listparticipants");
    let event = Some(RoomEvent::Participants(vec![agent(5)]));
    rig.event(Event::Message(Message::Success { transaction: participants, id: None, event }));
    assert!(
        !rig.effects.iter().any(|effect| matches!(effect, Effect::StopPeer(_) | Effect::StartReceiver(..))),
        "{peer:?}"
    );
}

#[test]
fn an_agent_that_left_meanwhile_is_noticed_after_the_claim() {
    let (mut rig, peer) = Rig::active();
    rig.event(lost());
    rig.wait();
    rig.event(Event::SocketOpen);
    rig.effects.retain(|effect| !matches!(effect, Effect::Send(text) if !text.contains("claim")));
    let claim = rig.request("claim");
    rig.event(Event::Message(Message::Success { transaction: claim, id: None, event: None }));
    let participants = rig.request("listparticipants");
    let event = Some(RoomEvent::Participants(Vec::new()));
    rig.event(Event::Message(Message::Success { transaction: participants, id: None, event }));
    assert!(rig.effects.contains(&Effect::StopPeer(peer)));
    assert_eq!(rig.call.state(), CallState::Waiting);
}

#[test]
fn a_session_that_is_gone_starts_over() {
    let (mut rig, old) = Rig::waiting();
    rig.event(lost());
    rig.wait();
    rig.effects.clear();
    rig.event(Event::SocketOpen);
    let claim = rig.request("claim");
    let error = JanusError { code: JanusError::NO_SUCH_SESSION, reason: "no such session".to_owned(), plugin: false };
    rig.event(Event::Message(Message::Error { transaction: Some(claim), error }));
    assert!(rig.effects.contains(&Effect::StopPeer(old)) && rig.effects.contains(&Effect::CloseSocket));
    rig.effects.clear();
    rig.wait();
    let new = rig.joined(Vec::new());
    assert_ne!(new, old);
    rig.event(Event::OfferReady(old, sdp(Direction::Outgoing)));
    assert_eq!(rig.sent(), Vec::<Value>::new(), "news of the old connection mean nothing");
}

/// The farewell may never have arrived, and the old publication would keep the kiosk's place in the room.
#[test]
fn a_session_left_behind_is_ended_before_the_next_one() {
    let (mut rig, peer) = Rig::waiting();
    rig.event(Event::PeerFailed(peer, Fault::new(FaultCode::MediaLost, "x")));
    rig.wait();
    rig.effects.clear();
    rig.event(Event::SocketOpen);
    let sent = rig.sent();
    let kinds: Vec<&str> = sent.iter().map(|message| message["janus"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["claim", "destroy", "create"]);
    assert!(sent[..2].iter().all(|message| message["session_id"] == 7), "{sent:?}");
    let claim = sent[0]["transaction"].as_str().unwrap().to_owned();
    let error = JanusError { code: 458, reason: "No such session".to_owned(), plugin: false };
    rig.event(Event::Message(Message::Error { transaction: Some(claim), error }));
    assert_eq!(rig.call.state(), CallState::Recovering);
    let create = sent[2]["transaction"].as_str().unwrap().to_owned();
    rig.success(create, 8);
    rig.request("attach");
}

#[test]
fn what_janus_refuses_is_named_and_tried_again() {
    let refused = |code, fault: FaultCode| {
        let mut rig = Rig::started();
        rig.event(Event::SocketOpen);
        let create = rig.request("create");
        rig.success(create, 7);
        let attach = rig.request("attach");
        rig.success(attach, PUBLISHER);
        let error = JanusError { code, reason: "no".to_owned(), plugin: true };
        rig.room(PUBLISHER, RoomEvent::Error(error), None);
        assert_eq!((rig.call.state(), rig.fault()), (CallState::Connecting, Some(fault)));
        rig.effects.clear();
        rig.wait();
        assert!(rig.effects.contains(&Effect::OpenSocket));
        let peer = rig.joined(Vec::new());
        rig.event(Event::OfferReady(peer, sdp(Direction::Outgoing)));
        rig.room(PUBLISHER, RoomEvent::Configured, Some("answer"));
        rig.event(Event::Message(Message::WebRtcUp(HandleId(PUBLISHER))));
        assert_eq!((rig.call.state(), rig.fault()), (CallState::Waiting, None), "gone with its cause");
    };
    refused(432, FaultCode::RoomFull);
    refused(433, FaultCode::TokenRefused);
    refused(426, FaultCode::RoomUnknown);
}

#[test]
fn a_room_without_h264_says_so() {
    let mut rig = Rig::started();
    let peer = rig.joined(Vec::new());
    rig.event(Event::OfferReady(peer, sdp(Direction::Outgoing)));
    let jsep = Some(("answer".to_owned(), SDP.replace("m=video 9", "m=video 0")));
    let event = RoomEvent::Configured;
    rig.event(Event::Message(Message::Event { transaction: None, sender: HandleId(PUBLISHER), event, jsep }));
    assert_eq!(rig.fault(), Some(FaultCode::RoomCodec));
    assert!(rig.call.faults()[&FaultCode::RoomCodec].contains("videocodec = \"h264\""));
}

#[test]
fn media_that_does_not_connect_names_the_ports() {
    let mut rig = Rig::started();
    let peer = rig.joined(Vec::new());
    rig.event(Event::OfferReady(peer, sdp(Direction::Outgoing)));
    rig.request("publish");
    rig.room(PUBLISHER, RoomEvent::Configured, Some("answer"));
    rig.wait();
    assert_eq!(rig.fault(), Some(FaultCode::MediaUnreachable));
    assert!(rig.call.faults()[&FaultCode::MediaUnreachable].contains("192.0.2.1:40003"));
}

#[test]
fn a_connection_that_fails_before_it_was_up_is_blocked_and_one_that_was_up_is_lost() {
    let mut rig = Rig::started();
    let peer = rig.joined(Vec::new());
    rig.event(Event::OfferReady(peer, sdp(Direction::Outgoing)));
    rig.request("publish");
    rig.room(PUBLISHER, RoomEvent::Configured, Some("answer"));
    rig.event(Event::NoWay(peer, "the proxy forbids it".to_owned()));
    rig.event(Event::ConnectionFailed(peer));
    assert_eq!(rig.fault(), Some(FaultCode::MediaUnreachable));
    assert_eq!(
        rig.call.faults()[&FaultCode::MediaUnreachable],
        "no media connection to 192.0.2.1:40003: the proxy forbids it"
    );

    let (mut rig, peer) = Rig::waiting();
    rig.event(Event::ConnectionFailed(peer));
    assert_eq!(rig.fault(), Some(FaultCode::MediaLost));
}

#[test]
fn media_ports_that_differ_from_those_of_the_server_are_told_with_both() {
    let elsewhere = PortRange::try_from("41000-41099".to_owned()).unwrap();
    let settings = Settings { policy: TcpOnlyPolicy { media_ports: elsewhere }, ..settings() };
    let mut rig = Rig::started_with(settings);
    let peer = rig.joined(Vec::new());
    rig.event(Event::OfferReady(peer, sdp(Direction::Outgoing)));
    rig.request("publish");
    rig.room(PUBLISHER, RoomEvent::Configured, Some("answer"));
    rig.wait();
    assert_eq!(rig.fault(), Some(FaultCode::NoTcpCandidate));
    let message = &rig.call.faults()[&FaultCode::NoTcpCandidate];
    assert!(message.contains("port 40003") && message.contains("41000-41099"), "{message}");
}

#[test]
fn a_silent_server_is_a_lost_one() {
    let (mut rig, _) = Rig::waiting();
    rig.effects.clear();
    rig.wait();
    rig.request("keepalive");
    assert_eq!(rig.call.state(), CallState::Waiting);
    rig.wait();
    assert_eq!((rig.call.state(), rig.fault()), (CallState::Recovering, Some(FaultCode::ServerSilent)));
    assert!(rig.effects.contains(&Effect::CloseSocket));
}

#[test]
fn a_violation_ends_the_call_and_stays_visible() {
    let (mut rig, peer) = Rig::active();
    rig.event(Event::Violation("descriptor 9 is a UDP socket".to_owned()));
    assert_eq!(rig.call.state(), CallState::Ending);
    assert!(rig.effects.contains(&Effect::StopPeer(peer)));
    assert!(matches!(rig.effects.last(), Some(Effect::Ended("TCP-only violation"))));
    rig.event(Event::Stopped);
    assert_eq!((rig.call.state(), rig.fault()), (CallState::Idle, Some(FaultCode::TcpOnlyViolation)));
    rig.event(Event::Start { call_id: "d".to_owned() });
    assert_eq!((rig.call.state(), rig.fault()), (CallState::Connecting, None));
}

#[test]
fn a_camera_fault_neither_ends_nor_hides_the_call() {
    let (mut rig, _) = Rig::active();
    rig.event(Event::FaultRaised(Fault::new(FaultCode::CameraUnavailable, "unplugged")));
    assert_eq!((rig.call.state(), rig.fault()), (CallState::Active, Some(FaultCode::CameraUnavailable)));
    rig.event(Event::FaultCleared(FaultCode::CameraUnavailable));
    assert_eq!((rig.call.state(), rig.fault()), (CallState::Active, None));
}

fn any_room_event() -> impl Strategy<Value = RoomEvent> {
    let people = proptest::collection::vec(
        (0_u64..4, any::<bool>(), any::<bool>()).prop_map(|(feed, publishing, is_agent)| Participant {
            feed: FeedId(feed),
            display: if is_agent { "agent/a" } else { "kiosk/b" }.to_owned(),
            publishing,
        }),
        0..4,
    );
    prop_oneof![
        people.clone().prop_map(RoomEvent::Joined),
        people.clone().prop_map(RoomEvent::Publishers),
        people.prop_map(RoomEvent::Participants),
        (0_u64..4).prop_map(|feed| RoomEvent::Gone(FeedId(feed))),
        Just(RoomEvent::SelfGone),
        Just(RoomEvent::Configured),
        Just(RoomEvent::Attached),
        Just(RoomEvent::Destroyed),
        (420_u16..440).prop_map(|code| RoomEvent::Error(JanusError { code, reason: String::new(), plugin: true })),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let transaction = || (0_u64..40).prop_map(|number| number.to_string());
    let handle = || prop_oneof![Just(HandleId(PUBLISHER)), Just(HandleId(RECEIVER)), Just(HandleId(1))];
    let peer = || (0_u32..12).prop_map(PeerId);
    let jsep = prop_oneof![
        Just(None),
        Just(Some(("answer".to_owned(), SDP.to_owned()))),
        Just(Some(("offer".to_owned(), SDP.to_owned()))),
        ".{0,20}".prop_map(|text| Some(("offer".to_owned(), text))),
    ];
    prop_oneof![
        4 => Just(Event::SocketOpen),
        1 => Just(lost()),
        6 => (transaction(), prop_oneof![Just(None), Just(Some(PUBLISHER)), Just(Some(RECEIVER)), Just(Some(7))])
            .prop_map(|(transaction, id)| Event::Message(Message::Success { transaction, id, event: None })),
        1 => transaction().prop_map(|transaction| Event::Message(Message::Error {
            transaction: Some(transaction),
            error: JanusError { code: 458, reason: String::new(), plugin: false },
        })),
        6 => (handle(), any_room_event(), jsep).prop_map(|(sender, event, jsep)| {
            Event::Message(Message::Event { transaction: None, sender, event, jsep })
        }),
        2 => handle().prop_map(|handle| Event::Message(Message::WebRtcUp(handle))),
        1 => handle().prop_map(|handle| Event::Message(Message::Hangup(handle, String::new()))),
        1 => Just(Event::Message(Message::Timeout(SessionId(7)))),
        2 => (handle(), ".{0,80}").prop_map(|(handle, line)| Event::Message(Message::Trickle(handle, Some((0, line))))),
        4 => peer().prop_map(|peer| Event::OfferReady(peer, sdp(Direction::Outgoing))),
        4 => peer().prop_map(|peer| Event::AnswerReady(peer, sdp(Direction::Outgoing))),
        2 => peer().prop_map(|peer| Event::LocalCandidate(peer, None)),
        1 => peer().prop_map(|peer| Event::PeerFailed(peer, Fault::new(FaultCode::MediaLost, ""))),
        1 => peer().prop_map(Event::ConnectionFailed),
        1 => peer().prop_map(|peer| Event::NoWay(peer, "no way".to_owned())),
        2 => peer().prop_map(Event::AgentMedia),
        4 => Just(Event::Tick),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: nothing panics, no peer connection is started twice or left behind, each
    /// deadline lies ahead or is served, and an end is an end.
    #[test]
    fn no_course_of_events_leaves_anything_behind(events in proptest::collection::vec((any_event(), 0_u64..4000), 0..120)) {
        let mut call = Call::default();
        let mut now = Duration::ZERO;
        let mut open = BTreeSet::new();
        let mut all = vec![(Event::Start { call_id: "c".to_owned() }, 0)];
        all.extend(events);
        all.push((Event::End("test"), 0));
        for (event, gap) in all {
            now += Duration::from_millis(gap);
            for effect in call.handle(now, 12345, &settings(), event) {
                match effect {
                    Effect::StartPublisher(peer) | Effect::StartReceiver(peer, _) => prop_assert!(open.insert(peer)),
                    Effect::StopPeer(peer) => prop_assert!(open.remove(&peer)),
                    Effect::SetAnswer(_, sdp) => prop_assert!(!sdp.as_str().contains(" udp ")),
                    _ => {}
                }
            }
            prop_assert!(open.len() <= 2);
        }
        prop_assert!(open.is_empty());
        prop_assert_eq!(call.state(), CallState::Ending);
        prop_assert!(call.handle(now, 0, &settings(), Event::Stopped).is_empty());
        prop_assert_eq!(call.state(), CallState::Idle);
    }
}
