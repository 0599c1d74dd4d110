//! The path itself, measured with plain tools before anything is measured on it: `ping`, and a plain TCP transfer.

use super::{
    bulk::Bulk,
    emulator::Emulator,
    scenario::{QUEUE_BYTES, Scenario},
};
use crate::{
    Error, Result,
    world::{Host, World},
};
use serde::{Deserialize, Serialize};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Bytes of an IP packet of `ping` with its standard payload.
const PING_BYTES: f64 = 84.0;
/// How long the plain transfer is given to fill the link, and then measured.
const FILL: Duration = Duration::from_secs(2);
const MEASURE: Duration = Duration::from_secs(4);
/// Of a link's bits, what must pass the bottleneck while a transfer fills it.
const WIRE: std::ops::RangeInclusive<f64> = 0.95..=1.01;
/// Of these, what a transfer must carry of payload. TCP can carry 0.965 of it.
const GOODPUT: std::ops::RangeInclusive<f64> = 0.90..=1.0;
/// Once a segment is lost, what was sent behind it comes in one piece when it has been sent again: up to two full queues
/// later. So much may count before or after the measurement.
const HELD_UP_QUEUES: f64 = 2.0;
/// What a ping may take longer than the path says: two user-space hops on a busy machine.
const EXTRA_MS: f64 = 2.0;

/// What plain tools measured, beside what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathCheck {
    /// Mean round trip that the scenario asks for, with the time on the wire, milliseconds.
    pub asked_rtt_ms: f64,
    /// Mean of the pings.
    pub rtt_ms: f64,
    /// Shortest of the pings.
    pub rtt_min_ms: f64,
    /// Longest of the pings.
    pub rtt_max_ms: f64,
    /// Loss of a packet or its answer that the scenario asks for, percent.
    pub asked_loss_percent: f64,
    /// Pings that were lost, percent.
    pub loss_percent: f64,
    /// Pings that were sent.
    pub pings: u32,
    /// What the link is to carry, Mb/s of IP packets.
    pub asked_mbps: f64,
    /// What passed the bottleneck in a plain TCP transfer, Mb/s of IP packets.
    pub wire_mbps: f64,
    /// What the transfer's receiver got of it, Mb/s of payload.
    pub goodput_mbps: f64,
    /// Congestion control of the sender's kernel.
    pub congestion_control: String,
}

impl PathCheck {
    /// Measures an idle path; some ten seconds.
    ///
    /// # Errors
    /// When the path is not what the scenario asks for: then nothing that is measured on it means anything.
    pub fn run(world: &World, emulator: &Emulator, scenario: &Scenario) -> Result<Self> {
        let control = world.run(Host::Kiosk, "cat", &["/proc/sys/net/ipv4/tcp_congestion_control"])?;
        let pings = if scenario.loss_percent > 0.0 { 1500 } else { 300 };
        let ping = ping(world, pings)?;
        let (wire, goodput) = transfer(world, emulator)?;
        let loss = scenario.loss_percent / 100.0;
        let conditions = scenario.conditions();
        let wire_ms = 2.0 * PING_BYTES * 8.0 / f64::from(scenario.kbps);
        let check = Self {
            asked_rtt_ms: f64::from(scenario.rtt_ms + scenario.jitter_ms) + wire_ms,
            rtt_ms: ping.mean,
            rtt_min_ms: ping.min,
            rtt_max_ms: ping.max,
            asked_loss_percent: 100.0 * (1.0 - (1.0 - loss).powi(2)),
            loss_percent: ping.loss_percent,
            pings,
            asked_mbps: conditions.bits_per_second / 1e6,
            wire_mbps: wire / 1e6,
            goodput_mbps: goodput / 1e6,
            congestion_control: control.trim().to_owned(),
        };
        check.verdict().map(|()| check.clone()).map_err(|why| {
            Error::Other(format!("the link of {} is not what was asked for: {why}\n{check:?}", scenario.name))
        })
    }

