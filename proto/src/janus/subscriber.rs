//! How the descriptions of a receiving connection must be so that Janus hears what the receiver asks for, at once.
//!
//! Source: Janus 1.1.2 and 1.4.1, `ice.c`, `rtcp.c`, `dtls.c`, `sdp.c`.

/// An offer of Janus whose taker asks for key frames by PLI alone (RFC 4585, section 6.3.1). Janus 1.1.2 does not know
/// the other way, FIR as RFC 5104 has it, although it offers it (`janus_rtcp_has_fir` looks for the one of RFC 2032).
#[must_use]
pub fn ask_by_pli(offer: &str) -> String {
    let keeps = |line: &&str| !(line.starts_with("a=rtcp-fb:") && line.ends_with(" ccm fir"));
    offer.lines().filter(keeps).flat_map(|line| [line, "\r\n"]).collect()
}

/// An answer whose sender waits for Janus to begin DTLS (RFC 8842, section 5.3).
///
/// Janus throws away what comes before it has begun itself, which is a moment after the other side has its candidate
/// pair (`janus_dtls_srtp_incoming_msg`). What is lost so comes again after a second (RFC 6347, section 4.2.4.1). Where
/// Janus begins, nothing is lost.
#[must_use]
pub fn wait_for_dtls(answer: &str) -> String {
    answer.replace("a=setup:active\r\n", "a=setup:passive\r\n")
}

/// An answer that says in its first section of a picture which SSRC the receiver sends RTCP with (RFC 5576, section
/// 4.1).
///
/// One session receives picture and sound, and reports of both in one packet. Without this line Janus takes the packet
/// to be about the stream that it reports of first, and does not see a request for a key frame where that is the sound
/// (`janus_ice_cb_nice_recv`).
#[must_use]
pub fn declare_reporter(answer: &str, ssrc: u32) -> String {
    let line = format!("a=ssrc:{ssrc} cname:kiosk\r\n");
    let mut out = String::with_capacity(answer.len() + line.len());
    let (mut inside, mut done) = (false, false);
    for text in answer.lines() {
        if text.starts_with("m=") {
            if inside {
                out.push_str(&line);
                done = true;
            }
            inside = !done && text.starts_with("m=video ") && !text.starts_with("m=video 0 ");
        }
        out.push_str(text);
        out.push_str("\r\n");
    }
    if inside {
        out.push_str(&line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reports_of_the_picture_stands_in_its_section() {
        let answer = "v=0\r\nm=video 9 x 96\r\na=mid:0\r\nm=audio 9 x 111\r\na=mid:1\r\nm=video 9 x 97\r\n";
        let expected = answer.replace("a=mid:0\r\n", "a=mid:0\r\na=ssrc:7 cname:kiosk\r\n");
        assert_eq!(declare_reporter(answer, 7), expected, "once, in the first");
        let last = "v=0\r\nm=audio 9 x 111\r\nm=video 9 x 96\r\n";
        assert_eq!(declare_reporter(last, 7), format!("{last}a=ssrc:7 cname:kiosk\r\n"));
        let refused = "v=0\r\nm=video 0 x 96\r\n";
        assert_eq!(declare_reporter(refused, 7), refused);
    }

    #[test]
    fn the_answer_leaves_the_beginning_of_dtls_to_janus() {
        let answer = "v=0\r\nm=audio 9 x 1\r\na=setup:active\r\nm=video 9 x 2\r\na=setup:active\r\n";
        assert_eq!(wait_for_dtls(answer), answer.replace("active", "passive"));
    }

    #[test]
    fn of_the_ways_to_ask_for_a_key_frame_pli_is_left() {
        let offer = "v=0\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 nack\r\n";
        assert_eq!(ask_by_pli(offer), "v=0\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 nack\r\n");
    }
}
