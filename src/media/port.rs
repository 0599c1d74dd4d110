//! Where one pipeline hands its frames to another: the giving end drops nothing, the taking end is bounded and drops the oldest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use kiosk_proto::rate::Pace;

use super::MediaError;

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
    pub fn put(&self, mut buffer: gst::Buffer) {
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
        // One that nobody else holds stays what it is, and goes back to its pool at the end. Of another the memory is
        // shared, and only the stamps are ours to drop.
        let stamps = buffer.make_mut();
        stamps.set_pts(gst::ClockTime::NONE);
        stamps.set_dts(gst::ClockTime::NONE);
        let _ = source.push_buffer(buffer);
    }
}

/// The giving end, a `fakesink`: every buffer goes to `inlet` at once, and `seen` is told of it.
pub fn exit(
    sink: &gst::Element,
    inlet: Inlet,
    seen: impl Fn(&gst::BufferRef) + Send + Sync + 'static,
) -> Result<(), MediaError> {
    exit_through(sink, inlet, move |buffer| {
        seen(&buffer);
        buffer
    })
}

/// The same for buffers that are changed on their way.
///
/// They are taken before they reach the sink, not from an `appsink`, which keeps hold of the last one: what nobody holds
/// can be changed and handed on without a copy, and comes back to the pool it is from. A pool that gets none back makes
/// a new picture each time, and zeroing its memory took more processor time than anything but the encoder.
pub fn exit_through(
    sink: &gst::Element,
    inlet: Inlet,
    change: impl Fn(gst::Buffer) -> gst::Buffer + Send + Sync + 'static,
) -> Result<(), MediaError> {
    // It never has a buffer to become ready by.
    sink.set_property("async", false);
    sink.set_property("sync", false);
    let pad = sink.static_pad("sink").ok_or_else(|| MediaError::Refused("the pipeline has no end".to_owned()))?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| match info.data.take() {
        Some(gst::PadProbeData::Buffer(buffer)) => {
            inlet.put(change(buffer));
            gst::PadProbeReturn::Handled
        }
        other => {
            info.data = other;
            gst::PadProbeReturn::Ok
        }
    });
    Ok(())
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
        inlet.put(gst::Buffer::with_size(960).unwrap());
        assert_eq!(source.current_level_bytes(), 0);

        pipeline.set_state(gst::State::Playing).unwrap();
        let sample = std::iter::repeat_with(|| {
            inlet.put(gst::Buffer::with_size(960).unwrap());
            sink.try_pull_sample(gst::ClockTime::from_mseconds(20))
        })
        .take(500)
        .flatten()
        .next();
        let stamp = sample.and_then(|sample| sample.buffer_owned()?.pts()).unwrap();
        assert!(stamp < gst::ClockTime::from_seconds(30), "{stamp}");
        pipeline.set_state(gst::State::Null).unwrap();
    }
    #[test]
    fn what_nobody_else_holds_is_handed_on_itself() {
        gst::init().unwrap();
        let giving =
            pipeline("videotestsrc name=source num-buffers=20 ! video/x-raw,width=64,height=64 ! fakesink name=out")
                .unwrap();
        let taking = pipeline("appsrc name=in ! fakesink name=end sync=false").unwrap();
        let inlet = Inlet::default();
        let entry: app::AppSrc = named(&taking, "in").unwrap();
        entrance(&entry, None, 30);
        inlet.lead_to(Some(entry));
        exit(&named(&giving, "out").unwrap(), inlet, |_| {}).unwrap();
        let pass = |pipeline: &gst::Pipeline, element: &str, pad: &str| {
            let seen = Arc::<Mutex<Vec<usize>>>::default();
            let pad = named::<gst::Element>(pipeline, element).unwrap().static_pad(pad).unwrap();
            let notes = seen.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
                    notes.lock().unwrap().push(buffer.as_ptr() as usize);
                }
                gst::PadProbeReturn::Ok
            });
            seen
        };
        let (given, taken) = (pass(&giving, "source", "src"), pass(&taking, "end", "sink"));
        taking.set_state(gst::State::Playing).unwrap();
        taking.state(gst::ClockTime::from_seconds(5)).0.unwrap();
        giving.set_state(gst::State::Playing).unwrap();
        while taken.lock().unwrap().len() < 20 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(*given.lock().unwrap(), *taken.lock().unwrap());
        for pipeline in [giving, taking] {
            pipeline.set_state(gst::State::Null).unwrap();
        }
    }
}
