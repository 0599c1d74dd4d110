//! A session description, in both directions: no candidate passes but those that the policy lets through, and what was
//! filtered once stays as it is.
#![no_main]

use kiosk_fuzz::{assert_only_tcp, policy};
use kiosk_proto::ice::{Direction, TcpOnlySdp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for direction in [Direction::Incoming, Direction::Outgoing] {
        let Ok(sdp) = TcpOnlySdp::filter(&policy(), direction, text) else { continue };
        assert_only_tcp(direction, &sdp);
        let again =
            TcpOnlySdp::filter(&policy(), direction, sdp.as_str()).expect("what was accepted is accepted again");
        assert_eq!((again.as_str(), again.kept(), again.media()), (sdp.as_str(), sdp.kept(), sdp.media()));
        assert_eq!(again.rejected(), []);
        assert_eq!(again.accepts_h264(), sdp.accepts_h264());
    }
});
