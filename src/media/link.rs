//! The publishing connection under watch: what the media gate and the kernel say of it decides what the encoder makes, and
//! what may enter the kernel. The rules are `kiosk_proto::rate`; `docs/link.md` describes them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiosk_proto::call::Event;
use kiosk_proto::config::Config;
use kiosk_proto::fault::{Fault, FaultCode};
use kiosk_proto::figures::LinkFigures;
use kiosk_proto::gate::GateState;
use kiosk_proto::rate::{Bounds, LinkSample, RateController, Settings, Step, Verdict};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use super::last_rate::LastRate;
use super::port::Inlet;
use super::publish::Publisher;
use crate::tcp_only::gate::Link;

const INTERVAL: Duration = Duration::from_millis(20);
/// A dead link gets this long to come back before a new connection is made.
const REPLACE: Duration = Duration::from_secs(3);
/// What the link carries is stored this often at most, and at the connection's end.
const STORE: Duration = Duration::from_secs(60);
/// The encoder is told of changes of at least this share: some elements start over for each.
const NOTICEABLE: f64 = 0.03;

/// What the controller of a connection is made for.
pub fn settings(config: &Config, last: &LastRate) -> Settings {
    let bits = |kbps: kiosk_proto::config::Kbps| u64::from(kbps.bits_per_second());
    let camera = &config.camera;
    Settings {
        bounds: Bounds { min: bits(config.video.min_bitrate_kbps), max: bits(config.video.bitrate_kbps) },
        full: Step { width: camera.width, height: camera.height, frames_per_second: camera.frames_per_second },
        start: last.get(),
        dead_after: Duration::from_secs(u64::from(config.ice.dead_link_s)),
    }
}

/// The task that watches; it ends when this is dropped.
#[derive(Debug)]
pub struct LinkWatch {
    task: JoinHandle<()>,
    figures: Arc<Mutex<LinkFigures>>,
    last: LastRate,
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        self.task.abort();
        self.last.store_soon();
    }
}

struct Watch {
    publisher: Publisher,
    pictures: Inlet,
    settings: Settings,
    controller: RateController,
    figures: Arc<Mutex<LinkFigures>>,
    last: LastRate,
    stored: Instant,
    told: u64,
    step: Option<Step>,
    dead_since: Option<Instant>,
    start: Instant,
}

impl LinkWatch {
    /// Begins to watch a publisher that is connected. Frames that must not be sent now are held back at `pictures`.
    pub fn start(publisher: Publisher, pictures: Inlet, settings: Settings, last: LastRate) -> Self {
        let figures = Arc::<Mutex<LinkFigures>>::default();
        let watch = Watch {
            publisher,
            pictures,
            settings,
            controller: RateController::new(settings),
            figures: figures.clone(),
            last: last.clone(),
            stored: Instant::now(),
            told: 0,
            step: None,
            dead_since: None,
            start: Instant::now(),
        };
        Self { task: tokio::spawn(watch.run()), figures, last }
    }

    /// From the last look.
    pub fn figures(&self) -> LinkFigures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Watch {
    async fn run(mut self) {
        let mut every = interval(INTERVAL);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let Some(link) = self.publisher.peer.media_link() else { continue };
            // Closed: the peer connection says so itself.
            let Some(state) = link.state() else { return };
            let sample = self.sample(&state);
            self.controller.arrived(sample.at, &self.publisher.reports.take());
            let verdict = self.controller.sample(&sample);
            self.carry_out(&link, &verdict);
            self.record(&state, &verdict);
            if self.given_up(&link, verdict.dead) {
                return;
            }
        }
    }

    fn sample(&self, state: &GateState) -> LinkSample {
        let (classes, tcp) = (&state.classes, &state.tcp);
        LinkSample {
            at: self.start.elapsed(),
            video_waiting_bytes: classes.video.queued_bytes,
            audio_waiting_bytes: classes.audio.queued_bytes + classes.control.queued_bytes,
            unsent_bytes: tcp.unsent_bytes,
            in_flight_bytes: tcp.in_flight_bytes,
            acked_bytes: tcp.acked_bytes,
            retransmits: tcp.retransmits,
            min_rtt: tcp.min_rtt,
            window_bytes: tcp.congestion_window_bytes,
            audio_bytes: classes.audio.bytes_out + classes.control.bytes_out,
            encoded_frames: self.publisher.encoded.buffers(),
            encoded_bytes: self.publisher.encoded.bytes(),
        }
    }

