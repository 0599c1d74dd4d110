//! How much is sent: up while no queue stands, down to what was carried when one does.
//!
//! Up by addition, down by multiplication: connections that share a bottleneck, and so see the same queue, end at the same
//! rate (Chiu and Jain, 1989). Since the queue is measured and not guessed from loss, a step too far costs some ten
//! milliseconds of delay, and the next step can come soon.
//!
//! Where a queue stood the link is left as it is for some seconds, since each look whether it carries more costs a queue if
//! it does not. That it has become faster is seen without one: the packets of a frame then arrive closer together.

use std::time::Duration;

use super::path::Path;
use super::seconds;

/// A queue of so many of our own bytes that stands is congestion. Who sends more sees it sooner, so that connections that
/// share a bottleneck end at the same rate (TCP Vegas, 1994, has the same idea).
const QUEUE: u64 = 4000;
/// As delay it is never less, since acknowledgements come late, and never more, since people talk.
pub(super) const CONGESTED: Duration = Duration::from_millis(30);
const CONGESTED_MOST: Duration = Duration::from_millis(120);
/// The same by the server's reports, which are exact.
const REPORTED_QUEUE: u64 = 2500;
/// And where the link is ours alone, so that nobody is to be left a share.
const QUEUE_ALONE: u64 = 1500;
const REPORTED: Duration = Duration::from_millis(15);
const REPORTED_MOST: Duration = Duration::from_millis(60);
/// Below this the link may have more room than it seems.
const CALM: Duration = Duration::from_millis(20);
/// The climb doubles this often while it stays calm, from half of this time on.
const CALM_FOR: Duration = Duration::from_millis(700);
/// Of what the link carried while the queue stood, what is sent: less, so that the queue drains.
const SHARE: f64 = 0.92;
/// And once it has drained, where the link is ours alone.
const SHARE_ALONE: f64 = 0.94;
/// While the queue drains, a link that carries this share of what is sent is not slower than was thought.
const KEEPS_UP: f64 = 0.95;
/// What the link carried is measured over this time.
const CARRIED_OVER: Duration = Duration::from_millis(300);
const REPORTED_OVER: Duration = Duration::from_millis(250);
/// And over so many bytes, where this takes longer: fewer packets say too little.
const REPORTED_BYTES: u64 = 20_000;
/// And is at least this share of what is sent: by the acknowledgements, of which the last may be missing, and by the
/// reports, which show a queue before it is long.
const CARRIED_LEAST: f64 = 0.7;
const REPORTED_LEAST: f64 = 0.85;
/// A link whose narrowest part lets less through than this share of what is sent has become slower.
const SLOWER: f64 = 0.8;
/// And one that lets through this much more than when a queue stood last has become faster. Less says little: of two packets
/// that TCP sends as segments of other sizes the second comes a quarter too soon.
const FASTER: f64 = 1.4;
/// Then two thirds of the way to what it carries are done after this time.
const CATCH_UP: Duration = Duration::from_millis(400);
/// No more is sent than this multiple of what the narrowest part lets through.
const ABOVE: f64 = 1.05;
/// The climb at first: so much a second, and this share of the target.
const CLIMB: f64 = 40_000.0;
const CLIMB_SHARE: f64 = 0.08;
/// How often the climb doubles at most.
const DOUBLINGS: f64 = 4.0;
/// Between these multiples of what the link carried when a queue stood last it climbs with caution: a link that has not
/// changed is nearly full there. Beyond, without a queue, it has changed.
const NEAR: f64 = 0.85;
const BEYOND: f64 = 1.04;
/// The climb there, a second: the same for all, so that who has less of a shared link gains on who has more.
const CAUTION: f64 = 60_000.0;
/// And no more than this share of the target where nobody is to be left behind: a slow link takes longer to show a queue.
const CAUTION_SHARE: f64 = 0.1;
/// It begins after this time without a queue, where the link is ours alone; where others send too, sooner.
const REST: Duration = Duration::from_secs(4);
/// And after this time where frames show that the link is ours alone: they also show when it becomes faster.
const LONG_REST: Duration = Duration::from_secs(60);
/// Then at least this share of what the narrowest part lets through was carried when a queue stood last.
const ALONE: f64 = 0.93;
/// It is taken to be so for this time after it was last seen: one frame that others delayed says little.
const STILL_ALONE: Duration = Duration::from_secs(3);
/// And a queue that comes within this time is not of others who send.
const WAS_ALONE: Duration = Duration::from_secs(10);
/// Beside somebody else's transfer, which fills the queue until something is dropped, no more than this is sent: of more
/// packets more are dropped, and after each everything waits for a long round trip. bit/s.
const BESIDE: f64 = 800_000.0;
/// The encoder needs this long to follow; a queue that stands right after a step down is still the old one.
const AGAIN: Duration = Duration::from_millis(250);
/// Where the link itself became slower, the queue of before may take this long to drain.
const SERIES: Duration = Duration::from_millis(2500);
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
    pub(super) ceiling: f64,
    /// What the narrowest part of the way let through then, if it is known, bit/s.
    narrowest: Option<f64>,
    /// When frames showed last that nobody else sends, since a queue stood last.
    alone: Option<Duration>,
    /// The same, whether a queue stood since or not.
    seen_alone: Option<Duration>,
    /// The link itself became slower in this series of steps down.
    slower: bool,
}

