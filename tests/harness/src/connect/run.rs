//! The calls themselves, in blocks: the machine is never the same for long, and so it is the same for all ways.

use super::branch::{Branch, Way};
use crate::{
    Error, Result,
    kiosk::Kiosk,
    local::{
        bench::Spread,
        report::rounded,
        signals::{self, sleep_until},
    },
    procfs::usage,
    wait::until,
};
use kiosk_proto::{figures::SetupFigures, via::Via};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

/// Calls by one way before it is another's turn.
const BLOCK: usize = 100;
/// A customer who has waited for so long is gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the end of a call may take.
const END: Duration = Duration::from_secs(10);
/// In a call that is held: until encoder and rate have settled.
const SETTLE: Duration = Duration::from_secs(5);
/// And how long it is measured.
const MEASURE: Duration = Duration::from_secs(20);
/// How long a self-check may take.
const CHECK: Duration = Duration::from_secs(90);

/// A set-up that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Number of the call by this way, from 1.
    pub call: usize,
    /// Whether it came up all the same, at a later try of the daemon's.
    pub came_up: bool,
    /// How far it was, or which part went wrong.
    pub phase: &'static str,
    /// What the daemon said.
    pub reason: String,
}

/// What one way showed.
#[derive(Debug, Clone, Serialize)]
pub struct WayFigures {
    /// Which.
    pub way: Way,
    /// Calls that were asked for.
    pub calls: usize,
    /// Of these, the ones whose media was up at the daemon's first try.
    pub up_at_once: usize,
    /// The ones whose media was not up when a customer would have gone.
    pub not_up: usize,
    /// What went wrong: all others, and those whose end was not as it should be.
    pub troubles: Vec<Trouble>,
    /// From the control request until the room was joined, ms.
    pub joined_ms: Spread,
    /// From the control request until Janus said `webrtcup`, ms.
    pub webrtcup_ms: Spread,
    /// The longest, ms.
    pub webrtcup_longest_ms: u64,
    /// Median from one call's request to the next one's, ms.
    pub cycle_ms: f64,
    /// Processor time of the relay or the proxy for each of these calls, ms.
    pub between_ms_per_call: Option<f64>,
    /// UDP packets that the kiosk's firewall saw, both directions.
    pub udp_packets: u64,
    /// A call that was held.
    pub held: Held,
    /// What the kiosk's self-check says of its trial call: finding, and what was seen.
    pub trial: BTreeMap<String, String>,
}

/// A call that sends for a while.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// What the daemon says that stands between it and the server.
    pub via: Option<Via>,
    /// Of the sent picture, bits per second.
    pub bits_per_second: f64,
    /// Core-seconds per second of the daemon.
    pub daemon_cores: f64,
    /// The same of the relay or the proxy.
    pub between_cores: Option<f64>,
}

/// One way while it is measured.
struct Series {
    way: Way,
    branch: Branch,
    log_read: u64,
    calls: usize,
    joined: Vec<f64>,
    up: Vec<f64>,
    cycles: Vec<f64>,
    troubles: Vec<Trouble>,
    between_seconds: f64,
}

/// Makes so many calls by each of the ways.
pub fn run(calls: usize, ways: &[Way]) -> Result<Vec<WayFigures>> {
    let mut all = ways.iter().map(|way| Series::start(*way)).collect::<Result<Vec<_>>>()?;
    let mut done = 0;
    while done < calls {
        let next = (done + BLOCK).min(calls);
        for series in &mut all {
            series.block(next)?;
        }
        done = next;
    }
    all.into_iter().map(Series::finish).collect()
}

impl Series {
    fn start(way: Way) -> Result<Self> {
        let mut branch = Branch::start(way)?;
        // What it warned of when it started is about this machine.
        let mut log_read = 0;
        warnings(branch.kiosk.process().log(), &mut log_read)?;
        Ok(Self {
            way,
            branch,
            log_read,
            calls: 0,
            joined: Vec::new(),
            up: Vec::new(),
            cycles: Vec::new(),
            troubles: Vec::new(),
            between_seconds: 0.0,
        })
    }

