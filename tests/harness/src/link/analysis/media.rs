//! One publisher's picture and sound, as they were shown and heard.

use super::{Records, Spread, Window};
use crate::link::record::{Frame, Medium, Rtp};
use serde::Serialize;

/// Frames of the recording follow each other after this, microseconds.
const FRAME_US: f64 = 1e6 / 30.0;
/// Longer without a new frame is a freeze.
const FREEZE_US: u64 = 200_000;

/// Times without a new frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Freezes {
    /// How many.
    pub count: usize,
    /// The longest, milliseconds.
    pub longest_ms: f64,
    /// All of them, milliseconds.
    pub total_ms: f64,
}

/// What one publisher's picture and sound were like in a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Whose.
    pub publisher: String,
    /// When.
    pub window: Window,
    /// From capture to the decoder's output, of every frame that was shown, milliseconds.
    pub video_delay_ms: Option<Spread>,
    /// The same of the sound's tones.
    pub audio_delay_ms: Option<Spread>,
    /// Frames shown.
    pub frames: usize,
    /// Frames captured between two that were shown, and not shown.
    pub frames_left_out: usize,
    /// Frames shown per second.
    pub frames_per_second: f64,
    /// More than 200 ms without a new frame.
    pub freezes: Freezes,
    /// Mean number of lines of the pictures shown.
    pub mean_height: f64,
    /// RTP of picture and sound that arrived, with headers, kilobits per second.
    pub rtp_kbps: f64,
    /// RTP packets that were numbered and did not arrive. Over TCP nothing but the sender, or Janus, can lose them.
    pub video_packets_lost: u64,
    /// The same of the sound.
    pub audio_packets_lost: u64,
    /// Structural similarity with what was captured; 1 is the same.
    pub ssim: Option<Spread>,
    /// Signal-to-noise ratio, dB.
    pub psnr_db: Option<Spread>,
}

impl Records {
    /// Figures of one publisher in a window.
    #[must_use]
    pub fn figures(&self, publisher: &str, window: Window) -> Figures {
        let all: Vec<&Frame> = self.frames.iter().filter(|frame| frame.publisher == publisher).collect();
        let shown: Vec<&Frame> = all.iter().copied().filter(|frame| window.has(frame.shown_us)).collect();
        let tones = self.tones.iter().filter(|tone| tone.publisher == publisher && window.has(tone.heard_us));
        let (video_bytes, video_packets_lost) = self.rtp_in(publisher, Medium::Video, window);
        let (audio_bytes, audio_packets_lost) = self.rtp_in(publisher, Medium::Audio, window);
        let delay = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1000.0;
        Figures {
            publisher: publisher.to_owned(),
            window,
            video_delay_ms: Spread::of(shown.iter().map(|frame| delay(frame.captured_us, frame.shown_us))),
            audio_delay_ms: Spread::of(tones.map(|tone| delay(tone.sent_us, tone.heard_us))),
            frames: shown.len(),
            frames_left_out: left_out(&shown, self.frames.iter().filter_map(|frame| frame.index).max()),
            frames_per_second: shown.len() as f64 / window.seconds().max(1e-9),
            freezes: freezes(&all, window),
            mean_height: shown.iter().map(|frame| f64::from(frame.height)).sum::<f64>() / shown.len().max(1) as f64,
            rtp_kbps: (video_bytes + audio_bytes) as f64 * 8.0 / 1000.0 / window.seconds().max(1e-9),
            video_packets_lost,
            audio_packets_lost,
            ssim: Spread::of(shown.iter().filter_map(|frame| frame.ssim)),
            psnr_db: Spread::of(shown.iter().filter_map(|frame| frame.psnr)),
        }
    }

    /// Bytes and lost packets of a medium in a window. Totals that go down are those of a new connection.
    fn rtp_in(&self, publisher: &str, medium: Medium, window: Window) -> (u64, u64) {
        let of = |totals: &&Rtp| totals.publisher == publisher && totals.medium == medium;
        let (mut bytes, mut expected, mut received) = (0, 0, 0);
        let mut last: Option<&Rtp> = None;
        for totals in self.rtp.iter().filter(of).take_while(|totals| totals.at_us < window.to_us) {
            if totals.at_us >= window.from_us {
                let new = last.is_none_or(|last| totals.received < last.received);
                let before =
                    if new { (0, 0, 0) } else { last.map_or((0, 0, 0), |l| (l.bytes, l.expected, l.received)) };
                bytes += totals.bytes - before.0;
                expected += totals.expected.saturating_sub(before.1);
                received += totals.received - before.2;
            }
            last = Some(totals);
        }
        (bytes, expected.saturating_sub(received))
    }
}

/// The frames that were captured between those that were shown: by their numbers where they have some, since a recording
/// may halt for a moment when it starts over; else by time.
fn left_out(shown: &[&Frame], last_index: Option<u16>) -> usize {
    let recording = last_index.map_or(0.0, |last| f64::from(last) + 1.0);
    let between = |two: &[&Frame]| {
        let by_time = two[1].captured_us.saturating_sub(two[0].captured_us) as f64 / FRAME_US;
        let Some((before, after)) = two[0].index.zip(two[1].index) else {
            return (by_time.round() as usize).saturating_sub(1);
        };
        let frames = (f64::from(after) - f64::from(before)).rem_euclid(recording);
        // After a long gap the recording may have started over more than once.
        let rounds = ((by_time - frames) / recording).round().max(0.0);
        ((frames + rounds * recording) as usize).saturating_sub(1)
    };
    shown.windows(2).map(between).sum()
}

