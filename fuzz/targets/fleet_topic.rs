//! Topics, as the broker names them and as an admin asks for an answer on them: what is read is written the same, and an
//! answer goes nowhere but where the kiosk's own answers go.
#![no_main]

use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::{Topic, response_topic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
    }
    let own = KioskId::try_from("a-1".to_owned()).expect("a name");
    if let Ok(topic) = response_topic(&own, Some(text)) {
        let topic = topic.to_string();
        let below = topic.strip_prefix("bk/v1/device/a-1/response").expect("the kiosk's own");
        assert!(below.is_empty() || below.starts_with('/'), "{topic}");
        assert!(!topic.contains(['+', '#', '\0']), "{topic}");
    }
});