    fn between_seconds(&mut self) -> Result<Option<f64>> {
        let between = self.branch.between();
        between.map(|process| Ok(usage(process.pid())?.cpu_seconds)).transpose()
    }

    /// Calls until there were `calls`.
    fn block(&mut self, calls: usize) -> Result<()> {
        let before = self.between_seconds()?;
        while self.calls < calls {
            if signals::asked_to_end() {
                return Err(Error::Other("ended before the benchmark was done".into()));
            }
            self.calls += 1;
            let begin = Instant::now();
            self.call()?;
            self.cycles.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        self.between_seconds += self.between_seconds()?.zip(before).map_or(0.0, |(after, before)| after - before);
        let (way, troubles) = (self.way.name(), self.troubles.len());
        eprintln!("{way}: {calls} calls, {troubles} of them with trouble");
        Ok(())
    }

    /// One call. An error is one of this program's; what goes wrong with the call is kept.
    fn call(&mut self) -> Result<()> {
        let kiosk = &mut self.branch.kiosk;
        let came_up = match set_up(kiosk) {
            Ok(setup) => {
                self.joined.extend(setup.joined_ms.map(|ms| ms as f64));
                self.up.extend(setup.webrtcup_ms.map(|ms| ms as f64));
                true
            }
            Err((phase, reason)) => {
                self.trouble(false, phase, reason);
                false
            }
        };
        let kiosk = &mut self.branch.kiosk;
        let ended = kiosk.end_call().and_then(|()| kiosk.wait_state("idle", END));
        // What the daemon warned of, from the request until the end. It says nothing about a call that is as it should be.
        let warnings = warnings(kiosk.process().log(), &mut self.log_read)?;
        if let Err(error) = ended {
            self.trouble(came_up, "ending", first_line(&error));
            self.branch.kiosk.process().kill()?;
            self.branch.kiosk.restart()?;
        }
        if came_up && !warnings.is_empty() {
            self.trouble(true, "on the way", warnings.join("; "));
        }
        Ok(())
    }

    fn trouble(&mut self, came_up: bool, phase: &'static str, reason: String) {
        let trouble = Trouble { call: self.calls, came_up, phase, reason };
        eprintln!("{}: {trouble}", self.way.name());
        self.troubles.push(trouble);
    }

    fn finish(mut self) -> Result<WayFigures> {
        let way = self.way;
        let held = self.held()?;
        let trial = self.trial()?;
        let none = || Error::Other(format!("{}: no call came up", way.name()));
        let mut troubled: Vec<usize> = self.troubles.iter().map(|trouble| trouble.call).collect();
        troubled.dedup();
        let per_call = rounded(self.between_seconds * 1000.0 / self.calls.max(1) as f64);
        Ok(WayFigures {
            way,
            calls: self.calls,
            up_at_once: self.calls - troubled.len(),
            not_up: self.calls - self.up.len(),
            joined_ms: Spread::of(&self.joined).ok_or_else(none)?,
            webrtcup_ms: Spread::of(&self.up).ok_or_else(none)?,
            webrtcup_longest_ms: self.up.iter().copied().fold(0.0, f64::max) as u64,
            cycle_ms: Spread::of(&self.cycles).ok_or_else(none)?.median,
            between_ms_per_call: self.branch.between().map(|_| per_call),
            udp_packets: self.branch.udp_packets()?,
            troubles: self.troubles,
            held,
            trial,
        })
    }

    fn held(&mut self) -> Result<Held> {
        eprintln!("{}: a call that is held for {} s ...", self.way.name(), (SETTLE + MEASURE).as_secs());
        set_up(&mut self.branch.kiosk).map_err(|(phase, reason)| Error::Other(format!("{phase}: {reason}")))?;
        let daemon = self.branch.kiosk.process().pid();
        let stopped = || Error::Other("ended before the benchmark was done".into());
        let wait = |time| sleep_until(Instant::now() + time).then_some(()).ok_or_else(stopped);
        wait(SETTLE)?;
        let (begin, cpu, between) = (Instant::now(), usage(daemon)?.cpu_seconds, self.between_seconds()?);
        let mut bits = Vec::new();
        while begin.elapsed() < MEASURE {
            wait(Duration::from_secs(1))?;
            bits.push(self.branch.kiosk.figures()?.publish.video.bits_per_second as f64);
        }
        let seconds = begin.elapsed().as_secs_f64();
        let between = self.between_seconds()?.zip(between).map(|(after, before)| rounded((after - before) / seconds));
        let held = Held {
            via: self.branch.kiosk.figures()?.publish.pair.and_then(|pair| pair.via),
            bits_per_second: (bits.iter().sum::<f64>() / bits.len().max(1) as f64).round(),
            daemon_cores: rounded((usage(daemon)?.cpu_seconds - cpu) / seconds),
            between_cores: between,
        };
        self.branch.kiosk.end_call()?;
        self.branch.kiosk.wait_state("idle", END)?;
        Ok(held)
    }

    fn trial(&mut self) -> Result<BTreeMap<String, String>> {
        eprintln!("{}: the kiosk's self-check ...", self.way.name());
        let kiosk = &self.branch.kiosk;
        kiosk.start_self_check()?;
        let result = until(CHECK, "the self-check", || {
            Ok(Some(kiosk.self_check()?).filter(|check| check["state"] == "done" || check["state"] == "failed"))
        })?;
        let checks = result["checks"].as_array().into_iter().flatten();
        let seen = checks.filter_map(|check| Some((check["id"].as_str()?, check["seen"]["en"].as_str()?)));
        Ok(seen.filter(|(id, _)| id.starts_with("call.")).map(|(id, seen)| (id.to_owned(), seen.to_owned())).collect())
    }
}

/// Asks for a call and waits until its media is up. Otherwise how far it came, and what the daemon says.
fn set_up(kiosk: &mut Kiosk) -> Result<SetupFigures, (&'static str, String)> {
    kiosk.start_call().map_err(|error| ("the request", first_line(&error)))?;
    let up = kiosk.wait_figures(PATIENCE, "webrtcup", |figures| figures.setup.webrtcup_ms.is_some());
    up.map(|figures| figures.setup).map_err(|error| {
        let setup = kiosk.figures().map(|figures| figures.setup).unwrap_or_default();
        let phase = match (setup.signalling_ms, setup.joined_ms) {
            (None, _) => "signalling",
            (_, None) => "joining the room",
            _ => "media",
        };
        let faults = kiosk.faults().unwrap_or_default();
        let told: Vec<String> = faults.into_iter().map(|(code, message)| format!("{code}: {message}")).collect();
        (phase, if told.is_empty() { first_line(&error) } else { told.join("; ") })
    })
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Warnings and errors in the part of a log that was not read yet.
fn warnings(log: &Path, read: &mut u64) -> Result<Vec<String>> {
    let name = || log.display().to_string();
    let mut file = File::open(log).map_err(Error::io(name()))?;
    file.seek(SeekFrom::Start(*read)).map_err(Error::io(name()))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(Error::io(name()))?;
    // A line that is being written is read when it is whole.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    bytes.truncate(whole);
    *read += whole as u64;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(warning).collect())
}

/// The text of a warning: what follows its time and level.
fn warning(line: &str) -> Option<String> {
    let (_, text) = line.split_once(" WARN ").or_else(|| line.split_once(" ERROR "))?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write};

    #[test]
    fn each_warning_is_read_once_when_its_line_is_whole() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let (mut file, mut read) = (File::options().append(true).open(log.path()).unwrap(), 0);
        write!(file, "2026 INFO call: up\n2026 WARN call: first\n2026 ERROR call: sec").unwrap();
        assert_eq!(warnings(log.path(), &mut read).unwrap(), ["call: first"]);
        assert_eq!(warnings(log.path(), &mut read).unwrap(), Vec::<String>::new());
        writeln!(file, "ond").unwrap();
        assert_eq!(warnings(log.path(), &mut read).unwrap(), ["call: second"]);
        assert_eq!(read, fs::metadata(log.path()).unwrap().len());
    }
}
