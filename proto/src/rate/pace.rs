//! Which frames are left out so that fewer remain, evenly.

use std::time::Duration;

/// Passes a given number of frames a second of those that come.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    interval: Duration,
    due: Option<Duration>,
}

impl Pace {
    /// So many a second from now on; 0: all.
    pub fn set(&mut self, frames_per_second: u32) {
        let interval = if frames_per_second == 0 { Duration::ZERO } else { Duration::from_secs(1) / frames_per_second };
        if interval != self.interval {
            (self.interval, self.due) = (interval, None);
        }
    }

    /// Whether the frame that comes now passes.
    pub fn passes(&mut self, now: Duration) -> bool {
        let Some(due) = self.due else {
            self.due = Some(now + self.interval);
            return true;
        };
        // Frames come a little early or late: what is nearer to its time than a quarter of the interval is in time.
        if now + self.interval / 4 < due {
            return false;
        }
        // A source that stood still does not catch up.
        self.due = Some((due + self.interval).max(now + self.interval / 2));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that pass of those of ten seconds, and the longest time between two.
    fn run(camera: u32, wanted: u32, jitter: u64) -> (usize, Duration) {
        let mut pace = Pace::default();
        pace.set(wanted);
        let frames = (0..u64::from(camera) * 10)
            .map(|n| Duration::from_micros(n * 1_000_000 / u64::from(camera) + (n * 7919) % (2 * jitter * 1000 + 1)));
        let passed: Vec<Duration> = frames.filter(|at| pace.passes(*at)).collect();
        (passed.len(), passed.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap())
    }

    #[test]
    fn as_many_as_wanted_and_evenly() {
        for (camera, wanted) in [(30, 30), (30, 20), (30, 15), (30, 10), (25, 20), (25, 15), (15, 20), (60, 15)] {
            let (passed, longest) = run(camera, wanted, 3);
            let expected = wanted.min(camera) as usize * 10;
            assert!(passed.abs_diff(expected) <= expected / 20 + 1, "{camera} -> {wanted}: {passed}");
            let interval = Duration::from_secs(1) / wanted.min(camera);
            assert!(longest <= interval + Duration::from_secs(1) / camera + Duration::from_millis(7), "{longest:?}");
        }
    }

    #[test]
    fn all_pass_when_nothing_is_set() {
        let mut pace = Pace::default();
        assert!((0..100).all(|n| pace.passes(Duration::from_millis(n))));
    }
}
