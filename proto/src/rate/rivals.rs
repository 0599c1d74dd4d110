//! Whether somebody else fills the network's queue.
//!
//! A queue that we make ourselves gets longer when the kernel may hold more, and nothing else changes. In a queue that
//! another transfer keeps full, who has more bytes in it gets more of the link. So it is tried: the limit is doubled for a
//! moment, or what is in flight is halved, and what is carried tells. Where the server reports arrivals a first trial is
//! hardly ever needed: packets tell for how long they waited behind somebody else's.

use std::time::Duration;

/// A queue as long as this is worth a trial: other kiosks keep it shorter.
const LONG: Duration = Duration::from_millis(120);
/// When it stands for this time.
const SUSPECT: Duration = Duration::from_millis(400);
/// A trial lasts this long at least, and so many round trips.
const TRIAL: Duration = Duration::from_millis(500);
const ROUND_TRIPS: u32 = 4;
/// What is carried must change by this much to be somebody else's loss or gain.
const CHANGE: f64 = 1.3;
/// The first trials come quickly, since a rival starves the picture; later ones, and those of a rival that is known, less
/// often, for what they cost.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MOST: Duration = Duration::from_secs(8);
/// One that is seen is looked for again after this time.
const SEEN_AGAIN: Duration = Duration::from_secs(1);
/// It is gone when a byte meets no more than this.
const GONE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
struct Trial {
    until: Duration,
    before: f64,
    in_flight: u64,
}

/// What is known of others.
#[derive(Debug, Clone)]
pub(super) struct Rivals {
    present: bool,
    suspected: Option<Duration>,
    trial: Option<Trial>,
    next: Duration,
    pause: Duration,
}

impl Rivals {
    pub(super) fn new() -> Self {
        Self { present: false, suspected: None, trial: None, next: Duration::ZERO, pause: PAUSE }
    }

    /// Whether the network's queue is somebody else's.
    pub(super) fn present(&self) -> bool {
        self.present
    }

    /// Whether it is being tried; what is sent now says nothing else.
    pub(super) fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// What a trial makes of the limit.
    pub(super) fn limit(&self, limit: u64) -> u64 {
        match (&self.trial, self.present) {
            (None, _) => limit,
            (Some(_), false) => limit.saturating_mul(2),
            (Some(trial), true) => limit.min(trial.in_flight / 2),
        }
    }

    /// `network`: the queue there, `others`: what of it the server's reports say is not ours, `base`: the way without it,
    /// `in_flight`: bytes that the kernel holds, `rate`: what is carried over a time, bit/s.
    pub(super) fn see(
        &mut self,
        now: Duration,
        network: Duration,
        others: impl Fn() -> Duration,
        base: Duration,
        in_flight: u64,
        rate: impl Fn(Duration) -> Option<f64>,
    ) {
        if network < GONE {
            (self.present, self.trial, self.pause, self.next) = (false, None, PAUSE, now);
        }
        if !self.present && now >= self.next && network >= LONG && others() >= LONG {
            (self.present, self.trial, self.pause, self.next) = (true, None, PAUSE_MOST, now + PAUSE_MOST);
            return;
        }
        let length = TRIAL.max((base + network) * ROUND_TRIPS);
        if let Some(trial) = self.trial {
            if now >= trial.until {
                self.judge(now, trial.before, rate(length / 2));
            }
            return;
        }
        if network < LONG {
            self.suspected = None;
            return;
        }
        if self.present && now >= self.next && others() >= LONG {
            // Still there: seen, so it need not be tried.
            self.next = now + SEEN_AGAIN;
            return;
        }
        let since = *self.suspected.get_or_insert(now);
        if now.saturating_sub(since) >= SUSPECT && now >= self.next {
            self.trial = rate(SUSPECT).map(|before| Trial { until: now + length, before, in_flight });
        }
    }

    fn judge(&mut self, now: Duration, before: f64, after: Option<f64>) {
        self.trial = None;
        self.suspected = None;
        let Some(after) = after else { return };
        let changed = if self.present { after * CHANGE < before } else { after > before * CHANGE };
        self.pause = match (self.present, changed) {
            (_, true) => PAUSE_MOST,
            (true, false) => PAUSE,
            (false, false) => (self.pause * 2).min(PAUSE_MOST),
        };
        self.present = changed;
        self.next = now + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queue there is, and what of it the reports say is not ours, every 30 ms of so many seconds; whether it was tried.
    fn see(rivals: &mut Rivals, seconds: std::ops::Range<u64>, network: u64, others: u64) -> bool {
        let ms = Duration::from_millis;
        (seconds.start * 1000..seconds.end * 1000).step_by(30).fold(false, |tried, now| {
            rivals.see(ms(now), ms(network), || ms(others), ms(20), 20_000, |_| Some(500_000.0));
            tried || rivals.on_trial()
        })
    }

    #[test]
    fn what_the_reports_show_is_not_tried() {
        let mut rivals = Rivals::new();
        assert!(!see(&mut rivals, 0..60, 300, 200), "it costs a picture that gives way");
        assert!(rivals.present());
        assert!(see(&mut rivals, 60..65, 300, 40), "they no longer do: so it is tried");
        assert!(!rivals.present(), "and what is carried did not change with what was sent");
        see(&mut rivals, 65..70, 300, 200);
        assert!(rivals.present());
        assert!(!see(&mut rivals, 70..71, 10, 0));
        assert!(!rivals.present(), "the queue is gone");
    }
}
