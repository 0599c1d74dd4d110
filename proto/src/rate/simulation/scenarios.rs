//! The links that a branch may have. Each test prints what came out: `cargo test -p kiosk-proto rate -- --nocapture`.

use super::kiosk::ENCODER;
use super::*;

/// Prints a stretch of a run, and holds it against what must be: p95 of the picture's delay, of speech's, ms; rate, kbit/s.
#[track_caller]
fn holds(name: &str, log: &Log, (from, to): (f64, f64), video: u64, speech: u64, rate: f64) {
    let (p95, heard, got) = (log.p95(from, to), log.speech_p95(from, to), log.rate(from, to) / 1000.0);
    let (freeze, swing) = (log.freeze(from, to), log.swing(from, to));
    println!(
        "{name:32} {from:4}-{to:<4} p95 {:4} ms, speech {:4} ms, {got:5.0} kbit/s, longest gap {:4} ms, swing {swing:.2}",
        p95.as_millis(),
        heard.as_millis(),
        freeze.as_millis()
    );
    assert!(p95 < ms(video), "{name}: picture {p95:?}");
    assert!(heard < ms(speech), "{name}: speech {heard:?}");
    assert!(got > rate, "{name}: {got} kbit/s");
    assert!(freeze < ms(500), "{name}: nothing for {freeze:?}");
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

fn sawtooth(now: Duration) -> u64 {
    400_000 + (now.as_millis() as u64 % 8000) * 150
}

#[test]
fn a_fast_link_is_left_alone() {
    for rtt in [20, 60, 150] {
        let log = alone(Network::new(rtt, |_| 10_000_000), ENCODER, 20);
        holds(&format!("10 Mbit/s, {rtt} ms"), &log, (5.0, 20.0), rtt / 2 + 20, rtt / 2 + 20, 1980.0);
    }
}

#[test]
fn a_step_down_costs_no_lasting_delay() {
    for (rtt, least) in [(20, 80), (60, 110), (150, 160)] {
        let log = alone(Network::new(rtt, step_down), ENCODER, 50);
        holds(&format!("1.5 -> 0.6 Mbit/s, {rtt} ms"), &log, (22.0, 50.0), 400, 250, 0.9 * 600.0);
        assert!(log.p95(22.0, 50.0) < ms(least), "{rtt} ms");
        // Two round trips, and what it takes to see a queue of some packets.
        let lower = log.verdicts.iter().find(|(at, v)| *at > ms(20_000) && v.bits_per_second < 700_000).unwrap().0;
        assert!(lower < ms(20_500) + ms(2 * rtt), "{lower:?}");
    }
}

/// What arrives while frames are left out is no measure of the link: its frames show what it lets through.
#[test]
fn a_step_down_does_not_go_too_far() {
    for (rtt, lag) in [20, 60, 150].into_iter().flat_map(|rtt| [2, 4, 6, 8].map(|lag| (rtt, lag))) {
        let log = alone(Network::new(rtt, step_down), Encoder { lag, ..ENCODER }, 50);
        let after: Vec<_> =
            log.verdicts.iter().filter(|(at, _)| *at > ms(21_000)).map(|(_, verdict)| verdict).collect();
        let least = after.iter().map(|verdict| verdict.bits_per_second).min().unwrap();
        assert!(least > 380_000, "{rtt} ms, lag {lag}: {least} bit/s");
        assert!(after.iter().all(|verdict| verdict.step.frames_per_second >= 25), "{rtt} ms, lag {lag}");
    }
}

/// What the link carried when a queue stood last is approached with caution: most of the time no queue is there at all.
#[test]
fn a_link_that_does_not_change_is_not_filled_again_and_again() {
    for (capacity, median, p95) in [((|_| 600_000) as fn(Duration) -> u64, 40, 75), (|_| 1_500_000, 40, 65)] {
        let log = alone(Network::new(20, capacity), ENCODER, 60);
        let half = Log::percentile(&log.frames, 15.0, 60.0, 0.5);
        println!("{} kbit/s: median {half:?}, p95 {:?}", capacity(ms(0)) / 1000, log.p95(15.0, 60.0));
        assert!(half < ms(median), "median {half:?}");
        assert!(log.p95(15.0, 60.0) < ms(p95), "p95 {:?}", log.p95(15.0, 60.0));
        assert!(log.rate(15.0, 60.0) > 0.9 * capacity(ms(0)) as f64, "{}", log.rate(15.0, 60.0));
    }
}

#[test]
fn a_step_up_is_used_within_five_seconds() {
    for rtt in [20, 60, 150] {
        let log = alone(Network::new(rtt, step_up), ENCODER, 40);
        holds(&format!("0.6 -> 1.5 Mbit/s, {rtt} ms"), &log, (20.0, 25.0), 400, 250, 0.6 * 1500.0);
        holds(&format!("0.6 -> 1.5 Mbit/s, {rtt} ms"), &log, (25.0, 40.0), 400, 250, 0.9 * 1500.0);
        assert!(log.rate(24.0, 25.0) > 0.8 * 1_500_000.0, "{}", log.rate(24.0, 25.0));
    }
}

/// However slow it was: one packet a frame shows nothing of the link, and on a fast one all arrive at once.
#[test]
fn a_link_that_becomes_much_faster_is_used() {
    fn to_fibre(now: Duration) -> u64 {
        if now < Duration::from_secs(20) { 600_000 } else { 100_000_000 }
    }
    fn from_a_trickle(now: Duration) -> u64 {
        if now < Duration::from_secs(20) { 200_000 } else { 1_500_000 }
    }
    for (name, capacity, rate) in [
        ("0.6 -> 100 Mbit/s", to_fibre as fn(Duration) -> u64, 1900.0),
        ("0.2 -> 1.5 Mbit/s", from_a_trickle, 0.85 * 1500.0),
    ] {
        for rtt in [20, 150] {
            let log = alone(Network::new(rtt, capacity), ENCODER, 50);
            holds(&format!("{name}, {rtt} ms"), &log, (32.0, 50.0), 400, 250, rate);
        }
    }
}

/// A server that reports nothing, or reports that a site's rooms leave out: acknowledgements are enough, if slower.
#[test]
fn without_reports_the_link_is_held_too() {
    for (name, capacity, rate) in [
        ("1.5 -> 0.6 Mbit/s", step_down as fn(Duration) -> u64, 0.9 * 600.0),
        ("0.6 -> 1.5 Mbit/s", step_up, 0.9 * 1500.0),
    ] {
        let log = alone(Network { reports: false, ..Network::new(60, capacity) }, ENCODER, 50);
        holds(&format!("{name}, no reports"), &log, (25.0, 50.0), 400, 250, rate);
        assert!(log.p95(25.0, 50.0) < ms(180));
    }
}

#[test]
fn a_link_for_a_stamp_of_a_picture() {
    for rtt in [20, 60] {
        let log = alone(Network::new(rtt, |_| 300_000), ENCODER, 40);
        holds(&format!("0.3 Mbit/s, {rtt} ms"), &log, (5.0, 40.0), 450, 350, 0.9 * 300.0);
        assert!(log.swing(5.0, 40.0) < 0.4, "{}", log.swing(5.0, 40.0));
        assert!(log.verdicts.last().unwrap().1.step.frames_per_second <= 15);
    }
}

/// Loss is no congestion: on a fast link it does not lower the rate by more than TCP itself does.
#[test]
fn loss_is_no_congestion() {
    for (rtt, loss, rate) in [(20, 0.01, 1900.0), (20, 0.03, 1900.0), (60, 0.001, 1900.0), (60, 0.01, 1400.0)] {
        let log = alone(Network { loss, ..Network::new(rtt, |_| 10_000_000) }, ENCODER, 40);
        holds(&format!("{} % loss, {rtt} ms", loss * 100.0), &log, (5.0, 40.0), 400, 250, rate);
    }
    let log = alone(Network { loss: 0.01, ..Network::new(60, |_| 1_500_000) }, ENCODER, 40);
    holds("1 % loss, 60 ms, 1.5 Mbit/s", &log, (5.0, 40.0), 400, 250, 1100.0);
}

#[test]
fn round_trip_times_may_vary() {
    for rtt in [20, 60, 150] {
        let jitter = Network { jitter: ms(30), ..Network::new(rtt, |_| 1_500_000) };
        let log = alone(jitter, ENCODER, 40);
        holds(&format!("30 ms jitter, {rtt} ms"), &log, (5.0, 40.0), 300, 250, 1100.0);
    }
}

#[test]
fn a_link_that_goes_up_and_down_is_followed() {
    for rtt in [20, 60] {
        let log = alone(Network::new(rtt, sawtooth), ENCODER, 80);
        holds(&format!("sawtooth, {rtt} ms"), &log, (8.0, 80.0), 500, 300, 700.0);
    }
}

#[test]
fn an_encoder_that_follows_late_and_makes_too_much() {
    for rtt in [20, 60] {
        let log = alone(Network::new(rtt, |_| 600_000), Encoder { lag: 10, noise: 0.4, overshoot: 1.5 }, 40);
        holds(&format!("lag 10 frames, 1.5 times, {rtt} ms"), &log, (5.0, 40.0), 400, 250, 0.85 * 600.0);
    }
}

#[test]
fn the_target_swings_by_less_than_half() {
    for capacity in [(|_| 600_000) as fn(Duration) -> u64, |_| 1_500_000] {
        let log = alone(Network::new(40, capacity), ENCODER, 60);
        assert!(log.swing(15.0, 60.0) < 0.5, "{}", log.swing(15.0, 60.0));
    }
}

/// A bottleneck that would queue two seconds.
#[test]
fn a_large_queue_stays_empty() {
    let log = alone(Network { buffer: 150_000, ..Network::new(40, |_| 600_000) }, ENCODER, 40);
    holds("queue for 2 s", &log, (3.0, 40.0), 400, 250, 0.9 * 600.0);
}

#[test]
fn after_an_outage_the_picture_is_fresh() {
    let outage = |now: Duration| if (10..13).contains(&now.as_secs()) { 0 } else { 1_500_000 };
    for rtt in [20, 60] {
        let log = alone(Network::new(rtt, outage), ENCODER, 30);
        let dead = log.verdicts.iter().filter(|(_, v)| v.dead).map(|(at, _)| at.as_secs());
        assert_eq!(dead.collect::<std::collections::BTreeSet<_>>(), [12, 13].into(), "dead after two seconds");
        let back = log.frames.iter().find(|(made, _)| *made >= ms(13_000)).unwrap();
        assert!(back.1 < ms(13_700), "{back:?}");
        let refreshed = log.refreshed.iter().find(|at| **at >= ms(13_000)).unwrap();
        assert_eq!(*refreshed, back.0, "the first frame after the gap is a key frame");
        holds(&format!("3 s of nothing, {rtt} ms"), &log, (13.5, 30.0), 400, 250, 1100.0);
        // What the kernel had is late; nothing that waited in front of it is.
        let stale = log.frames.iter().filter(|(made, at)| *at > ms(13_000) && *at - *made > ms(500)).count();
        assert!(stale <= 4, "{stale} stale frames");
    }
}

#[test]
fn four_kiosks_share_alike() {
    for rtt in [20, 60] {
        let kiosk = |begin| (SETTINGS, ENCODER, begin);
        let logs = together(Network::new(rtt, |_| 3_000_000), &[kiosk(0), kiosk(0), kiosk(5), kiosk(10)], None, 90);
        for log in &logs {
            holds(&format!("4 kiosks on 3 Mbit/s, {rtt} ms"), log, (30.0, 90.0), 500, 250, 0.75 * 750.0);
            assert!(log.rate(30.0, 90.0) < 1.25 * 750_000.0, "{}", log.rate(30.0, 90.0));
        }
    }
}

/// Who was alone rests for long, and makes room all the same.
#[test]
fn who_was_alone_shares_with_who_comes() {
    for rtt in [20, 60] {
        let logs =
            together(Network::new(rtt, |_| 1_500_000), &[(SETTINGS, ENCODER, 0), (SETTINGS, ENCODER, 30)], None, 120);
        for log in &logs {
            holds(&format!("a second kiosk, {rtt} ms"), log, (60.0, 120.0), 500, 250, 0.75 * 750.0);
        }
    }
}

/// What keeps a queue full for half a second makes everybody wait for it; but it does not take the link alone.
#[test]
fn a_transfer_does_not_starve_the_picture() {
    for rtt in [20, 60] {
        let network = Network::new(rtt, |_| 3_000_000);
        let log = together(network, &[(SETTINGS, ENCODER, 0)], Some((10, 60)), 80).remove(0);
        // It is known for what it is before the picture has given way to it.
        let soon = log.rate(12.5, 18.0);
        assert!(soon > 650_000.0, "{rtt} ms: {soon} bit/s soon after it began");
        holds(&format!("a transfer beside, {rtt} ms"), &log, (25.0, 60.0), 600, 500, 250.0);
        holds(&format!("after it, {rtt} ms"), &log, (65.0, 80.0), 200, 150, 1600.0);
    }
}

#[test]
fn a_call_begins_with_what_the_link_carried_last() {
    let settings = Settings { start: Some(500_000), ..SETTINGS };
    let log = together(Network::new(40, |_| 600_000), &[(settings, ENCODER, 0)], None, 10).remove(0);
    holds("0.5 Mbit/s remembered", &log, (0.5, 10.0), 400, 250, 450.0);
}
