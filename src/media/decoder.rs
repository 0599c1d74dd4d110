//! Which H.264 decoder this machine has: the one of the highest rank that starts. Hardware ranks above software. One that
//! fails in a call makes way for the next.

use std::sync::{Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use tracing::warn;

use super::MediaError;

/// What the agent's picture is, once it is put together from its packets.
const H264: &str = "video/x-h264,stream-format=byte-stream,alignment=au";
/// The decoder's name in its pipeline.
pub const NAME: &str = "decoder";

static KNOWN: Mutex<Known> = Mutex::new(Known { chosen: None, failed: Vec::new() });

/// What this daemon has seen of the decoders since it started.
#[derive(Debug, Default)]
struct Known {
    chosen: Option<String>,
    /// In a call, until all of them have.
    failed: Vec<String>,
}

impl Known {
    /// The first that starts and has not failed. When all have failed, each gets another chance: a device that another
    /// program had may be free again.
    fn choose(&mut self, ranked: &[String], starts: impl Fn(&str) -> bool) -> Option<String> {
        if self.chosen.is_none() {
            let find = |failed: &[String]| ranked.iter().find(|name| !failed.contains(name) && starts(name)).cloned();
            self.chosen = find(&self.failed).or_else(|| {
                self.failed.clear();
                find(&[])
            });
        }
        self.chosen.clone()
    }

    fn failed(&mut self, name: &str) {
        if !self.failed.iter().any(|failed| failed == name) {
            self.failed.push(name.to_owned());
        }
        self.chosen.take_if(|chosen| chosen == name);
    }
}

fn known() -> std::sync::MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Among the software decoders OpenH264 is preferred: as fast as libav's for a call's pictures, with 19 MB less of
/// libraries in memory.
pub(super) fn prefer_openh264() {
    let (openh264, libav) = (gst::ElementFactory::find("openh264dec"), gst::ElementFactory::find("avdec_h264"));
    if let (Some(openh264), Some(libav)) = (openh264, libav) {
        openh264.set_rank(gst::Rank::PRIMARY);
        libav.set_rank(gst::Rank::SECONDARY);
    }
}

/// The element to decode with. It stays the same while the daemon runs, unless it fails in a call.
///
/// `decodebin` finds the same one, but puts a queue with a thread of its own and a second parser before it.
///
/// # Errors
/// When there is none, or none starts.
pub fn choose() -> Result<String, MediaError> {
    let ranked = ranked()?;
    known().choose(&ranked, starts).ok_or_else(|| MediaError::NoElement("no H.264 decoder works".to_owned()))
}

/// All that take H.264, in the order of their ranks.
fn ranked() -> Result<Vec<String>, MediaError> {
    let h264: gst::Caps = H264.parse()?;
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    // libav has a decoder for each format, and the caps of all of them would stay in memory.
    let named = all.iter().filter(|factory| factory.name() == "avdec_h264" || !factory.name().starts_with("avdec_"));
    Ok(named.filter(|factory| factory.can_sink_any_caps(&h264)).map(|factory| factory.name().to_string()).collect())
}

fn starts(name: &str) -> bool {
    let Ok(element) = gst::ElementFactory::make(name).build() else { return false };
    let ready = element.set_state(gst::State::Ready).is_ok();
    let _ = element.set_state(gst::State::Null);
    ready
}

/// A pipeline stopped with this error: if the decoder in it said so, or was given pictures and never gave one, the next
/// connection uses another.
pub fn blame(error: &gst::message::Error) {
    let Some(src) = error.src() else { return };
    let top = std::iter::successors(Some(src.clone()), |object| object.parent()).last();
    let Some(decoder) = top.and_downcast::<gst::Bin>().and_then(|pipeline| pipeline.by_name(NAME)) else { return };
    let formatted = |pad: Option<gst::Pad>| pad.is_some_and(|pad| pad.current_caps().is_some());
    let given = formatted(decoder.static_pad("sink").and_then(|pad| pad.peer()));
    let mute = given && !formatted(decoder.static_pad("src"));
    if let Some(factory) = decoder.factory().filter(|_| mute || src == decoder.upcast_ref::<gst::Object>()) {
        warn!(decoder = %factory.name(), "it failed in a call: the next one is tried");
        known().failed(&factory.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_is_chosen_takes_h264_and_starts() {
        crate::media::init().unwrap();
        let chosen = gst::ElementFactory::find(&choose().unwrap()).unwrap();
        assert!(chosen.can_sink_any_caps(&H264.parse::<gst::Caps>().unwrap()) && starts(&chosen.name()));
        let others = ["openh264dec", "avdec_h264"].into_iter().filter_map(gst::ElementFactory::find);
        assert!(others.into_iter().all(|other| other.rank() <= chosen.rank()), "{}", chosen.name());
    }

    #[test]
    fn after_a_failure_the_next_is_chosen_and_after_all_have_failed_the_first_again() {
        let ranked = ["hardware", "broken", "software"].map(str::to_owned);
        let mut known = Known::default();
        let mut choose = |failed: Option<&str>| {
            failed.inspect(|name| known.failed(name));
            known.choose(&ranked, |name| name != "broken")
        };
        assert_eq!(choose(None).as_deref(), Some("hardware"));
        assert_eq!(choose(Some("another")).as_deref(), Some("hardware"));
        assert_eq!(choose(Some("hardware")).as_deref(), Some("software"));
        assert_eq!(choose(None).as_deref(), Some("software"));
        assert_eq!(choose(Some("software")).as_deref(), Some("hardware"));
        assert_eq!(known.choose(&[], |_| true), Some("hardware".to_owned()));
        assert_eq!(Known::default().choose(&ranked, |_| false), None);
    }

    /// Runs a pipeline until its error, and says which element was blamed for it.
    fn blamed(description: &str) -> Vec<String> {
        gst::init().unwrap();
        let pipeline = crate::media::pipeline(description).unwrap();
        let bus = pipeline.bus().unwrap();
        let _ = pipeline.set_state(gst::State::Playing);
        let error = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(error) = error.view() else { unreachable!() };
        known().failed.clear();
        blame(error);
        let blamed = known().failed.clone();
        pipeline.set_state(gst::State::Null).unwrap();
        blamed
    }

    #[test]
    fn who_is_blamed_for_an_error() {
        const PICTURES: &str = "videotestsrc ! video/x-raw,width=64,height=64";
        // It says so itself; it gives nothing for what it is given; it did its part.
        assert_eq!(blamed(&format!("{PICTURES} ! identity name=decoder error-after=2 ! fakesink")), ["identity"]);
        let mute = format!("{PICTURES} ! identity error-after=5 ! valve name=decoder drop=true ! fakesink");
        assert_eq!(blamed(&mute), ["valve"]);
        let innocent = format!("{PICTURES} ! identity name=decoder ! identity error-after=2 ! fakesink");
        assert_eq!(blamed(&innocent), [""; 0]);
        assert_eq!(blamed(&format!("{PICTURES} ! identity error-after=2 ! fakesink")), [""; 0]);
    }
}
