//! A message on a signed topic, as it comes: nothing passes but what the admin signed.
#![no_main]

use kiosk_fuzz::{signed, trusted};
use kiosk_proto::fleet::{Envelope, EnvelopeError, MAX_PAYLOAD_BYTES, PayloadType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte may ask for one bit of a good envelope to be another.
    if let Some((at, payload)) = bytes.split_first_chunk::<2>() {
        let good = signed(PayloadType::Desired, payload).expect("the fuzzer's input is small");
        let mut bad = good.clone();
        let bit = usize::from(u16::from_le_bytes(*at)) % (good.len() * 8);
        bad[bit / 8] ^= 1 << (bit % 8);
        let verified = Envelope::parse(&bad).and_then(|e| e.verify(PayloadType::Desired, &[trusted()]));
        // A bit in the key's identifier makes it another's, one in the letters of Base64 another payload.
        assert!(verified.is_err(), "{}", String::from_utf8_lossy(&bad));
    }
    let Ok(envelope) = Envelope::parse(bytes) else { return };
    let written = envelope.to_bytes().expect("what was read can be written");
    assert_eq!(Envelope::parse(&written).as_ref(), Ok(&envelope));
    for wanted in [PayloadType::Desired, PayloadType::Command] {
        match envelope.verify(wanted, &[trusted()]) {
            Ok(verified) => {
                assert!(verified.payload.len() <= MAX_PAYLOAD_BYTES && verified.signers.len() == 1);
                assert_eq!(envelope.unverified_payload(), Ok(verified.payload));
            }
            Err(EnvelopeError::WrongType { .. }) => assert_ne!(envelope.payload_type, wanted),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
