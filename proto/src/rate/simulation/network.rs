//! A bottleneck with one queue, as branches have it, and the way on both sides of it. TCP's own work is done here too: what
//! is lost is sent again a round trip later, and everything behind it waits.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Random, TICK};
use crate::rate::LinkSample;
use crate::rate::spread::HEADERS;

/// What the network is like.
#[derive(Clone)]
pub(super) struct Network {
    /// Round-trip time without queues.
    pub(super) rtt: Duration,
    /// The most by which each packet is late.
    pub(super) jitter: Duration,
    /// Share of packets that are lost.
    pub(super) loss: f64,
    /// What the bottleneck's queue holds, bytes.
    pub(super) buffer: u64,
    /// Whether the server reports when packets arrived.
    pub(super) reports: bool,
    /// bit/s at a time.
    pub(super) capacity: fn(Duration) -> u64,
}

impl Network {
    /// Without jitter and loss, and with the large queue of a branch's router.
    pub(super) fn new(rtt: u64, capacity: fn(Duration) -> u64) -> Self {
        Self {
            rtt: Duration::from_millis(rtt),
            jitter: Duration::ZERO,
            loss: 0.0,
            buffer: 150_000,
            reports: true,
            capacity,
        }
    }
}

/// A packet on its way.
#[derive(Debug, Clone, Copy)]
struct Packet {
    flow: usize,
    bytes: u64,
    again: bool,
}

impl Packet {
    fn on_the_way(&self) -> f64 {
        (self.bytes + HEADERS) as f64
    }
}

/// One end-to-end connection in it, as the kernel keeps it.
#[derive(Debug, Clone, Default)]
struct Stream {
    unsent: VecDeque<u64>,
    sent: u64,
    acked: u64,
    window: f64,
    threshold: f64,
    cut: Duration,
    retransmits: u64,
    /// When each packet arrives, in order, and its bytes.
    arriving: VecDeque<(Duration, u64)>,
    arrived: u64,
    with_headers: u64,
    acks: VecDeque<(Duration, u64)>,
}

/// The network and every connection in it.
pub(super) struct World {
    network: Network,
    streams: Vec<Stream>,
    queue: VecDeque<Packet>,
    lost: VecDeque<(Duration, Packet)>,
    credit: f64,
    random: Random,
}

const SEGMENT: u64 = 1250;
const ACK_DELAY: Duration = Duration::from_millis(40);

impl World {
    pub(super) fn new(network: Network, streams: usize, seed: u64) -> Self {
        let stream = Stream { window: 10.0 * SEGMENT as f64, threshold: f64::INFINITY, ..Stream::default() };
        Self {
            network,
            streams: vec![stream; streams],
            queue: VecDeque::new(),
            lost: VecDeque::new(),
            credit: 0.0,
            random: Random(seed),
        }
    }

    /// Gives the kernel one packet.
    pub(super) fn write(&mut self, flow: usize, bytes: u64) {
        self.streams[flow].unsent.push_back(bytes);
    }

    /// What the kernel says of a connection.
    pub(super) fn state(&self, flow: usize) -> LinkSample {
        let stream = &self.streams[flow];
        LinkSample {
            unsent_bytes: stream.unsent.iter().sum(),
            in_flight_bytes: stream.sent - stream.acked,
            acked_bytes: stream.acked,
            retransmits: stream.retransmits,
            window_bytes: stream.window as u64,
            min_rtt: TICK,
            ..LinkSample::default()
        }
    }

    /// How long a report of the server's takes, if it makes any.
    pub(super) fn report_takes(&self) -> Option<Duration> {
        self.network.reports.then_some(self.network.rtt / 2)
    }

    /// Bytes that have arrived, in order.
    pub(super) fn arrived(&self, flow: usize) -> u64 {
        self.streams[flow].arrived
    }

    /// What they took of the link.
    pub(super) fn with_headers(&self, flow: usize) -> u64 {
        self.streams[flow].with_headers
    }

    pub(super) fn tick(&mut self, now: Duration) {
        for flow in 0..self.streams.len() {
            self.acknowledge(flow, now);
            self.send(flow, now);
        }
        while self.lost.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, packet)) = self.lost.pop_front() {
                self.queue.push_front(packet);
            }
        }
        self.credit += (self.network.capacity)(now) as f64 / 8.0 * TICK.as_secs_f64();
        while let Some(packet) = self.queue.front().copied().filter(|packet| packet.on_the_way() <= self.credit) {
            self.queue.pop_front();
            self.credit -= packet.on_the_way();
            self.pass(packet, now);
        }
        if self.queue.is_empty() {
            self.credit = self.credit.min(SEGMENT as f64);
        }
    }

    fn send(&mut self, flow: usize, now: Duration) {
        let stream = &mut self.streams[flow];
        while let Some(bytes) = stream.unsent.front().copied() {
            if (stream.sent - stream.acked + bytes) as f64 > stream.window {
                return;
            }
            stream.unsent.pop_front();
            stream.sent += bytes;
            let packet = Packet { flow, bytes, again: false };
            if self.queue.iter().map(|packet| packet.bytes).sum::<u64>() + bytes > self.network.buffer {
                Self::lose(&self.network, stream, &mut self.lost, packet, now);
            } else {
                self.queue.push_back(packet);
            }
        }
    }

    fn lose(
        network: &Network,
        stream: &mut Stream,
        lost: &mut VecDeque<(Duration, Packet)>,
        packet: Packet,
        now: Duration,
    ) {
        stream.retransmits += 1;
        // Once a round trip, as CUBIC does.
        if now >= stream.cut + network.rtt {
            stream.cut = now;
            stream.window = (stream.window * 0.7).max(4.0 * SEGMENT as f64);
            stream.threshold = stream.window;
        }
        lost.push_back((now + network.rtt, Packet { again: true, ..packet }));
        // Nothing behind it is delivered before it is.
        stream.arriving.push_back((now + network.rtt * 3 / 2, 0));
    }

    fn pass(&mut self, packet: Packet, now: Duration) {
        let network = &self.network;
        let stream = &mut self.streams[packet.flow];
        if !packet.again && self.random.next() < network.loss {
            return Self::lose(network, stream, &mut self.lost, packet, now);
        }
        let late = network.jitter.mul_f64(self.random.next());
        let at = now + network.rtt / 2 + late;
        let at = stream.arriving.back().map_or(at, |(last, _)| at.max(*last));
        stream.arriving.push_back((at, packet.bytes));
    }

    fn acknowledge(&mut self, flow: usize, now: Duration) {
        let half = self.network.rtt / 2;
        let stream = &mut self.streams[flow];
        while stream.arriving.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, bytes)) = stream.arriving.pop_front() else { break };
            if bytes == 0 {
                continue;
            }
            stream.arrived += bytes;
            stream.with_headers += bytes + HEADERS;
            // Every second packet is acknowledged at once, the other with the next or a little later.
            match stream.acks.back_mut() {
                Some((at, upto)) if *at > now + half => (*at, *upto) = (now + half, stream.arrived),
                _ => stream.acks.push_back((now + half + ACK_DELAY, stream.arrived)),
            }
        }
        while stream.acks.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, upto)) = stream.acks.pop_front() else { break };
            let bytes = (upto - stream.acked) as f64;
            stream.acked = upto;
            let grown = if stream.window < stream.threshold { bytes } else { bytes * SEGMENT as f64 / stream.window };
            stream.window = (stream.window + grown).min(400_000.0);
        }
    }
}
