//! What is asked for some time and ends by itself.

use std::time::Duration;

use super::clock::Now;

/// Until when something lasts; asked for anew, it lasts as long as was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lapse(Option<Duration>);

impl Lapse {
    /// From now on for so long. It does not outlast the daemon, and the clock on the wall has no part in it.
    pub fn begin(&mut self, now: Now, lasts: Duration) {
        self.0 = Some(now.monotonic.saturating_add(lasts));
    }

    /// Whether it lasts.
    #[must_use]
    pub fn lasts(&self, now: Now) -> bool {
        self.0.is_some_and(|until| now.monotonic < until)
    }

    /// Whether it has ended since this was asked last: true once for each end.
    #[must_use]
    pub fn ends(&mut self, now: Now) -> bool {
        let ended = self.0.is_some() && !self.lasts(now);
        if ended {
            self.0 = None;
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_once_after_the_time_that_was_asked_last() {
        let at = |seconds: u64| Now { monotonic: Duration::from_secs(seconds), wall: None };
        let mut level = Lapse::default();
        assert!(!level.lasts(at(0)) && !level.ends(at(0)), "nobody asked");
        level.begin(at(10), Duration::from_secs(60));
        assert!(level.lasts(at(69)) && !level.ends(at(69)));
        // Asked for anew: for longer, and then for less.
        level.begin(at(69), Duration::from_secs(600));
        assert!(level.lasts(at(70)) && !level.ends(at(668)));
        level.begin(at(100), Duration::from_secs(60));
        assert!(level.lasts(at(159)) && !level.ends(at(159)));
        assert!(!level.lasts(at(160)) && level.ends(at(160)));
        assert!(!level.ends(at(161)), "once");
    }
}