    fn carry_out(&mut self, link: &Link, verdict: &Verdict) {
        link.set_in_flight_limit(verdict.in_flight_limit);
        link.set_own_segments(verdict.own_segments);
        link.set_pacing(verdict.pacing);
        self.pictures.hold(verdict.hold);
        self.publisher.keyframes.set_full(verdict.hold);
        if verdict.discard {
            let packets = link.discard_video();
            info!(packets, "nothing is acknowledged: the picture that waited is thrown away");
        }
        if verdict.refresh {
            info!("the link carries again");
            self.publisher.keyframes.request();
        }
        if self.step != Some(verdict.step) {
            self.take_step(verdict.step);
        }
        self.tell(verdict.encoder_bits_per_second);
        if !verdict.dead {
            self.last.set(verdict.bits_per_second);
            if self.stored.elapsed() >= STORE {
                self.stored = Instant::now();
                self.last.store_soon();
            }
        }
    }

    fn take_step(&mut self, step: Step) {
        self.step = Some(step);
        let full = self.settings.full.frames_per_second;
        self.pictures.pace(if step.frames_per_second < full { step.frames_per_second } else { 0 });
        info!(step.width, step.height, step.frames_per_second, "the picture's size and frequency");
        if let Err(error) = self.publisher.set_size(step) {
            warn!("the picture keeps its size: {error}");
        }
    }

    fn tell(&mut self, bits_per_second: u64) {
        if bits_per_second.abs_diff(self.told) as f64 <= self.told as f64 * NOTICEABLE {
            return;
        }
        self.told = bits_per_second;
        if let Err(error) = self.publisher.set_bitrate(bits_per_second) {
            warn!("the encoder keeps its bitrate: {error}");
        }
    }

    /// Whether the connection was dead for too long, and the call was told.
    fn given_up(&mut self, link: &Link, dead: bool) -> bool {
        let remote = link.remote();
        match (dead, self.dead_since) {
            (false, _) => self.dead_since = None,
            (true, None) => {
                warn!(%remote, "nothing is acknowledged any more: no frame is sent until it is");
                self.dead_since = Some(Instant::now());
            }
            (true, Some(since)) if since.elapsed() >= REPLACE => {
                let text = format!("the media connection to {remote} carries nothing; the kiosk makes a new one");
                let (peer, events) = (self.publisher.peer.id(), self.publisher.peer.events());
                events.happened(Event::PeerFailed(peer, Fault::new(FaultCode::MediaLost, text)));
                return true;
            }
            (true, Some(_)) => {}
        }
        false
    }

    fn record(&mut self, state: &GateState, verdict: &Verdict) {
        debug!(?state, ?verdict, "link");
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let tcp = &state.tcp;
        let (key_frames, key_frame_bytes) = self.publisher.keyframes.made();
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        *figures = LinkFigures {
            unsent_bytes: tcp.unsent_bytes,
            in_flight_bytes: tcp.in_flight_bytes,
            in_flight_limit_bytes: verdict.in_flight_limit,
            smoothed_rtt_ms: ms(tcp.smoothed_rtt),
            min_rtt_ms: ms(tcp.min_rtt),
            delivery_bits_per_second: tcp.delivery_bits_per_second,
            capacity_bits_per_second: verdict.capacity,
            retransmits: tcp.retransmits,
            queue_delay_ms: ms(verdict.video_delay),
            queue_delay_peak_ms: figures.queue_delay_peak_ms.max(ms(verdict.video_delay)),
            audio_queue_delay_ms: ms(verdict.audio_delay),
            audio_queue_delay_peak_ms: figures.audio_queue_delay_peak_ms.max(ms(verdict.audio_delay)),
            reported_queue_ms: verdict.reported.map(ms),
            narrowest_bits_per_second: verdict.narrowest,
            ceiling_bits_per_second: verdict.ceiling,
            alone: verdict.alone,
            target_bits_per_second: verdict.bits_per_second,
            step: u32::try_from(self.controller.position()).unwrap_or(u32::MAX),
            width: verdict.step.width,
            height: verdict.step.height,
            frames_per_second: verdict.step.frames_per_second,
            frames_left_out: self.pictures.left_out(),
            key_frames,
            key_frame_bytes,
            dead: verdict.dead,
        };
    }
}
