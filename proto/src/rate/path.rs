//! What the samples say of the path: its queue, what it carries, and its round-trip time when it is empty.
//!
//! The kernel's smoothed round-trip time is too slow, and it grows by itself when the receiver acknowledges late. Here the
//! age of the oldest byte that is not acknowledged is taken instead: it needs nothing but the totals written and acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use super::arrivals::Arrivals;
use super::rivals::Rivals;
use super::target::CONGESTED;
use super::{LEAST_RATE, LinkSample, seconds};

/// Samples that are kept: more than a second at 20 ms.
const MARKS: usize = 128;
/// A queue stands when it has been there for this long without a gap, at the shortest.
const STANDING: Duration = Duration::from_millis(100);
const STANDING_MOST: Duration = Duration::from_millis(600);
/// A rate is measured over at least as many bytes: four segments, so that late acknowledgements don't make it.
const MEASURED: f64 = 4.0 * 1448.0 * 8.0;
/// After a loss, acknowledgements stand still for a round trip or two and then jump; a queue must stand longer to count.
const AFTER_LOSS: Duration = Duration::from_millis(400);
/// The base is the least of this many stretches of this length.
const STRETCHES: usize = 10;
const STRETCH: Duration = Duration::from_secs(2);
/// Each new measurement's share in the capacity.
const SMOOTH: f64 = 0.3;
/// A link without a queue may have become faster: what it is taken to carry grows by this share a second.
const FORGET: f64 = 0.2;
/// As long as it is below this multiple of what is sent.
const FORGET_MOST: f64 = 1.5;
/// No link is taken to carry more. bit/s
const CAPACITY_MOST: f64 = 20e6;

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Duration,
    written: u64,
    acked: u64,
    waiting: Duration,
    /// The queues that are congestion.
    queue: Duration,
}

/// The path as it was seen so far.
#[derive(Debug, Clone)]
pub(super) struct Path {
    marks: VecDeque<Mark>,
    stretches: VecDeque<(u64, Duration)>,
    capacity: f64,
    lost: Option<Duration>,
    retransmits: u64,
    /// Queue in the network, from the last sample.
    pub(super) network: Duration,
    /// Queue in front of the kernel, from the last sample.
    pub(super) waiting: Duration,
    /// The queue that was there all the time lately. In the network it does not count when it is somebody else's.
    pub(super) standing: Duration,
    /// What the server reports.
    pub(super) arrivals: Arrivals,
    /// The queue that stood, as the server's reports say; none without them, or when it is somebody else's.
    pub(super) reported: Option<Duration>,
    /// Who else is there.
    pub(super) rivals: Rivals,
}

impl Path {
    /// Nothing was seen yet; `capacity` is a guess, bit/s.
    pub(super) fn new(capacity: f64) -> Self {
        Self {
            marks: VecDeque::new(),
            stretches: VecDeque::new(),
            capacity,
            lost: None,
            retransmits: 0,
            network: Duration::ZERO,
            waiting: Duration::ZERO,
            standing: Duration::ZERO,
            arrivals: Arrivals::default(),
            reported: None,
            rivals: Rivals::new(),
        }
    }

    /// What it is taken to carry, bit/s.
    pub(super) fn capacity(&self) -> f64 {
        self.capacity
    }

    /// The round-trip time without a queue.
    pub(super) fn base(&self) -> Duration {
        self.stretches.iter().map(|(_, least)| *least).min().unwrap_or_default()
    }

    /// How long a queue must stand to count; `frame`: from one frame to the next.
    fn window(&self, now: Duration, frame: Duration) -> Duration {
        let bytes = Duration::from_secs_f64(MEASURED / self.capacity.max(LEAST_RATE));
        let window = bytes.max(frame * 5 / 4).clamp(STANDING, STANDING_MOST);
        if self.lossy(now) { window.max(AFTER_LOSS + self.base()) } else { window }
    }

    /// Whether something was lost so lately that everything behind it may still wait for it.
    pub(super) fn lossy(&self, now: Duration) -> bool {
        self.lost_within(now, AFTER_LOSS + self.base() * 2)
    }

    /// Whether something was lost in this time.
    pub(super) fn lost_within(&self, now: Duration, time: Duration) -> bool {
        self.lost.is_some_and(|at| now.saturating_sub(at) < time)
    }

