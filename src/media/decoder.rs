//! Which H.264 decoder this machine has: the one of the highest rank that starts. Hardware ranks above software.

use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::MediaError;

/// What the agent's picture is, once it is put together from its packets.
const H264: &str = "video/x-h264,stream-format=byte-stream,alignment=au";

/// Among the software decoders OpenH264 is preferred: as fast as libav's for a call's pictures, with 19 MB less of
/// libraries in memory.
pub(super) fn prefer_openh264() {
    let (openh264, libav) = (gst::ElementFactory::find("openh264dec"), gst::ElementFactory::find("avdec_h264"));
    if let (Some(openh264), Some(libav)) = (openh264, libav) {
        openh264.set_rank(gst::Rank::PRIMARY);
        libav.set_rank(gst::Rank::SECONDARY);
    }
}

/// The element to decode with. What was found is kept while the daemon runs.
///
/// `decodebin` finds the same one, but puts a queue with a thread of its own and a second parser before it.
///
/// # Errors
/// When there is none, or none starts.
pub fn choose() -> Result<&'static str, MediaError> {
    static FOUND: OnceLock<String> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let h264: gst::Caps = H264.parse()?;
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    // In the order of their ranks. libav has a decoder for each format, and the caps of all of them would stay in memory.
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let named = all.iter().filter(|factory| factory.name() == "avdec_h264" || !factory.name().starts_with("avdec_"));
    let chosen = named.filter(|factory| factory.can_sink_any_caps(&h264)).find(|factory| starts(factory));
    let chosen = chosen.ok_or_else(|| MediaError::NoElement("no H.264 decoder works".to_owned()))?;
    Ok(FOUND.get_or_init(|| chosen.name().to_string()))
}

fn starts(factory: &gst::ElementFactory) -> bool {
    let Ok(element) = factory.create().build() else { return false };
    let ready = element.set_state(gst::State::Ready).is_ok();
    let _ = element.set_state(gst::State::Null);
    ready
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_is_chosen_takes_h264_and_starts() {
        crate::media::init().unwrap();
        let chosen = gst::ElementFactory::find(choose().unwrap()).unwrap();
        assert!(chosen.can_sink_any_caps(&H264.parse::<gst::Caps>().unwrap()) && starts(&chosen));
        let others = ["openh264dec", "avdec_h264"].into_iter().filter_map(gst::ElementFactory::find);
        assert!(others.into_iter().all(|other| other.rank() <= chosen.rank()), "{}", chosen.name());
    }
}
