//! What the targets share: the rules of a site, and how a reader of SDP other than ours finds candidates in it.

use kiosk_proto::config::PortRange;
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
