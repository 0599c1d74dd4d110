//! Time as input. The clock on the wall orders nothing: it only ends what has an end, and only while it can be trusted.

use std::time::Duration;

/// How far ahead of a synchronised clock a command may have been made, seconds. Clocks that are kept right differ by less
/// than a second, one that is set by hand by a few minutes; the more is allowed, the longer a floor that is ahead lasts.
pub(super) const MAX_AHEAD_S: u64 = 300;

/// What time it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment of this run of the daemon; goes on while the machine sleeps.
    pub monotonic: Duration,
    /// Unix seconds, only while the clock is synchronised.
    pub wall: Option<u64>,
}

/// From when to when something holds, as its author's clock says, Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub created: u64,
    pub expires: u64,
}

impl Validity {
    /// Whether it is over, `age` after it was received. A clock that is not synchronised, or that shows a time before
    /// the signature was made, says nothing: then the age has to be less than the whole time.
    pub(super) fn is_over(self, age: Duration, now: Now) -> bool {
        match now.wall {
            Some(wall) if wall >= self.created => wall >= self.expires,
            _ => age.as_secs() >= self.expires.saturating_sub(self.created),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_can_not_be_trusted_leaves_it_to_the_age() {
        const TEN_YEARS: u64 = 10 * 365 * 86_400;
        let validity = Validity { created: 1_800_000_000, expires: 1_800_000_600 };
        let over = |wall: Option<u64>, age: u64| {
            validity.is_over(Duration::from_secs(age), Now { monotonic: Duration::ZERO, wall })
        };
        assert!(!over(Some(validity.created), 0));
        assert!(!over(Some(validity.expires - 1), 9_999));
        assert!(over(Some(validity.expires), 0));
        // Not synchronised, or ten years slow.
        for wall in [None, Some(validity.created - TEN_YEARS)] {
            assert!(!over(wall, 599), "{wall:?}");
            assert!(over(wall, 600), "{wall:?}");
        }
        // Ten years fast, and synchronised all the same: refused, never kept for too long.
        assert!(over(Some(validity.created + TEN_YEARS), 0));
    }
}
