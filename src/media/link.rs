//! The publishing TCP connection under watch: what the kernel says of it decides what the encoder makes.
//! The rules are `kiosk_proto::rate`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiosk_proto::call::{Event, Fault};
use kiosk_proto::config::Video;
use kiosk_proto::figures::LinkFigures;
use kiosk_proto::rate::{Bounds, LinkSample, RateController, Verdict};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::port::Inlet;
use super::publish::Publisher;
use crate::tcp_only::connection::{Connection, State};

const INTERVAL: Duration = Duration::from_millis(40);
/// A dead link gets this long to come back before a new connection is made: five seconds with the two until it is dead.
const REPLACE: Duration = Duration::from_secs(3);
/// The encoder is told of changes of at least this share: some elements start over for each.
const NOTICEABLE: f64 = 0.03;

/// The task that watches; it ends when this is dropped.
#[derive(Debug)]
pub struct LinkWatch {
    task: JoinHandle<()>,
    figures: Arc<Mutex<LinkFigures>>,
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watch {
    publisher: Publisher,
    pictures: Inlet,
    controller: RateController,
    figures: Arc<Mutex<LinkFigures>>,
    told: u64,
    start: Instant,
}

impl LinkWatch {
    /// Begins to watch a publisher that is connected. Frames that must not be sent now are held back at `pictures`.
    pub fn start(publisher: Publisher, pictures: Inlet, video: &Video) -> Self {
        let figures = Arc::<Mutex<LinkFigures>>::default();
        let bits = |kbps: kiosk_proto::config::Kbps| u64::from(kbps.bits_per_second());
        let bounds = Bounds { min: bits(video.min_bitrate_kbps), max: bits(video.bitrate_kbps) };
        let watch = Watch {
            publisher,
            pictures,
            controller: RateController::new(bounds),
            figures: figures.clone(),
            told: bounds.max,
            start: Instant::now(),
        };
        Self { task: tokio::spawn(watch.run()), figures }
    }

    /// From the last look.
    pub fn figures(&self) -> LinkFigures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Watch {
    async fn run(mut self) {
        let mut every = tokio::time::interval(INTERVAL);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (remote, connection) = loop {
            every.tick().await;
            if let Some(found) = self.find().await {
                break found;
            }
        };
        if let Err(error) = connection.widen() {
            warn!(%error, "the send buffer of the media connection stays as it is");
        }
        let mut dead_since: Option<Instant> = None;
        loop {
            every.tick().await;
            // Closed by libnice: the peer connection says so itself.
            let Some(state) = connection.state() else { return };
            let verdict = self.look(remote, &state);
            self.pictures.hold(verdict.hold);
            self.tell(verdict.bits_per_second);
            match (verdict.dead, dead_since) {
                (false, _) => dead_since = None,
                (true, None) => {
                    warn!(%remote, "nothing is acknowledged any more: no frame is sent until it is");
                    dead_since = Some(Instant::now());
                }
                (true, Some(since)) if since.elapsed() >= REPLACE => {
                    let text = format!("the media connection to {remote} carries nothing; the kiosk makes a new one");
                    let (peer, events) = (self.publisher.peer.id(), self.publisher.peer.events());
                    events.happened(Event::PeerFailed(peer, Fault::new("media-lost", text)));
                    return;
                }
                (true, Some(_)) => {}
            }
        }
    }

    async fn find(&self) -> Option<(SocketAddr, Connection)> {
        let peer = &self.publisher.peer;
        let remote = peer.pair().await?.1.remote;
        Some((remote, Connection::find(remote)?))
    }

    fn look(&mut self, remote: SocketAddr, state: &State) -> Verdict {
        let sample = LinkSample {
            at: self.start.elapsed(),
            unsent_bytes: state.unsent_bytes,
            in_flight_bytes: state.in_flight_bytes,
            acked_bytes: state.acked_bytes,
            smoothed_rtt: state.smoothed_rtt,
            min_rtt: state.min_rtt,
        };
        let verdict = self.controller.sample(&sample);
        debug!(%remote, ?sample, ?verdict, "link");
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        *figures = LinkFigures {
            unsent_bytes: state.unsent_bytes,
            in_flight_bytes: state.in_flight_bytes,
            smoothed_rtt_ms: ms(state.smoothed_rtt),
            min_rtt_ms: ms(state.min_rtt),
            delivery_bits_per_second: state.delivery_bits_per_second,
            retransmits: state.retransmits,
            queue_delay_ms: ms(verdict.delay),
            queue_delay_peak_ms: figures.queue_delay_peak_ms.max(ms(verdict.delay)),
            target_bits_per_second: verdict.bits_per_second,
            frames_left_out: self.pictures.left_out(),
        };
        verdict
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
}
