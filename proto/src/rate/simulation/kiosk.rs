//! A kiosk: an encoder, the queue in front of the kernel, and the controller.

use std::collections::VecDeque;
use std::time::Duration;

use super::Random;
use super::network::World;
use super::reports::Reports;
use crate::gate::RESERVE;
use crate::rate::{Bounds, LinkSample, RateController, Settings, Step, Verdict};

pub(super) const BOUNDS: Bounds = Bounds { min: 150_000, max: 2_000_000 };
pub(super) const FULL: Step = Step { width: 1280, height: 720, frames_per_second: 30 };
pub(super) const SETTINGS: Settings =
    Settings { bounds: BOUNDS, full: FULL, start: None, dead_after: Duration::from_secs(2) };
const SAMPLING: Duration = Duration::from_millis(20);
const SPEECH: Duration = Duration::from_millis(20);
const SPEECH_BYTES: u64 = 110;
const PACKET: u64 = 1250;

/// How the encoder fails to do what it is told.
#[derive(Clone, Copy)]
pub(super) struct Encoder {
    /// Frames until it follows.
    pub(super) lag: usize,
    /// How far frames differ in size.
    pub(super) noise: f64,
    /// What it makes of what it is told.
    pub(super) overshoot: f64,
}

pub(super) const ENCODER: Encoder = Encoder { lag: 2, noise: 0.4, overshoot: 1.0 };

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Speech,
    Frame,
}

struct Waiting {
    number: u64,
    bytes: u64,
    made: Duration,
    kind: Kind,
    last: bool,
}

/// What one kiosk did and what came of it.
#[derive(Default)]
pub(super) struct Log {
    /// When a frame was made, and when its last byte had arrived.
    pub(super) frames: Vec<(Duration, Duration)>,
    pub(super) speech: Vec<(Duration, Duration)>,
    pub(super) verdicts: Vec<(Duration, Verdict)>,
    /// Bytes that had arrived, with headers, over time.
    pub(super) arrived: Vec<(Duration, u64)>,
    /// When each key frame was made.
    pub(super) refreshed: Vec<Duration>,
}

pub(super) struct Kiosk {
    flow: usize,
    controller: RateController,
    encoder: Encoder,
    told: VecDeque<f64>,
    random: Random,
    verdict: Verdict,
    sampled: Duration,
    next_frame: Duration,
    next_speech: Duration,
    speech: VecDeque<Waiting>,
    frames: VecDeque<Waiting>,
    on_the_way: VecDeque<(u64, Waiting)>,
    written: u64,
    speech_bytes: u64,
    encoded: (u64, u64),
    key: bool,
    reports: Reports,
    pub(super) log: Log,
}

impl Kiosk {
    pub(super) fn new(flow: usize, settings: Settings, encoder: Encoder, begin: Duration) -> Self {
        let mut controller = RateController::new(settings);
        let verdict = controller.sample(&LinkSample { at: begin, ..LinkSample::default() });
        Self {
            flow,
            controller,
            encoder,
            told: VecDeque::from(vec![verdict.encoder_bits_per_second as f64; encoder.lag + 1]),
            random: Random(42 + flow as u64),
            verdict,
            sampled: begin,
            next_frame: begin,
            next_speech: begin,
            speech: VecDeque::new(),
            frames: VecDeque::new(),
            on_the_way: VecDeque::new(),
            written: 0,
            speech_bytes: 0,
            encoded: (0, 0),
            key: true,
            reports: Reports::default(),
            log: Log::default(),
        }
    }

    pub(super) fn tick(&mut self, now: Duration, world: &mut World) {
        if now >= self.next_speech {
            self.next_speech += SPEECH;
            let packet = self.packet(now, SPEECH_BYTES, Kind::Speech, true);
            self.speech.push_back(packet);
        }
        if now >= self.next_frame {
            self.next_frame += Duration::from_secs(1) / self.verdict.step.frames_per_second;
            if !self.verdict.hold {
                self.encode(now);
            }
        }
        self.write(world);
        let arrived = world.arrived(self.flow);
        while self.on_the_way.front().is_some_and(|(end, _)| *end <= arrived) {
            let Some((_, packet)) = self.on_the_way.pop_front() else { break };
            self.reports.arrive(now, packet.number);
            if packet.last {
                let list = if packet.kind == Kind::Frame { &mut self.log.frames } else { &mut self.log.speech };
                list.push((packet.made, now));
            }
        }
        if let Some(takes) = world.report_takes()
            && let Some(report) = self.reports.tick(now, takes)
        {
            self.controller.arrived(now, &report);
        }
        if now >= self.sampled + SAMPLING {
            self.sampled = now;
            self.sample(now, world);
        }
    }

