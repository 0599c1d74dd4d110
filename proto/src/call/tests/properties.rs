//! Any course of events.

use proptest::prelude::*;

use super::*;

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
