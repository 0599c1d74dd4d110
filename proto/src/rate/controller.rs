//! The controller: path, target, limit, liveness and ladder together.

use std::time::Duration;

use super::arrivals::Arrival;
use super::ladder::{Ladder, Step};
use super::liveness::Liveness;
use super::overshoot::Overshoot;
use super::path::Path;
use super::target::Target;
use super::{LinkSample, Settings, Verdict, limit, seconds};

/// No frame enters the encoder while more than this waits in front of the kernel.
const BUDGET: Duration = Duration::from_millis(60);
/// Frames enter again when the queue has drained to this.
const DRAINED: Duration = Duration::from_millis(30);
/// Nor while nothing was acknowledged for this long, and for two round trips.
const STALL: Duration = Duration::from_millis(150);
/// What RTP, SRTP and framing leave of a packet for the picture.
const PAYLOAD: f64 = 0.96;
/// A link on which nothing was lost for this long loses nothing.
const LOSSLESS: Duration = Duration::from_secs(10);
/// Beside somebody else's transfer packets are spread at this multiple of the target: of those that come to a full queue
/// together more are dropped.
const PACING: f64 = 2.0;
/// The rate of sound is smoothed over this time.
const SOUND: Duration = Duration::from_secs(1);

/// Decides from sample to sample. To be asked every 20 to 40 ms.
#[derive(Debug, Clone)]
pub struct RateController {
    settings: Settings,
    path: Path,
    target: Target,
    ladder: Ladder,
    liveness: Liveness,
    overshoot: Overshoot,
    hold: bool,
    /// Rate of everything but the picture, bit/s.
    sound: f64,
    heard: Option<(Duration, u64)>,
}

impl RateController {
    /// Begins with what the link carried last.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { bounds, full, start, .. } = settings;
        let video = start.unwrap_or(bounds.max).clamp(bounds.min, bounds.max.max(bounds.min)) as f64;
        let mut ladder = Ladder::new(full);
        ladder.begin(video);
        Self {
            settings,
            path: Path::new(video / PAYLOAD),
            target: Target::new(video / PAYLOAD),
            ladder,
            liveness: Liveness::default(),
            overshoot: Overshoot::default(),
            hold: false,
            sound: 0.0,
            heard: None,
        }
    }

    /// Takes a report of the server's: which packets arrived, in the order in which they were sent.
    pub fn arrived(&mut self, now: Duration, packets: &[Arrival]) {
        self.path.arrivals.hear(now, packets);
    }

    /// Takes a sample and says what to do.
    pub fn sample(&mut self, sample: &LinkSample) -> Verdict {
        let Settings { bounds, full, dead_after, .. } = self.settings;
        let now = sample.at;
        let life = self.liveness.see(sample, dead_after);
        let frame = Duration::from_secs(1) / self.ladder.step().frames_per_second.max(1);
        self.hear(sample);
        self.path.see(sample, frame);
        let wire = |video: u64| video as f64 / PAYLOAD + self.sound;
        // A frame's own time on a full link is no queue.
        let budget = if self.hold { DRAINED.max(frame / 2) } else { BUDGET.max(frame * 3 / 2) };
        let stalled = life.stalled > STALL + self.path.base() * 2;
        self.hold = stalled || self.path.waiting > budget;
        let full_up = self.path.waiting > budget;
        let in_vain = self.target.step(now, &self.path, full_up, (wire(bounds.min), wire(bounds.max)));
        let video = self.bits_per_second() as f64;
        if in_vain {
            self.ladder.begin(video);
        }
        let step = if life.dead { self.ladder.step() } else { self.ladder.take(now, video, bounds.max as f64) };

        let per_frame = video / 8.0 / f64::from(step.frames_per_second.max(1));
        self.overshoot.see(sample.encoded_frames, sample.encoded_bytes);
        // Where the link is the limit, the little that an encoder stays below its rate is welcome.
        let least = if video >= bounds.max as f64 { 0.0 } else { 1.0 };
        let told = per_frame / self.overshoot.factor().max(least);
        self.overshoot.tell(told);
        let capacity = self.path.capacity();
        Verdict {
            bits_per_second: video as u64,
            encoder_bits_per_second: (told * 8.0 * f64::from(full.frames_per_second.max(1))) as u64,
            step,
            hold: self.hold,
            in_flight_limit: limit::in_flight(&self.path, sample.min_rtt, sample.window_bytes),
            own_segments: !self.path.lost_within(now, LOSSLESS),
            pacing: self.path.rivals.present().then_some((self.target.total * PACING) as u64),
            discard: life.discard,
            refresh: life.refresh,
            dead: life.dead,
            video_delay: self.path.waiting + self.path.network,
            reported: self.path.reported,
            audio_delay: seconds(sample.audio_waiting_bytes, capacity) + self.path.network,
            capacity: capacity as u64,
            narrowest: self.path.arrivals.spread().narrowest_lately(now).map(|rate| rate as u64),
            ceiling: self.target.ceiling as u64,
            alone: self.target.is_alone(now),
        }
    }

    /// What the picture may take now, bit/s.
    #[must_use]
    pub fn bits_per_second(&self) -> u64 {
        let bounds = self.settings.bounds;
        ((self.target.total - self.sound) * PAYLOAD).clamp(bounds.min as f64, bounds.max as f64) as u64
    }

    /// Size and frequency of the frames now.
    #[must_use]
    pub fn step(&self) -> Step {
        self.ladder.step()
    }

    /// The step of the ladder in use, from 0 at the top.
    #[must_use]
    pub fn position(&self) -> usize {
        self.ladder.position()
    }

    /// Speech has its own budget: what it takes, the picture does not get.
    fn hear(&mut self, sample: &LinkSample) {
        if let Some((at, bytes)) = self.heard
            && sample.audio_bytes >= bytes
            && sample.at > at
        {
            let elapsed = (sample.at - at).as_secs_f64();
            let rate = (sample.audio_bytes - bytes) as f64 * 8.0 / elapsed;
            self.sound += (rate - self.sound) * (elapsed / SOUND.as_secs_f64()).min(1.0);
        }
        self.heard = Some((sample.at, sample.audio_bytes));
    }
}
