//! The controller against simulated links, in steps of a millisecond, with fixed seeds and without a clock.

mod kiosk;
mod network;
mod properties;
mod reports;
mod scenarios;

use std::time::Duration;

use kiosk::{Encoder, Kiosk, Log, SETTINGS};
use network::{Network, World};

use super::Settings;

const TICK: Duration = Duration::from_millis(1);

/// A linear congruential generator: the same numbers on every machine.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }
}

/// One kiosk alone.
fn alone(network: Network, encoder: Encoder, seconds: u64) -> Log {
    together(network, &[(SETTINGS, encoder, 0)], None, seconds).remove(0)
}

/// Several, each from its own second on, and a transfer that takes what it gets, between two times.
fn together(network: Network, kiosks: &[(Settings, Encoder, u64)], bulk: Option<(u64, u64)>, seconds: u64) -> Vec<Log> {
    let begin = |index: usize| Duration::from_secs(kiosks[index].2) + Duration::from_millis(7 * index as u64);
    let mut world = World::new(network, kiosks.len() + 1, 42);
    let mut running: Vec<Kiosk> = kiosks
        .iter()
        .enumerate()
        .map(|(i, (settings, encoder, _))| Kiosk::new(i, *settings, *encoder, begin(i)))
        .collect();
    let mut now = Duration::ZERO;
    while now < Duration::from_secs(seconds) {
        now += TICK;
        for (index, kiosk) in running.iter_mut().enumerate() {
            if now >= begin(index) {
                kiosk.tick(now, &mut world);
            }
        }
        if bulk.is_some_and(|(from, to)| (from..to).contains(&now.as_secs()))
            && world.state(kiosks.len()).unsent_bytes < 5000
        {
            (0..4).for_each(|_| world.write(kiosks.len(), 1250));
        }
        world.tick(now);
    }
    running.into_iter().map(|kiosk| kiosk.log).collect()
}