    fn encode(&mut self, now: Duration) {
        let told = self.told.pop_front().unwrap_or_default();
        self.told.push_back(self.verdict.encoder_bits_per_second as f64);
        let mean = told / 8.0 / f64::from(FULL.frames_per_second) * self.encoder.overshoot;
        let size = if std::mem::take(&mut self.key) {
            self.log.refreshed.push(now);
            mean * 6.0
        } else {
            mean * (1.0 + self.encoder.noise * (2.0 * self.random.next() - 1.0))
        };
        self.encoded = (self.encoded.0 + 1, self.encoded.1 + size as u64);
        let mut left = (size * 1.03) as u64 + 1;
        while left > 0 {
            let bytes = left.min(PACKET);
            left -= bytes;
            let packet = self.packet(now, bytes, Kind::Frame, left == 0);
            self.frames.push_back(packet);
        }
    }

    fn packet(&mut self, made: Duration, bytes: u64, kind: Kind, last: bool) -> Waiting {
        Waiting { number: self.reports.send(made, bytes), bytes, made, kind, last }
    }

    /// The gate: speech first, and into the kernel what the limit allows.
    fn write(&mut self, world: &mut World) {
        loop {
            let kernel = world.state(self.flow);
            let outstanding = kernel.unsent_bytes + kernel.in_flight_bytes;
            let first = self.speech.front().or(self.frames.front());
            let limit = self.verdict.in_flight_limit + if self.speech.is_empty() { 0 } else { RESERVE };
            if first.is_none_or(|packet| packet.bytes + outstanding > limit && outstanding > 0) {
                return;
            }
            let Some(packet) = self.speech.pop_front().or_else(|| self.frames.pop_front()) else { return };
            if packet.kind == Kind::Speech {
                self.speech_bytes += packet.bytes;
            }
            world.write(self.flow, packet.bytes);
            self.written += packet.bytes;
            self.on_the_way.push_back((self.written, packet));
        }
    }

    fn sample(&mut self, now: Duration, world: &World) {
        let waiting = |queue: &VecDeque<Waiting>| queue.iter().map(|packet| packet.bytes).sum();
        self.verdict = self.controller.sample(&LinkSample {
            at: now,
            video_waiting_bytes: waiting(&self.frames),
            audio_waiting_bytes: waiting(&self.speech),
            audio_bytes: self.speech_bytes,
            encoded_frames: self.encoded.0,
            encoded_bytes: self.encoded.1,
            ..world.state(self.flow)
        });
        if self.verdict.discard {
            self.frames.clear();
        }
        self.speech.retain(|packet| now - packet.made < Duration::from_millis(500));
        self.key |= self.verdict.refresh;
        self.log.verdicts.push((now, self.verdict));
        self.log.arrived.push((now, world.with_headers(self.flow)));
    }
}

impl Log {
    /// Of the delays of what was made between two times.
    pub(super) fn percentile(list: &[(Duration, Duration)], from: f64, to: f64, share: f64) -> Duration {
        let within = |at: &Duration| at.as_secs_f64() >= from && at.as_secs_f64() < to;
        let mut delays: Vec<Duration> =
            list.iter().filter(|(made, _)| within(made)).map(|(made, at)| *at - *made).collect();
        assert!(!delays.is_empty(), "nothing between {from} and {to} s");
        delays.sort();
        delays[((delays.len() - 1) as f64 * share) as usize]
    }

    /// 95 of 100 frames were no later than this.
    pub(super) fn p95(&self, from: f64, to: f64) -> Duration {
        Self::percentile(&self.frames, from, to, 0.95)
    }

    /// The same of speech.
    pub(super) fn speech_p95(&self, from: f64, to: f64) -> Duration {
        Self::percentile(&self.speech, from, to, 0.95)
    }

    /// What arrived, with headers, bit/s.
    pub(super) fn rate(&self, from: f64, to: f64) -> f64 {
        let at = |s: f64| self.arrived.iter().rfind(|(at, _)| at.as_secs_f64() <= s).map_or(0, |(_, bytes)| *bytes);
        (at(to) - at(from)) as f64 * 8.0 / (to - from)
    }

    /// The longest time between two frames that arrived.
    pub(super) fn freeze(&self, from: f64, to: f64) -> Duration {
        let arrived = self.frames.iter().map(|(_, at)| *at).filter(|at| (from..to).contains(&at.as_secs_f64()));
        let arrived: Vec<Duration> = arrived.collect();
        arrived.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
    }

    /// How far the target moves: the highest above the lowest, as a share of the highest.
    pub(super) fn swing(&self, from: f64, to: f64) -> f64 {
        let within = self.verdicts.iter().filter(|(at, _)| (from..to).contains(&at.as_secs_f64()));
        let values: Vec<u64> = within.map(|(_, verdict)| verdict.bits_per_second).collect();
        let (least, most) = (values.iter().min().unwrap(), values.iter().max().unwrap());
        (most - least) as f64 / *most as f64
    }
}
