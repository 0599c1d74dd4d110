//! One direction of a path, as a model: a bottleneck with a queue, then delay, jitter and loss. No clock and no packets'
//! contents in here; [`super::emulator`] moves real packets through two of them.
//!
//! A packet waits in a queue that is bounded in bytes (the last one is dropped), leaves it at the bottleneck's rate, may
//! be lost behind it, and arrives after the delay. Packets arrive in the order in which they left: jitter does not reorder.

use serde::Serialize;
use std::{collections::VecDeque, time::Duration};

/// What a direction of the path does to packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Bits of IP packets per second.
    pub bits_per_second: f64,
    /// The queue before the bottleneck, bytes of IP packets.
    pub queue_bytes: usize,
    /// Propagation, one way.
    pub delay: Duration,
    /// Added to the delay of each packet, evenly distributed between zero and this.
    pub jitter: Duration,
    /// Share of the packets that are lost behind the bottleneck, 0 to 1.
    pub loss: f64,
    /// Nothing comes through, and what stood in the queue is lost: the cable is pulled.
    pub down: bool,
}

/// Totals since the path was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Bytes of IP packets that passed the bottleneck, competing ones included.
    pub bytes: u64,
    /// Of these, bytes of the competing transfer.
    pub competing_bytes: u64,
    /// Packets that passed it.
    pub packets: u64,
    /// Packets that found the queue full.
    pub dropped_full: u64,
    /// Packets lost behind the bottleneck.
    pub lost: u64,
    /// Packets lost because the path was down.
    pub lost_down: u64,
}

/// A packet on its way; `P` is its contents.
#[derive(Debug)]
struct Queued<P> {
    bytes: usize,
    competing: bool,
    packet: P,
}

/// One direction. Time is a [`Duration`] since any fixed moment, and must not go back.
#[derive(Debug)]
pub struct Direction<P> {
    conditions: Conditions,
    totals: Totals,
    queue: VecDeque<Queued<P>>,
    queued_bytes: usize,
    /// Until when the bottleneck's work is accounted for, and bits of the first packet that are sent by then.
    served: Duration,
    head_bits: f64,
    flying: VecDeque<(Duration, P)>,
    random: Random,
}

