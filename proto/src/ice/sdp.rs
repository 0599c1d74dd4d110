//! The SDP filter: what a peer connection accepts and what Janus is sent holds TCP candidates alone.

use thiserror::Error;

use super::{Direction, Rejection, TcpOnlyPolicy};

/// A session description of two media sections has about 4 KiB; more than this is refused unread.
pub const MAX_SDP_BYTES: usize = 64 * 1024;
/// A bundle of audio and video has two; Janus never sends more to a kiosk.
const MAX_MEDIA_SECTIONS: usize = 8;

/// Kind of a media section (`m=` line, RFC 8866 section 5.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// `m=audio`
    Audio,
    /// `m=video`
    Video,
    /// Anything else.
    Other,
}

/// What a media section says of its codecs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSection {
    /// Audio, video or other.
    pub kind: MediaKind,
    /// Port 0: the other side refused this medium (RFC 3264 section 6).
    pub rejected: bool,
    /// Encoding names of the `rtpmap` lines, upper case.
    pub codecs: Vec<String>,
}

/// Why a session description is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SdpError {
    /// Longer than any real one.
    #[error("the session description has {0} bytes; {MAX_SDP_BYTES} are allowed")]
    TooLong(usize),
    /// The first line is not `v=0`.
    #[error("the session description does not begin with v=0")]
    NoVersion,
    /// No `m=` line.
    #[error("the session description has no media section")]
    NoMedia,
    /// More `m=` lines than a call has.
    #[error("the session description has more than {MAX_MEDIA_SECTIONS} media sections")]
    TooManyMedia,
    /// A line that is not `x=...`, or that another reader may take for two: with a lone CR, or a NUL.
    #[error("line {line} of the session description is not of the form x=value")]
    BadLine {
        /// Counted from 1.
        line: usize,
    },
}

/// A session description whose candidates passed the policy. The only thing that a peer connection accepts
/// from outside, and the only thing that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpOnlySdp {
    text: String,
    kept: usize,
    rejected: Vec<Rejection>,
    media: Vec<MediaSection>,
}

impl TcpOnlySdp {
    /// Nothing flows by it, either way: what Janus offers a subscriber when the feed has gone.
    #[must_use]
    pub fn is_inactive(&self) -> bool {
        self.text.lines().filter(|line| *line == "a=inactive").count() >= self.media.len()
    }

    /// Filters a description.
    ///
    /// # Errors
    /// When it is not a session description at all; a bad candidate in it is only left out.
    pub fn filter(policy: &TcpOnlyPolicy, direction: Direction, sdp: &str) -> Result<Self, SdpError> {
        if sdp.len() > MAX_SDP_BYTES {
            return Err(SdpError::TooLong(sdp.len()));
        }
        if !sdp.starts_with("v=0") {
            return Err(SdpError::NoVersion);
        }
        let mut out = Self { text: String::with_capacity(sdp.len()), kept: 0, rejected: Vec::new(), media: Vec::new() };
        for (index, line) in sdp.lines().enumerate() {
            if line.is_empty() {
                continue;
            }
            if !matches!(line.as_bytes(), [b'a'..=b'z', b'=', ..]) || line.contains(['\0', '\r']) {
                return Err(SdpError::BadLine { line: index + 1 });
            }
            if let Some(media) = line.strip_prefix("m=") {
                out.open_section(media)?;
            } else if let Some(map) = line.strip_prefix("a=rtpmap:") {
                out.note_codec(map);
            } else if is_candidate(line) {
                let mline = u32::try_from(out.media.len().saturating_sub(1)).unwrap_or(u32::MAX);
                // What was understood is written, not what was read: nothing else rides along.
                match policy.judge(direction, mline, line) {
                    Ok(candidate) => {
                        out.kept += 1;
                        out.text.push_str(&format!("a={}\r\n", candidate.line()));
                    }
                    Err(rejection) => out.rejected.push(rejection),
                }
                continue;
            }
            out.text.push_str(line);
            out.text.push_str("\r\n");
        }
        if out.media.is_empty() { Err(SdpError::NoMedia) } else { Ok(out) }
    }

    fn open_section(&mut self, line: &str) -> Result<(), SdpError> {
        if self.media.len() == MAX_MEDIA_SECTIONS {
            return Err(SdpError::TooManyMedia);
        }
        let mut words = line.split(' ');
        let kind = match words.next() {
            Some("audio") => MediaKind::Audio,
            Some("video") => MediaKind::Video,
            _ => MediaKind::Other,
        };
        let rejected = words.next() == Some("0");
        self.media.push(MediaSection { kind, rejected, codecs: Vec::new() });
        Ok(())
    }

    fn note_codec(&mut self, map: &str) {
        let name = map.split(' ').nth(1).and_then(|codec| codec.split('/').next());
        if let (Some(section), Some(name)) = (self.media.last_mut(), name) {
            section.codecs.push(name.to_ascii_uppercase());
        }
    }