/// Freezes that end in a window or last beyond it, each in its whole length.
fn freezes(all: &[&Frame], window: Window) -> Freezes {
    let mut freezes = Freezes::default();
    let mut add = |from_us: u64, to_us: u64| {
        let length = to_us.saturating_sub(from_us);
        if length > FREEZE_US {
            let ms = length as f64 / 1000.0;
            freezes.count += 1;
            freezes.total_ms += ms;
            freezes.longest_ms = freezes.longest_ms.max(ms);
        }
    };
    let mut last_us = window.from_us;
    for frame in all {
        if frame.shown_us >= window.to_us {
            break;
        }
        if frame.shown_us >= window.from_us {
            add(last_us, frame.shown_us);
        }
        last_us = frame.shown_us;
    }
    add(last_us, window.to_us);
    freezes
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{S, frame, run};
    use super::*;
    use crate::link::record::Line;

    fn rtp(at_us: u64, expected: u64, received: u64) -> Line {
        let publisher = "kiosk".to_owned();
        Line::Rtp(Rtp { publisher, at_us, medium: Medium::Video, expected, received, bytes: received * 1000 })
    }

    #[test]
    fn delay_frames_and_quality_of_a_window() {
        let lines = (0..300).filter(|n| n % 10 != 3).map(|n| frame(n * 33_333, 50_000)).collect();
        let records = Records::new(run(&[(0, 1000)], 10), lines);
        let figures = records.figures("kiosk", Window { from_us: 2 * S, to_us: 7 * S });
        assert_eq!(figures.video_delay_ms.unwrap().p95, 50.0);
        assert_eq!(figures.frames, 135);
        assert_eq!(figures.frames_left_out, 15);
        assert!((figures.frames_per_second - 27.0).abs() < 0.1);
        assert_eq!(figures.freezes, Freezes::default());
        assert!((figures.ssim.unwrap().mean - 0.9).abs() < 1e-9);
        assert_eq!(figures.audio_delay_ms, None);
        assert_eq!(records.figures("another", records.whole()).frames, 0);
    }

    #[test]
    fn frames_of_a_recording_are_missed_by_their_numbers() {
        // 0 to 49, over and over; each round begins 100 ms late. Frames 10 and 11 of the second are not shown, nor is all
        // of the fourth.
        let shown = (0..300_u64).filter(|number| !matches!(number, 60 | 61 | 150..200));
        let lines = shown.map(|number| match frame(number * 33_333 + number / 50 * 100_000, 0) {
            Line::Frame(frame) => Line::Frame(Frame { index: Some((number % 50) as u16), ..frame }),
            other => other,
        });
        let records = Records::new(run(&[(0, 1000)], 20), lines.collect());
        assert_eq!(records.figures("kiosk", records.whole()).frames_left_out, 52);
    }

    #[test]
    fn a_freeze_counts_where_it_ends_and_one_that_does_not_end_counts_too() {
        let shown = (0..60).map(|n| n * 33_333).chain((0..30).map(|n| 3 * S + n * 33_333));
        let records = Records::new(run(&[(0, 1000)], 10), shown.map(|at| frame(at, 0)).collect());
        let freezes = |from, to| records.figures("kiosk", Window { from_us: from * S, to_us: to * S }).freezes;
        assert_eq!(freezes(0, 2).count, 0);
        let first = freezes(2, 4);
        assert_eq!(first.count, 1);
        assert!((first.longest_ms - 1033.0).abs() < 1.0, "{first:?}");
        let last = freezes(4, 10);
        assert!(last.count == 1 && last.longest_ms > 6000.0, "{last:?}");
        let none_at_all = Records::new(run(&[(0, 1000)], 10), Vec::new());
        assert_eq!(none_at_all.figures("kiosk", none_at_all.whole()).freezes.total_ms, 10_000.0);
    }

    #[test]
    fn lost_packets_and_bytes_survive_a_new_connection() {
        let lines = vec![rtp(0, 100, 100), rtp(S, 200, 195), rtp(2 * S, 10, 10), rtp(3 * S, 60, 58)];
        let records = Records::new(run(&[(0, 1000)], 4), lines);
        let figures = records.figures("kiosk", Window { from_us: S, to_us: 4 * S });
        assert_eq!(figures.video_packets_lost, 5 + 2);
        assert!((figures.rtp_kbps - (95 + 58) as f64 * 8.0 / 3.0).abs() < 0.01, "{}", figures.rtp_kbps);
    }

    #[test]
    fn packets_that_come_late_are_not_lost() {
        let lines = vec![rtp(0, 100, 100), rtp(S, 200, 195), rtp(2 * S, 300, 300)];
        let records = Records::new(run(&[(0, 1000)], 4), lines);
        assert_eq!(records.figures("kiosk", records.whole()).video_packets_lost, 0);
    }
}
