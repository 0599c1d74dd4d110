//! What the server tells of arrivals, as Janus does it: a report at a time, in the order of sending, and nothing later of a
//! packet that was overtaken.

use std::collections::VecDeque;
use std::time::Duration;

use crate::rate::Arrival;

const REPORTING: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(super) struct Reports {
    packets: VecDeque<Arrival>,
    /// The number of the first of them.
    first: u64,
    made: Duration,
    on_the_way: VecDeque<(Duration, Vec<Arrival>)>,
}

impl Reports {
    /// A packet is sent; its number.
    pub(super) fn send(&mut self, now: Duration, bytes: u64) -> u64 {
        self.packets.push_back(Arrival { sent: now, bytes, arrived: None });
        self.first + self.packets.len() as u64 - 1
    }

    /// A packet arrives.
    pub(super) fn arrive(&mut self, now: Duration, number: u64) {
        if let Some(packet) = number.checked_sub(self.first).and_then(|index| self.packets.get_mut(index as usize)) {
            packet.arrived = Some(now);
        }
    }

    /// Makes a report when it is time, which then takes so long, and gives the one that is there.
    pub(super) fn tick(&mut self, now: Duration, takes: Duration) -> Option<Vec<Arrival>> {
        if now >= self.made + REPORTING {
            self.made = now;
            let end = self.packets.iter().rposition(|packet| packet.arrived.is_some()).map_or(0, |last| last + 1);
            self.first += end as u64;
            self.on_the_way.push_back((now + takes, self.packets.drain(..end).collect()));
        }
        self.on_the_way.pop_front_if(|(at, _)| *at <= now).map(|(_, report)| report)
    }
}
