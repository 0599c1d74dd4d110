//! Whether packets come as long as they should: the customer's sound on its way out, since a microphone that hangs reports no
//! error, and the agent's media on its way in, since a connection whose bytes got out of step reports none either.

use std::time::Duration;

/// The longest pause of the customer's sound that is no fault. It leaves fifty times a second, silence too.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// The same of the agent's media, which comes over the agent's own link too.
pub const AGENT_PATIENCE: Duration = Duration::from_secs(6);

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// None come any more.
    Missing,
    /// They come again, or are not expected any more.
    Back,
}

/// Watches a count of packets.
#[derive(Debug, Clone)]
pub struct PacketWatch {
    patience: Duration,
    /// The last count, and since when it stands.
    last: Option<(u64, Duration)>,
    missing: bool,
}

impl PacketWatch {
    /// A pause that is longer than `patience` is a fault.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, last: None, missing: false }
    }

    /// Takes the count of packets so far: none when no packet is expected. `now` counts from any fixed moment.
    pub fn observe(&mut self, now: Duration, packets: Option<u64>) -> Option<Change> {
        let still = match (packets, self.last) {
            (Some(packets), Some((count, since))) if packets == count => Some(since),
            _ => None,
        };
        self.last = packets.map(|packets| (packets, still.unwrap_or(now)));
        let missing = still.is_some_and(|since| now.saturating_sub(since) >= self.patience);
        let changed = missing != self.missing;
        self.missing = missing;
        changed.then_some(if missing { Change::Missing } else { Change::Back })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One look a second at these counts.
    fn watch(counts: &[Option<u64>]) -> Vec<(usize, Change)> {
        let mut watch = PacketWatch::new(PATIENCE);
        let looks = counts.iter().enumerate();
        looks.filter_map(|(at, count)| Some((at, watch.observe(Duration::from_secs(at as u64), *count)?))).collect()
    }

    #[test]
    fn sound_that_flows_is_right_also_when_its_connection_is_a_new_one() {
        assert_eq!(watch(&[Some(0), Some(50), Some(100), Some(2), Some(52), Some(52), Some(60)]), []);
    }

    #[test]
    fn sound_that_never_starts_or_stops_is_told_once_and_so_is_its_return() {
        assert_eq!(watch(&[Some(0); 9]), [(3, Change::Missing)]);
        let counts = [Some(50), Some(50), Some(50), Some(50), Some(50), Some(90), Some(140)];
        assert_eq!(watch(&counts), [(3, Change::Missing), (5, Change::Back)]);
    }

    #[test]
    fn what_is_not_expected_is_not_missed() {
        assert_eq!(watch(&[None; 9]), []);
        let counts = [Some(9), Some(9), Some(9), Some(9), None, Some(9), Some(9), Some(9), Some(9)];
        assert_eq!(watch(&counts), [(3, Change::Missing), (4, Change::Back), (8, Change::Missing)]);
    }
}