impl Target {
    pub(super) fn new(total: f64) -> Self {
        Self {
            total,
            calm_since: None,
            stepped: None,
            last: None,
            before: total,
            rivals: false,
            ceiling: 0.0,
            narrowest: None,
            alone: None,
            slower: false,
            seen_alone: None,
        }
    }

    /// One step; the target stays within `least` and `most`. `held`: frames are left out, so the queue does not stand. Says
    /// whether it was just found out that the queue is somebody else's, so that the picture gave way in vain.
    pub(super) fn step(&mut self, now: Duration, path: &Path, held: bool, (least, most): (f64, f64)) -> bool {
        let elapsed = self.last.map_or(Duration::ZERO, |last| now.saturating_sub(last)).min(USED_OVER);
        self.last = Some(now);
        let in_vain = path.rivals.present() && !self.rivals;
        if in_vain {
            self.total = self.total.max(self.before / 2.0);
        }
        self.rivals = path.rivals.present();
        if path.rivals.on_trial() && !held {
            return in_vain;
        }
        let most = if self.rivals { most.min(BESIDE) } else { most };
        self.look_for_others(now, path);
        let congested = seconds(QUEUE, self.total).clamp(CONGESTED, CONGESTED_MOST);
        let queue = if self.is_alone(now) { QUEUE_ALONE } else { REPORTED_QUEUE };
        let reported = seconds(queue, self.total).clamp(REPORTED, REPORTED_MOST);
        let full = held || path.standing >= congested;
        // From 0, no queue, to 1, congestion.
        let (queue, calm) = match path.reported {
            Some(queue) => (queue.div_duration_f64(reported), queue < reported / 2),
            None => (path.standing.div_duration_f64(congested), path.standing < CALM),
        };
        if full || queue >= 1.0 {
            self.calm_since = None;
            self.down(now, path, full);
        } else {
            self.up(now, elapsed, path, 1.0 - queue, calm);
        }
        self.total = self.total.clamp(least, most.max(least));
        in_vain
    }

    /// `full`: the kernel says so; otherwise the server's reports do.
    fn down(&mut self, now: Duration, path: &Path, full: bool) {
        let again = AGAIN + path.base();
        if self.stepped.is_some_and(|at| now.saturating_sub(at) < again) {
            return;
        }
        let was_alone = self.was_alone(now);
        let series = if self.slower && was_alone { SERIES.max(again * 4) } else { again * 4 };
        let first = self.stepped.is_none_or(|at| now.saturating_sub(at) > series);
        let newest = path.arrivals.spread().narrowest_now(now);
        let became_slower = !first && self.slower;
        if became_slower && !self.rivals && newest.is_some_and(|newest| newest >= self.total) {
            // What it lets through now is known: the queue is taken to be of before, until the series ends.
            return;
        }
        // Right after the link became slower, what was acknowledged and reported is still of before.
        let most = if became_slower { self.total } else { self.total * SLOWER };
        let slower = newest.filter(|newest| *newest < most);
        self.slower = slower.is_some();
        // What it was before the first of several steps.
        if first {
            self.before = self.total;
        }
        self.stepped = Some(now);
        // Where nobody else sends, frames tell what is carried better than what arrived just now.
        let alone = self.is_alone(now) && path.arrivals.spread().is_even(now);
        let known = slower.or_else(|| path.arrivals.spread().narrowest_well_known(now).filter(|_| alone));
        let carried = known.unwrap_or_else(|| self.carried(now, path, full));
        // While the old queue drains nothing new is learnt, unless the link became slower once more.
        if first || carried < self.total * KEEPS_UP {
            self.ceiling = carried;
            self.alone = self.alone.filter(|_| alone);
            // What seems slower for others' packets between ours does not become faster after them.
            let own = was_alone || path.lossy(now);
            self.narrowest = match (path.arrivals.spread().narrowest(now), newest) {
                (Some(middle), Some(newest)) if own && newest < middle * SLOWER => Some(newest),
                (middle, _) => middle,
            };
        }
        self.total = self.total.min(carried * SHARE);
    }

