//! Both ends of the trial call: a test picture and a tone that say when they were made, and who reads it out of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;
use gstreamer_video::prelude::*;
use kiosk_proto::config::{AudioSource, Config};
use kiosk_proto::timecode::{self as code, ToneReader};
use tokio::task::spawn_blocking;

use crate::events::Events;
use crate::media::device::Device;
use crate::media::playback::Playback;
use crate::media::port::{self, Inlet};
use crate::media::{MediaError, microphone, named, pipeline, timecode};

/// Samples that are kept of each kind: a minute of them.
const MOST: usize = 2000;

/// How old things were when they came back, since the last look.
#[derive(Debug, Default)]
struct Seen {
    pictures: Vec<Duration>,
    tones: Vec<Duration>,
}

/// The ends while the call runs.
#[derive(Debug)]
pub struct Ends {
    source: gst::Pipeline,
    sound: Option<Device>,
    reader: gst::Pipeline,
    seen: Arc<Mutex<Seen>>,
}

fn now_us() -> u64 {
    u64::try_from(glib::monotonic_time()).unwrap_or(0)
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ends {
    /// Begins to make pictures and sound for the inlets, and to read what is played.
    ///
    /// # Errors
    /// When an element is missing.
    pub fn open(
        config: &Config,
        events: &Events,
        pictures: &Inlet,
        sound: &Inlet,
        played: &Playback,
    ) -> Result<Self, MediaError> {
        let camera = &config.camera;
        let source = pipeline(
            // Noise: no encoder makes it small, and so it makes as much as it is told.
            "videotestsrc name=pattern is-live=true pattern=snow ! capsfilter name=size ! fakesink name=out",
        )?;
        let caps = port::video_caps(camera.width, camera.height, camera.frames_per_second);
        named::<gst::Element>(&source, "size")?.set_property("caps", &caps);
        let info = video::VideoInfo::from_caps(&caps)?;
        port::exit_through(&named(&source, "out")?, pictures.clone(), move |picture| {
            timecode::picture(picture, &info, gst::ClockTime::ZERO)
        })?;
        let seen = Arc::<Mutex<Seen>>::default();
        let reader = reader(played, &seen)?;
        reader.set_state(gst::State::Playing)?;
        source.set_state(gst::State::Playing)?;
        let mut audio = config.audio.clone();
        if audio.source != AudioSource::None {
            (audio.source, audio.gain_db) = (AudioSource::ToneCode, 0.0);
        }
        let sound = microphone::open(&audio, sound, events);
        Ok(Self { source, sound, reader, seen })
    }

    /// How old pictures and tones were that came back since this was asked last.
    pub fn seen(&self) -> (Vec<Duration>, Vec<Duration>) {
        let mut seen = lock(&self.seen);
        (std::mem::take(&mut seen.pictures), std::mem::take(&mut seen.tones))
    }

    /// Stops everything.
    pub async fn close(self) {
        if let Some(sound) = self.sound {
            sound.stop().await;
        }
        let (source, reader) = (self.source, self.reader);
        let stopped = move || [source, reader].map(|pipeline| pipeline.set_state(gst::State::Null));
        let _ = spawn_blocking(stopped).await;
    }
}

fn entrance(pipeline: &gst::Pipeline, name: &str, inlet: &Inlet, caps: Option<&gst::Caps>) -> Result<(), MediaError> {
    let source: app::AppSrc = named(pipeline, name)?;
    port::entrance(&source, caps, 10);
    inlet.lead_to(Some(source));
    Ok(())
}

fn reader(played: &Playback, seen: &Arc<Mutex<Seen>>) -> Result<gst::Pipeline, MediaError> {
    // Each is read also where the other never comes: a sink that waits for its first buffer keeps the others from playing.
    let pipeline = pipeline(
        "appsrc name=pictures ! appsink name=shown sync=false async=false \
         appsrc name=sound ! appsink name=heard sync=false async=false",
    )?;
    entrance(&pipeline, "pictures", &played.pictures, None)?;
    entrance(&pipeline, "sound", &played.sound, Some(&port::audio_caps()))?;
    let keep = |list: &mut Vec<Duration>, age_us: u64| {
        if list.len() < MOST {
            list.push(Duration::from_micros(age_us));
        }
    };
    let pictures = seen.clone();
    take(&pipeline, "shown", move |sample| {
        let now_ms = now_us() / 1000;
        if let Some(captured_ms) = captured(sample, now_ms) {
            keep(&mut lock(&pictures).pictures, now_ms.saturating_sub(captured_ms) * 1000);
        }
    })?;
    let (tones, tone_reader) = (seen.clone(), Mutex::new(ToneReader::default()));
    take(&pipeline, "heard", move |sample| {
        let heard_us = now_us();
        let Some(bytes) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) else { return };
        let samples: Vec<i16> = bytes.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
        for tone in tone_reader.lock().unwrap_or_else(PoisonError::into_inner).push(heard_us, &samples) {
            keep(&mut lock(&tones).tones, tone.heard_us.saturating_sub(tone.sent_us));
        }
    })?;
    Ok(pipeline)
}

fn take(
    pipeline: &gst::Pipeline,
    name: &str,
    mut act: impl FnMut(&gst::Sample) + Send + 'static,
) -> Result<(), MediaError> {
    let sink: app::AppSink = named(pipeline, name)?;
    sink.set_max_buffers(4);
    sink.set_drop(true);
    let callbacks = app::AppSinkCallbacks::builder().new_sample(move |sink| {
        act(&sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    Ok(())
}

fn captured(sample: &gst::Sample, now_ms: u64) -> Option<u64> {
    let info = video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let picture = video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let (width, height, stride) = (info.width() as usize, info.height() as usize, picture.plane_stride()[0] as usize);
    let read = code::read(picture.plane_data(0).ok()?, stride, width, height)?;
    Some(code::capture_time_ms(read, now_ms))
}
