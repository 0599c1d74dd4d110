//! What a relay sends: reading ends, and nothing but an answer that was made with the password is believed.
#![no_main]

use kiosk_proto::secret::{Credentials, Secret};
use kiosk_proto::turn::{Answer, Ask, Family, HEADER_BYTES, MAX_MESSAGE_BYTES, Session, length};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let credentials = Credentials { username: "kiosk".into(), password: Secret::new("pw") };
    let mut session = Session::new(credentials);
    let (mut rest, mut again) = (bytes, 0);
    while let Some(header) = rest.first_chunk::<HEADER_BYTES>() {
        let Ok(length) = length(header) else { return };
        assert!((HEADER_BYTES..=MAX_MESSAGE_BYTES).contains(&length));
        let Some((message, after)) = rest.split_at_checked(length) else { return };
        rest = after;
        session.request(Ask::Allocate(Family::V4), *b"transaction1");
        match session.take(message) {
            Ok(Answer::Again) => again += 1,
            Ok(Answer::Other) => {}
            Ok(answer) => panic!("{answer:?} without the password"),
            Err(_) => return,
        }
        assert!(again <= 3);
    }
});
