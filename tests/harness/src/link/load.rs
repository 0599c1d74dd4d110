//! How much of the machine was left while something was measured.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;

/// Processor time of all cores since the machine started, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ticks {
    /// Idle, or given to programs of lower priority (`nice`), which yield at once.
    pub free: u64,
    /// All of it.
    pub all: u64,
}

impl Ticks {
    /// Reads /proc/stat.
    pub fn now() -> Result<Self> {
        let path = "/proc/stat";
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text).ok_or_else(|| Error::Other(format!("{path} has no line of all processors")))
    }

    /// user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user.
    fn parse(text: &str) -> Option<Self> {
        let fields = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> = fields.split_whitespace().map_while(|field| field.parse().ok()).take(8).collect();
        let free = [1, 3, 4].iter().map(|index| fields.get(*index).copied()).sum::<Option<u64>>()?;
        Some(Self { free, all: fields.iter().sum() })
    }

    /// The free share since then, 0 to 1.
    pub fn free_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 0.0 } else { self.free.saturating_sub(before.free) as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_or_nice_is_free() {
        let before = Ticks::parse("cpu  100 10 50 800 5 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n").unwrap();
        assert_eq!(before, Ticks { free: 815, all: 965 });
        let after = Ticks { free: 840, all: 1065 };
        assert!((after.free_since(before) - 0.25).abs() < 1e-9);
    }
}
