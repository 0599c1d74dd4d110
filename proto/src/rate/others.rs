//! How much of the network's queue is not ours, as the server's reports tell.
//!
//! Packets leave the narrowest part of the way in the order in which they came to it. So a packet waits for those of ours
//! that are on their way when it is sent, and how long these take is seen in packets that were sent together and waited: they
//! arrive as far apart as the link makes them. What it waits beyond that, it waits for somebody else.

use std::collections::VecDeque;
use std::time::Duration;

use super::arrivals::{Arrival, micros, took};
use super::spread::{AT_ONCE, HEADERS, SMALL, TOGETHER};

/// Every packet that was sent in this time must have waited, and so many must be known: after a stall fewer are that late.
const OVER: Duration = Duration::from_millis(300);
const PACKETS: usize = 8;
/// Pairs of packets that were sent together in this time, and waited for so long, microseconds; so many at least.
const PAIRS_OVER: Duration = Duration::from_secs(2);
const WAITED: i64 = 50_000;
const PAIRS: usize = 5;

/// For how long every one of the last packets waited behind somebody else's; none where too little is known. `packets`: in
/// the order in which they were sent; `quiet`: what a packet takes without a queue, up to the clocks' difference, microseconds.
pub(super) fn queue(packets: &VecDeque<Arrival>, quiet: i64) -> Option<Duration> {
    let newest = packets.back()?.sent;
    let begin = packets.partition_point(|packet| newest - packet.sent > OVER);
    let first = packets.get(begin)?.sent;
    let known = packets.range(begin..).filter(|packet| packet.arrived.is_some()).count();
    if known < PACKETS || newest - first < OVER * 3 / 4 {
        return None;
    }
    let per_byte = per_byte(packets, newest, quiet)?;
    let behind_others = |(index, packet): (usize, &Arrival)| {
        let waited = took(packet)? - quiet;
        let on_its_way = |before: &&Arrival| before.arrived.is_some_and(|at| micros(at) > micros(packet.sent) + quiet);
        let ours = packets.range(..index).skip_while(|before| !on_its_way(before));
        let ours: u64 = ours.map(|before| before.bytes + HEADERS).sum();
        Some(waited - (ours as f64 * per_byte) as i64)
    };
    let least = packets.iter().enumerate().skip(begin).filter_map(behind_others).min()?;
    Some(Duration::from_micros(least.max(0).unsigned_abs()))
}

/// How long a byte takes to leave the queue, microseconds: the middle of what pairs show.
fn per_byte(packets: &VecDeque<Arrival>, newest: Duration, quiet: i64) -> Option<f64> {
    let begin = packets.partition_point(|packet| newest - packet.sent > PAIRS_OVER);
    let large = || packets.range(begin..).filter(|packet| packet.bytes >= SMALL);
    let mut pairs: Vec<f64> = large()
        .zip(large().skip(1))
        .filter(|(before, packet)| packet.sent.saturating_sub(before.sent) <= TOGETHER)
        .filter(|(before, _)| took(before).is_some_and(|took| took - quiet >= WAITED))
        .filter_map(|(before, packet)| {
            let apart = packet.arrived?.saturating_sub(before.arrived?).max(AT_ONCE);
            Some(apart.as_secs_f64() * 1e6 / (packet.bytes + HEADERS) as f64)
        })
        .collect();
    pairs.sort_unstable_by(f64::total_cmp);
    pairs.get(pairs.len() / 2).copied().filter(|_| pairs.len() >= PAIRS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The receiver's clock is an hour ahead, and a packet takes 10 ms without a queue.
    const QUIET: i64 = 3_600_010_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Two packets of 1,250 bytes every 33 ms, for 15 frames, on a link on which one takes 4 ms. Before the packets of frame
    /// `n`, so many milliseconds of somebody else's are put into the queue.
    fn queued(others: impl Fn(u64) -> u64) -> VecDeque<Arrival> {
        let mut free = Duration::ZERO;
        let mut packets = VecDeque::new();
        for frame in 0..15 {
            let sent = ms(33 * frame);
            free = free.max(sent) + ms(others(frame));
            for _ in 0..2 {
                free += ms(4);
                packets.push_back(Arrival { sent, bytes: 1250, arrived: Some(free + ms(3_600_010)) });
            }
        }
        packets
    }

    fn close(found: Option<Duration>, expected: u64) {
        assert!(found.is_some_and(|found| found.abs_diff(ms(expected)) <= ms(6)), "{found:?}, {expected} ms");
    }

    #[test]
    fn what_others_have_in_the_queue() {
        // 200 ms come at once; then as much as leaves. Eleven or twelve packets of the queue are ours.
        close(queue(&queued(|frame| if frame == 0 { 200 } else { 25 }), QUIET), 154);
    }

    #[test]
    fn our_own_queue_is_nobody_elses() {
        // The link lets a packet through in 36 ms, and two are sent in 33: at the end half a second waits.
        let slow = (0..30).map(|n| {
            let arrived = Some(ms(36 * (n + 1) + 3_600_010));
            Arrival { sent: ms(33 * (n / 2)), bytes: 1250, arrived }
        });
        let found = queue(&slow.collect(), QUIET);
        assert!(found.is_some_and(|found| found <= ms(40)), "no more than the packet's own time: {found:?}");
        assert_eq!(queue(&queued(|_| 0), QUIET), None, "without a queue no pair waits");
    }

    #[test]
    fn after_a_stall_packets_are_less_and_less_late() {
        let stall = queue(&queued(|frame| if frame == 0 { 250 } else { 0 }), QUIET);
        assert!(stall.is_none_or(|found| found <= ms(30)), "{stall:?}");
    }

    #[test]
    fn what_no_report_tells_of_is_ahead_only_while_its_neighbours_are() {
        let mut packets = queued(|frame| if frame == 0 { 200 } else { 25 });
        packets.iter_mut().skip(3).step_by(7).for_each(|packet| packet.arrived = None);
        close(queue(&packets, QUIET), 154);
    }

    #[test]
    fn little_says_nothing() {
        let packets = queued(|frame| if frame == 0 { 200 } else { 25 });
        assert_eq!(queue(&packets.range(24..).copied().collect(), QUIET), None);
        assert_eq!(queue(&VecDeque::new(), QUIET), None);
    }
}
