//! Opens loudspeaker and microphone, and lets the one hear the other: the tones of a measurement, which nothing else makes.

use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as app;
use kiosk_proto::check::Finding;
use kiosk_proto::check::sound::{self, Heard};
use kiosk_proto::config::{Audio, AudioSink, AudioSource};
use kiosk_proto::timecode::ToneReader;

use crate::media::{explain, named, pipeline, timecode};

/// A device that has not opened by then hangs.
const OPEN: gst::ClockTime = gst::ClockTime::from_seconds(3);
/// How long is listened.
const LISTEN: Duration = Duration::from_millis(1800);
const SAMPLE: gst::ClockTime = gst::ClockTime::from_mseconds(300);

/// Of both devices, as far as the configuration wants them.
pub fn check(audio: &Audio) -> [Finding; 3] {
    let speaker = (audio.sink == AudioSink::Alsa).then(|| play(&audio.sink_device));
    let heard = (audio.source == AudioSource::Alsa).then(|| listen(&audio.source_device));
    let opened = speaker.as_ref().map(|opened| opened.as_ref().map(|_| ()).map_err(Clone::clone));
    let findings = [
        sound::speaker(opened.as_ref()),
        sound::microphone(heard.as_ref()),
        sound::loop_back(opened.as_ref(), heard.as_ref()),
    ];
    if let Some(Ok(playing)) = speaker {
        let _ = playing.set_state(gst::State::Null);
    }
    findings
}

/// Begins to play.
fn play(device: &str) -> Result<gst::Pipeline, String> {
    let pipeline = pipeline(&format!(
        "{} ! audio/x-raw,format=S16LE,rate=48000,channels=1 ! audioconvert ! audioresample ! alsasink name=device",
        timecode::SILENCE
    ))
    .map_err(|error| error.to_string())?;
    if let Some(pad) = pipeline.by_name("tones").and_then(|tones| tones.static_pad("src")) {
        timecode::sound(&pad);
    }
    open(&pipeline, device)?;
    Ok(pipeline)
}

fn open(pipeline: &gst::Pipeline, device: &str) -> Result<(), String> {
    if let Some(element) = pipeline.by_name("device") {
        element.set_property("device", device);
    }
    let started = pipeline.set_state(gst::State::Playing).is_ok() && pipeline.state(OPEN).0.is_ok();
    let message = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    let why = match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => explain(error),
        _ if started && pipeline.current_state() == gst::State::Playing => return Ok(()),
        _ => "does not start".to_owned(),
    };
    let _ = pipeline.set_state(gst::State::Null);
    Err(format!("{device}: {why}"))
}

fn listen(device: &str) -> Result<Heard, String> {
    let pipeline = pipeline(
        "alsasrc name=device ! audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate=48000,channels=1 \
         ! appsink name=out sync=false max-buffers=50 drop=true",
    )
    .map_err(|error| error.to_string())?;
    let out: app::AppSink = named(&pipeline, "out").map_err(|error| error.to_string())?;
    open(&pipeline, device)?;
    let (mut heard, mut reader, begin) = (Heard::default(), ToneReader::default(), Instant::now());
    while begin.elapsed() < LISTEN {
        let Some(sample) = out.try_pull_sample(SAMPLE) else { continue };
        let Some(bytes) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) else { continue };
        let samples: Vec<i16> = bytes.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
        heard.samples += samples.len() as u64;
        heard.peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0).max(heard.peak);
        heard.tones += reader.push(u64::try_from(glib::monotonic_time()).unwrap_or(0), &samples).len();
    }
    let _ = pipeline.set_state(gst::State::Null);
    Ok(heard)
}
