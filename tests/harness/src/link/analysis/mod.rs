//! From the lines of a run to its figures. Pure: no file, no clock.

#[cfg(test)]
mod made_up;
mod media;
mod path;
mod spread;

use super::record::{Frame, Line, Rtp, Run, Tone};
use serde::Serialize;

pub use media::{Figures, Freezes};
pub use path::{FRESH_US, Return, Use};
pub use spread::Spread;

/// After a change of the link, its settled window begins so much later.
pub const SETTLE_US: u64 = 2_000_000;

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
}
