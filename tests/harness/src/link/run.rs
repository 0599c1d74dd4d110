//! One measurement: a scenario with one peer, in a world of its own. What comes out is a directory:
//!
//! | file | |
//! |---|---|
//! | `run.json` | [`Run`]: what the script did, what crossed the link |
//! | `machine.json` | [`Machine`]: whether the measurement is worth anything |
//! | `received.jsonl` | lines of the receiver ([`super::record::Line`]) |
//! | `samples.jsonl` | [`Sample`]: the link's counters, and the daemon's figures, ten times a second |
//! | `logs/` | what every program printed |

use super::{
    bulk::Bulk,
    emulator::{Counters, Emulator, Punctuality},
    load::Ticks,
    path::Totals,
    peers::{self, Peer, Sender, Site, Transport, publisher_name, room},
    record::{Capacity, Crossed, Line, ReceiverOptions, Run, Subscription, now_us},
    scenario::{Change, Scenario, Way},
};
use crate::{
    Error, Result,
    janus::{Janus, JanusOptions, WS_PORT, built},
    local::signals,
    place::Place,
    process::Process,
    world::{Host, World},
};
use kiosk_proto::sysctl;
use serde::Serialize;
use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::ChildStdout,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long the peers get until every one is seen.
const SETUP: Duration = Duration::from_secs(45);
/// From then until the measurement begins: encoders and controllers have settled.
const WARM_UP: Duration = Duration::from_secs(6);
/// After its end, for what is still on its way.
const AFTER: Duration = Duration::from_secs(3);
/// How often the link is looked at.
const SAMPLE: Duration = Duration::from_millis(100);
/// A measurement with less of the processors free is worth nothing.
const LEAST_FREE: f64 = 0.03;
/// Nor is one with more late packets.
const MOST_LATE: f64 = 0.02;

/// What a run needs to know beside scenario and peer.
#[derive(Debug, Clone)]
pub struct Options {
    /// The recording that all peers send, made by `link-recording`.
    pub recording: PathBuf,
    /// The daemon, if not the one that was built beside this program.
    pub kioskd: Option<PathBuf>,
    /// Settings of the kernels at both ends of the link, as sysctl.d(5) writes them.
    pub sysctls: String,
    /// Measure shorter or longer than the scenario says, seconds.
    pub seconds: Option<u32>,
}

/// What became of the machine meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Why the measurement is worth nothing, if so.
    pub invalid: Option<String>,
    /// Share of the processors' time that was free, or went to programs of lower priority.
    pub free_share: f64,
    /// The same in the second that had the least.
    pub least_free_share: f64,
    /// How well the emulator kept its times.
    pub punctuality: Punctuality,
    /// Packets that found the queue before the bottleneck full.
    pub dropped_full: u64,
    /// Packets lost at random in the direction that is measured.
    pub lost: u64,
    /// What the kernels were set to, by key; all else as it comes.
    pub sysctls: BTreeMap<String, String>,
}

/// A line of `samples.jsonl`.
#[derive(Debug, Serialize)]
struct Sample {
    at_us: u64,
    #[serde(flatten)]
    counters: Counters,
    /// Share of the processors that was free since the last line.
    free_share: f64,
    /// Figures of each daemon.
    figures: Vec<Box<RawValue>>,
}

/// Measures one peer on one link, and leaves the files in `to`.
///
/// # Errors
/// When something does not come up or breaks; the logs are in `to`.
pub fn run(scenario: &'static Scenario, peer: Peer, options: &Options, to: &Path) -> Result<Machine> {
    fs::create_dir_all(to).map_err(Error::io(to.display().to_string()))?;
    let world = World::new()?;
    let result = measure(&world, scenario, peer, options, to);
    keep_logs(world.dir(), &to.join("logs"))?;
    result
}

