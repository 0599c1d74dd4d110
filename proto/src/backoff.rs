//! Exponential back-off with full jitter: a fleet that lost its server does not come back as one wave.
//!
//! Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (the "full jitter" variant).

use std::time::Duration;

/// Delays before the next try. The randomness is an input, so that a decision can be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays between 0 and `base`, doubled with each failure, never above `cap`.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Counts one failure and says how long to wait. `random` is uniform over all of `u32`.
    pub fn next(&mut self, random: u32) -> Duration {
        let ceiling =
            self.base.saturating_mul(1_u32.checked_shl(self.failures.min(30)).unwrap_or(u32::MAX)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// The same for a connection that lasted so long. Only a `steady` one was good: a server that takes connections and
    /// drops them at once is not asked at short intervals for ever.
    pub fn after(&mut self, lasted: Duration, steady: Duration, random: u32) -> Duration {
        if lasted >= steady {
            self.reset();
        }
        self.next(random)
    }

    /// To be called when the thing works again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_until_the_cap_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        let ceilings: Vec<u128> = (0..7).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 15000, 15000]);
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX).as_millis(), 500);
        assert_eq!(backoff.next(0), Duration::ZERO);
    }

    #[test]
    fn only_a_steady_connection_makes_the_next_pause_a_short_one() {
        let steady = Duration::from_secs(180);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
        let mut after = |lasted: u64| backoff.after(Duration::from_secs(lasted), steady, u32::MAX).as_secs();
        // Connections that are lost again soon, or were none.
        assert_eq!([0, 20, 0, 179, 0, 0, 0, 179].map(&mut after), [1, 2, 4, 8, 16, 32, 64, 120]);
        assert_eq!([179, 180, 0, 3600, 1].map(&mut after), [120, 1, 2, 1, 2]);
    }

    proptest! {
        #[test]
        fn never_above_the_cap(randoms in proptest::collection::vec(any::<u32>(), 0..100)) {
            let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
            for random in randoms {
                prop_assert!(backoff.next(random) <= Duration::from_secs(15));
            }
        }
    }
}