    fn verdict(&self) -> Result<(), String> {
        let extra = self.rtt_ms - self.asked_rtt_ms;
        // Jitter's mean of some hundred pings is known to about a tenth of its range.
        let spread = 0.1 * (self.rtt_max_ms - self.rtt_min_ms);
        if !(-spread - 0.2..EXTRA_MS + spread).contains(&extra) {
            return Err(format!("the mean ping takes {:.1} ms and not {:.1} ms", self.rtt_ms, self.asked_rtt_ms));
        }
        let expected = self.asked_loss_percent / 100.0;
        let tolerance = 400.0 * (expected * (1.0 - expected) / f64::from(self.pings)).sqrt();
        if (self.loss_percent - self.asked_loss_percent).abs() > tolerance {
            let (lost, asked) = (self.loss_percent, self.asked_loss_percent);
            return Err(format!("{lost:.2} % of the pings are lost and not {asked:.2} %"));
        }
        let (wire, goodput) = (self.wire_mbps / self.asked_mbps, self.goodput_mbps / self.asked_mbps);
        let held_up = HELD_UP_QUEUES * QUEUE_BYTES as f64 * 8e-6 / MEASURE.as_secs_f64() / self.asked_mbps;
        // Random loss keeps a plain transfer below what the link carries.
        let enough = self.asked_loss_percent > 0.0 || wire >= *WIRE.start() && goodput >= *GOODPUT.start() - held_up;
        if !enough || wire > *WIRE.end() || goodput > *GOODPUT.end() + held_up {
            return Err(format!(
                "of {:.2} Mb/s a plain TCP transfer takes {:.2} and receives {:.2}",
                self.asked_mbps, self.wire_mbps, self.goodput_mbps
            ));
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct Pings {
    min: f64,
    mean: f64,
    max: f64,
    loss_percent: f64,
}

fn ping(world: &World, count: u32) -> Result<Pings> {
    let (count, server) = (count.to_string(), Host::Server.address().to_string());
    // At 10 ms, `ping` takes a tenth of the slowest link.
    let text = world.run(Host::Kiosk, "ping", &["-n", "-q", "-i", "0.01", "-W", "2", "-c", &count, &server])?;
    parse(&text).ok_or_else(|| Error::Other(format!("ping said something else than expected:\n{text}")))
}

fn parse(text: &str) -> Option<Pings> {
    let loss = text.split(", ").find_map(|part| {
        part.trim().strip_suffix("% packet loss").or_else(|| part.split_once("% packet loss").map(|(n, _)| n))
    })?;
    let times = text.lines().find_map(|line| line.strip_prefix("rtt ")?.split_once(" = "))?.1;
    let mut times = times.split(['/', ' ']).map_while(|time| time.parse::<f64>().ok());
    Some(Pings { min: times.next()?, mean: times.next()?, max: times.next()?, loss_percent: loss.parse().ok()? })
}

/// Bits per second that passed the bottleneck, and that were received.
fn transfer(world: &World, emulator: &Emulator) -> Result<(f64, f64)> {
    let bulk = Bulk::start(world)?;
    thread::sleep(FILL);
    let (start, wire, received) = (Instant::now(), emulator.counters()?.up.bytes, bulk.received());
    thread::sleep(MEASURE);
    let seconds = start.elapsed().as_secs_f64();
    let (wire_end, received_end) = (emulator.counters()?.up.bytes, bulk.received());
    let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 * 8.0 / seconds;
    Ok((rate(wire, wire_end), rate(received, received_end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_ping_is_read() {
        let text = "PING 10.77.1.2 (10.77.1.2) 56(84) bytes of data.\n\n--- 10.77.1.2 ping statistics ---\n\
            300 packets transmitted, 294 received, 2% packet loss, time 3010ms\n\
            rtt min/avg/max/mdev = 20.117/20.504/22.027/0.339 ms, pipe 3\n";
        assert_eq!(parse(text), Some(Pings { min: 20.117, mean: 20.504, max: 22.027, loss_percent: 2.0 }));
        assert_eq!(parse("ping: unknown host"), None);
    }

    #[test]
    fn a_link_that_is_not_as_asked_is_refused() {
        let good = PathCheck {
            asked_rtt_ms: 60.5,
            rtt_ms: 61.0,
            rtt_min_ms: 60.5,
            rtt_max_ms: 63.0,
            asked_loss_percent: 1.99,
            loss_percent: 2.3,
            pings: 1500,
            asked_mbps: 3.0,
            wire_mbps: 2.9,
            goodput_mbps: 2.5,
            congestion_control: "cubic".into(),
        };
        assert_eq!(good.verdict(), Ok(()));
        assert!(PathCheck { rtt_ms: 66.0, ..good.clone() }.verdict().is_err());
        assert!(PathCheck { rtt_ms: 58.0, ..good.clone() }.verdict().is_err());
        assert!(PathCheck { loss_percent: 0.1, ..good.clone() }.verdict().is_err());
        assert!(PathCheck { wire_mbps: 3.1, ..good.clone() }.verdict().is_err());
        let clean = PathCheck { asked_loss_percent: 0.0, loss_percent: 0.0, wire_mbps: 2.99, ..good };
        assert_eq!(clean.verdict(), Ok(()), "a lost segment held up what came behind it");
        assert!(PathCheck { goodput_mbps: 2.0, ..clean.clone() }.verdict().is_err());
        assert!(PathCheck { goodput_mbps: 3.6, ..clean.clone() }.verdict().is_err());
        assert!(PathCheck { wire_mbps: 2.8, ..clean }.verdict().is_err());
    }
}
