//! How values are spread.

use serde::Serialize;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_made_of_its_values() {
        assert_eq!(Spread::of([]), None);
        let spread = Spread::of((1..=100).rev().map(f64::from)).unwrap();
        assert_eq!((spread.median, spread.p5, spread.p95, spread.max, spread.mean), (50.0, 5.0, 95.0, 100.0, 50.5));
        assert_eq!(Spread::of([7.0]).unwrap().p95, 7.0);
    }
}