    /// The description, lines ended by CR LF.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many candidates it holds.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// What was taken out, in order.
    #[must_use]
    pub fn rejected(&self) -> &[Rejection] {
        &self.rejected
    }

    /// Whether video is accepted and may be H.264.
    #[must_use]
    pub fn accepts_h264(&self) -> bool {
        self.media.iter().any(|section| {
            section.kind == MediaKind::Video && !section.rejected && section.codecs.iter().any(|c| c == "H264")
        })
    }

    /// Whether there is sound, and it is rejected.
    #[must_use]
    pub fn rejects_sound(&self) -> bool {
        self.media.iter().any(|section| section.kind == MediaKind::Audio && section.rejected)
    }

    /// The media sections, in order.
    #[must_use]
    pub fn media(&self) -> &[MediaSection] {
        &self.media
    }
}

/// GStreamer skips white space behind `a=`: what it would take for a candidate must be judged as one.
fn is_candidate(line: &str) -> bool {
    line.strip_prefix("a=").is_some_and(|attribute| attribute.trim_ascii_start().starts_with("candidate:"))
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::policy;
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\nt=0 0\r\na=ice-lite\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n\
        a=candidate:1 1 udp 2015363327 192.0.2.1 40010 typ host\r\n\
        a=candidate:2 1 tcp 1015021823 192.0.2.1 40020 typ host tcptype passive\r\n\
        a=candidate:3 1 tcp 1010827519 192.0.2.1 9 typ host tcptype active\r\n\
        a=end-of-candidates\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\n";

    #[test]
    fn keeps_the_one_that_can_be_dialled() {
        let sdp = TcpOnlySdp::filter(&policy(), Direction::Incoming, ANSWER).unwrap();
        assert_eq!(sdp.kept(), 1);
        assert_eq!(sdp.rejected(), [Rejection::Udp, Rejection::NotListening]);
        assert_eq!(sdp.as_str().matches("a=candidate").count(), 1);
        assert!(sdp.as_str().contains("40020 typ host tcptype passive"));
        assert!(sdp.as_str().contains("a=end-of-candidates"), "other lines stay");
        assert!(sdp.accepts_h264());
    }

    #[test]
    fn a_candidate_that_only_gstreamer_would_see_is_taken_out() {
        let hidden = ANSWER.replace("a=candidate:", "a= \tcandidate:");
        let sdp = TcpOnlySdp::filter(&policy(), Direction::Incoming, &hidden).unwrap();
        assert_eq!((sdp.kept(), sdp.rejected().len()), (0, 3));
        assert!(!sdp.as_str().contains("candidate:"));
    }

    #[test]
    fn a_room_that_refuses_the_video_is_seen() {
        let refused = ANSWER.replace("m=video 9", "m=video 0");
        assert!(!TcpOnlySdp::filter(&policy(), Direction::Incoming, &refused).unwrap().accepts_h264());
        let vp8 = ANSWER.replace("H264", "VP8");
        assert!(!TcpOnlySdp::filter(&policy(), Direction::Incoming, &vp8).unwrap().accepts_h264());
    }

    #[test]
    fn what_is_no_description_is_refused() {
        let refused = |text: &str| TcpOnlySdp::filter(&policy(), Direction::Incoming, text).unwrap_err();
        assert_eq!(refused("hello"), SdpError::NoVersion);
        assert_eq!(refused("v=0\r\n"), SdpError::NoMedia);
        assert_eq!(refused("v=0\r\nnonsense\r\n"), SdpError::BadLine { line: 2 });
        assert_eq!(refused("v=0\r\na=x\ra=candidate:1\r\n"), SdpError::BadLine { line: 2 });
        assert_eq!(refused(&format!("v=0\r\n{}", "m=audio 9 x 0\r\n".repeat(9))), SdpError::TooManyMedia);
        assert_eq!(refused(&"v".repeat(70_000)), SdpError::TooLong(70_000));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_pass_udp(lines in proptest::collection::vec(
            prop_oneof![
                ".{0,40}", Just("v=0".to_owned()), Just("m=video 9 x 96".to_owned()),
                Just("a=candidate:1 1 udp 1 192.0.2.1 40010 typ host".to_owned()),
                Just("a=candidate:1 1 tcp 1 192.0.2.1 40010 typ host tcptype passive".to_owned()),
                "a=candidate:[ -~]{0,60}",
            ], 0..30)
        ) {
            let text = format!("v=0\n{}", lines.join("\n"));
            for direction in [Direction::Incoming, Direction::Outgoing] {
                if let Ok(sdp) = TcpOnlySdp::filter(&policy(), direction, &text) {
                    prop_assert!(!sdp.as_str().to_ascii_lowercase().contains(" udp "));
                    // Filtering what is filtered changes nothing.
                    let again = TcpOnlySdp::filter(&policy(), direction, sdp.as_str()).unwrap();
                    prop_assert_eq!(again.as_str(), sdp.as_str());
                    prop_assert!(again.rejected().is_empty());
                }
            }
        }
    }
}