    /// Takes a sample.
    pub(super) fn see(&mut self, sample: &LinkSample, frame: Duration) {
        let now = sample.at;
        let written = sample.acked_bytes + sample.unsent_bytes + sample.in_flight_bytes;
        // A new connection counts from zero.
        if self.marks.back().is_some_and(|last| last.acked > sample.acked_bytes || last.at > now) {
            self.marks.clear();
            self.stretches.clear();
        }
        if sample.retransmits > self.retransmits {
            self.lost = Some(now);
        }
        self.retransmits = sample.retransmits;
        let elapsed = self.marks.back().map_or(Duration::ZERO, |last| now - last.at);
        let progressed = self.marks.back().is_some_and(|last| sample.acked_bytes > last.acked);
        if progressed {
            self.found_base(now, self.written_at(sample.acked_bytes, now), sample.min_rtt);
        }
        let outstanding = written > sample.acked_bytes;
        let age = if outstanding { now - self.written_at(sample.acked_bytes + 1, now) } else { Duration::ZERO };
        self.network = age.saturating_sub(self.base().max(sample.min_rtt));
        self.waiting = seconds(sample.video_waiting_bytes + sample.audio_waiting_bytes, self.capacity);
        let queue = self.waiting + if self.rivals.present() { Duration::ZERO } else { self.network };
        self.marks.push_back(Mark { at: now, written, acked: sample.acked_bytes, waiting: self.waiting, queue });
        while self.marks.len() > MARKS {
            self.marks.pop_front();
        }
        let window = self.window(now, frame);
        self.standing = self.least(now, window, |mark| mark.queue);
        self.reported = if self.rivals.present() { None } else { self.arrivals.queue(now, window) };
        self.learn(now, elapsed, window);
        let mut rivals = self.rivals.clone();
        // What was lost holds up what is behind it, and lets it go all at once.
        let others = || self.arrivals.others_queue(now).filter(|_| !self.lossy(now)).unwrap_or_default();
        rivals.see(now, self.network, others, self.base(), written - sample.acked_bytes, |over| self.rate(now, over));
        self.rivals = rivals;
    }

    /// When the kernel was given this byte, as far as the samples tell: at the latest then.
    fn written_at(&self, byte: u64, now: Duration) -> Duration {
        let after = self.marks.partition_point(|mark| mark.written < byte);
        self.marks.get(after).map_or(now, |mark| mark.at)
    }

    fn found_base(&mut self, now: Duration, written: Duration, kernel: Duration) {
        let rtt = (now - written).max(kernel);
        let stretch = (now.as_millis() / STRETCH.as_millis()) as u64;
        match self.stretches.back_mut() {
            Some((last, least)) if *last == stretch => *least = rtt.min(*least),
            _ => self.stretches.push_back((stretch, rtt)),
        }
        while self.stretches.len() > STRETCHES {
            self.stretches.pop_front();
        }
    }

    fn least(&self, now: Duration, window: Duration, of: impl Fn(&Mark) -> Duration) -> Duration {
        let old_enough = self.marks.front().is_some_and(|first| now.saturating_sub(first.at) >= window);
        let recent = self.marks.iter().rev().take_while(|mark| now.saturating_sub(mark.at) <= window);
        if old_enough { recent.map(of).min().unwrap_or_default() } else { Duration::ZERO }
    }

    /// Between the first and the last acknowledgement of the window, bit/s; none when there were fewer than three.
    pub(super) fn rate(&self, now: Duration, window: Duration) -> Option<f64> {
        let begin = self.marks.partition_point(|mark| now.saturating_sub(mark.at) > window);
        let steps: Vec<&Mark> = self
            .marks
            .iter()
            .skip(begin)
            .zip(self.marks.iter().skip(begin + 1))
            .filter(|(before, after)| after.acked > before.acked)
            .map(|(_, after)| after)
            .collect();
        let (first, last) = (steps.first()?, steps.last()?);
        let elapsed = (last.at - first.at).as_secs_f64();
        (steps.len() >= 3 && elapsed > 0.0).then(|| (last.acked - first.acked) as f64 * 8.0 / elapsed)
    }

    /// What the path carries: seen while a queue stands, or when it carries more than was thought.
    fn learn(&mut self, now: Duration, elapsed: Duration, window: Duration) {
        // A round-trip time that varies looks like a short queue; what waits in front of the kernel is one.
        let full = self.standing >= CONGESTED || self.least(now, window, |mark| mark.waiting) > Duration::ZERO;
        if full {
            let carried = self.rate(now, window).or_else(|| self.rate(now, window * 4));
            if let Some(carried) = carried {
                self.capacity += (carried - self.capacity) * SMOOTH;
            }
        } else if let Some(more) = self.rate(now, STANDING).filter(|rate| *rate > self.capacity) {
            self.capacity = more;
        } else if let Some(sent) = self.rate(now, STANDING * 5).filter(|sent| sent * FORGET_MOST > self.capacity) {
            self.capacity = (self.capacity * (1.0 + FORGET * elapsed.as_secs_f64())).min(sent * FORGET_MOST);
        }
        self.capacity = self.capacity.clamp(LEAST_RATE, CAPACITY_MOST);
    }
}
