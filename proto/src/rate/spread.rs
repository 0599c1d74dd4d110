//! How far apart the packets of a frame arrive: what the narrowest part of the way lets through, without filling it.

use std::collections::VecDeque;
use std::time::Duration;

use super::arrivals::{Arrival, passed};

/// Packets of one frame are sent within this time of each other.
pub(super) const TOGETHER: Duration = Duration::from_millis(3);
/// A smaller packet says nothing of a rate, bytes: sound is small, and passes a shaper that lets something through at once.
pub(super) const SMALL: u64 = 400;
/// Packets of sound that are kept until the frame ends: those of 160 ms.
const SMALLS: usize = 8;
/// A frame of fewer bytes behind its first packet says nothing either.
const BYTES: u64 = 350;
/// What each packet takes on the way besides itself, bytes: its length (RFC 4571), TCP with time stamps, and IPv4.
pub(super) const HEADERS: u64 = 2 + 32 + 20;
/// The part of the way that is packets themselves is the mean of about so many.
const MEAN_OF: f64 = 128.0;
/// Less time is not told from none. Such a frame says that the link is fast.
pub(super) const AT_ONCE: Duration = Duration::from_millis(1);
/// Frames that are looked at, and how old they may be: where frames are a packet each, or none is sent, nothing is known.
const FRAMES: usize = 12;
/// Where they differ little so many are enough.
const SOON: usize = 5;
/// And where a link does not change, more say it better.
const MANY: usize = 36;
const RECENT: Duration = Duration::from_secs(4);
/// What was seen of a link that has not changed since is remembered longer: on a slow one frames get smaller when a queue
/// has stood, down to a packet each.
const LATELY: Duration = Duration::from_secs(10);
/// Where nobody else sends, all but the slowest and the fastest of them arrive within this multiple of each other. Others'
/// packets between those of a frame make that three and more.
const ALIKE: f64 = 1.6;

/// The frames that arrived last.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread {
    frame: Vec<Arrival>,
    /// Sound that was sent since the frame began: on the way it may come between the frame's packets.
    small: Vec<Arrival>,
    /// When each was reported, and at what rate it arrived, with headers, bit/s.
    rates: VecDeque<(Duration, f64)>,
    /// Bytes of packets, and with their headers, the newest counting most.
    packets: f64,
    with_headers: f64,
}

impl Spread {
    /// The next packet, in the order in which they were sent.
    pub(super) fn add(&mut self, now: Duration, packet: &Arrival) {
        let is_small = packet.bytes < SMALL;
        let bytes = packet.bytes + HEADERS;
        let keep = 1.0 - 1.0 / MEAN_OF;
        self.packets = self.packets * keep + packet.bytes as f64;
        self.with_headers = self.with_headers * keep + bytes as f64;
        let packet = Arrival { bytes, ..*packet };
        if is_small {
            if !self.frame.is_empty() && self.small.len() < SMALLS {
                self.small.push(packet);
            }
            return;
        }
        if self.frame.first().is_some_and(|first| packet.sent.saturating_sub(first.sent) > TOGETHER) {
            self.end_frame(now);
        }
        self.frame.push(packet);
    }

    fn end_frame(&mut self, now: Duration) {
        if let Some((bytes, time)) = passed(self.frame.iter())
            && bytes >= BYTES
        {
            let bytes = bytes + self.between(time);
            self.rates.push_back((now, bytes as f64 * 8.0 / time.max(AT_ONCE).as_secs_f64()));
            self.rates.drain(..self.rates.len().saturating_sub(MANY));
        }
        self.frame.clear();
        self.small.clear();
    }

    /// The sound that arrived while the frame did, in this time, bytes.
    fn between(&self, time: Duration) -> u64 {
        let Some(begin) = self.frame.iter().filter_map(|packet| packet.arrived).min() else { return 0 };
        let is_between = |packet: &&Arrival| packet.arrived.is_some_and(|at| at > begin && at <= begin + time);
        self.small.iter().filter(is_between).map(|packet| packet.bytes).sum()
    }

