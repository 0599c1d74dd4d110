//! When packets arrived, as the server tells it: the queue between the sender and the server, to the millisecond.
//!
//! The server reports the arrival of each packet by its own clock (draft-holmer-rmcat-transport-wide-cc-extensions-01). A
//! packet's time on its way is known but for the difference of the two clocks, so its queue is what it took more than
//! packets took in quiet moments of late. That is finer than what TCP's acknowledgements tell, since they come late by up
//! to 40 ms, and it counts the whole way, also behind a relay or a proxy, where TCP ends.

use std::collections::VecDeque;
use std::time::Duration;

use super::others;
use super::spread::Spread;

/// A packet of which a report tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When it was sent, by the sender's clock, since any fixed moment.
    pub sent: Duration,
    /// Its size on the way, bytes.
    pub bytes: u64,
    /// When it arrived, by the receiver's clock, since any fixed moment. None: not before the report was made; sound overtakes
    /// the picture. No later report tells of it, and on TCP it does arrive.
    pub arrived: Option<Duration>,
}

/// Reports older than this say nothing of now.
const FRESH: Duration = Duration::from_millis(300);
/// Packets that are kept: those of a second at 2 Mb/s.
const PACKETS: usize = 256;
/// The queue of a moment is the least that a packet met in it.
const MOMENT: Duration = Duration::from_millis(100);
/// Those of 20 s are kept: clocks drift, and ways change.
const MOMENTS: usize = 200;
/// Quiet is a moment in the middle of all, but not one of much more than the quietest tenth: where times vary, the very
/// quietest is an accident, and where a queue stands for long, the middle is the queue.
const QUIETEST: usize = 10;
const VARIES: i64 = 10_000;
/// A queue that stays for this long in spite of all steps down is the way's own: another route, or another network.
const STAYS: Duration = Duration::from_secs(3);
/// Or somebody else's: to tell, what a packet took before is remembered for as long as round-trip times are.
const REMEMBERED: Duration = Duration::from_secs(20);

/// What was reported so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals {
    heard: Option<Duration>,
    packets: VecDeque<Arrival>,
    /// When each moment was, and what a packet took at least, microseconds, up to the clocks' difference.
    moments: VecDeque<(Duration, i64)>,
    /// Since when packets take longer than in quiet moments.
    longer: Option<Duration>,
    /// When that was taken to be the way's own, and what a packet took before.
    before: Option<(Duration, i64)>,
    spread: Spread,
}

impl Arrivals {
    /// Takes a report, in the order in which the packets were sent.
    pub(super) fn hear(&mut self, now: Duration, report: &[Arrival]) {
        for packet in report {
            if self.packets.back().is_some_and(|last| last.sent > packet.sent) {
                continue;
            }
            self.heard = Some(now);
            self.packets.push_back(*packet);
            self.spread.add(now, packet);
        }
        self.packets.drain(..self.packets.len().saturating_sub(PACKETS));
        if self.moments.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= MOMENT)
            && let Some(least) = self.least(MOMENT)
        {
            self.moment(now, least);
        }
    }

    fn moment(&mut self, now: Duration, least: i64) {
        let longer = self.quiet().is_some_and(|quiet| least > quiet + VARIES);
        self.longer = longer.then(|| self.longer.unwrap_or(now));
        if self.longer.is_some_and(|since| now.saturating_sub(since) >= STAYS) {
            self.before = self.quietest(now).map(|quiet| (now, quiet));
            self.longer = None;
            self.moments.clear();
        }
        self.moments.push_back((now, least));
        self.moments.drain(..self.moments.len().saturating_sub(MOMENTS));
    }

    /// What the narrowest part of the way lets through.
    pub(super) fn spread(&self) -> &Spread {
        &self.spread
    }

    /// The queue that every packet met that was sent in the last `window` of what was reported; none if nothing was
    /// reported lately.
    pub(super) fn queue(&self, now: Duration, window: Duration) -> Option<Duration> {
        let least = self.least(window).filter(|_| self.is_fresh(now))?;
        Some(Duration::from_micros((least - self.quiet()?).max(0).unsigned_abs()))
    }

    /// The part of the queue that is not ours; none where too little was reported.
    pub(super) fn others_queue(&self, now: Duration) -> Option<Duration> {
        others::queue(&self.packets, self.quietest(now).filter(|_| self.is_fresh(now))?)
    }

    /// What a packet takes without a queue, or took before one stayed.
    fn quietest(&self, now: Duration) -> Option<i64> {
        let before = self.before.filter(|(at, _)| now.saturating_sub(*at) <= REMEMBERED).map(|(_, quiet)| quiet);
        self.quiet().into_iter().chain(before).min()
    }

    /// What a packet takes without a queue, microseconds.
    fn quiet(&self) -> Option<i64> {
        let mut moments: Vec<i64> = self.moments.iter().map(|(_, least)| *least).collect();
        moments.sort_unstable();
        let (quietest, middle) = (moments.get(moments.len() / QUIETEST)?, moments.get(moments.len() / 2)?);
        Some(*middle.min(&(quietest + VARIES)))
    }

    /// What was let through of the packets that were sent in the last `window` of what was reported, bit/s.
    pub(super) fn carried(&self, window: Duration) -> Option<f64> {
        let (bytes, time) = passed(self.recent(window)?)?;
        (time > Duration::ZERO).then(|| bytes as f64 * 8.0 / time.as_secs_f64())
    }

    fn least(&self, window: Duration) -> Option<i64> {
        self.recent(window)?.filter_map(took).min()
    }

    /// The packets that were sent in the last `window` of what was reported, in the order in which they were sent.
    fn recent(&self, window: Duration) -> Option<impl Iterator<Item = &Arrival>> {
        let newest = self.packets.back()?.sent;
        let begin = self.packets.partition_point(|packet| newest - packet.sent > window);
        Some(self.packets.range(begin..))
    }

    fn is_fresh(&self, now: Duration) -> bool {
        self.heard.is_some_and(|heard| now.saturating_sub(heard) <= FRESH)
    }
}

