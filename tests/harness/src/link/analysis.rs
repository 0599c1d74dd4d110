//! From the lines of a run to its figures. Pure: no file, no clock.

use super::record::{Frame, Line, Medium, Rtp, Run, Tone};
use serde::Serialize;

/// Frames of the recording follow each other after this, microseconds.
const FRAME_US: f64 = 1e6 / 30.0;
/// Longer without a new frame is a freeze.
const FREEZE_US: u64 = 200_000;
/// After a change of the link, its settled window begins so much later.
pub const SETTLE_US: u64 = 2_000_000;
/// A frame that is shown younger than this is fresh.
pub const FRESH_US: u64 = 500_000;
/// The time over which it is looked whether a link is used.
const USE_US: u64 = 1_000_000;
/// Share of the link from which it counts as used.
const USED: f64 = 0.8;

/// A stretch of time, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// It begins.
    pub from_us: u64,
    /// It has ended.
    pub to_us: u64,
}

impl Window {
    /// Whether a time is in it.
    #[must_use]
    pub fn has(self, at_us: u64) -> bool {
        (self.from_us..self.to_us).contains(&at_us)
    }

    fn seconds(self) -> f64 {
        self.to_us.saturating_sub(self.from_us) as f64 / 1e6
    }
}

/// How values are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// Half are above it.
    pub median: f64,
    /// One in twenty is below it.
    pub p5: f64,
    /// One in twenty is above it.
    pub p95: f64,
    /// The highest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
}

impl Spread {
    /// Of these values; nothing of none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        // The nearest rank: always one of the values.
        let rank = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied()
        };
        let (count, mean) = (values.len(), values.iter().sum::<f64>() / values.len().max(1) as f64);
        Some(Self { count, median: rank(0.5)?, p5: rank(0.05)?, p95: rank(0.95)?, max: rank(1.0)?, mean })
    }
}

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

/// What the link carried in a window, and how much of it came from whom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Use {
    /// Mean of what it could carry, kilobits per second.
    pub capacity_kbps: f64,
    /// IP packets of the publishers, kilobits per second.
    pub publishers_kbps: f64,
    /// Of a competing transfer.
    pub competing_kbps: f64,
    /// Share of the capacity that the publishers used.
    pub share: f64,
}

/// The return of a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Return {
    /// When the link was back.
    pub at_us: u64,
    /// From then to the first frame that was fresh when it was shown, milliseconds.
    pub first_fresh_ms: Option<f64>,
    /// Age of the oldest frame that was shown after the link's return, milliseconds.
    pub oldest_shown_ms: Option<f64>,
}

/// The records of one run, sorted by time.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    /// What the script did.
    pub run: Run,
    /// Every frame, by the time at which it was shown.
    pub frames: Vec<Frame>,
    /// Every tone, by the time at which it was heard.
    pub tones: Vec<Tone>,
    /// Totals of RTP.
    pub rtp: Vec<Rtp>,
}

