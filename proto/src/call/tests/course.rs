//! A call comes up, agents come and go, and it ends.

use super::*;

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
