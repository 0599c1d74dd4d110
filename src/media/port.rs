//! Where one pipeline hands its frames to another: the giving end drops nothing, the taking end is bounded and drops the oldest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use kiosk_proto::rate::Pace;

/// Raw pictures as all pipelines of a call exchange them.
pub fn video_caps(width: u32, height: u32, frames_per_second: u32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", width as i32)
        .field("height", height as i32)
        .field("framerate", gst::Fraction::new(frames_per_second as i32, 1))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build()
}

/// Raw sound as all pipelines of a call exchange it: what echo cancelling works on.
pub fn audio_caps() -> gst::Caps {
    gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("rate", 48_000)
        .field("channels", 1)
        .field("layout", "interleaved")
        .build()
}

/// The taking end. Buffers are stamped on arrival, so that the pipelines need no common time.
pub fn entrance(source: &app::AppSrc, caps: Option<&gst::Caps>, buffers: u64) {
    source.set_caps(caps);
    source.set_format(gst::Format::Time);
    source.set_is_live(true);
    source.set_do_timestamp(true);
    source.set_property("max-buffers", buffers);
    source.set_property("max-bytes", 0_u64);
    source.set_property("max-time", gst::ClockTime::ZERO);
    source.set_property_from_str("leaky-type", "downstream");
}

/// A place to put buffers that stays while the pipeline behind it comes and goes.
#[derive(Debug, Clone)]
pub struct Inlet {
    behind: Arc<Mutex<Behind>>,
    start: Instant,
}

impl Default for Inlet {
    fn default() -> Self {
        Self { behind: Arc::default(), start: Instant::now() }
    }
}

#[derive(Debug, Default)]
struct Behind {
    source: Option<app::AppSrc>,
    caps: Option<gst::Caps>,
    held: bool,
    left_out: u64,
    pace: Pace,
}

impl Inlet {
    fn with<T>(&self, act: impl FnOnce(&mut Behind) -> T) -> T {
        act(&mut self.behind.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is put in goes to this pipeline from now on; `None`: nowhere.
    pub fn lead_to(&self, source: Option<app::AppSrc>) {
        self.with(|behind| {
            if let (Some(source), Some(caps)) = (&source, &behind.caps) {
                source.set_caps(Some(caps));
            }
            behind.source = source;
        });
    }

    /// The format of what is put in from now on.
    pub fn set_caps(&self, caps: &gst::CapsRef) {
        self.with(|behind| {
            let caps = caps.to_owned();
            if let Some(source) = &behind.source {
                source.set_caps(Some(&caps));
            }
            behind.caps = Some(caps);
        });
    }

    /// While held, what is put in is left out.
    pub fn hold(&self, held: bool) {
        self.with(|behind| behind.held = held);
    }

    /// So many buffers a second go in from now on, evenly chosen from what is put in; 0: all.
    pub fn pace(&self, per_second: u32) {
        self.with(|behind| behind.pace.set(per_second));
    }

    /// Buffers that were left out while held, so far.
    pub fn left_out(&self) -> u64 {
        self.with(|behind| behind.left_out)
    }

    /// Puts one buffer in. A pipeline that does not play takes none, and that is no fault of the giver: before it plays
    /// its clock has no zero yet, and what `appsrc` stamps then lies days ahead, so that encoders of sound throw away
    /// all that comes after it.
    pub fn put(&self, buffer: &gst::BufferRef) {
        let now = self.start.elapsed();
        let open = self.with(|behind| {
            if !behind.pace.passes(now) {
                return None;
            }
            if behind.held {
                behind.left_out += 1;
                return None;
            }
            behind.source.clone()
        });
        let Some(source) = open.filter(|source| source.current_state() == gst::State::Playing) else { return };
        // The memory is shared; only the stamps are ours to drop.
        let mut copy = buffer.copy();
        if let Some(buffer) = copy.get_mut() {
            buffer.set_pts(gst::ClockTime::NONE);
            buffer.set_dts(gst::ClockTime::NONE);
        }
        let _ = source.push_buffer(copy);
    }
}

/// The giving end: every buffer goes to `inlet` at once, and `seen` is told of it.
pub fn exit(sink: &app::AppSink, inlet: Inlet, seen: impl Fn(&gst::BufferRef) + Send + Sync + 'static) {
    exit_through(sink, inlet, move |buffer| {
        seen(&buffer);
        buffer
    });
}

/// The same for buffers that are changed on their way.
pub fn exit_through(
    sink: &app::AppSink,
    inlet: Inlet,
    change: impl Fn(gst::Buffer) -> gst::Buffer + Send + Sync + 'static,
) {
    sink.set_max_buffers(2);
    sink.set_drop(true);
    // Nobody asks for the last one, and what nobody holds can be changed without a copy.
    sink.set_property("enable-last-sample", false);
    sink.set_callbacks(
        app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let buffer = sample.buffer_owned();
                drop(sample);
                if let Some(buffer) = buffer.map(&change) {
                    inlet.put(&buffer);
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{named, pipeline};

    #[test]
    fn nothing_is_stamped_before_the_pipeline_plays() {
        gst::init().unwrap();
        let pipeline = pipeline("appsrc name=in ! appsink name=out sync=false").unwrap();
        let (source, sink): (app::AppSrc, app::AppSink) =
            (named(&pipeline, "in").unwrap(), named(&pipeline, "out").unwrap());
        entrance(&source, Some(&audio_caps()), 10);
        let inlet = Inlet::default();
        inlet.lead_to(Some(source.clone()));
        // What a pipeline does on its way to PLAYING, one element after the other: first the clock, then its zero.
        source.set_clock(Some(&gst::SystemClock::obtain())).unwrap();
        inlet.put(&gst::Buffer::with_size(960).unwrap());
        assert_eq!(source.current_level_bytes(), 0);

        pipeline.set_state(gst::State::Playing).unwrap();
        let sample = std::iter::repeat_with(|| {
            inlet.put(&gst::Buffer::with_size(960).unwrap());
            sink.try_pull_sample(gst::ClockTime::from_mseconds(20))
        })
        .take(500)
        .flatten()
        .next();
        let stamp = sample.and_then(|sample| sample.buffer_owned()?.pts()).unwrap();
        assert!(stamp < gst::ClockTime::from_seconds(30), "{stamp}");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