fn measure(world: &World, scenario: &'static Scenario, peer: Peer, options: &Options, to: &Path) -> Result<Machine> {
    let emulator = Emulator::start(world, scenario, &options.sysctls)?;
    let janus = start_janus(world, scenario.kiosks)?;
    let ws_url = format!("ws://{}:{WS_PORT}/", Host::Server.address());
    let (sender, receiver) = match scenario.way {
        Way::Up => (Host::Kiosk, Host::Server),
        Way::Down => (Host::Agent, Host::Kiosk),
    };
    let received = to.join("received.jsonl");
    let mut receiver = Receiver::start(world.at(receiver)?, &janus, &ws_url, scenario, options, &received)?;
    let site = Site {
        place: world.at(sender)?,
        janus: &janus,
        ws_url,
        recording: &options.recording,
        kioskd: options.kioskd.as_deref(),
        scenario,
    };
    let mut senders = (0..scenario.kiosks).map(|number| peer.start(&site, number)).collect::<Result<Vec<_>>>()?;
    receiver.wait_all_seen(scenario.kiosks)?;
    rest(WARM_UP)?;
    let mut measurement = Measurement::begin(world, scenario, &emulator, &to.join("samples.jsonl"))?;
    measurement.carry_out(&mut senders, options.seconds.unwrap_or(scenario.seconds))?;
    let end_us = now_us();
    let machine = measurement.machine(&options.sysctls)?;
    rest(AFTER)?;
    receiver.stop()?;
    let run = Run {
        scenario: scenario.name.to_owned(),
        peer: peer.name().to_owned(),
        tcp: peer.transport() == Transport::Tcp,
        begin_us: measurement.begin_us,
        end_us,
        link: measurement.link,
        crossed: measurement.crossed,
        publishers: (0..scenario.kiosks).map(publisher_name).collect(),
        recording: options.recording.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    write_json(&to.join("run.json"), &run)?;
    write_json(&to.join("machine.json"), &machine)?;
    Ok(machine)
}

/// Janus with a room for each kiosk, that takes signalling without TLS on the server's address too.
fn start_janus(world: &World, kiosks: usize) -> Result<Janus> {
    let rooms = (0..kiosks).map(|number| (room(number), publisher_name(number))).collect();
    let options = JanusOptions { rooms, ws_port: Some(WS_PORT), ..JanusOptions::new(Host::Server.address()) };
    let mut janus = Janus::start(&world.at(Host::Server)?, options)?;
    janus.kill()?;
    let address = format!("ws_ip = \"{}\"", Host::Server.address());
    janus.edit("janus.transport.websockets.jcfg", "ws_ip = \"127.0.0.1\"", &address)?;
    janus.restart()?;
    Ok(janus)
}

/// The script's course, and what is noted meanwhile.
struct Measurement<'a> {
    world: &'a World,
    scenario: &'a Scenario,
    emulator: &'a Emulator,
    bulk: Option<Bulk>,
    start: Instant,
    begin_us: u64,
    before: (Counters, Ticks),
    last_ticks: Ticks,
    second: (u64, Ticks, f64),
    link: Vec<Capacity>,
    crossed: Vec<Crossed>,
    samples: BufWriter<File>,
    samples_path: PathBuf,
}

impl<'a> Measurement<'a> {
    fn begin(world: &'a World, scenario: &'a Scenario, emulator: &'a Emulator, samples: &Path) -> Result<Self> {
        let file = File::create(samples).map_err(Error::io(samples.display().to_string()))?;
        let (ticks, begin_us) = (Ticks::now()?, now_us());
        Ok(Self {
            world,
            scenario,
            emulator,
            bulk: None,
            start: Instant::now(),
            begin_us,
            before: (emulator.counters()?, ticks),
            last_ticks: ticks,
            second: (0, ticks, 1.0),
            link: vec![Capacity { at_us: begin_us, kbps: scenario.kbps }],
            crossed: Vec::new(),
            samples: BufWriter::new(file),
            samples_path: samples.to_owned(),
        })
    }

    fn carry_out(&mut self, senders: &mut [Sender], seconds: u32) -> Result<()> {
        let mut script = self.scenario.script.iter().peekable();
        let end = Duration::from_secs(u64::from(seconds));
        let mut sample_at = Duration::ZERO;
        while self.start.elapsed() < end {
            let change_at = script.peek().map_or(end, |(at, _)| Duration::from_secs_f64(*at));
            let next = change_at.min(sample_at);
            rest(next.saturating_sub(self.start.elapsed()))?;
            if next == change_at
                && let Some((_, change)) = script.next()
            {
                self.change(*change)?;
            }
            if next == sample_at {
                sample_at = (sample_at + SAMPLE).max(self.start.elapsed());
                self.sample(senders)?;
            }
        }
        self.bulk = None;
        self.samples.flush().map_err(Error::io(self.samples_path.display().to_string()))
    }

    fn change(&mut self, change: Change) -> Result<()> {
        self.emulator.change(change);
        let conditions = self.emulator.conditions();
        let kbps = if conditions.down { 0.0 } else { conditions.bits_per_second / 1000.0 };
        match change {
            Change::BulkStarts => self.bulk = Some(Bulk::start(self.world)?),
            Change::BulkEnds => self.bulk = None,
            _ => self.link.push(Capacity { at_us: now_us(), kbps: kbps as u32 }),
        }
        Ok(())
    }

    fn sample(&mut self, senders: &mut [Sender]) -> Result<()> {
        let (at_us, counters, ticks) = (now_us(), self.emulator.counters()?, Ticks::now()?);
        let Totals { bytes, competing_bytes, .. } = self.crossed(&counters);
        self.crossed.push(Crossed { at_us, bytes: bytes - competing_bytes, competing_bytes });
        let mut figures = Vec::new();
        for sender in senders {
            sender.must_run()?;
            let text = sender.figures()?;
            figures.extend(text.map(RawValue::from_string).transpose().map_err(Error::json("figures of the daemon"))?);
        }
        let sample = Sample { at_us, counters, free_share: ticks.free_since(self.last_ticks), figures };
        self.last_ticks = ticks;
        let second = self.start.elapsed().as_secs();
        if second > self.second.0 {
            self.second = (second, ticks, self.second.2.min(ticks.free_since(self.second.1)));
        }
        let line = serde_json::to_string(&sample).map_err(Error::json("a sample"))?;
        writeln!(self.samples, "{line}").map_err(Error::io(self.samples_path.display().to_string()))
    }

