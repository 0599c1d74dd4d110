//! What the targets share: the rules of a site, how a reader of SDP other than ours finds candidates in it, and an admin
//! who signs whatever comes.

use ed25519_dalek::SigningKey;
use kiosk_proto::config::{PortRange, Site};
use kiosk_proto::fleet::{PayloadType, TrustedKey, sign};
use kiosk_proto::ice::{Direction, TcpOnlyPolicy, TcpOnlySdp};

/// The rules of the example site.
pub fn policy() -> TcpOnlyPolicy {
    TcpOnlyPolicy { media_ports: PortRange::try_from("40000-40099".to_owned()).expect("a range") }
}

/// The candidates that GStreamer's parser sees, which is more lenient than ours: it skips white space at the beginning
/// of a line and behind `a=`, and a line ends at CR, LF or NUL (`gst_sdp_message_parse_buffer`).
fn candidates(sdp: &str) -> impl Iterator<Item = &str> {
    let attributes = sdp.split(['\r', '\n', '\0']).filter_map(|line| line.trim_ascii_start().strip_prefix("a="));
    attributes.map(str::trim_ascii_start).filter(|attribute| attribute.starts_with("candidate:"))
}

/// Every candidate in a filtered description is one that the policy lets through, and as the policy writes it.
pub fn assert_only_tcp(direction: Direction, sdp: &TcpOnlySdp) {
    let mut seen = 0;
    for candidate in candidates(sdp.as_str()) {
        let passed = policy().judge(direction, 0, candidate);
        assert_eq!(passed.as_ref().map(|passed| passed.line()).as_deref(), Ok(candidate), "{direction:?}");
        seen += 1;
    }
    assert_eq!(seen, sdp.kept(), "{}", sdp.as_str());
}

/// The admin's key. It signs what the fuzzer makes, so that what is behind the check of signatures is reached.
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// As it is trusted.
pub fn trusted() -> TrustedKey {
    TrustedKey::new(key().verifying_key(), None).expect("a key")
}

/// An envelope around any bytes, or nothing when they are too many.
pub fn signed(payload_type: PayloadType, payload: &[u8]) -> Option<Vec<u8>> {
    sign(payload_type, payload, &[&key()]).ok()?.to_bytes().ok()
}

/// The site file of a kiosk in a fleet.
pub fn site() -> Site {
    let text = format!(
        "[kiosk]\nid = \"a-1\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1001\n[fleet]\n\
         broker = \"mqtts://broker.bank.example\"\ncert_file = \"/c\"\nkey_file = \"/k\"\ngroups = [\"north\"]\n\
         keys = [\"{}\"]\n",
        trusted()
    );
    Site::parse(&text).expect("a site file")
}
