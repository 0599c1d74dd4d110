//! The links that are measured: what each carries, and what happens to it.

use super::path::Conditions;
use std::time::Duration;

/// The queue before the bottleneck, bytes: 128 KiB, what an access router of a branch has. It is 0.7 s of a link of
/// 1.5 Mb/s, 1.7 s at 0.6 Mb/s, and 0.1 s at 10 Mb/s.
pub const QUEUE_BYTES: usize = 128 * 1024;
/// What every peer's encoder may use at most, kbit/s: more than the narrow links carry.
pub const MAX_BITRATE_KBPS: u32 = 1500;

/// Something that happens to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It carries this many kilobits per second from now on, both ways.
    Rate(u32),
    /// It carries nothing, both ways; what was on its way is lost.
    Down,
    /// It carries again what it carried before.
    Up,
    /// A competing TCP transfer from the branch to the server begins.
    BulkStarts,
    /// It ends.
    BulkEnds,
}

/// Which way the media go over the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the kiosk to Janus. The receiver sits beside Janus.
    Up,
    /// From Janus to the kiosk. The sender sits at the agent's, whose link is as fast as the machine.
    Down,
}

/// A link and its script.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// For people.
    pub what: &'static str,
    /// Kilobits per second at the beginning, both ways.
    pub kbps: u32,
    /// Round trip without any queue, milliseconds; half of it each way.
    pub rtt_ms: u32,
    /// Added to each packet's delay, each way, evenly distributed up to this, milliseconds; without reordering.
    pub jitter_ms: u32,
    /// Packets lost at random, each way, percent.
    pub loss_percent: f64,
    /// Which way the media go.
    pub way: Way,
    /// Kiosks that share it.
    pub kiosks: usize,
    /// Pixels of every kiosk's picture: width, height.
    pub size: (u32, u32),
    /// How long it is measured, seconds.
    pub seconds: u32,
    /// What happens, by seconds since the measurement began.
    pub script: &'static [(f64, Change)],
    /// Whether it is run when no scenario is named.
    pub by_default: bool,
}

const PLAIN: Scenario = Scenario {
    name: "",
    what: "",
    kbps: 3000,
    rtt_ms: 20,
    jitter_ms: 0,
    loss_percent: 0.0,
    way: Way::Up,
    kiosks: 1,
    size: (1280, 720),
    seconds: 20,
    script: &[],
    by_default: false,
};

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "steady10", what: "10 Mb/s, 20 ms RTT", kbps: 10_000, by_default: true, ..PLAIN },
    Scenario {
        name: "step",
        what: "1.5 Mb/s, 0.6 Mb/s from 10 s to 25 s, 1.5 Mb/s again",
        kbps: 1500,
        seconds: 40,
        script: &[(10.0, Change::Rate(600)), (25.0, Change::Rate(1500))],
        by_default: true,
        ..PLAIN
    },
    Scenario { name: "low", what: "0.3 Mb/s", kbps: 300, seconds: 25, ..PLAIN },
    Scenario {
        name: "outage3",
        what: "1.5 Mb/s, nothing from 8 s to 11 s",
        kbps: 1500,
        seconds: 25,
        script: &[(8.0, Change::Down), (11.0, Change::Up)],
        ..PLAIN
    },
    Scenario {
        name: "outage10",
        what: "1.5 Mb/s, nothing from 8 s to 18 s",
        kbps: 1500,
        seconds: 35,
        script: &[(8.0, Change::Down), (18.0, Change::Up)],
        by_default: true,
        ..PLAIN
    },
    Scenario {
        name: "bulk",
        what: "3 Mb/s, a competing TCP transfer from 5 s to 20 s",
        seconds: 25,
        script: &[(5.0, Change::BulkStarts), (20.0, Change::BulkEnds)],
        ..PLAIN
    },
    Scenario { name: "rtt20", what: "3 Mb/s, 20 ms RTT", ..PLAIN },
    Scenario { name: "rtt60", what: "3 Mb/s, 60 ms RTT", rtt_ms: 60, ..PLAIN },
    Scenario { name: "rtt150", what: "3 Mb/s, 150 ms RTT", rtt_ms: 150, ..PLAIN },
    Scenario { name: "loss0.1", what: "3 Mb/s, 60 ms RTT, 0.1 % loss", rtt_ms: 60, loss_percent: 0.1, ..PLAIN },
    Scenario {
        name: "loss1",
        what: "3 Mb/s, 60 ms RTT, 1 % loss",
        rtt_ms: 60,
        loss_percent: 1.0,
        seconds: 30,
        by_default: true,
        ..PLAIN
    },
    Scenario {
        name: "loss3",
        what: "3 Mb/s, 60 ms RTT, 3 % loss",
        rtt_ms: 60,
        loss_percent: 3.0,
        seconds: 30,
        ..PLAIN
    },
    Scenario {
        name: "jitter30",
        what: "3 Mb/s, 60 ms RTT, up to 30 ms more each way",
        rtt_ms: 60,
        jitter_ms: 30,
        ..PLAIN
    },
    Scenario {
        name: "share4",
        what: "4 kiosks on 3 Mb/s",
        kiosks: 4,
        // Four encoders and four decoders share one machine here; a branch's kiosks do not.
        size: (640, 360),
        seconds: 35,
        by_default: true,
        ..PLAIN
    },
    Scenario { name: "down-narrow", what: "Janus to the kiosk: 1 Mb/s", kbps: 1000, way: Way::Down, ..PLAIN },
    Scenario {
        name: "down-step",
        what: "Janus to the kiosk: 3 Mb/s, 0.8 Mb/s from 5 s to 15 s, 3 Mb/s again",
        way: Way::Down,
        seconds: 25,
        script: &[(5.0, Change::Rate(800)), (15.0, Change::Rate(3000))],
        ..PLAIN
    },
    Scenario {
        name: "down-loss1",
        what: "Janus to the kiosk: 3 Mb/s, 60 ms RTT, 1 % loss",
        rtt_ms: 60,
        loss_percent: 1.0,
        way: Way::Down,
        ..PLAIN
    },
];

impl Scenario {
    /// By name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// What each direction of the link does at the beginning.
    pub fn conditions(&self) -> Conditions {
        Conditions {
            bits_per_second: f64::from(self.kbps) * 1000.0,
            queue_bytes: QUEUE_BYTES,
            delay: Duration::from_millis(u64::from(self.rtt_ms)) / 2,
            jitter: Duration::from_millis(u64::from(self.jitter_ms)),
            loss: self.loss_percent / 100.0,
            down: false,
        }
    }
}

impl Change {
    /// What it makes of a direction's conditions.
    pub fn applied(self, mut conditions: Conditions) -> Conditions {
        match self {
            Self::Rate(kbps) => conditions.bits_per_second = f64::from(kbps) * 1000.0,
            Self::Down => conditions.down = true,
            Self::Up => conditions.down = false,
            Self::BulkStarts | Self::BulkEnds => {}
        }
        conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_scripts_are_in_order_and_within_the_measurement() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert!(SCENARIOS[..index].iter().all(|other| other.name != scenario.name), "{}", scenario.name);
            let times: Vec<f64> = scenario.script.iter().map(|(at, _)| *at).collect();
            assert!(times.is_sorted() && times.iter().all(|at| *at < f64::from(scenario.seconds)), "{}", scenario.name);
            // The competing transfer goes up, and the targets are about what kiosks send.
            let bulk = scenario.script.iter().any(|(_, change)| *change == Change::BulkStarts);
            assert!(scenario.way == Way::Up || !bulk && !scenario.by_default, "{}", scenario.name);
        }
    }
}
