//! The load: more and more of a picture, step by step, until the delay grows.

use std::time::Duration;

/// What one step of the load was like, over about a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// What the encoder was told, bit/s.
    pub target: u64,
    /// What it made, bit/s.
    pub made: u64,
    /// What the server acknowledged, bit/s of everything.
    pub up: u64,
    /// What came back of it, bit/s.
    pub back: u64,
    /// The longest that a packet waited in front of the way up, in the sender and in the network's queues.
    pub waiting: Duration,
    /// How old pictures were when they were decoded again; none: none came.
    pub late: Option<Duration>,
}

/// What ended the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The way to the server is full.
    Up,
    /// The way back is full, or this machine decodes no more.
    Back,
    /// The encoder makes no more.
    Encoder,
    /// Nothing: that was the most that is tried.
    Enough,
}

/// What the way carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The most that the server acknowledged, bit/s.
    pub up: u64,
    /// The most that came back, bit/s.
    pub back: u64,
    /// Why it was not more.
    pub limit: Limit,
}

impl Capacity {
    /// What a picture may count on, bit/s; none when nothing was full.
    #[must_use]
    pub fn bound(&self) -> Option<u64> {
        match self.limit {
            Limit::Up => Some(self.up),
            // What goes up is what comes back, but for what was lost.
            Limit::Back => Some(self.back.min(self.up)),
            Limit::Encoder | Limit::Enough => None,
        }
    }
}

/// Raises the load step by step until the delay grows.
#[derive(Debug, Clone)]
pub struct Ramp {
    target: u64,
    most: u64,
    unloaded: Duration,
    seen: Capacity,
    /// Steps in a row in which the encoder made too little.
    short: u32,
}

impl Ramp {
    /// A step is this much more than the one before.
    const STEP: f64 = 1.45;
    /// A packet that waited for so long met a queue that grows.
    const QUEUE: Duration = Duration::from_millis(200);
    /// Pictures that are so much older than unloaded.
    const LATER: Duration = Duration::from_millis(350);
    /// Less than this share of what went up came back.
    const LOST: f64 = 0.75;
    /// An encoder that makes less than this share of what it is told has reached its end, or saves what it spent before:
    /// which of them, shows in some steps.
    const MADE: f64 = 0.6;
    const SHORT: u32 = 3;

    /// Begins with `begin` bit/s and never tries more than `most`; `unloaded` is how old pictures were before.
    #[must_use]
    pub fn new(begin: u64, most: u64, unloaded: Duration) -> Self {
        let seen = Capacity { up: 0, back: 0, limit: Limit::Enough };
        Self { target: begin.min(most), most, unloaded, seen, short: 0 }
    }

    /// What the encoder is to be told now, bit/s.
    #[must_use]
    pub fn target(&self) -> u64 {
        self.target
    }

    /// Whether so long a wait in front of the way up ends the step at once.
    #[must_use]
    pub fn is_full(waiting: Duration) -> bool {
        waiting >= Self::QUEUE
    }

    /// Takes what a step showed. None: there is another one.
    pub fn take(&mut self, load: &Load) -> Option<Capacity> {
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        self.seen.up = self.seen.up.max(load.up);
        self.seen.back = self.seen.back.max(load.back);
        let made_enough = share(load.made, load.target) >= Self::MADE;
        self.short = if made_enough { 0 } else { self.short + 1 };
        let late = load.late.is_none_or(|late| late > self.unloaded + Self::LATER);
        self.seen.limit = if Self::is_full(load.waiting) {
            // What it carried while it was full is what it carries.
            self.seen.up = load.up;
            Limit::Up
        } else if late || share(load.back, load.up) < Self::LOST {
            self.seen.back = load.back;
            Limit::Back
        } else if self.short >= Self::SHORT {
            Limit::Encoder
        } else if self.target >= self.most {
            Limit::Enough
        } else {
            self.target = ((self.target as f64 * Self::STEP) as u64).min(self.most);
            return None;
        };
        Some(self.seen)
    }

    /// What is known when the load has to end before it found anything.
    #[must_use]
    pub fn so_far(&self) -> Capacity {
        self.seen
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A way that carries so much up and down: what is more waits in front of it, or does not come back.
    fn through(target: u64, up: u64, down: u64, encoder: u64) -> Load {
        let made = target.min(encoder);
        let waiting = if made > up { 400 * MS } else { 5 * MS };
        let sent = made.min(up);
        let late = if sent > down { 900 * MS } else { 130 * MS };
        Load { target, made, up: sent, back: sent.min(down), waiting, late: Some(late) }
    }

    /// What a whole ramp finds of such a way.
    pub fn found(up: u64, down: u64, encoder: u64) -> Capacity {
        let mut ramp = Ramp::new(300_000, 8_000_000, 120 * MS);
        for _ in 0..20 {
            if let Some(capacity) = ramp.take(&through(ramp.target(), up, down, encoder)) {
                return capacity;
            }
        }
        panic!("it does not end");
    }

    /// More than is ever tried, bit/s.
    pub const MUCH: u64 = 100_000_000;

    #[test]
    fn the_load_ends_where_the_delay_grows_and_says_why() {
        assert_eq!(found(1_200_000, MUCH, MUCH), Capacity { up: 1_200_000, back: 1_200_000, limit: Limit::Up });
        let back = found(MUCH, 1_200_000, MUCH);
        assert_eq!((back.limit, back.bound()), (Limit::Back, Some(1_200_000)));
        assert_eq!(found(MUCH, MUCH, 2_000_000).limit, Limit::Encoder);
        assert_eq!(found(MUCH, MUCH, MUCH), Capacity { up: 8_000_000, back: 8_000_000, limit: Limit::Enough });
        assert_eq!(found(MUCH, MUCH, MUCH).bound(), None);
        // Full from the first step on.
        assert_eq!(found(200_000, MUCH, MUCH).up, 200_000);
        // An encoder that saves for two steps goes on.
        let mut ramp = Ramp::new(300_000, 8_000_000, 120 * MS);
        let saving = Load { made: 50_000, ..through(300_000, MUCH, MUCH, MUCH) };
        assert!(ramp.take(&saving).is_none() && ramp.take(&saving).is_none());
        assert!(ramp.take(&through(ramp.target(), MUCH, MUCH, MUCH)).is_none() && ramp.take(&saving).is_none());
        let nothing = Load { target: 300_000, made: 300_000, up: 300_000, back: 300_000, ..Load::default() };
        assert_eq!(Ramp::new(300_000, MUCH, MS).take(&nothing).unwrap().limit, Limit::Back, "no picture came back");
    }
}
