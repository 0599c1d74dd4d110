//! What is lost on the way to the server, and what the server refuses.

use super::*;

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
