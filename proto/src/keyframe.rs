//! Requests for key frames. Who sends limits them: on TCP a key frame that nobody needs is delay for everybody. Who
//! receives asks until one comes.

use std::time::Duration;

/// What to do with a request (PLI or FIR, RFC 4585 and RFC 5104).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it to the encoder now.
    Now,
    /// A key frame is too recent; serve the request at this time, together with all others that come until then.
    At(Duration),
    /// One is already waiting to be served.
    Merged,
}

/// How long a request waits for a queue over its budget to drain, and how often it is asked whether it has.
const PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(40);

/// Lets one key frame through per interval, and loses no request: a late one is served when the interval ends. While
/// the queue is over its budget a request waits too, for a second at most: the budget pays for key frames as well.
#[derive(Debug, Clone)]
pub struct KeyframeLimiter {
    interval: Duration,
    last: Option<Duration>,
    /// Since when a request waits.
    waiting: Option<Duration>,
}

impl KeyframeLimiter {
    /// At most one key frame per `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, last: None, waiting: None }
    }

    /// Somebody needs a key frame. `now` counts from any fixed moment; `full`: the queue is over its budget.
    pub fn request(&mut self, now: Duration, full: bool) -> Verdict {
        if self.waiting.is_some() {
            return Verdict::Merged;
        }
        self.waiting = Some(now);
        match self.due(now, full) {
            None => Verdict::Now,
            Some(at) => Verdict::At(at),
        }
    }

    /// The time that [`Verdict::At`] named, or this function the last time, has come. None: the request is to be passed on
    /// now; else it is to be asked again at this time.
    pub fn due(&mut self, now: Duration, full: bool) -> Option<Duration> {
        let free = self.last.map_or(now, |last| last + self.interval);
        if now < free {
            return Some(free);
        }
        if full && self.waiting.is_some_and(|since| now.saturating_sub(since) < PATIENCE) {
            return Some(now + AGAIN);
        }
        self.waiting = None;
        self.last = Some(now);
        None
    }
}

/// A request for a key frame that brought none is made again after this time. Janus 1.4.1 forgets one that comes within
/// a second of another (`janus_videoroom_reqpli`).
const ASK_AGAIN: Duration = Duration::from_millis(1100);

/// A receiver that can show nothing before a key frame: when it asks for one again. `rtph264depay` asks by itself when
/// it begins and after a loss, each time only once, and what it asks, or what it gets, may be lost too. There is no end
/// to it: without a key frame nothing is shown, and who sends limits how many are made.
#[derive(Debug, Clone, Default)]
pub struct KeyframeWait {
    asked: Option<Duration>,
    shows: bool,
}

impl KeyframeWait {
    /// A packet came, after a `loss` or not, and the depayloader asks at a loss; whether it is to be asked for it now.
    pub fn packet(&mut self, now: Duration, loss: bool) -> bool {
        if loss {
            self.shows = false;
            self.asked = Some(now);
        }
        if self.shows || now.saturating_sub(*self.asked.get_or_insert(now)) < ASK_AGAIN {
            return false;
        }
        self.asked = Some(now);
        true
    }

    /// A frame came through.
    pub fn frame(&mut self) {
        self.shows = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_passes_the_next_waits_the_others_are_merged() {
        let ms = Duration::from_millis;
        let mut limiter = KeyframeLimiter::new(ms(500));
        assert_eq!(limiter.request(ms(10), false), Verdict::Now);
        assert_eq!(limiter.request(ms(20), false), Verdict::At(ms(510)));
        assert_eq!(limiter.request(ms(30), false), Verdict::Merged);
        assert_eq!(limiter.due(ms(510), false), None);
        assert_eq!(limiter.request(ms(520), false), Verdict::At(ms(1010)));
    }

    #[test]
    fn a_receiver_asks_until_a_frame_comes() {
        let ms = Duration::from_millis;
        let mut wait = KeyframeWait::default();
        let asks = |wait: &mut KeyframeWait, times: &[u64]| -> Vec<u64> {
            times.iter().copied().filter(|at| wait.packet(ms(*at), false)).collect()
        };
        assert_eq!(asks(&mut wait, &[0, 500, 1000, 1100, 1500, 2200]), [1100, 2200], "from the beginning");
        wait.frame();
        assert_eq!(asks(&mut wait, &[3300, 9000]), [] as [u64; 0]);
        assert!(!wait.packet(ms(9500), true), "the depayloader has just asked itself");
        assert_eq!(asks(&mut wait, &[10_000, 10_600, 11_000]), [10_600]);
    }

    #[test]
    fn a_full_queue_is_waited_for_but_not_for_ever() {
        let ms = Duration::from_millis;
        let mut limiter = KeyframeLimiter::new(ms(500));
        assert_eq!(limiter.request(ms(0), true), Verdict::At(ms(40)));
        assert_eq!(limiter.due(ms(40), true), Some(ms(80)));
        assert_eq!(limiter.due(ms(80), false), None, "it has drained");
        assert_eq!(limiter.request(ms(600), true), Verdict::At(ms(640)));
        assert_eq!(limiter.due(ms(1590), true), Some(ms(1630)));
        assert_eq!(limiter.due(ms(1630), true), None, "somebody sees nothing at all meanwhile");
    }

    proptest! {
        #[test]
        fn never_more_often_than_the_interval_and_none_is_lost(
            gaps in proptest::collection::vec((0_u64..400, any::<bool>()), 1..80),
        ) {
            let interval = Duration::from_millis(500);
            let mut limiter = KeyframeLimiter::new(interval);
            let (mut now, mut served, mut due): (_, Vec<Duration>, _) = (Duration::ZERO, Vec::new(), None);
            for (gap, full) in gaps {
                now += Duration::from_millis(gap);
                while let Some(at) = due.filter(|at| *at <= now) {
                    due = limiter.due(at, full);
                    if due.is_none() {
                        served.push(at);
                    }
                }
                match limiter.request(now, full) {
                    Verdict::Now => served.push(now),
                    Verdict::At(at) => due = Some(at),
                    Verdict::Merged => prop_assert!(due.is_some()),
                }
                prop_assert!(due.is_some() || served.last() == Some(&now));
            }
            prop_assert!(served.windows(2).all(|pair| pair[1] - pair[0] >= interval));
        }
    }
}