    /// What the narrowest part of the way lets through, bit/s: the lower middle of the last frames, since a shaper that
    /// lets something through at once makes some too fast. Where others send too, it is more than what is left for us.
    pub(super) fn narrowest(&self, now: Duration) -> Option<f64> {
        self.middle(now, FRAMES, RECENT)
    }

    /// The same, for as long as nothing newer is seen: no more than this is let through, unless the link has changed.
    pub(super) fn narrowest_lately(&self, now: Duration) -> Option<f64> {
        self.middle(now, FRAMES, LATELY)
    }

    /// The same, by the middle of more frames, of those that are like the last ones: for a link that is ours alone.
    pub(super) fn narrowest_well_known(&self, now: Duration) -> Option<f64> {
        let newest = self.sorted(now, FRAMES, LATELY);
        let middle = newest.get(FRAMES / 2).filter(|_| newest.len() == FRAMES)?;
        let mut rates = self.sorted(now, MANY, LATELY);
        rates.retain(|rate| (middle / ALIKE..middle * ALIKE).contains(rate));
        rates.get(rates.len() / 2).map(|rate| rate * self.share())
    }

    /// The same, by fewer frames: for a link that is ours alone, on which they differ little.
    pub(super) fn narrowest_soon(&self, now: Duration) -> Option<f64> {
        self.middle(now, SOON, RECENT)
    }

    /// The same, by the last frames alone: sooner, and less certain.
    pub(super) fn narrowest_now(&self, now: Duration) -> Option<f64> {
        self.middle(now, FRAMES / 4, RECENT)
    }

    /// Whether all frames arrive at about the same rate: then no other's packets come between.
    pub(super) fn is_even(&self, now: Duration) -> bool {
        let rates = self.sorted(now, FRAMES, LATELY);
        let (slow, fast) = (rates.get(1), rates.get(FRAMES - 2));
        rates.len() == FRAMES && slow.zip(fast).is_some_and(|(slow, fast)| *fast <= slow * ALIKE)
    }

    fn middle(&self, now: Duration, frames: usize, since: Duration) -> Option<f64> {
        let rates = self.sorted(now, frames, since);
        rates.get(frames * 3 / 8).filter(|_| rates.len() == frames).map(|rate| rate * self.share())
    }

    /// Of what is let through headers are a part: the more, the smaller the packets. The rest.
    fn share(&self) -> f64 {
        self.packets / self.with_headers
    }

