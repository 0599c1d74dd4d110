//! What holds whatever the link does.

use proptest::prelude::*;

use super::kiosk::{BOUNDS, SETTINGS};
use super::*;
use crate::rate::{Arrival, Ladder, LinkSample, RateController, Step};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the kernel and the server say, the target stays within its bounds, the limit lets a packet through, nothing divides by nothing.
    #[test]
    fn never_out_of_bounds(samples in proptest::collection::vec((0_u64..2000, any::<[u32; 8]>()), 1..200)) {
        let mut controller = RateController::new(SETTINGS);
        let mut at = Duration::ZERO;
        for (gap, [unsent, flight, acked, min_rtt, video, audio, frames, bytes]) in samples {
            at += Duration::from_millis(gap);
            // Three packets at a time, sent at once, that arrive sooner or later, or are not told of.
            let report: Vec<Arrival> = [video, audio, frames]
                .map(|late| Arrival {
                    sent: at,
                    bytes: u64::from(bytes) % 3000,
                    arrived: (late % 7 > 0).then(|| at + Duration::from_micros(u64::from(late) % 300_000)),
                })
                .into();
            controller.arrived(at, &report);
            let verdict = controller.sample(&LinkSample {
                at,
                video_waiting_bytes: u64::from(video),
                audio_waiting_bytes: u64::from(audio),
                unsent_bytes: u64::from(unsent),
                in_flight_bytes: u64::from(flight),
                acked_bytes: u64::from(acked),
                retransmits: u64::from(frames) % 7,
                min_rtt: Duration::from_micros(u64::from(min_rtt)),
                window_bytes: u64::from(flight),
                audio_bytes: u64::from(audio),
                encoded_frames: u64::from(frames),
                encoded_bytes: u64::from(bytes),
            });
            prop_assert!((BOUNDS.min..=BOUNDS.max).contains(&verdict.bits_per_second));
            prop_assert!(verdict.encoder_bits_per_second >= BOUNDS.min / 2);
            prop_assert!(verdict.encoder_bits_per_second <= BOUNDS.max * 3);
        }
    }

    /// After any history, a link that carries again is used again: at most seconds later frames enter.
    #[test]
    fn never_stuck(samples in proptest::collection::vec((10_u64..100, 0_u64..200_000, 0_u64..100_000, 0_u64..9000), 1..300)) {
        let mut controller = RateController::new(SETTINGS);
        let (mut at, mut acked) = (Duration::ZERO, 0);
        for (gap, waiting, flight, carried) in samples {
            at += Duration::from_millis(gap);
            acked += carried;
            controller.sample(&LinkSample {
                at, video_waiting_bytes: waiting, in_flight_bytes: flight, acked_bytes: acked, ..LinkSample::default()
            });
        }
        let mut held = 0;
        for _ in 0..150 {
            at += Duration::from_millis(20);
            acked += 1500;
            let verdict = controller.sample(&LinkSample { at, acked_bytes: acked, ..LinkSample::default() });
            held += u32::from(verdict.hold || verdict.dead);
        }
        prop_assert!(held <= 1, "{held} of 150 samples held on an empty link");
    }

    /// Two steps of the ladder never follow each other upwards within five seconds, whatever the target does.
    #[test]
    fn the_ladder_does_not_flap(targets in proptest::collection::vec(100_000_u64..2_500_000, 1..2000)) {
        let mut ladder = Ladder::new(Step { width: 1280, height: 720, frames_per_second: 30 });
        let (mut now, mut changed) = (Duration::ZERO, Duration::ZERO);
        for target in targets {
            now += Duration::from_millis(100);
            let before = ladder.position();
            ladder.take(now, target as f64, 2e6);
            if ladder.position() < before {
                prop_assert!(now - changed >= Duration::from_secs(5));
            }
            if ladder.position() != before {
                changed = now;
            }
        }
    }
}

#[test]
fn a_dead_link_is_named_its_backlog_goes_and_what_follows_is_fresh() {
    let mut controller = RateController::new(SETTINGS);
    let stuck = |at| LinkSample {
        at: Duration::from_millis(at),
        video_waiting_bytes: 5000,
        in_flight_bytes: 3000,
        acked_bytes: 10_000,
        ..LinkSample::default()
    };
    assert!(!controller.sample(&stuck(0)).hold);
    let verdict = controller.sample(&stuck(300));
    assert!(verdict.hold && !verdict.discard && !verdict.dead);
    assert!(!controller.sample(&stuck(980)).discard, "little waits, and a key frame would take longer");
    let verdict = controller.sample(&stuck(1020));
    assert!(verdict.discard && !verdict.refresh);
    assert!(!controller.sample(&LinkSample { video_waiting_bytes: 0, ..stuck(1900) }).dead);
    let verdict = controller.sample(&LinkSample { video_waiting_bytes: 0, ..stuck(2000) });
    assert!(verdict.dead && verdict.hold && !verdict.discard);
    let back = LinkSample { video_waiting_bytes: 0, in_flight_bytes: 0, acked_bytes: 13_000, ..stuck(2040) };
    let verdict = controller.sample(&back);
    assert!(!verdict.dead && !verdict.hold && verdict.refresh);
    assert!(!controller.sample(&LinkSample { at: Duration::from_millis(2060), ..back }).refresh, "once");
}

/// Speech alone: little is in flight, and each packet waits for the receiver's delayed acknowledgement.
#[test]
fn late_acknowledgements_hold_nothing_back() {
    let mut controller = RateController::new(SETTINGS);
    let held = (1..200).map(|n| {
        let sample = LinkSample {
            at: Duration::from_millis(20 * n),
            in_flight_bytes: 300,
            acked_bytes: n / 3 * 400,
            ..LinkSample::default()
        };
        controller.sample(&sample).hold
    });
    assert_eq!(held.filter(|hold| *hold).count(), 0);
}

/// TCP's window counts segments where packets are lost: then they share them, until nothing was lost for a while.
#[test]
fn packets_share_segments_for_a_while_after_a_loss() {
    let mut controller = RateController::new(SETTINGS);
    let mut own = |at, retransmits| {
        let at = Duration::from_millis(at);
        controller.sample(&LinkSample { at, retransmits, ..LinkSample::default() }).own_segments
    };
    assert!(own(0, 0));
    assert!(!own(20, 1));
    assert!(!own(10_000, 1));
    assert!(own(10_020, 1));
    assert!(!own(10_040, 3));
}
