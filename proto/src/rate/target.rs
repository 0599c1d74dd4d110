//! How much is sent: up a little while no queue stands, down to what was carried when one does.
//!
//! Up by addition, down by multiplication: connections that share a bottleneck, and so see the same queue, end at the same
//! rate (Chiu and Jain, 1989). Since the queue is measured and not guessed from loss, a step too far costs some ten
//! milliseconds of delay, and the next step can come soon.

use std::time::Duration;

use super::path::Path;
use super::seconds;

/// A queue of so many of our own bytes that stands is congestion. Who sends more sees it sooner, so that connections that
/// share a bottleneck end at the same rate (TCP Vegas, 1994, has the same idea).
const QUEUE: u64 = 4000;
/// As delay it is never less, since round-trip times vary, and never more, since people talk.
pub(super) const CONGESTED: Duration = Duration::from_millis(30);
const CONGESTED_MOST: Duration = Duration::from_millis(120);
/// Below this the link may have more room than it seems.
const CALM: Duration = Duration::from_millis(20);
/// The climb doubles this often while it stays calm, from half of this time on.
const CALM_FOR: Duration = Duration::from_millis(700);
/// Of what the link carried while the queue stood, what is sent: less, so that the queue drains.
const SHARE: f64 = 0.9;
/// The climb at first: so much a second, and this share of the target.
const CLIMB: f64 = 40_000.0;
const CLIMB_SHARE: f64 = 0.08;
/// How often the climb doubles at most.
const DOUBLINGS: f64 = 4.0;
/// Between these multiples of what the link carried when a queue stood last it climbs with caution: a link that has not
/// changed is nearly full there. Beyond, without a queue, it has changed.
const NEAR: f64 = 0.85;
const BEYOND: f64 = 1.04;
/// The climb there, as a number of doublings: 0.7 of the climb at first.
const CAUTION: f64 = -0.5;
/// The encoder needs this long to follow; a queue that stands right after a step down is still the old one.
const AGAIN: Duration = Duration::from_millis(250);
/// A target of which less than this is used says nothing of the link.
const USED: f64 = 0.6;
const USED_OVER: Duration = Duration::from_millis(500);

/// The rate of everything that is sent, bit/s.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) total: f64,
    calm_since: Option<Duration>,
    stepped: Option<Duration>,
    last: Option<Duration>,
    before: f64,
    rivals: bool,
    /// What the link carried when a queue stood last, bit/s.
    ceiling: f64,
}

impl Target {
    pub(super) fn new(total: f64) -> Self {
        Self { total, calm_since: None, stepped: None, last: None, before: total, rivals: false, ceiling: 0.0 }
    }

    /// One step; the target stays within `least` and `most`. `held`: frames are left out, so the queue does not stand.
    pub(super) fn step(&mut self, now: Duration, path: &Path, held: bool, (least, most): (f64, f64)) {
        let elapsed = self.last.map_or(Duration::ZERO, |last| now.saturating_sub(last)).min(USED_OVER);
        self.last = Some(now);
        if path.rivals.present() && !self.rivals {
            // It was given way for nothing.
            self.total = self.total.max(self.before / 2.0);
        }
        self.rivals = path.rivals.present();
        if path.rivals.on_trial() && !held {
            return;
        }
        let congested = seconds(QUEUE, self.total).clamp(CONGESTED, CONGESTED_MOST);
        if path.standing >= congested || held {
            self.calm_since = None;
            self.down(now, path);
        } else {
            self.up(now, elapsed, path, congested);
        }
        self.total = self.total.clamp(least, most.max(least));
    }

    fn down(&mut self, now: Duration, path: &Path) {
        let again = AGAIN + path.base();
        if self.stepped.is_some_and(|at| now.saturating_sub(at) < again) {
            return;
        }
        // What it was before the first of several steps.
        if self.stepped.is_none_or(|at| now.saturating_sub(at) > again * 4) {
            self.before = self.total;
        }
        self.stepped = Some(now);
        self.ceiling = path.capacity();
        self.total = self.total.min(path.capacity() * SHARE);
    }

    fn up(&mut self, now: Duration, elapsed: Duration, path: &Path, congested: Duration) {
        if path.standing >= CALM {
            self.calm_since = None;
        }
        let calm = now.saturating_sub(*self.calm_since.get_or_insert(now));
        if !path.rate(now, USED_OVER).is_some_and(|rate| rate > self.total * USED) {
            self.calm_since = None;
            return;
        }
        let doublings = if (self.ceiling * NEAR..self.ceiling * BEYOND).contains(&self.total) {
            CAUTION
        } else {
            (calm.as_secs_f64() / CALM_FOR.as_secs_f64() - 0.5).clamp(0.0, DOUBLINGS)
        };
        let room = 1.0 - path.standing.as_secs_f64() / congested.as_secs_f64();
        let climb = (CLIMB + self.total * CLIMB_SHARE) * doublings.exp2() * room;
        self.total += climb * elapsed.as_secs_f64();
    }
}