    /// The rates of the last frames, of those that are no older than `since`.
    fn sorted(&self, now: Duration, frames: usize, since: Duration) -> Vec<f64> {
        let recent = self.rates.iter().rev().take_while(|(at, _)| now.saturating_sub(*at) <= since);
        let mut rates: Vec<f64> = recent.take(frames).map(|(_, rate)| *rate).collect();
        rates.sort_unstable_by(f64::total_cmp);
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of three packets, `apart` ms apart on arrival.
    fn add(spread: &mut Spread, now: u64, frames: u64, apart: u64) {
        let now = Duration::from_millis(now);
        for frame in 0..frames {
            let sent = now + Duration::from_millis(33 * frame);
            for index in 0..3 {
                let arrived = Some(sent + Duration::from_millis(20 + apart * index));
                spread.add(now, &Arrival { sent, bytes: 1250, arrived });
            }
        }
    }

    fn after(now: u64, frames: u64, apart: u64) -> Spread {
        let mut spread = Spread::default();
        add(&mut spread, now, frames, apart);
        spread
    }

    /// What packets of 1,250 bytes are of what the link lets through, when so many bits do so a second.
    fn of(link: f64) -> f64 {
        link * 1250.0 / (1250 + HEADERS) as f64
    }

    fn same(rate: Option<f64>, expected: f64) {
        assert!(rate.is_some_and(|rate| (rate / expected - 1.0).abs() < 1e-3), "{rate:?}, {expected}");
    }

    #[test]
    fn the_narrowest_part_is_seen_in_how_frames_arrive() {
        let at = Duration::from_millis;
        // 1,304 bytes with headers every 8 ms: 1.25 Mb/s are packets.
        let mut spread = after(0, 13, 8);
        same(spread.narrowest(at(600)), 1_250_000.0);
        add(&mut spread, 600, 5, 4);
        same(spread.narrowest(at(800)), 1_250_000.0);
        same(spread.narrowest_now(at(800)), 2_500_000.0);
        add(&mut spread, 800, 13, 0);
        same(spread.narrowest(at(1000)), of(20_000_000.0 * 1304.0 / 1250.0));
        assert_eq!(spread.narrowest(at(5000)), None, "too old");
        same(spread.narrowest_lately(at(5000)), 20_000_000.0);
    }

    #[test]
    fn what_is_well_known_is_of_the_link_as_it_is_now() {
        let at = Duration::from_millis;
        let mut spread = after(0, 12, 8);
        assert_eq!(spread.narrowest_well_known(at(400)), None, "eleven are not enough");
        add(&mut spread, 400, 40, 8);
        // One in four is delayed a little, and is not the middle; the link becomes slower.
        for n in 0..8 {
            add(&mut spread, 2000 + 132 * n, 3, 8);
            add(&mut spread, 2100 + 132 * n, 1, 9);
        }
        same(spread.narrowest_well_known(at(3100)), 1_250_000.0);
        add(&mut spread, 3200, 14, 20);
        same(spread.narrowest_well_known(at(3700)), 500_000.0);
    }

    #[test]
    fn packets_of_others_between_ours_make_frames_uneven() {
        let at = Duration::from_millis;
        let mut spread = after(0, 13, 8);
        assert!(spread.is_even(at(600)));
        assert!(!spread.is_even(at(10_001)), "too old");
        add(&mut spread, 600, 2, 24);
        assert!(spread.is_even(at(700)), "one that was delayed");
        add(&mut spread, 700, 2, 24);
        assert!(!spread.is_even(at(800)));
        assert!(!after(0, 12, 8).is_even(at(600)), "eleven are not enough");
    }

    #[test]
    fn sound_between_the_packets_of_a_frame_counts_with_them() {
        let at = Duration::from_millis;
        let mut spread = Spread::default();
        for frame in 0..13 {
            let sent = at(33 * frame);
            let arrived = |ms| Some(sent + at(ms));
            spread.add(sent, &Arrival { sent, bytes: 1250, arrived: arrived(20) });
            spread.add(sent, &Arrival { sent, bytes: 1250, arrived: arrived(32) });
            // The first came between them, the others before and after.
            for ms in [22, 19, 33] {
                spread.add(sent, &Arrival { sent, bytes: 250, arrived: arrived(ms) });
            }
        }
        // 1,250 bytes and the sound between them in 12 ms, of 1,608 bytes on the way; of all that was sent, packets are this.
        let packets = f64::from(2 * 1250 + 3 * 250);
        let share = packets / (packets + 5.0 * HEADERS as f64);
        same(spread.narrowest(at(600)), (1500 + 2 * HEADERS) as f64 * 8.0 / 0.012 * share);
        // Sound alone is not kept for ever.
        (0..100).for_each(|n| spread.add(at(n), &Arrival { sent: at(n), bytes: 250, arrived: None }));
        assert_eq!(spread.small.len(), SMALLS);
    }

    #[test]
    fn frames_of_a_packet_say_nothing() {
        let mut spread = Spread::default();
        for n in 0..50 {
            let sent = Duration::from_millis(66 * n);
            spread.add(sent, &Arrival { sent, bytes: 1250, arrived: Some(sent) });
        }
        assert_eq!(
            (spread.narrowest(Duration::from_secs(3)), spread.narrowest_now(Duration::from_secs(3))),
            (None, None)
        );
    }
}
