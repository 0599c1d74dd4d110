//! Size and frequency of the frames for a bitrate: smaller frames first, then fewer, then smaller ones again.

use std::time::Duration;

/// Size and frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Frames a second.
    pub frames_per_second: u32,
}

/// What a pixel of a frame needs at least, bit. With less, the next smaller picture looks better, shown in the same size;
/// below the last one the picture falls apart into blocks. Smaller pictures have more detail in each pixel.
const BITS_PER_PIXEL: [f64; 3] = [0.029, 0.0257, 0.035];
/// Frames a second that a step down in frequency leaves.
const FREQUENCIES: [u32; 3] = [25, 20, SCALED_FREQUENCY];
/// The one at which frames become smaller.
const SCALED_FREQUENCY: u32 = 15;
/// The last resort.
const LEAST_FREQUENCY: u32 = 10;
/// No smaller picture than this is made. Pixels.
const LEAST_WIDTH: u32 = 320;
/// A target must be below the floor for this long.
const DOWN_AFTER: Duration = Duration::from_millis(600);
/// And above the next floor, with this much to spare, for this long.
const UP_AFTER: Duration = Duration::from_secs(5);
const UP_MARGIN: f64 = 1.1;
/// From this share of the bound on the target has all of it.
const ALL: f64 = 0.98;
/// A step up that had to be taken back within this time makes the next wait longer, up to [`UP_AFTER_MOST`].
const REGRET: Duration = Duration::from_secs(20);
const UP_AFTER_MOST: Duration = Duration::from_secs(40);

/// The steps, and the one in use.
#[derive(Debug, Clone)]
pub struct Ladder {
    steps: Vec<(Step, f64)>,
    at: usize,
    below_since: Option<Duration>,
    /// Since when, and the most that the target allowed all that time.
    above: Option<(Duration, usize)>,
    raised: Option<Duration>,
    up_after: Duration,
}

impl Ladder {
    /// Steps below `full`, which is where it begins.
    #[must_use]
    pub fn new(full: Step) -> Self {
        let scaled = |quarters: u32| Step {
            width: (full.width * quarters / 4) & !1,
            height: (full.height * quarters / 4) & !1,
            ..full
        };
        let sizes = [(full, BITS_PER_PIXEL[0]), (scaled(3), BITS_PER_PIXEL[1]), (scaled(2), BITS_PER_PIXEL[2])];
        let enough = sizes.iter().skip(1).take_while(|(step, _)| step.width >= LEAST_WIDTH).count();
        let sizes = &sizes[..=enough];
        let mut steps: Vec<(Step, f64)> = sizes.iter().take(2).copied().collect();
        let fewer = FREQUENCIES.into_iter().filter(|frequency| *frequency < full.frames_per_second);
        steps.extend(fewer.filter_map(|frames_per_second| {
            let (size, bits) = sizes.get(1).or(sizes.first())?;
            Some((Step { frames_per_second, ..*size }, *bits))
        }));
        let slow = full.frames_per_second.min(SCALED_FREQUENCY);
        steps.extend(sizes.get(2).map(|(size, bits)| (Step { frames_per_second: slow, ..*size }, *bits)));
        if let Some((last, bits)) = steps.last().copied().filter(|(step, _)| step.frames_per_second > LEAST_FREQUENCY) {
            steps.push((Step { frames_per_second: LEAST_FREQUENCY, ..last }, bits));
        }
        let up_after = UP_AFTER;
        Self { steps, at: 0, below_since: None, above: None, raised: None, up_after }
    }

    /// The step in use.
    #[must_use]
    pub fn step(&self) -> Step {
        self.steps.get(self.at).map_or(self.steps[0].0, |(step, _)| *step)
    }

