//! The controller against a simulated link: an encoder, a TCP sender and one bottleneck, in steps of 5 ms, fixed seeds.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_millis(5);
const FRAME: u32 = 33;
const BOUNDS: Bounds = Bounds { min: 150_000, max: 2_500_000 };

/// A link with one bottleneck.
struct Link {
    rtt: Duration,
    /// Bytes that TCP keeps on the way at most: its window, including the bottleneck's own queue.
    window: u64,
    /// bit/s at a time.
    capacity: fn(Duration) -> u64,
}

/// What came of a run.
struct Run {
    /// When a frame was made, and how long until its last byte had arrived.
    frames: Vec<(Duration, Duration)>,
    /// Target, bit/s, over time.
    targets: Vec<(Duration, u64)>,
    /// Bytes delivered, over time.
    delivered: Vec<(Duration, u64)>,
}

impl Run {
    fn percentile(&self, from: u64, to: u64, share: f64) -> Duration {
        let within = |at: &Duration| *at >= Duration::from_secs(from) && *at < Duration::from_secs(to);
        let mut delays: Vec<Duration> =
            self.frames.iter().filter(|(at, _)| within(at)).map(|(_, delay)| *delay).collect();
        delays.sort();
        delays[((delays.len() - 1) as f64 * share) as usize]
    }

    fn rate(&self, from: u64, to: u64) -> f64 {
        let at = |s: u64| self.delivered.iter().rfind(|(at, _)| *at <= Duration::from_secs(s)).map_or(0, |(_, b)| *b);
        (at(to) - at(from)) as f64 * 8.0 / (to - from) as f64
    }

    fn swing(&self, from: u64, to: u64) -> f64 {
        let within =
            self.targets.iter().filter(|(at, _)| *at >= Duration::from_secs(from) && *at < Duration::from_secs(to));
        let values: Vec<u64> = within.map(|(_, target)| *target).collect();
        let (least, most) = (values.iter().min().unwrap(), values.iter().max().unwrap());
        (most - least) as f64 / *most as f64
    }
}

