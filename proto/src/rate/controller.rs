//! The controller.

use std::collections::VecDeque;
use std::time::Duration;

/// Acknowledged bytes are counted over this long.
const WINDOW: Duration = Duration::from_millis(500);
/// Samples that are kept: [`WINDOW`] at the shortest sampling interval.
const MAX_SAMPLES: usize = 64;
/// More delay than this in sender and network is congestion.
const CONGESTED: Duration = Duration::from_millis(100);
/// Less delay than this for [`CALM_FOR`] is room for more.
const CALM: Duration = Duration::from_millis(35);
const CALM_FOR: Duration = Duration::from_millis(500);
/// No frame enters the encoder while more than this is queued, in the sender and in the network together.
const QUEUE_BUDGET: Duration = Duration::from_millis(120);
/// Frames enter again when the queue has drained to this.
const QUEUE_LOW: Duration = Duration::from_millis(50);
/// Of what the link was seen to carry, the share that the encoder gets: room for audio, headers and the queue to drain.
const SHARE: f64 = 0.85;
const STEP_UP: f64 = 1.08;
/// Near the rate at which the link was last congested.
const STEP_UP_NEAR: f64 = 1.02;
const STEP_INTERVAL: Duration = Duration::from_millis(250);
/// The last congestion is a warning for this long.
const MEMORY: Duration = Duration::from_secs(20);
/// Nothing acknowledged for this long: the link is dead.
const DEAD: Duration = Duration::from_secs(2);
/// Below this a rate is not measured but guessed; it keeps divisions finite. bit/s.
const LEAST_RATE: f64 = 20_000.0;

/// What the site allows, bit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Never less.
    pub min: u64,
    /// Never more, and what a call begins with.
    pub max: u64,
}

/// What the kernel says of the socket (`TCP_INFO`, tcp(7) and `linux/tcp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkSample {
    /// When, since any fixed moment.
    pub at: Duration,
    /// Written, not sent: `tcpi_notsent_bytes`.
    pub unsent_bytes: u64,
    /// Sent, not acknowledged: what `SIOCOUTQ` counts, less the unsent.
    pub in_flight_bytes: u64,
    /// Acknowledged since the connection began: `tcpi_bytes_acked`.
    pub acked_bytes: u64,
    /// `tcpi_rtt`.
    pub smoothed_rtt: Duration,
    /// `tcpi_min_rtt`.
    pub min_rtt: Duration,
}

/// What to do until the next sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// For the encoder, bit/s.
    pub bits_per_second: u64,
    /// No frame enters the encoder.
    pub hold: bool,
    /// Nothing has been acknowledged for two seconds although something is on its way.
    pub dead: bool,
    /// Delay that a byte written now would meet in the sender and in the network's queues.
    pub delay: Duration,
}

/// Decides from sample to sample. To be asked every 20 to 50 ms.
#[derive(Debug, Clone)]
pub struct RateController {
    bounds: Bounds,
    target: f64,
    /// The last measured throughput, bit/s.
    throughput: f64,
    samples: VecDeque<(Duration, u64)>,
    hold: bool,
    calm_since: Option<Duration>,
    stepped: Duration,
    congested: Option<(Duration, f64)>,
    progressed: Option<Duration>,
}

impl RateController {
    /// Begins with the most.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            target: bounds.max as f64,
            throughput: bounds.max as f64,
            samples: VecDeque::new(),
            hold: false,
            calm_since: None,
            stepped: Duration::ZERO,
            congested: None,
            progressed: None,
        }
    }

    /// Takes a sample and says what to do.
    pub fn sample(&mut self, sample: &LinkSample) -> Verdict {
        let now = sample.at;
        let idle = sample.unsent_bytes == 0 && sample.in_flight_bytes == 0;
        if idle || self.samples.back().is_none_or(|(_, acked)| *acked != sample.acked_bytes) {
            self.progressed = Some(now);
        }
        let dead = self.progressed.is_some_and(|at| now.saturating_sub(at) >= DEAD);
        self.measure(sample);

        let delay = self.delay(sample);
        self.hold = dead || delay > if self.hold { QUEUE_LOW } else { QUEUE_BUDGET };
        if delay > CONGESTED {
            self.calm_since = None;
            self.back_off(now, sample.smoothed_rtt);
        } else if delay > CALM || self.hold {
            self.calm_since = None;
        } else if now.saturating_sub(*self.calm_since.get_or_insert(now)) >= CALM_FOR {
            self.probe(now);
        }
        self.target = self.target.clamp(self.bounds.min as f64, self.bounds.max as f64);
        Verdict { bits_per_second: self.target as u64, hold: self.hold, dead, delay }
    }

    /// What a byte written now would wait for. The round-trip time grows for other reasons too, above all by the receiver's
    /// delayed acknowledgements when little is sent: what is in flight can't wait longer than it takes to carry it. Without
    /// this bound a hold would never end, since speech alone keeps the round-trip time above the budget.
    fn delay(&self, sample: &LinkSample) -> Duration {
        let rate = self.throughput.max(self.bounds.min as f64);
        let network = sample.smoothed_rtt.saturating_sub(sample.min_rtt).min(seconds(sample.in_flight_bytes, rate));
        seconds(sample.unsent_bytes, self.throughput) + network
    }

    /// Throughput over the window, from what was acknowledged.
    fn measure(&mut self, sample: &LinkSample) {
        // A new connection counts from zero.
        if self.samples.back().is_some_and(|(_, acked)| *acked > sample.acked_bytes) {
            self.samples.clear();
        }
        self.samples.push_back((sample.at, sample.acked_bytes));
        while self.samples.len() > MAX_SAMPLES
            || self.samples.get(1).is_some_and(|(at, _)| sample.at.saturating_sub(*at) >= WINDOW)
        {
            self.samples.pop_front();
        }
        if let Some((at, acked)) = self.samples.front() {
            let elapsed = sample.at.saturating_sub(*at);
            if elapsed >= WINDOW / 2 {
                let bits = (sample.acked_bytes - acked) as f64 * 8.0;
                self.throughput = (bits / elapsed.as_secs_f64()).max(LEAST_RATE);
            }
        }
    }

    /// The link is full: what it carried while it was full is what it carries.
    fn back_off(&mut self, now: Duration, rtt: Duration) {
        let again = WINDOW.max(rtt * 2);
        if self.congested.is_some_and(|(at, _)| now.saturating_sub(at) < again) {
            return;
        }
        let seen = self.throughput.min(self.target / SHARE);
        self.congested = Some((now, seen));
        self.target = (seen * SHARE).min(self.target);
        self.stepped = now;
    }

    /// The link has room: a little more, if the encoder uses what it has.
    fn probe(&mut self, now: Duration) {
        let used = self.throughput > self.target * 0.6;
        if !used || now.saturating_sub(self.stepped) < STEP_INTERVAL {
            return;
        }
        self.stepped = now;
        let near = self.congested.is_some_and(|(at, seen)| {
            now.saturating_sub(at) < MEMORY && self.target > seen * (SHARE - 0.05) && self.target < seen * 1.1
        });
        self.target *= if near { STEP_UP_NEAR } else { STEP_UP };
    }
}

fn seconds(bytes: u64, bits_per_second: f64) -> Duration {
    Duration::from_secs_f64((bytes as f64 * 8.0 / bits_per_second.max(LEAST_RATE)).min(3600.0))
}
