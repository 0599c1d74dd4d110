//! Media that does not come up, is lost, or must not be.

use super::*;

#[test]
fn a_room_without_h264_or_opus_says_so() {
    for (taken, refused, setting) in
        [("m=video 9", "m=video 0", "videocodec = \"h264\""), ("m=audio 9", "m=audio 0", "audiocodec = \"opus\"")]
    {
        let answer = SDP.replace(taken, refused);
        let mut rig = Rig::started();
        let peer = rig.joined(Vec::new());
        rig.event(Event::OfferReady(peer, sdp(Direction::Outgoing)));
        let jsep = Some(("answer".to_owned(), answer));
        let event = RoomEvent::Configured;
        rig.event(Event::Message(Message::Event { transaction: None, sender: HandleId(PUBLISHER), event, jsep }));
        assert_eq!(rig.fault(), Some(FaultCode::RoomCodec));
        assert!(rig.call.faults()[&FaultCode::RoomCodec].contains(setting));
    }
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