    /// Of the direction that is measured.
    fn crossed(&self, counters: &Counters) -> Totals {
        match self.scenario.way {
            Way::Up => counters.up,
            Way::Down => counters.down,
        }
    }

    fn machine(&self, sysctls: &str) -> Result<Machine> {
        let (counters, ticks) = (self.emulator.counters()?, Ticks::now()?);
        let (before, ticks_before) = &self.before;
        let packets = counters.punctuality.packets - before.punctuality.packets;
        let late = counters.punctuality.late - before.punctuality.late;
        let (crossed, crossed_before) = (self.crossed(&counters), self.crossed(before));
        let free_share = ticks.free_since(*ticks_before);
        let mut invalid = None;
        if free_share < LEAST_FREE {
            invalid = Some(format!("only {:.1} % of the processors were free", free_share * 100.0));
        } else if late as f64 > packets as f64 * MOST_LATE {
            invalid = Some(format!("{late} of {packets} packets were late by more than 4 ms"));
        }
        Ok(Machine {
            invalid,
            free_share,
            least_free_share: self.second.2,
            punctuality: Punctuality { packets, late, worst_ms: counters.punctuality.worst_ms },
            dropped_full: crossed.dropped_full - crossed_before.dropped_full,
            lost: crossed.lost - crossed_before.lost,
            sysctls: sysctl::settings(sysctls).map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        })
    }
}

/// `link-receiver`, whose lines go to a file.
struct Receiver {
    process: Process,
    seen: Arc<Mutex<Vec<String>>>,
    copier: JoinHandle<std::io::Result<()>>,
}

impl Receiver {
    fn start(
        place: Place,
        janus: &Janus,
        ws_url: &str,
        scenario: &Scenario,
        options: &Options,
        to: &Path,
    ) -> Result<Self> {
        let subscription = |number| {
            let room = room(number);
            Ok(Subscription { name: publisher_name(number), room, room_token: janus.agent_tokens(room)?.room_token })
        };
        let receiver = ReceiverOptions {
            server: ws_url.to_owned(),
            token: janus.agent_tokens(room(0))?.token,
            publishers: (0..scenario.kiosks).map(subscription).collect::<Result<_>>()?,
            recording: Some(options.recording.display().to_string()),
            // Four pictures at once leave no time for more.
            quality_every: 10 * scenario.kiosks as u32,
        };
        let file = peers::write_options(&place, "receiver", &receiver)?;
        let mut command = place.product_command(built("link-receiver")?);
        command.arg(file);
        let mut process = place.spawn_piped("receiver", &mut command)?;
        let stdout = process.take_stdout().ok_or_else(|| Error::Other("the receiver has no output".into()))?;
        let lines = File::create(to).map_err(Error::io(to.display().to_string()))?;
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let note = Arc::clone(&seen);
        let copier = thread::spawn(move || copy(stdout, lines, &note));
        Ok(Self { process, seen, copier })
    }

    /// Waits until a frame of every publisher was decoded.
    fn wait_all_seen(&mut self, publishers: usize) -> Result<()> {
        let seen = Arc::clone(&self.seen);
        let count = || seen.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.process.until(SETUP, "a frame of every publisher", || Ok((count() >= publishers).then_some(())))
    }

    fn stop(mut self) -> Result<()> {
        self.process.must_run()?;
        drop(self.process);
        match self.copier.join() {
            Ok(copied) => copied.map_err(Error::io("copy the receiver's lines")),
            Err(_) => Err(Error::Other("the thread that copies the receiver's lines panicked".into())),
        }
    }
}

/// Copies lines as they are, and notes whose frames are seen.
fn copy(from: ChildStdout, to: File, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut to = BufWriter::new(to);
    for line in BufReader::new(from).lines() {
        let line = line?;
        writeln!(to, "{line}")?;
        // A frame's line of a publisher that is known already need not be read.
        let Ok(Line::Frame(frame)) = serde_json::from_str(&line) else { continue };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains(&frame.publisher) {
            seen.push(frame.publisher);
        }
    }
    to.flush()
}

/// Sleeps; an error when this program is asked to end.
fn rest(time: Duration) -> Result<()> {
    if signals::sleep_until(Instant::now() + time) {
        return Ok(());
    }
    Err(Error::Other("ended before the benchmark was done".into()))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(Error::json(path.display().to_string()))?;
    fs::write(path, text + "\n").map_err(Error::io(path.display().to_string()))
}

fn keep_logs(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io(to.display().to_string()))?;
    for entry in fs::read_dir(from).map_err(Error::io(from.display().to_string()))?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            fs::copy(entry.path(), to.join(entry.file_name()))
                .map_err(Error::io(entry.path().display().to_string()))?;
        }
    }
    Ok(())
}
