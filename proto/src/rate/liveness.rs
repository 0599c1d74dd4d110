//! Whether the link still carries anything, and what is to be done with what waited when it does again.

use std::time::Duration;

use super::LinkSample;

/// After this time the picture that waits is of no use to a conversation. Sooner it is little, since no frame enters while
/// nothing is acknowledged, and a key frame in its place takes longer.
const STALE: Duration = Duration::from_secs(1);

/// When something was acknowledged last.
#[derive(Debug, Clone, Default)]
pub(super) struct Liveness {
    acked: u64,
    progressed: Option<Duration>,
    gap: bool,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    /// For how long nothing was acknowledged that should have been.
    pub(super) stalled: Duration,
    /// Nothing for the configured time.
    pub(super) dead: bool,
    /// What waits of the picture is too old.
    pub(super) discard: bool,
    /// It carries again after pictures were thrown away.
    pub(super) refresh: bool,
}

impl Liveness {
    /// Takes a sample; `dead_after` is the configured time.
    pub(super) fn see(&mut self, sample: &LinkSample, dead_after: Duration) -> Life {
        let waiting = sample.video_waiting_bytes + sample.audio_waiting_bytes;
        let idle = waiting + sample.unsent_bytes + sample.in_flight_bytes == 0;
        let moved = sample.acked_bytes != self.acked;
        self.acked = sample.acked_bytes;
        let since = match self.progressed {
            Some(since) if !idle && !moved => since,
            _ => sample.at,
        };
        self.progressed = Some(since);
        let stalled = sample.at.saturating_sub(since);
        let dead = stalled >= dead_after;
        let discard = stalled >= STALE && sample.video_waiting_bytes > 0;
        self.gap |= discard;
        let refresh = self.gap && stalled == Duration::ZERO;
        if refresh {
            self.gap = false;
        }
        Life { stalled, dead, discard, refresh }
    }
}
