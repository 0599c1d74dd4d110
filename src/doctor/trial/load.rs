//! The load: more and more of a picture, until the delay grows.

use std::time::{Duration, Instant};

use kiosk_proto::check::trial::{Load, Ramp, Spread};
use kiosk_proto::gate::{DEFAULT_LIMIT, GateState};

use super::{Ends, Stop, Trial};
use crate::tcp_only::gate::Link;

/// Of one step. A queue that grows by 200 ms in it has a way that carries four fifths of what is sent.
const STEP: Duration = Duration::from_secs(1);
/// The encoder follows a new bitrate within this.
const FOLLOW: Duration = Duration::from_millis(300);
/// No call takes more: the picture is tried up to here, or to four times what is configured. bit/s.
const MOST: u64 = 6_000_000;
/// The whole of it: a step takes longer where the machine is slow.
const TIME: Duration = Duration::from_secs(15);
/// Between two looks at the queue.
const LOOK: Duration = Duration::from_millis(50);
/// What may be on its way beyond a round trip: a queue in the network may become as long as this.
const QUEUE: Duration = Duration::from_millis(400);

impl Trial<'_> {
    /// Raises the load. `carried` is what the rate controller took the link to carry, bit/s.
    pub(super) async fn load(&mut self, ends: &Ends, carried: Option<u64>) -> Result<(), Stop> {
        let Some(link) = self.publisher.peer.media_link() else { return Ok(()) };
        let configured = u64::from(self.config.video.bitrate_kbps.bits_per_second());
        let begin = carried.unwrap_or(configured).min(configured) * 2 / 3;
        let unloaded =
            self.shown.steady.as_ref().and_then(|steady| steady.picture).map_or(Duration::ZERO, |seen| seen.median);
        let mut ramp = Ramp::new(begin, MOST.max(configured * 4), unloaded);
        self.pictures.hold(false);
        self.pictures.pace(0);
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            let Some(load) = self.step(ends, &link, ramp.target()).await? else {
                break;
            };
            self.shown.capacity = ramp.take(&load);
            if self.shown.capacity.is_some() {
                link.discard_video();
                return Ok(());
            }
        }
        self.shown.capacity = Some(ramp.so_far());
        Ok(())
    }

    /// One step; none when the connection has ended.
    async fn step(&mut self, ends: &Ends, link: &Link, target: u64) -> Result<Option<Load>, Stop> {
        self.publisher.set_bitrate(target).map_err(|error| Stop::Failed(error.to_string()))?;
        let Some(state) = link.state() else { return Ok(None) };
        let way = state.tcp.min_rtt + QUEUE;
        link.set_in_flight_limit(DEFAULT_LIMIT.max((target as f64 / 8.0 * way.as_secs_f64()) as u64));
        self.until(FOLLOW, |_| false).await?;
        ends.seen();
        let counts = |trial: &Self| {
            let back = trial
                .receiver
                .as_ref()
                .map_or(0, |receiver| receiver.video_packets.bytes() + receiver.audio_packets.bytes());
            Some((link.state()?.tcp.acked_bytes, trial.publisher.encoded.bytes(), back))
        };
        let (Some(before), begin) = (counts(self), Instant::now()) else { return Ok(None) };
        let mut waiting = Duration::ZERO;
        while begin.elapsed() < STEP {
            self.until(LOOK, |_| false).await?;
            let Some(state) = link.state() else { return Ok(None) };
            waiting = waiting.max(waits(&state));
            // Half a second of it is enough to know what the way carries while it is full.
            if Ramp::is_full(waiting) && begin.elapsed() >= STEP / 2 {
                break;
            }
        }
        let Some(after) = counts(self) else { return Ok(None) };
        let rate = |before: u64, after: u64| ((after - before) as f64 * 8.0 / begin.elapsed().as_secs_f64()) as u64;
        let (pictures, _) = ends.seen();
        Ok(Some(Load {
            target,
            made: rate(before.1, after.1),
            up: rate(before.0, after.0),
            back: rate(before.2, after.2),
            waiting,
            late: Spread::of(pictures).map(|seen| seen.median),
        }))
    }
}

/// How long a packet waits before it is acknowledged, less the way itself.
fn waits(state: &GateState) -> Duration {
    state.classes.video.oldest + state.tcp.smoothed_rtt.saturating_sub(state.tcp.min_rtt)
}