/// `lag`: frames until the encoder follows a new target; `noise`: how far frames differ in size.
fn run(link: &Link, seconds: u64, lag: usize, noise: f64) -> Run {
    let mut controller = RateController::new(BOUNDS);
    let mut run = Run { frames: Vec::new(), targets: Vec::new(), delivered: Vec::new() };
    let (mut unsent, mut flight, mut acked) = (0_f64, 0_f64, 0_f64);
    let (mut pending, mut written) = (std::collections::VecDeque::new(), 0_f64);
    let mut targets = std::collections::VecDeque::from(vec![BOUNDS.max; lag + 1]);
    let (mut hold, mut now, mut seed, mut next_frame) = (false, Duration::ZERO, 42_u64, Duration::ZERO);
    while now < Duration::from_secs(seconds) {
        now += TICK;
        if now >= next_frame {
            next_frame += Duration::from_millis(u64::from(FRAME));
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (seed >> 33) as f64 / f64::from(1_u32 << 31) - 0.5;
            let target = targets.pop_front().unwrap_or(BOUNDS.max);
            if !hold {
                let size = target as f64 / 8.0 * f64::from(FRAME) / 1000.0 * (1.0 + noise * random);
                unsent += size;
                written += size;
                pending.push_back((now, written));
            }
        }
        // TCP sends what its window allows; the bottleneck passes what it can.
        let capacity = (link.capacity)(now) as f64 / 8.0 * TICK.as_secs_f64();
        let send = unsent.min((link.window as f64 - flight).max(0.0));
        unsent -= send;
        flight += send;
        let passed = flight.min(capacity);
        flight -= passed;
        acked += passed;
        while pending.front().is_some_and(|(_, end)| *end <= acked + 1.0) {
            if let Some((made, _)) = pending.pop_front() {
                run.frames.push((made, now - made + link.rtt / 2));
            }
        }
        if now.as_millis().is_multiple_of(40) {
            let queue = if capacity > 0.0 { flight / capacity * TICK.as_secs_f64() } else { 0.0 };
            let verdict = controller.sample(&LinkSample {
                at: now,
                unsent_bytes: unsent as u64,
                in_flight_bytes: flight as u64,
                acked_bytes: acked as u64,
                smoothed_rtt: link.rtt + Duration::from_secs_f64(queue),
                min_rtt: link.rtt,
            });
            hold = verdict.hold;
            run.targets.push((now, verdict.bits_per_second));
            run.delivered.push((now, acked as u64));
        }
        targets.resize(lag + 1, run.targets.last().map_or(BOUNDS.max, |(_, target)| *target));
        if let (Some(last), Some((_, target))) = (targets.back_mut(), run.targets.last()) {
            *last = *target;
        }
    }
    run
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn step_down(now: Duration) -> u64 {
    if now < Duration::from_secs(20) { 1_500_000 } else { 600_000 }
}

fn step_up(now: Duration) -> u64 {
    if now < Duration::from_secs(20) { 600_000 } else { 1_500_000 }
}

fn outage(now: Duration) -> u64 {
    if (10..13).contains(&now.as_secs()) { 0 } else { 1_500_000 }
}

fn sawtooth(now: Duration) -> u64 {
    400_000 + (now.as_millis() as u64 % 8000) * 150
}

#[test]
fn a_step_down_costs_no_lasting_delay() {
    let run = run(&Link { rtt: ms(20), window: 20_000, capacity: step_down }, 50, 2, 0.3);
    assert!(run.percentile(22, 50, 0.95) < ms(400), "{:?}", run.percentile(22, 50, 0.95));
    assert!(run.rate(22, 50) > 0.75 * 600_000.0, "{}", run.rate(22, 50));
}

/// The network's own queue, not the sender's: the round-trip time tells of it.
#[test]
fn a_queue_in_the_network_is_kept_short_too() {
    let run = run(&Link { rtt: ms(20), window: 100_000, capacity: step_down }, 50, 2, 0.3);
    assert!(run.percentile(22, 50, 0.95) < ms(400), "{:?}", run.percentile(22, 50, 0.95));
    assert!(run.rate(22, 50) > 0.75 * 600_000.0, "{}", run.rate(22, 50));
}

#[test]
fn a_step_up_is_used_within_five_seconds() {
    let run = run(&Link { rtt: ms(20), window: 20_000, capacity: step_up }, 40, 2, 0.3);
    assert!(run.rate(25, 40) > 0.75 * 1_500_000.0, "{}", run.rate(25, 40));
    assert!(run.percentile(20, 40, 0.95) < ms(400), "{:?}", run.percentile(20, 40, 0.95));
}

#[test]
fn after_an_outage_nothing_stale_is_left() {
    let run = run(&Link { rtt: ms(60), window: 30_000, capacity: outage }, 25, 2, 0.3);
    let after: Vec<_> = run.frames.iter().filter(|(made, _)| *made > ms(13_500)).collect();
    assert!(
        !after.is_empty() && after.iter().all(|(_, delay)| *delay < ms(500)),
        "{:?}",
        after.iter().max_by_key(|f| f.1)
    );
    let first = run.frames.iter().find(|(made, _)| *made >= ms(13_000)).unwrap().0;
    assert!(first < ms(14_500), "the first fresh frame is made at {first:?}");
}

#[test]
fn a_link_that_goes_up_and_down_is_followed() {
    let run = run(&Link { rtt: ms(40), window: 20_000, capacity: sawtooth }, 80, 2, 0.3);
    assert!(run.percentile(8, 80, 0.95) < ms(400), "{:?}", run.percentile(8, 80, 0.95));
}

#[test]
fn an_encoder_that_lags_makes_no_more_than_a_stated_swing() {
    for lag in [0, 5, 15] {
        let run = run(&Link { rtt: ms(20), window: 20_000, capacity: |_| 900_000 }, 60, lag, 0.3);
        assert!(run.swing(20, 60) < 0.35, "lag of {lag} frames: {}", run.swing(20, 60));
        assert!(run.percentile(20, 60, 0.95) < ms(400), "lag of {lag} frames");
    }
}

#[test]
fn a_dead_link_is_named_and_feeding_stops() {
    let mut controller = RateController::new(BOUNDS);
    let stuck = |at| LinkSample {
        at: ms(at),
        unsent_bytes: 500,
        in_flight_bytes: 3000,
        acked_bytes: 10_000,
        ..LinkSample::default()
    };
    assert!(!controller.sample(&stuck(0)).dead);
    assert!(!controller.sample(&stuck(1900)).dead);
    let verdict = controller.sample(&stuck(2000));
    assert!(verdict.dead && verdict.hold);
    let verdict =
        controller.sample(&LinkSample { unsent_bytes: 0, acked_bytes: 13_000, in_flight_bytes: 0, ..stuck(2040) });
    assert!(!verdict.dead && !verdict.hold);
}

/// Speech alone: little is in flight, and each packet waits for the receiver's delayed acknowledgement.
#[test]
fn a_hold_ends_though_acknowledgements_are_late() {
    let mut controller = RateController::new(BOUNDS);
    let sample = |at, unsent, in_flight, acked, rtt| LinkSample {
        at: ms(at),
        unsent_bytes: unsent,
        in_flight_bytes: in_flight,
        acked_bytes: acked,
        smoothed_rtt: ms(rtt),
        min_rtt: Duration::from_micros(6),
    };
    assert!(
        controller.sample(&sample(0, 60_000, 20_000, 0, 150)).hold,
        "a key frame on a link that was never measured"
    );
    let held = (1..100).map(|n| controller.sample(&sample(n * 40, 0, 300, 80_000 + n * 200, 90)).hold);
    assert_eq!(held.filter(|hold| *hold).count(), 0);
}

proptest! {
    /// Whatever the kernel says, the target stays within its bounds and the controller never divides by nothing.
    #[test]
    fn never_out_of_bounds(samples in proptest::collection::vec((0_u64..2000, any::<[u32; 5]>()), 1..200)) {
        let mut controller = RateController::new(BOUNDS);
        let mut at = Duration::ZERO;
        for (gap, [unsent, flight, acked, rtt, min_rtt]) in samples {
            at += ms(gap);
            let verdict = controller.sample(&LinkSample {
                at,
                unsent_bytes: u64::from(unsent),
                in_flight_bytes: u64::from(flight),
                acked_bytes: u64::from(acked),
                smoothed_rtt: Duration::from_micros(u64::from(rtt)),
                min_rtt: Duration::from_micros(u64::from(min_rtt)),
            });
            prop_assert!((BOUNDS.min..=BOUNDS.max).contains(&verdict.bits_per_second));
        }
    }
}
