//! Requests for key frames, rate-limited: on TCP a key frame that nobody needs is delay for everybody.

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

/// Lets one key frame through per interval, and loses no request: a late one is served when the interval ends.
#[derive(Debug, Clone)]
pub struct KeyframeLimiter {
    interval: Duration,
    last: Option<Duration>,
    waiting: bool,
}

impl KeyframeLimiter {
    /// At most one key frame per `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, last: None, waiting: false }
    }

    /// Somebody needs a key frame. `now` counts from any fixed moment.
    pub fn request(&mut self, now: Duration) -> Verdict {
        if self.waiting {
            return Verdict::Merged;
        }
        match self.last.map(|last| last + self.interval) {
            Some(free) if now < free => {
                self.waiting = true;
                Verdict::At(free)
            }
            _ => {
                self.last = Some(now);
                Verdict::Now
            }
        }
    }

    /// The time that [`Verdict::At`] named has come, and the request is passed on.
    pub fn serve(&mut self, now: Duration) {
        self.waiting = false;
        self.last = Some(now);
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
        assert_eq!(limiter.request(ms(10)), Verdict::Now);
        assert_eq!(limiter.request(ms(20)), Verdict::At(ms(510)));
        assert_eq!(limiter.request(ms(30)), Verdict::Merged);
        limiter.serve(ms(510));
        assert_eq!(limiter.request(ms(520)), Verdict::At(ms(1010)));
    }

    proptest! {
        #[test]
        fn never_more_often_than_the_interval_and_none_is_lost(gaps in proptest::collection::vec(0_u64..400, 1..80)) {
            let interval = Duration::from_millis(500);
            let mut limiter = KeyframeLimiter::new(interval);
            let (mut now, mut served, mut due): (_, Vec<Duration>, _) = (Duration::ZERO, Vec::new(), None);
            for gap in gaps {
                now += Duration::from_millis(gap);
                if let Some(at) = due.filter(|at| *at <= now) {
                    limiter.serve(at);
                    served.push(at);
                    due = None;
                }
                match limiter.request(now) {
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