/// Bytes between the first and the last that are known to have arrived, and the time between these two.
pub(super) fn passed<'a>(packets: impl Iterator<Item = &'a Arrival>) -> Option<(u64, Duration)> {
    let (mut begin, mut end, mut bytes, mut unknown) = (None::<Duration>, None::<Duration>, 0, 0);
    for packet in packets {
        match (packet.arrived, begin) {
            (Some(arrived), None) => (begin, end) = (Some(arrived), Some(arrived)),
            (Some(arrived), Some(first)) => {
                bytes += packet.bytes + std::mem::take(&mut unknown);
                (begin, end) = (Some(first.min(arrived)), end.max(Some(arrived)));
            }
            (None, Some(_)) => unknown += packet.bytes,
            (None, None) => {}
        }
    }
    Some((bytes, end? - begin?))
}

/// How long it was on its way, up to the clocks' difference, microseconds.
pub(super) fn took(packet: &Arrival) -> Option<i64> {
    Some(micros(packet.arrived?) - micros(packet.sent))
}

/// Whole microseconds.
pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1250;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// `frames` of three packets each, 33 ms apart, from `sent` on; the receiver's clock is an hour ahead.
    fn frames(sent: u64, frames: u64, takes: u64, apart: u64) -> Vec<Arrival> {
        let packet = |frame, index| {
            let sent = ms(sent + 33 * frame);
            Arrival { sent, bytes: BYTES, arrived: Some(ms(3_600_000) + sent + ms(takes + apart * index)) }
        };
        (0..frames).flat_map(|frame| (0..3).map(move |index| packet(frame, index))).collect()
    }

    fn after(reports: &[(u64, Vec<Arrival>)]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        reports.iter().for_each(|(now, report)| arrivals.hear(ms(*now), report));
        arrivals
    }

    #[test]
    fn the_queue_is_what_a_packet_takes_longer_than_in_quiet_moments() {
        let quiet: Vec<_> = (0..20).map(|n| (100 * n + 50, frames(100 * n, 3, 12, 8))).collect();
        let mut arrivals = after(&quiet);
        assert_eq!(arrivals.queue(ms(1960), ms(100)), Some(Duration::ZERO));
        arrivals.hear(ms(2150), &frames(2000, 4, 12 + 25, 8));
        assert_eq!(arrivals.queue(ms(2150), ms(90)), Some(ms(25)));
        // One packet that met none is enough: it does not stand.
        assert_eq!(arrivals.queue(ms(2150), ms(300)), Some(Duration::ZERO));
        assert_eq!(arrivals.queue(ms(2150) + FRESH + ms(1), ms(90)), None, "too old");
        assert_eq!(Arrivals::default().queue(ms(0), ms(90)), None);
    }

    #[test]
    fn what_stays_is_the_ways_own() {
        let mut reports: Vec<_> = (0..20).map(|n| (100 * n + 50, frames(100 * n, 3, 12, 8))).collect();
        reports.extend((20..45).map(|n| (100 * n + 50, frames(100 * n, 3, 52, 8))));
        assert_eq!(after(&reports).queue(ms(4460), ms(90)), Some(ms(30)));
        reports.extend((45..60).map(|n| (100 * n + 50, frames(100 * n, 3, 52, 8))));
        assert_eq!(after(&reports).queue(ms(5960), ms(90)), Some(Duration::ZERO));
        reports.extend((60..62).map(|n| (100 * n + 50, frames(100 * n, 3, 77, 8))));
        assert_eq!(after(&reports).queue(ms(6160), ms(90)), Some(ms(25)), "from there on");
    }

    #[test]
    fn what_no_report_tells_of_has_arrived_too() {
        let mut told = frames(0, 6, 12, 8);
        for packet in told.iter_mut().skip(4).step_by(3) {
            packet.arrived = None;
        }
        let all = after(&[(200, frames(0, 6, 12, 8))]).carried(ms(200));
        assert_eq!(after(&[(200, told)]).carried(ms(200)), all);
        assert!(all.is_some_and(|carried| (700_000.0..1_000_000.0).contains(&carried)), "{all:?}");
    }
}
