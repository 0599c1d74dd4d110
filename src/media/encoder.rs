//! Which H.264 encoder this machine really has: found in the registry, then tried with a few frames.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use kiosk_proto::config::EncoderChoice;
use kiosk_proto::encoder::{self, BitrateControl, EncoderSpec};
use thiserror::Error;

use super::{MediaError, named, pipeline};

const TRIAL_FRAMES: u32 = 8;
/// A hardware encoder that has not given a frame by then hangs.
const TRIAL_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Why there is no encoder.
#[derive(Debug, Clone, Error)]
pub enum NoEncoder {
    /// The configuration names one that is not in the table.
    #[error("video.encoder = {wanted:?} is not known; known are auto, {known}")]
    Unknown {
        /// What the configuration says.
        wanted: String,
        /// All names.
        known: String,
    },
    /// None of them works.
    #[error("no H.264 encoder works on this machine: {0}; `kioskd encoders` tries them again")]
    NoneWorks(String),
}

/// What a trial showed.
#[derive(Debug, Clone)]
pub struct Working {
    /// Profile in the stream.
    pub profile: String,
    /// From start to the last of the trial's frames.
    pub took: Duration,
}

/// The elements of an encoder, for a launch description: input in any raw format, output H.264 of the wanted profile.
pub fn description(spec: &EncoderSpec, bits_per_second: u64) -> String {
    let mut text = format!("videoconvert ! {} name=encoder", spec.element);
    for (key, value) in spec.properties {
        text.push_str(&format!(" {key}={value}"));
    }
    match spec.bitrate {
        BitrateControl::Property(name, unit) => {
            text.push_str(&format!(" {name}={}", unit.from_bits_per_second(bits_per_second)));
        }
        BitrateControl::ExtraControls => {
            text.push_str(&format!(" extra-controls=\"{}\"", extra_controls(spec, bits_per_second)));
        }
    }
    text.push_str(&format!(" ! video/x-h264,stream-format=byte-stream,alignment=au,{}", spec.output_caps));
    text
}

fn extra_controls(spec: &EncoderSpec, bits_per_second: u64) -> String {
    let mut text = format!("controls,video_bitrate={bits_per_second},video_bitrate_mode=1");
    for (name, value) in spec.extra_controls {
        text.push_str(&format!(",{name}={value}"));
    }
    text
}

/// Sets the bitrate of a running encoder, in its own unit.
///
/// # Errors
/// When the element takes no such value.
pub fn set_bitrate(element: &gst::Element, spec: &EncoderSpec, bits_per_second: u64) -> Result<(), MediaError> {
    match spec.bitrate {
        BitrateControl::Property(name, unit) => {
            if element.find_property(name).is_none() {
                return Err(MediaError::Refused(format!("{} has no property {name}", spec.element)));
            }
            element.set_property_from_str(name, &unit.from_bits_per_second(bits_per_second).to_string());
        }
        BitrateControl::ExtraControls => {
            let controls: gst::Structure = extra_controls(spec, bits_per_second).parse()?;
            element.set_property("extra-controls", controls);
        }
    }
    Ok(())
}

/// Tries one encoder: it must give as many frames as it got, in order, in a profile that every browser takes.
///
/// # Errors
/// Why it is not used.
pub fn try_one(spec: &EncoderSpec) -> Result<Working, String> {
    if gst::ElementFactory::find(spec.element).is_none() {
        return Err("not installed".to_owned());
    }
    let begin = Instant::now();
    let pipeline = pipeline(&format!(
        "videotestsrc num-buffers={TRIAL_FRAMES} ! video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! {} \
         ! h264parse ! appsink name=out sync=false",
        description(spec, 1_000_000)
    ))
    .map_err(|error| error.to_string())?;
    let outcome = run_trial(&pipeline);
    let _ = pipeline.set_state(gst::State::Null);
    outcome.map(|profile| Working { profile, took: begin.elapsed() })
}

fn run_trial(pipeline: &gst::Pipeline) -> Result<String, String> {
    let sink: gstreamer_app::AppSink = named(pipeline, "out").map_err(|error| error.to_string())?;
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| error_on(pipeline).unwrap_or_else(|| "does not start".to_owned()))?;
    let (mut frames, mut last, mut profile) = (0, None, String::new());
    while let Some(sample) = sink.try_pull_sample(TRIAL_TIMEOUT) {
        frames += 1;
        let pts = sample.buffer().and_then(|buffer| buffer.pts());
        if pts < last {
            return Err("reorders frames: it makes B-frames".to_owned());
        }
        last = pts;
        if let Some(caps) = sample.caps().and_then(|caps| caps.structure(0)) {
            profile = caps.get::<String>("profile").unwrap_or_default();
        }
    }
    match error_on(pipeline) {
        Some(error) => Err(error),
        None if frames < TRIAL_FRAMES => Err(format!("gave {frames} of {TRIAL_FRAMES} frames")),
        None if !profile.ends_with("baseline") => Err(format!("gave profile {profile:?}, not constrained baseline")),
        None => Ok(profile),
    }
}

fn error_on(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(super::explain(error)),
        _ => None,
    }
}

/// The first encoder that works. The result of a search that succeeded is kept while the daemon runs.
///
/// # Errors
/// Why none of them works.
pub fn choose(choice: &EncoderChoice) -> Result<&'static EncoderSpec, NoEncoder> {
    static AUTO: OnceLock<&'static EncoderSpec> = OnceLock::new();
    let wanted = match choice {
        EncoderChoice::Auto => None,
        EncoderChoice::Element(name) => Some(name.as_str()),
    };
    if let (None, Some(spec)) = (wanted, AUTO.get()) {
        return Ok(spec);
    }
    let candidates = encoder::to_try(wanted)
        .map_err(|known| NoEncoder::Unknown { wanted: wanted.unwrap_or_default().to_owned(), known })?;
    let mut reasons = Vec::new();
    for spec in candidates {
        match try_one(spec) {
            Ok(_) if wanted.is_none() => return Ok(AUTO.get_or_init(|| spec)),
            Ok(_) => return Ok(spec),
            Err(reason) => reasons.push(format!("{}: {reason}", spec.element)),
        }
    }
    Err(NoEncoder::NoneWorks(reasons.join("; ")))
}