impl<P> Direction<P> {
    /// An empty direction; equal seeds lose and delay alike.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            totals: Totals::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            served: Duration::ZERO,
            head_bits: 0.0,
            flying: VecDeque::new(),
            random: Random(seed),
        }
    }

    /// What it does now.
    pub fn conditions(&self) -> Conditions {
        self.conditions
    }

    /// Changes what it does, from `now` on. What is on its way behind the bottleneck arrives as it would have, unless the
    /// path is down.
    pub fn change(&mut self, now: Duration, conditions: Conditions) {
        self.serve(now);
        self.conditions = conditions;
        if conditions.down {
            self.totals.lost_down += (self.queue.len() + self.flying.len()) as u64;
            self.queue.clear();
            self.flying.clear();
            (self.queued_bytes, self.head_bits) = (0, 0.0);
        }
    }

    /// Totals.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Bytes that wait before the bottleneck.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// A packet comes to the queue.
    pub fn offer(&mut self, now: Duration, bytes: usize, competing: bool, packet: P) {
        self.serve(now);
        if self.conditions.down {
            self.totals.lost_down += 1;
        } else if self.queued_bytes + bytes > self.conditions.queue_bytes {
            self.totals.dropped_full += 1;
        } else {
            self.queued_bytes += bytes;
            self.queue.push_back(Queued { bytes, competing, packet });
        }
    }

    /// The next packet that has arrived by `now`, and when it arrived.
    pub fn arrived(&mut self, now: Duration) -> Option<(Duration, P)> {
        self.serve(now);
        if self.flying.front()?.0 > now { None } else { self.flying.pop_front() }
    }

    /// When to look again, if no packet is offered meanwhile.
    pub fn next(&self) -> Option<Duration> {
        let arrival = self.flying.front().map(|(due, _)| *due);
        // A packet that still waits can't arrive before it left the queue.
        let leaves = self.queue.front().map(|head| self.served + self.time_of(head.bytes));
        arrival.into_iter().chain(leaves).min()
    }

    /// How long the bottleneck still works on a first packet of that size.
    fn time_of(&self, bytes: usize) -> Duration {
        let left = (bytes as f64 * 8.0 - self.head_bits).max(0.0);
        Duration::from_secs_f64(left / self.conditions.bits_per_second.max(1.0))
    }

    /// Lets the bottleneck work until `now`.
    fn serve(&mut self, now: Duration) {
        while let Some(head) = self.queue.front() {
            let done = self.served + self.time_of(head.bytes);
            if done > now {
                self.head_bits += now.saturating_sub(self.served).as_secs_f64() * self.conditions.bits_per_second;
                break;
            }
            self.served = done;
            self.head_bits = 0.0;
            if let Some(head) = self.queue.pop_front() {
                self.leave(done, head);
            }
        }
        self.served = self.served.max(now);
    }

    fn leave(&mut self, at: Duration, head: Queued<P>) {
        self.queued_bytes -= head.bytes;
        self.totals.packets += 1;
        self.totals.bytes += head.bytes as u64;
        if head.competing {
            self.totals.competing_bytes += head.bytes as u64;
        }
        let lost = self.random.unit() < self.conditions.loss;
        let due = at + self.conditions.delay + self.conditions.jitter.mul_f64(self.random.unit());
        if lost {
            self.totals.lost += 1;
            return;
        }
        let before = self.flying.back().map_or(Duration::ZERO, |(due, _)| *due);
        self.flying.push_back((due.max(before), head.packet));
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough for drawing losses.
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// Evenly distributed in [0, 1).
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn conditions() -> Conditions {
        Conditions {
            bits_per_second: 1e6,
            queue_bytes: 10_000,
            delay: ms(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            down: false,
        }
    }

    /// Everything that arrives until `end`, with the time of arrival in milliseconds.
    fn drain(path: &mut Direction<u32>, end: Duration) -> Vec<(f64, u32)> {
        std::iter::from_fn(|| path.arrived(end)).map(|(at, packet)| (at.as_secs_f64() * 1e3, packet)).collect()
    }

    #[test]
    fn packets_leave_at_the_rate_and_arrive_after_the_delay() {
        let mut path = Direction::new(conditions(), 1);
        for packet in 0..3 {
            path.offer(ms(0), 1000, packet == 2, packet);
        }
        assert_eq!(path.queued_bytes(), 3000);
        assert_eq!(path.next(), Some(ms(8)));
        assert_eq!(path.arrived(ms(17)), None);
        assert_eq!(drain(&mut path, ms(100)), [(18.0, 0), (26.0, 1), (34.0, 2)]);
        let totals = path.totals();
        assert_eq!((totals.bytes, totals.competing_bytes, totals.packets), (3000, 1000, 3));
        assert_eq!((path.queued_bytes(), path.next()), (0, None));
    }

    #[test]
    fn a_change_of_rate_counts_for_what_is_left_of_a_packet() {
        let mut path = Direction::new(conditions(), 1);
        path.offer(ms(0), 1000, false, 0);
        // Half of it is sent; the other half takes ten times as long.
        path.change(ms(4), Conditions { bits_per_second: 1e5, ..conditions() });
        assert_eq!(drain(&mut path, ms(100)), [(54.0, 0)]);
    }

    #[test]
    fn a_full_queue_drops_the_last_and_looking_often_changes_nothing() {
        let mut path = Direction::new(conditions(), 1);
        for packet in 0..12 {
            path.offer(ms(0), 1000, false, packet);
        }
        assert_eq!(path.totals().dropped_full, 2);
        let mut found = Vec::new();
        for now in 0..200 {
            found.extend(drain(&mut path, ms(now)));
        }
        assert_eq!(found.len(), 10);
        assert!((found[9].0 - 90.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn while_it_is_down_nothing_passes_and_nothing_is_kept() {
        let mut path = Direction::new(conditions(), 1);
        path.offer(ms(0), 1000, false, 0);
        path.offer(ms(0), 1000, false, 1);
        path.change(ms(9), Conditions { down: true, ..conditions() });
        path.offer(ms(20), 1000, false, 2);
        path.change(ms(30), conditions());
        assert_eq!(drain(&mut path, ms(40)), []);
        path.offer(ms(50), 1000, false, 3);
        assert_eq!(drain(&mut path, ms(100)), [(68.0, 3)]);
        assert_eq!(path.totals().lost_down, 3);
    }

    #[test]
    fn loss_is_as_asked_and_jitter_does_not_reorder() {
        let asked = Conditions { bits_per_second: 1e9, jitter: ms(30), loss: 0.03, ..conditions() };
        let mut path = Direction::new(asked, 7);
        let mut found = Vec::new();
        for packet in 0..20_000 {
            let now = ms(u64::from(packet));
            path.offer(now, 1000, false, packet);
            found.extend(drain(&mut path, now));
        }
        let lost = path.totals().lost as f64 / 20_000.0;
        assert!((0.026..0.034).contains(&lost), "{lost}");
        assert!(found.is_sorted_by_key(|(_, packet)| *packet));
        let delays: Vec<f64> = found.iter().map(|(at, packet)| at - f64::from(*packet)).collect();
        assert!(delays.iter().all(|delay| (10.0..40.1).contains(delay)));
        assert!(delays.iter().any(|delay| *delay > 35.0) && delays.iter().any(|delay| *delay < 20.0));
    }
}