    /// Its number, from 0 at the top.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    fn floor(&self, index: usize) -> f64 {
        let Some((step, bits)) = self.steps.get(index) else { return 0.0 };
        f64::from(step.width) * f64::from(step.height) * f64::from(step.frames_per_second) * bits
    }

    /// The highest step whose floor this bitrate reaches; the lowest when it reaches none.
    fn best(&self, bits_per_second: f64) -> usize {
        (0..self.steps.len()).find(|index| self.floor(*index) <= bits_per_second).unwrap_or(self.steps.len() - 1)
    }

    /// Begins with the step for this bitrate.
    pub fn begin(&mut self, bits_per_second: f64) {
        self.at = self.best(bits_per_second);
    }

    /// The picture may take this many bits a second, and never more than `most`; the step that follows.
    pub fn take(&mut self, now: Duration, bits_per_second: f64, most: f64) -> Step {
        if bits_per_second < self.floor(self.at) && self.best(bits_per_second) != self.at {
            self.above = None;
            if now.saturating_sub(*self.below_since.get_or_insert(now)) >= DOWN_AFTER {
                self.down(now, self.best(bits_per_second));
            }
            return self.step();
        }
        self.below_since = None;
        // At the most that is allowed there is nothing to spare, and nothing to wait for.
        let margin = if bits_per_second >= most * ALL { 1.0 } else { UP_MARGIN };
        let better = self.best(bits_per_second / margin);
        if better >= self.at {
            self.above = None;
            return self.step();
        }
        let (since, least) = self.above.map_or((now, better), |(since, least)| (since, least.max(better)));
        self.above = Some((since, least));
        if now.saturating_sub(since) >= self.up_after {
            self.at = least;
            self.above = None;
            self.raised = Some(now);
        }
        self.step()
    }

    fn down(&mut self, now: Duration, to: usize) {
        self.at = to;
        self.below_since = None;
        let regret = self.raised.take().is_some_and(|at| now.saturating_sub(at) < REGRET);
        self.up_after = if regret { (self.up_after * 2).min(UP_AFTER_MOST) } else { UP_AFTER };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Step = Step { width: 1280, height: 720, frames_per_second: 30 };

    /// The steps that follow a target of so many kbit/s for so many seconds each.
    fn steps(ladder: &mut Ladder, targets: &[(u64, u64)], most: f64) -> Vec<(u32, u32)> {
        let mut now = Duration::ZERO;
        let mut last = Vec::new();
        for (kbps, seconds) in targets {
            for _ in 0..seconds * 10 {
                now += Duration::from_millis(100);
                ladder.take(now, *kbps as f64 * 1000.0, most);
            }
            last.push((ladder.step().height, ladder.step().frames_per_second));
        }
        last
    }

    #[test]
    fn smaller_frames_then_fewer_ones_and_back() {
        let mut ladder = Ladder::new(FULL);
        let targets = [(1500, 5), (500, 2), (350, 2), (300, 2), (220, 2), (150, 2), (100, 2), (1500, 6)];
        let expected = [(720, 30), (540, 30), (540, 25), (540, 20), (540, 15), (360, 15), (360, 10), (720, 30)];
        assert_eq!(steps(&mut ladder, &targets, 2e6), expected);
    }

    #[test]
    fn the_bound_itself_is_enough_to_come_back() {
        let mut ladder = Ladder::new(FULL);
        assert_eq!(steps(&mut ladder, &[(250, 5), (430, 10)], 430_000.0), [(540, 15), (540, 30)]);
        assert_eq!(steps(&mut Ladder::new(FULL), &[(250, 5), (430, 10)], 2e6), [(540, 15), (540, 25)], "no margin");
    }

    #[test]
    fn a_step_up_that_was_regretted_is_waited_for_longer() {
        let mut ladder = Ladder::new(FULL);
        let flap = [(250, 2), (1500, 6), (250, 2), (1500, 6), (1500, 5)];
        let expected = [(540, 15), (720, 30), (540, 15), (540, 15), (720, 30)];
        assert_eq!(steps(&mut ladder, &flap, 2e6), expected);
    }

    #[test]
    fn the_shape_stays_and_a_small_camera_has_fewer_steps() {
        let shape = |step: &Step| f64::from(step.width) / f64::from(step.height);
        for (width, height) in [(1280, 720), (640, 480), (1920, 1080), (320, 240)] {
            let full = Step { width, height, frames_per_second: 25 };
            let ladder = Ladder::new(full);
            for (step, _) in &ladder.steps {
                assert!((shape(step) - shape(&full)).abs() < 0.02, "{step:?}");
                assert!(step.width >= 320 && step.width % 2 == 0 && step.height % 2 == 0, "{step:?}");
            }
        }
        assert_eq!(Ladder::new(Step { width: 320, height: 240, frames_per_second: 10 }).steps.len(), 1);
    }
}