    /// What the link carried while the queue stood.
    fn carried(&self, now: Duration, path: &Path, full: bool) -> f64 {
        if !full && let Some(carried) = path.arrivals.carried(REPORTED_OVER.max(seconds(REPORTED_BYTES, self.total))) {
            let most = path.arrivals.spread().narrowest(now).map_or(f64::INFINITY, |narrowest| narrowest * ABOVE);
            return carried.min(most).max(self.total * REPORTED_LEAST);
        }
        let carried = path.rate(now, CARRIED_OVER).unwrap_or(f64::INFINITY).min(path.capacity());
        let known = path.arrivals.spread().narrowest_now(now).is_some();
        if known { carried.max(self.total * CARRIED_LEAST) } else { carried }
    }

    /// `room`: 1 without a queue, 0 with one that is congestion.
    fn up(&mut self, now: Duration, elapsed: Duration, path: &Path, room: f64, calm: bool) {
        if !calm {
            self.calm_since = None;
        }
        let calm_for = now.saturating_sub(*self.calm_since.get_or_insert(now));
        if !path.rate(now, USED_OVER).is_some_and(|rate| rate > self.total * USED) {
            self.calm_since = None;
            return;
        }
        let most = path.arrivals.spread().narrowest_lately(now).map_or(f64::INFINITY, |narrowest| narrowest * ABOVE);
        let faster = self.faster(now, path);
        let alone = self.is_alone(now);
        let ceiling = match path.arrivals.spread().narrowest_well_known(now) {
            // Better known than by a queue.
            Some(narrowest) if alone && faster == 1.0 => narrowest,
            _ => (self.ceiling * faster).min(most),
        };
        let missing = ceiling * if alone { SHARE_ALONE } else { SHARE } - self.total;
        if alone && !self.rested(now) && missing < 0.0 || (faster > 1.0 || alone) && calm && missing > 0.0 {
            self.total += missing * elapsed.div_duration_f64(CATCH_UP).min(1.0);
        }
        let careful = CAUTION.min(self.total * CAUTION_SHARE);
        let climb = if (ceiling * NEAR..ceiling * BEYOND).contains(&self.total) {
            self.calm_since = None;
            if !self.rested(now) {
                return;
            }
            if alone { careful } else { CAUTION }
        } else if path.reported.is_some() && most == f64::INFINITY {
            // Frames of a packet show nothing of the narrowest: what is beyond is found out step by step.
            careful
        } else {
            let doublings = (calm_for.div_duration_f64(CALM_FOR) - 0.5).clamp(0.0, DOUBLINGS);
            (CLIMB + self.total * CLIMB_SHARE) * doublings.exp2()
        };
        self.total = (self.total + climb * room * elapsed.as_secs_f64()).min(most.max(self.total));
    }

    /// How many times what it carried when a queue stood last the link carries now.
    fn faster(&self, now: Duration, path: &Path) -> f64 {
        let spread = path.arrivals.spread();
        let newest = if self.is_alone(now) { spread.narrowest_soon(now) } else { spread.narrowest(now) };
        match (self.narrowest, newest) {
            (Some(then), Some(now)) if now > then * FASTER => now / then,
            _ => 1.0,
        }
    }

    /// Whether it is time to look if the link carries more. Without the server's reports it always is.
    fn rested(&self, now: Duration) -> bool {
        let share = self.narrowest.map_or(0.0, |narrowest| (self.total / narrowest).min(1.0));
        let rest = if self.is_alone(now) { LONG_REST } else { REST.mul_f64(share) };
        self.stepped.is_none_or(|at| now.saturating_sub(at) >= rest)
    }

    /// Whether nobody else sends over the narrowest part of the way.
    pub(super) fn is_alone(&self, now: Duration) -> bool {
        self.alone.is_some_and(|at| now.saturating_sub(at) <= STILL_ALONE)
    }

    fn look_for_others(&mut self, now: Duration, path: &Path) {
        let spread = path.arrivals.spread();
        let Some(narrowest) = spread.narrowest_lately(now).filter(|_| spread.is_even(now)) else { return };
        let stepped = self.stepped.is_some_and(|at| now.saturating_sub(at) <= SERIES);
        if self.slower && stepped && self.was_alone(now) {
            // The first few frames after the link became slower say it less well.
            self.ceiling = self.ceiling.max(narrowest);
        }
        let calm = path.reported.is_some_and(|queue| queue < CALM);
        let sent = path.rate(now, USED_OVER).filter(|_| calm).unwrap_or(0.0);
        if self.ceiling.max(sent) >= narrowest * ALONE {
            self.alone = Some(now);
            self.seen_alone = Some(now);
        }
    }

    fn was_alone(&self, now: Duration) -> bool {
        self.seen_alone.is_some_and(|at| now.saturating_sub(at) <= WAS_ALONE)
    }
}
