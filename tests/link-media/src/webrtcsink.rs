//! The peer `webrtcsink-tcp`: `webrtcsink` of gst-plugins-rs with its own encoders, its own congestion control
//! (`rtpgccbwe`) and its own remedies on a narrow link. Only these are told to it: H.264 and Opus, the bitrate that all
//! peers may use at most, no STUN server, and the transport.
//!
//! It comes from the plugin in tests/link-webrtcsink. Its signallers know nothing of tokens, so all that its own one
//! would do is done here: each of a signaller's signals goes to the first handler only.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_webrtc as webrtc;
use kiosk_harness::link::peers::Transport;

use crate::publish;

/// What the one session is called: `webrtcsink` asks for names of it and of who receives.
const SESSION: &str = "session";
/// How long each step may take: it tries its encoders first.
const STEP: Duration = Duration::from_secs(20);

/// A pipeline in which the element `webrtc` is `webrtcsink`.
///
/// # Errors
/// When the plugin can't be loaded.
pub fn pipeline(plugin: &Path, [pictures, tones]: &[String; 2], bits_per_second: u64) -> Result<gst::Pipeline> {
    gst::Plugin::load_file(plugin).with_context(|| format!("load {}", plugin.display()))?;
    // The estimate begins at the bound, which is below what it would begin at by itself.
    let pipeline = publish::pipeline(&format!(
        "webrtcsink name=webrtc video-caps=video/x-h264 audio-caps=audio/x-opus \
         start-bitrate={bits_per_second} max-bitrate={bits_per_second} \
         {pictures} ! webrtc.video_0 {tones} ! webrtc.audio_0"
    ))?;
    publish::named::<gst::Element>(&pipeline, "webrtc")?.set_property("stun-server", None::<String>);
    Ok(pipeline)
}

/// Takes Janus's answer, given the signaller of [`Session::begin`].
pub fn answer(signaller: &glib::Object, answer: &webrtc::WebRTCSessionDescription) {
    signaller.emit_by_name::<()>("session-description", &[&SESSION, answer]);
}

/// What it does on its way to an offer.
#[derive(Debug)]
enum Step {
    /// It knows what it will send, and wants its signaller to start.
    Started,
    /// Its `webrtcbin` is there, and only uses the transport that it may use.
    Ready(Result<gst::Element>),
    /// The `webrtcbin` has its offer as local description.
    Offered,
}

/// The only session, before there is an offer.
#[derive(Debug)]
pub struct Session {
    signaller: glib::Object,
    steps: Receiver<Step>,
}

impl Session {
    /// Takes the part of the signaller, before the pipeline plays.
    ///
    /// # Errors
    /// When the element is not `webrtcsink`.
    pub fn new(sink: &gst::Element, transport: Transport) -> Result<Self> {
        let signaller =
            sink.find_property("signaller").and_then(|_| sink.property::<Option<glib::Object>>("signaller"));
        let signaller = signaller.context("webrtcsink has no signaller")?;
        let (to, steps) = mpsc::channel();
        // True: what its own signaller would do is left out.
        for signal in ["start", "stop", "send-session-description", "send-ice", "end-session"] {
            let to = to.clone();
            signaller.connect(signal, false, move |_| {
                let _ = match signal {
                    "start" => to.send(Step::Started),
                    "send-session-description" => to.send(Step::Offered),
                    // Its candidates are taken from the description once all are there.
                    _ => Ok(()),
                };
                Some(true.to_value())
            });
        }
        signaller.connect("webrtcbin-ready", false, move |values| {
            let webrtc = values.get(2).and_then(|value| value.get::<gst::Element>().ok());
            let limited = webrtc.context("no webrtcbin").and_then(|webrtc| {
                publish::limit_to(&webrtc, transport)?;
                Ok(webrtc)
            });
            let _ = to.send(Step::Ready(limited));
            None
        });
        Ok(Self { signaller, steps })
    }

    /// Asks for the session while the pipeline plays. Gives its `webrtcbin`, which has an offer, and the signaller.
    ///
    /// # Errors
    /// When the pipeline fails or takes too long.
    pub fn begin(self, pipeline: &gst::Pipeline) -> Result<(gst::Element, Option<glib::Object>)> {
        let mut webrtc = None;
        loop {
            match self.next(pipeline)? {
                Step::Started => self.signaller.emit_by_name::<()>(
                    "session-requested",
                    &[&SESSION, &"janus", &None::<webrtc::WebRTCSessionDescription>],
                ),
                Step::Ready(limited) => webrtc = Some(limited?),
                Step::Offered => break,
            }
        }
        Ok((webrtc.context("webrtcsink offers without a webrtcbin")?, Some(self.signaller)))
    }

    fn next(&self, pipeline: &gst::Pipeline) -> Result<Step> {
        let end = Instant::now() + STEP;
        while Instant::now() < end {
            publish::look(pipeline)?;
            if let Ok(step) = self.steps.recv_timeout(Duration::from_millis(10)) {
                return Ok(step);
            }
        }
        bail!("webrtcsink has made no offer within {} s", STEP.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_webrtcsink_is_refused_and_a_missing_plugin_is_named() {
        gst::init().unwrap();
        let other = gst::ElementFactory::make("fakesink").build().unwrap();
        assert!(Session::new(&other, Transport::Tcp).unwrap_err().to_string().contains("no signaller"));
        let sources = [String::from("videotestsrc"), String::from("audiotestsrc")];
        let missing = pipeline(Path::new("/nonexistent/liblink_webrtcsink.so"), &sources, 1_500_000).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/liblink_webrtcsink.so"), "{missing}");
    }
}
