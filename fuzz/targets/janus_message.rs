//! A text from the WebSocket, and what is read from inside it: descriptions, candidates, participants.
#![no_main]

use kiosk_fuzz::{assert_only_tcp, policy};
use kiosk_proto::ice::{Direction, TcpOnlySdp};
use kiosk_proto::janus::{Message, RoomEvent};
use libfuzzer_sys::fuzz_target;

fn judge(event: &RoomEvent) {
    match event {
        RoomEvent::Joined(people) | RoomEvent::Publishers(people) => {
            assert!(people.len() <= 64 && people.iter().all(|person| person.publishing));
        }
        RoomEvent::Participants(people) => assert!(people.len() <= 64),
        RoomEvent::Error(error) => assert!(error.plugin && error.to_string().contains(error.remedy())),
        _ => {}
    }
}

fuzz_target!(|text: &str| {
    match Message::parse(text) {
        Ok(Message::Event { event, jsep, .. }) => {
            judge(&event);
            let Some((_, sdp)) = jsep else { return };
            if let Ok(sdp) = TcpOnlySdp::filter(&policy(), Direction::Incoming, &sdp) {
                assert_only_tcp(Direction::Incoming, &sdp);
            }
        }
        Ok(Message::Success { event: Some(event), .. }) => judge(&event),
        Ok(Message::Error { error, .. }) => assert!(!error.plugin),
        Ok(Message::Trickle(_, Some((mline, line)))) => {
            let _ = policy().judge(Direction::Incoming, mline, &line);
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
