//! What passes on the wire while a trial call is captured: any bytes are a packet or none, and what was cut off changes
//! neither who sends nor to whom.
#![no_main]

use kiosk_proto::packet::{Flows, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(packet) = parse(bytes) else { return };
    assert!(bytes.len() >= 20);
    assert_eq!(packet.from.is_ipv4(), packet.to.is_ipv4());
    let header = if packet.from.is_ipv4() { 20 } else { 40 };
    let short = parse(&bytes[..header.min(bytes.len())]);
    assert!(short.is_some_and(|short| (short.from.ip(), short.to.ip()) == (packet.from.ip(), packet.to.ip())));
    let mut flows = Flows::default();
    flows.take(packet);
    flows.take(packet);
    assert_eq!(flows.iter().map(|(_, packets)| packets).collect::<Vec<_>>(), [2]);
});
