//! RTP packets of one stream by their sequence numbers (RFC 3550, appendix A.1 and A.3, without the probation).

/// Totals of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    first: Option<u64>,
    highest: u64,
    /// Packets that came.
    pub received: u64,
    /// Bytes of them, with their RTP headers.
    pub bytes: u64,
}

impl Counter {
    /// Counts a packet.
    pub fn count(&mut self, sequence: u16, bytes: usize) {
        let sequence = u64::from(sequence);
        if self.first.is_none() {
            // One round ahead, so that a packet that overtook the first has a number too.
            self.first = Some(sequence + 0x1_0000);
            self.highest = sequence + 0x1_0000;
        }
        let ahead = (sequence + 0x1_0000 - self.highest % 0x1_0000) % 0x1_0000;
        if ahead < 0x8000 {
            self.highest += ahead;
        }
        self.received += 1;
        self.bytes += bytes as u64;
    }

    /// Packets from the first sequence number to the highest.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.first.map_or(0, |first| self.highest + 1 - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(sequence: impl IntoIterator<Item = u16>) -> (u64, u64) {
        let mut counter = Counter::default();
        sequence.into_iter().for_each(|number| counter.count(number, 10));
        (counter.expected(), counter.received)
    }

    #[test]
    fn gaps_are_seen_and_late_packets_close_them() {
        assert_eq!(counted([]), (0, 0));
        assert_eq!(counted(5..15), (10, 10));
        assert_eq!(counted([5, 6, 9, 10]), (6, 4));
        assert_eq!(counted([5, 6, 9, 7, 8, 10]), (6, 6));
    }

    #[test]
    fn numbers_begin_again_after_65535() {
        let long = (0..200_000_u32).map(|number| (number + 65_000) as u16);
        assert_eq!(counted(long), (200_000, 200_000));
        assert_eq!(counted([65_534, 65_535, 2, 0, 1]), (5, 5));
    }
}
