//! What the link carried, how much of it was used, and what became of a picture when the link came back.

use super::{Records, Window};
use crate::link::record::Frame;
use serde::Serialize;

/// A frame that is shown younger than this is fresh.
pub const FRESH_US: u64 = 500_000;
/// The time over which it is looked whether a link is used.
const USE_US: u64 = 1_000_000;
/// Share of the link from which it counts as used.
const USED: f64 = 0.8;

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

impl Records {
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

#[cfg(test)]
mod tests {
    use super::super::made_up::{S, frame, run};
    use super::*;
    use crate::link::record::Crossed;

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
