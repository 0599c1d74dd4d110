//! The answer of an HTTP proxy: whatever comes, reading ends within the bound, and a tunnel begins behind a head only.
#![no_main]

use kiosk_proto::proxy::{Answer, MAX_ANSWER_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut answer = Answer::new(bytes.len().is_multiple_of(2));
    for (index, byte) in bytes.iter().enumerate() {
        assert!(index <= MAX_ANSWER_BYTES);
        let Some(end) = answer.push(*byte) else { continue };
        if end.is_ok() {
            let head = &bytes[..=index];
            assert!(head.starts_with(b"HTTP/1.") && head.ends_with(b"\n"));
            assert!(head.windows(2).any(|pair| pair == b" 2"));
        }
        return;
    }
});