impl Records {
    /// Sorts what the receiver wrote.
    #[must_use]
    pub fn new(run: Run, lines: Vec<Line>) -> Self {
        let (mut frames, mut tones, mut rtp) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            match line {
                Line::Frame(frame) => frames.push(frame),
                Line::Tone(tone) => tones.push(tone),
                Line::Rtp(totals) => rtp.push(totals),
                Line::Up { .. } | Line::Unread { .. } => {}
            }
        }
        frames.sort_by_key(|frame| frame.shown_us);
        tones.sort_by_key(|tone| tone.heard_us);
        rtp.sort_by_key(|totals| totals.at_us);
        Self { run, frames, tones, rtp }
    }

    /// The whole measurement.
    #[must_use]
    pub fn whole(&self) -> Window {
        Window { from_us: self.run.begin_us, to_us: self.run.end_us }
    }

    /// The stretches between changes of the link, each with what it carried.
    #[must_use]
    pub fn phases(&self) -> Vec<(u32, Window)> {
        let link = &self.run.link;
        let end = |next: usize| link.get(next).map_or(self.run.end_us, |change| change.at_us);
        link.iter()
            .enumerate()
            .map(|(number, change)| {
                let from_us = change.at_us.max(self.run.begin_us);
                (change.kbps, Window { from_us, to_us: end(number + 1) })
            })
            .collect()
    }

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

    /// How much of the link was used in a window, if the path counted there.
    #[must_use]
    pub fn link_use(&self, window: Window) -> Option<Use> {
        let mut inside = self.run.crossed.iter().filter(|crossed| window.has(crossed.at_us));
        let first = inside.next()?;
        let last = inside.next_back()?;
        let seconds = (last.at_us - first.at_us) as f64 / 1e6;
        let kbps = |bytes: u64| bytes as f64 * 8.0 / 1000.0 / seconds;
        let capacity_kbps = self.capacity(Window { from_us: first.at_us, to_us: last.at_us });
        let publishers_kbps = kbps(last.bytes.saturating_sub(first.bytes));
        let competing_kbps = kbps(last.competing_bytes.saturating_sub(first.competing_bytes));
        let share = if capacity_kbps > 0.0 { publishers_kbps / capacity_kbps } else { 0.0 };
        Some(Use { capacity_kbps, publishers_kbps, competing_kbps, share })
    }

    fn capacity(&self, window: Window) -> f64 {
        let mut sum = 0.0;
        for (kbps, phase) in self.phases() {
            let part = Window { from_us: phase.from_us.max(window.from_us), to_us: phase.to_us.min(window.to_us) };
            sum += f64::from(kbps) * part.seconds();
        }
        sum / window.seconds().max(1e-9)
    }

    /// From the beginning of a window to the end of the first second in which 80 % of the link was used, milliseconds.
    #[must_use]
    pub fn used_after_ms(&self, window: Window) -> Option<f64> {
        let inside: Vec<_> = self.run.crossed.iter().filter(|crossed| window.has(crossed.at_us)).collect();
        let mut first = 0;
        for last in &inside {
            while inside.get(first + 1).is_some_and(|next| next.at_us + USE_US <= last.at_us) {
                first += 1;
            }
            let begin = inside.get(first).filter(|begin| begin.at_us + USE_US <= last.at_us);
            let Some(begin) = begin else { continue };
            let second = Window { from_us: begin.at_us, to_us: last.at_us };
            let kbps = (last.bytes - begin.bytes) as f64 * 8.0 / 1000.0 / second.seconds();
            if kbps >= USED * self.capacity(second) {
                return Some((last.at_us - window.from_us) as f64 / 1000.0);
            }
        }
        None
    }

    /// What became of a publisher's picture when the link came back, for each time that it did.
    #[must_use]
    pub fn returns(&self, publisher: &str) -> Vec<Return> {
        let phases = self.phases();
        let back = phases.windows(2).filter(|two| two[0].0 == 0 && two[1].0 > 0).map(|two| two[1].1);
        back.map(|window| {
            let shown = self.frames.iter().filter(|frame| frame.publisher == publisher && window.has(frame.shown_us));
            let age = |frame: &Frame| frame.shown_us.saturating_sub(frame.captured_us);
            let first = shown.clone().find(|frame| age(frame) <= FRESH_US);
            Return {
                at_us: window.from_us,
                first_fresh_ms: first.map(|frame| (frame.shown_us - window.from_us) as f64 / 1000.0),
                oldest_shown_ms: shown.map(age).max().map(|age| age as f64 / 1000.0),
            }
        })
        .collect()
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
    use super::super::record::{Capacity, Crossed};
    use super::*;

    const S: u64 = 1_000_000;

    fn run(link: &[(u64, u32)], seconds: u64) -> Run {
        Run {
            scenario: "made-up".into(),
            peer: "kioskd".into(),
            tcp: true,
            begin_us: 0,
            end_us: seconds * S,
            link: link.iter().map(|(at, kbps)| Capacity { at_us: at * S, kbps: *kbps }).collect(),
            crossed: Vec::new(),
            publishers: vec!["kiosk".into()],
            recording: "film".into(),
        }
    }

    fn frame(captured_us: u64, delay_us: u64) -> Line {
        Line::Frame(Frame {
            publisher: "kiosk".into(),
            shown_us: captured_us + delay_us,
            captured_us,
            index: None,
            width: 1280,
            height: 720,
            ssim: Some(0.9),
            psnr: None,
        })
    }

    fn rtp(at_us: u64, expected: u64, received: u64) -> Line {
        let publisher = "kiosk".to_owned();
        Line::Rtp(Rtp { publisher, at_us, medium: Medium::Video, expected, received, bytes: received * 1000 })
    }

    #[test]
    fn a_spread_is_made_of_its_values() {
        assert_eq!(Spread::of([]), None);
        let spread = Spread::of((1..=100).rev().map(f64::from)).unwrap();
        assert_eq!((spread.median, spread.p5, spread.p95, spread.max, spread.mean), (50.0, 5.0, 95.0, 100.0, 50.5));
        assert_eq!(Spread::of([7.0]).unwrap().p95, 7.0);
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

    #[test]
    fn use_of_a_link_whose_rate_changes() {
        let mut run = run(&[(0, 600), (10, 1500)], 20);
        // 540 kb/s for 10 s, then 100 kb/s more each second.
        let mut bytes = 0.0;
        for tenth in 0..200_u64 {
            let second = tenth as f64 / 10.0;
            let kbps = if second < 10.0 { 540.0 } else { 540.0 + 100.0 * (second - 10.0) };
            run.crossed.push(Crossed { at_us: tenth * 100_000, bytes: bytes as u64, competing_bytes: 0 });
            bytes += kbps * 1000.0 / 8.0 / 10.0;
        }
        let records = Records::new(run, Vec::new());
        let phases = records.phases();
        assert_eq!(phases.iter().map(|(kbps, _)| *kbps).collect::<Vec<_>>(), [600, 1500]);
        let low = records.link_use(phases[0].1).unwrap();
        assert!((low.share - 0.9).abs() < 0.01, "{low:?}");
        let across = records.link_use(Window { from_us: 5 * S, to_us: 15 * S }).unwrap();
        assert!((across.capacity_kbps - 1050.0).abs() < 10.0, "{across:?}");
        // 80 % of 1500 is reached after 6.6 s; a whole second's mean half a second later.
        let after = records.used_after_ms(phases[1].1).unwrap();
        assert!((after - 7_100.0).abs() < 150.0, "{after}");
        assert_eq!(records.used_after_ms(Window { from_us: 10 * S, to_us: 14 * S }), None);
    }

    #[test]
    fn after_an_outage_the_first_fresh_and_the_oldest_frame() {
        let before = (0..240).map(|n| frame(n * 33_333, 60_000));
        let stale = (0..5).map(|n| frame(8 * S + n * 33_333, 10 * S + 300_000 - n * 33_333));
        let fresh = (0..100).map(|n| frame(18 * S + 900_000 + n * 33_333, 100_000));
        let run = run(&[(0, 1500), (8, 0), (18, 1500)], 25);
        let records = Records::new(run, before.chain(stale).chain(fresh).collect());
        let returned = records.returns("kiosk");
        assert_eq!(returned.len(), 1);
        assert_eq!(returned[0].first_fresh_ms, Some(1000.0));
        assert_eq!(returned[0].oldest_shown_ms, Some(10_300.0));
    }
}
