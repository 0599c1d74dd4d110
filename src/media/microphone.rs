//! The customer's sound: from the microphone, without the agent's own voice in it.

use gstreamer as gst;
use gstreamer::prelude::*;
use kiosk_proto::config::{Audio, AudioSink, AudioSource, NoiseSuppression};
use kiosk_proto::fault::FaultCode;

use tracing::warn;

use super::device::Device;
use super::playback::ECHO_PROBE;
use super::port::{self, Inlet};
use super::{MediaError, named, pipeline, timecode};
use crate::events::Events;

/// Opens the microphone; what it hears goes to `inlet`. None when the configuration wants no sound.
/// The far end's pipeline, with the echo probe, must exist before.
pub fn open(audio: &Audio, inlet: &Inlet, events: &Events) -> Option<Device> {
    if audio.source == AudioSource::None {
        return None;
    }
    let (audio, inlet) = (audio.clone(), inlet.clone());
    let remedy = "plug it in, or set audio.source_device to one that `arecord -L` lists";
    Some(Device::supervise(FaultCode::MicrophoneUnavailable, remedy, events.clone(), move || {
        build(&audio, inlet.clone())
    }))
}

/// The pieces in which sound is taken, milliseconds: as long as a packet of Opus, or half of it where `webrtcdsp` works,
/// which knows no other. Each wakes two threads.
fn piece_ms(processing: &str) -> u32 {
    if processing.is_empty() { 20 } else { 10 }
}

fn build(audio: &Audio, inlet: Inlet) -> Result<gst::Pipeline, MediaError> {
    let processing = processing(audio);
    let piece_ms = piece_ms(&processing);
    let source = match audio.source {
        AudioSource::Alsa => format!(
            "alsasrc name=device buffer-time=80000 latency-time={} ! audioconvert ! audioresample",
            piece_ms * 1000
        ),
        AudioSource::ToneCode => timecode::SILENCE.to_owned(),
        // Short beeps rather than a steady tone: an agent hears whether sound flows or has stopped.
        _ => format!("audiotestsrc is-live=true wave=ticks volume=0.5 samplesperbuffer={}", piece_ms * 48),
    };
    let amplification = 10_f64.powf(audio.gain_db / 20.0);
    let pipeline = pipeline(&format!(
        "{source} ! audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved {processing} \
         ! volume volume={amplification} ! capsfilter name=format ! fakesink name=out"
    ))?;
    named::<gst::Element>(&pipeline, "format")?.set_property("caps", port::audio_caps());
    if let Some(pad) = pipeline.by_name("tones").and_then(|tones| tones.static_pad("src")) {
        warn!("the sound is a time code (audio.source): for measuring, not for customers");
        timecode::sound(&pad);
    }
    if let Some(device) = pipeline.by_name("device") {
        device.set_property("device", &audio.source_device);
    }
    port::exit(&named(&pipeline, "out")?, inlet, |_| {})?;
    Ok(pipeline)
}

/// Whether there is an echo to cancel, and it is wanted.
pub fn cancels_echo(audio: &Audio) -> bool {
    audio.echo_cancellation && audio.source == AudioSource::Alsa && audio.sink == AudioSink::Alsa
}

/// Echo cancelling and noise suppression, as far as wanted: each costs processor time.
fn processing(audio: &Audio) -> String {
    let echo = cancels_echo(audio);
    let level = match audio.noise_suppression {
        NoiseSuppression::Off => None,
        NoiseSuppression::Low => Some("low"),
        NoiseSuppression::Moderate => Some("moderate"),
        NoiseSuppression::High => Some("high"),
    }
    .filter(|_| audio.source == AudioSource::Alsa);
    if !echo && level.is_none() {
        return String::new();
    }
    format!(
        "! webrtcdsp probe={ECHO_PROBE} echo-cancel={echo} delay-agnostic=true high-pass-filter=true gain-control=false \
         noise-suppression={} noise-suppression-level={}",
        level.is_some(),
        level.unwrap_or("low")
    )
}
