//! When the watchdog may be fed: every part that must be alive has shown so lately.

use std::time::Duration;

/// A part of the daemon that proves its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The task that owns the call.
    Call,
    /// The task that looks at the sockets.
    Audit,
    /// Frames that reach the encoder; watched in a call alone.
    Frames,
}

impl Part {
    const ALL: [Self; 3] = [Self::Call, Self::Audit, Self::Frames];

    /// The longest silence that is still life.
    #[must_use]
    pub fn patience(self) -> Duration {
        match self {
            // The longest that the call's task waits between two turns is one second.
            Self::Call => Duration::from_secs(5),
            Self::Audit => Duration::from_secs(5),
            // A camera that opens slowly is covered by the substitute picture, which is a frame too.
            Self::Frames => Duration::from_secs(10),
        }
    }
}

/// When each part was last heard.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats {
    last: [Option<Duration>; 3],
}

impl Heartbeats {
    /// A part lives at `now`, which counts from any fixed moment.
    pub fn beat(&mut self, part: Part, now: Duration) {
        self.last[part as usize] = Some(now);
    }

    /// A part is no longer expected to be heard: frames, when a call ends.
    pub fn rest(&mut self, part: Part) {
        self.last[part as usize] = None;
    }

    /// The parts that have been silent for too long. Empty: the watchdog may be fed.
    #[must_use]
    pub fn silent(&self, now: Duration) -> Vec<Part> {
        let silent =
            |part: &Part| self.last[*part as usize].is_some_and(|last| now.saturating_sub(last) > part.patience());
        Part::ALL.into_iter().filter(silent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_silent_part_is_enough() {
        let s = Duration::from_secs;
        let mut beats = Heartbeats::default();
        assert_eq!(beats.silent(s(100)), [], "what never began is not missed");
        beats.beat(Part::Call, s(0));
        beats.beat(Part::Frames, s(0));
        assert_eq!(beats.silent(s(5)), []);
        assert_eq!(beats.silent(s(6)), [Part::Call]);
        beats.beat(Part::Call, s(10));
        assert_eq!(beats.silent(s(11)), [Part::Frames]);
        beats.rest(Part::Frames);
        assert_eq!(beats.silent(s(11)), []);
    }
}
