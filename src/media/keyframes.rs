//! Key frames: who asks for one, when the encoder is told, how large it was.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use kiosk_proto::keyframe::{KeyframeLimiter, Verdict};
use tokio::runtime::Handle;
use tracing::debug;

/// Marks a request for a key frame as ours, so that it is not limited again.
const SERVED: u32 = u32::MAX;

/// The key frames of one encoder.
#[derive(Debug, Clone)]
pub struct Keyframes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limiter: Mutex<KeyframeLimiter>,
    start: Instant,
    encoder: gst::glib::WeakRef<gst::Pad>,
    runtime: Option<Handle>,
    full: AtomicBool,
    made: AtomicU64,
    last_bytes: AtomicU64,
}

impl Keyframes {
    /// Takes the encoder's source pad in hand: requests reach the encoder at most once per interval, and not while the queue
    /// is over its budget.
    pub fn watch(encoder: &gst::Pad, interval: Duration) -> Self {
        let keyframes = Self(Arc::new(Shared {
            limiter: Mutex::new(KeyframeLimiter::new(interval)),
            start: Instant::now(),
            encoder: encoder.downgrade(),
            runtime: Handle::try_current().ok(),
            full: AtomicBool::new(false),
            made: AtomicU64::new(0),
            last_bytes: AtomicU64::new(0),
        }));
        let asked = keyframes.clone();
        encoder.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let Some(gst::PadProbeData::Event(event)) = &info.data else { return gst::PadProbeReturn::Ok };
            let Ok(request) = video::UpstreamForceKeyUnitEvent::parse(event) else { return gst::PadProbeReturn::Ok };
            if request.count == SERVED || asked.admits() {
                return gst::PadProbeReturn::Ok;
            }
            // Not dropped: for that GStreamer 1.22 complains of data that the binding has taken out.
            gst::PadProbeReturn::Handled
        });
        let made = keyframes.clone();
        encoder.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(gst::PadProbeData::Buffer(frame)) = &info.data
                && !frame.flags().contains(gst::BufferFlags::DELTA_UNIT)
            {
                made.0.made.fetch_add(1, Relaxed);
                made.0.last_bytes.store(frame.size() as u64, Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        keyframes
    }

    /// Whether the queue is over its budget: requests wait meanwhile.
    pub fn set_full(&self, full: bool) {
        self.0.full.store(full, Relaxed);
    }

    /// Asks for a key frame, as a receiver would.
    pub fn request(&self) {
        if self.admits() {
            self.tell();
        }
    }

    /// How many the encoder has made, and the bytes of the last.
    pub fn made(&self) -> (u64, u64) {
        (self.0.made.load(Relaxed), self.0.last_bytes.load(Relaxed))
    }

    fn limiter(&self) -> MutexGuard<'_, KeyframeLimiter> {
        self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may pass now; one that may not is served later.
    fn admits(&self) -> bool {
        let verdict = self.limiter().request(self.0.start.elapsed(), self.0.full.load(Relaxed));
        debug!(?verdict, "key frame wanted");
        match (verdict, &self.0.runtime) {
            (Verdict::Now, _) | (_, None) => true,
            (Verdict::Merged, _) => false,
            (Verdict::At(at), Some(runtime)) => {
                runtime.spawn(self.clone().later(at));
                false
            }
        }
    }

    async fn later(self, at: Duration) {
        let mut due = Some(at);
        while let Some(at) = due {
            tokio::time::sleep(at.saturating_sub(self.0.start.elapsed())).await;
            due = self.limiter().due(self.0.start.elapsed(), self.0.full.load(Relaxed));
        }
        self.tell();
    }

    fn tell(&self) {
        if let Some(encoder) = self.0.encoder.upgrade() {
            encoder.send_event(video::UpstreamForceKeyUnitEvent::builder().all_headers(true).count(SERVED).build());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{encoder, named, pipeline};
    use gstreamer_app as app;

    /// Asks from below, as a receiver does, from a thread of its own.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn requests_are_merged_and_served_and_what_was_made_is_counted() {
        gst::init().unwrap();
        let spec = kiosk_proto::encoder::to_try(Some("x264enc")).unwrap()[0];
        let pipeline = pipeline(&format!(
            "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,framerate=30/1 ! {} \
             ! rtph264pay name=pay config-interval=-1 ! appsink name=out sync=false drop=true max-buffers=1",
            encoder::description(spec, 500_000)
        ))
        .unwrap();
        let encoder: gst::Element = named(&pipeline, "encoder").unwrap();
        let keyframes = Keyframes::watch(&encoder.static_pad("src").unwrap(), Duration::from_millis(200));
        let out: app::AppSink = named(&pipeline, "out").unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let begin = Instant::now();
        while keyframes.made().0 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let asking = std::thread::spawn(move || {
            let pad = out.static_pad("sink").unwrap();
            for _ in 0..300 {
                pad.push_event(video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        while !asking.is_finished() {
            keyframes.set_full(rand::random());
            keyframes.request();
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        let (made, bytes) = keyframes.made();
        let took = begin.elapsed();
        let most = took.as_millis() as u64 / 200 + 2;
        assert!((4..=most).contains(&made), "{made} key frames in {took:?}, at most one in 200 ms");
        assert!(bytes > 500, "{bytes} bytes");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
