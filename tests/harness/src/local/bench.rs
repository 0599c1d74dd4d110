//! Figures of the call, measured on one machine in one run.

use crate::{
    Error, Result,
    agent::{Browser, BrowserOptions, Part},
    janus::ROOM,
    kiosk::Kiosk,
    local::{Local, report::rounded, signals},
    procfs::{family, usage},
};
use serde::Serialize;
use std::{
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long one step of a call may take.
const STEP: Duration = Duration::from_secs(60);
/// How long a call runs before its use of the machine is measured: encoders and rate control have settled.
const SETTLE: Duration = Duration::from_secs(8);
/// How long it is measured.
const MEASURE: Duration = Duration::from_secs(20);
/// The daemon and Chromium send by turns: what else the machine does hits both alike.
const TURNS: usize = 3;

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Calls whose set-up was measured.
    pub calls: usize,
    /// From the control request until Janus says that the kiosk's connection is up, ms.
    pub webrtcup_ms: Spread,
    /// From the control request until the agent's browser has decoded a frame, ms. The agent answers at once; the
    /// console looks for waiting customers every second, and that is part of it.
    pub agent_first_frame_ms: Spread,
    /// The daemon, sending 1280x720, 30 frames/s, 1 Mb/s, to nobody. Its camera is a recording.
    pub daemon_sending: Load,
    /// The same recording sent by headless Chromium.
    pub chromium_sending: Load,
    /// Processor time of the daemon divided by that of Chromium.
    pub cpu_ratio: f64,
    /// The daemon in a two-way call.
    pub daemon_two_way: Load,
}

/// Median and 95th percentile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Half are at most this.
    pub median: f64,
    /// 95 % are at most this.
    pub p95: f64,
}

/// Use of the machine.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Load {
    /// Core-seconds per second.
    pub cpu_cores: f64,
    /// Peak resident set of all processes together, KiB.
    pub rss_peak_kib: u64,
    /// Frames per second that were sent meanwhile.
    pub frames_per_second: f64,
    /// Bits per second of the sent picture meanwhile.
    pub bits_per_second: f64,
}

impl Load {
    /// Of several turns; the peak is that of all.
    fn mean(turns: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| turns.iter().map(of).sum::<f64>() / turns.len() as f64;
        Self {
            cpu_cores: rounded(mean(|load| load.cpu_cores)),
            rss_peak_kib: turns.iter().map(|load| load.rss_peak_kib).max().unwrap_or_default(),
            frames_per_second: rounded(mean(|load| load.frames_per_second)),
            bits_per_second: mean(|load| load.bits_per_second).round(),
        }
    }
}

impl Spread {
    /// Of at least one value; by nearest rank.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = |part: f64| {
            let index = (part * sorted.len() as f64).ceil() as usize;
            sorted.get(index.saturating_sub(1)).copied().map(rounded)
        };
        Some(Self { median: rank(0.5)?, p95: rank(0.95)? })
    }
}

/// Runs the whole benchmark. `camera` is the recording that all of them send.
pub fn run(calls: usize, camera: &Path) -> Result<Figures> {
    let local = Local::start()?;
    eprintln!("Set-up of {calls} calls ...");
    let (webrtcup, first_frame) = set_up(&local, calls)?;
    let (mut daemon, mut chromium) = (Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        eprintln!("The daemon sends for {} s, then Chromium: {turn} of {TURNS} ...", MEASURE.as_secs());
        daemon.push(daemon_sends(&local, camera)?);
        chromium.push(chromium_sends(&local, camera)?);
    }
    let (daemon_sending, chromium_sending) = (Load::mean(&daemon), Load::mean(&chromium));
    eprintln!("A two-way call for {} s ...", MEASURE.as_secs());
    let daemon_two_way = two_way(&local, camera)?;
    let none = || Error::Other("no call was measured".into());
    Ok(Figures {
        calls,
        webrtcup_ms: Spread::of(&webrtcup).ok_or_else(none)?,
        agent_first_frame_ms: Spread::of(&first_frame).ok_or_else(none)?,
        cpu_ratio: rounded(daemon_sending.cpu_cores / chromium_sending.cpu_cores),
        daemon_sending,
        chromium_sending,
        daemon_two_way,
    })
}

fn start_kiosk(local: &Local) -> Result<Kiosk> {
    Kiosk::start(local.place(), "kioskd", &local.test_config()?.with("video", "bitrate_kbps", 1000))
}

/// A kiosk whose camera is the recording.
fn start_recorded(local: &Local, camera: &Path) -> Result<Kiosk> {
    let config = local.test_config()?.with("video", "bitrate_kbps", 1000).with("camera", "source", "file");
    Kiosk::start(local.place(), "kioskd", &config.with("camera", "file", camera.display().to_string()))
}

fn start_agent(local: &Local) -> Result<Browser> {
    let options = browser(local, Part::Agent, "agent")?;
    Browser::start(local.place(), &options)
}

fn browser(local: &Local, part: Part, name: &str) -> Result<BrowserOptions> {
    let server = local.janus.ws_url().unwrap_or_default();
    Ok(BrowserOptions { server, chromium: Vec::new(), ..BrowserOptions::new(part, name, &local.janus, ROOM)? })
}

/// One call after the other with the same daemon and the same browser.
fn set_up(local: &Local, calls: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut kiosk = start_kiosk(local)?;
    let mut agent = start_agent(local)?;
    let (mut webrtcup, mut first_frame) = (Vec::new(), Vec::new());
    for call in 0..calls {
        if signals::asked_to_end() {
            return Err(Error::Other("ended before the benchmark was done".into()));
        }
        if call > 0 {
            agent.tell("join")?;
        }
        let asked = since_1970()?;
        kiosk.start_call()?;
        let event = agent.wait_event("first-frame", STEP)?;
        first_frame.push(event["at_ms"].as_f64().unwrap_or(f64::NAN) - asked);
        let figures = kiosk.wait_figures(STEP, "webrtcup", |figures| figures.setup.webrtcup_ms.is_some())?;
        webrtcup.extend(figures.setup.webrtcup_ms.map(|ms| ms as f64));
        kiosk.wait_state("active", STEP)?;
        agent.tell("leave")?;
        agent.wait_event("left", STEP)?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", STEP)?;
    }
    agent.end()?;
    Ok((webrtcup, first_frame))
}

fn since_1970() -> Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(now.map_err(|_| Error::Other("the clock stands before 1970".into()))?.as_secs_f64() * 1000.0)
}

fn daemon_sends(local: &Local, camera: &Path) -> Result<Load> {
    let mut kiosk = start_recorded(local, camera)?;
    kiosk.start_call()?;
    kiosk.wait_figures(STEP, "frames", |figures| figures.publish.video.frames > 0)?;
    let load = measure_daemon(&mut kiosk)?;
    kiosk.end_call()?;
    Ok(load)
}

fn two_way(local: &Local, camera: &Path) -> Result<Load> {
    let mut kiosk = start_recorded(local, camera)?;
    kiosk.start_call()?;
    let agent = start_agent(local)?;
    kiosk.wait_state("active", STEP)?;
    let load = measure_daemon(&mut kiosk)?;
    agent.end()?;
    kiosk.end_call()?;
    Ok(load)
}

fn measure_daemon(kiosk: &mut Kiosk) -> Result<Load> {
    let pid = kiosk.process().pid();
    thread::sleep(SETTLE);
    let (before, frames, start) = (usage(pid)?, kiosk.figures()?.publish.video.frames, Instant::now());
    let mut bits = Vec::new();
    while start.elapsed() < MEASURE {
        thread::sleep(Duration::from_secs(1));
        bits.push(kiosk.figures()?.publish.video.bits_per_second as f64);
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = usage(pid)?;
    let frames = kiosk.figures()?.publish.video.frames.saturating_sub(frames);
    Ok(Load {
        cpu_cores: rounded((after.cpu_seconds - before.cpu_seconds) / seconds),
        rss_peak_kib: after.rss_peak_kib,
        frames_per_second: rounded(frames as f64 / seconds),
        bits_per_second: (bits.iter().sum::<f64>() / bits.len() as f64).round(),
    })
}

fn chromium_sends(local: &Local, camera: &Path) -> Result<Load> {
    let video = Some(camera.display().to_string());
    let options = BrowserOptions { video, ..browser(local, Part::PublishingKiosk, "chromium")? };
    let mut kiosk = Browser::start(local.place(), &options)?;
    let ready = kiosk.events("ready").pop().unwrap_or_default();
    let pid = ready["chromium_pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| Error::Other("the driver did not tell Chromium's process".into()))?;
    kiosk.wait_stats(STEP, "frames that Chromium sends", |stats| stats.sent.frames > 0)?;
    thread::sleep(SETTLE);
    let (before, sent, start) = (family_usage(pid), kiosk.stats()?, Instant::now());
    thread::sleep(MEASURE);
    let (after, sent_after, seconds) = (family_usage(pid), kiosk.stats()?, start.elapsed().as_secs_f64());
    let page_seconds = (sent_after.at_ms - sent.at_ms) / 1000.0;
    let load = Load {
        cpu_cores: rounded((after.0 - before.0) / seconds),
        rss_peak_kib: after.1,
        frames_per_second: rounded((sent_after.sent.frames - sent.sent.frames) as f64 / page_seconds),
        bits_per_second: ((sent_after.sent.video_bytes - sent.sent.video_bytes) as f64 * 8.0 / page_seconds).round(),
    };
    kiosk.end()?;
    Ok(load)
}

/// Processor seconds and peak memory of a process and its descendants; one that is just ending counts no more.
fn family_usage(pid: u32) -> (f64, u64) {
    let all = family(pid).into_iter().filter_map(|pid| usage(pid).ok());
    all.fold((0.0, 0), |(cpu, rss), usage| (cpu + usage.cpu_seconds, rss + usage.rss_peak_kib))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_turns_has_no_more_digits_than_one_of_them() {
        let turn = |cpu_cores, rss_peak_kib, frames_per_second, bits_per_second| Load {
            cpu_cores,
            rss_peak_kib,
            frames_per_second,
            bits_per_second,
        };
        let mean = Load::mean(&[turn(0.1, 100, 29.0, 1.0), turn(0.1, 300, 30.0, 2.0), turn(0.2, 200, 30.0, 2.0)]);
        assert_eq!((mean.cpu_cores, mean.rss_peak_kib), (0.133, 300));
        assert_eq!((mean.frames_per_second, mean.bits_per_second), (29.667, 2.0));
    }

    #[test]
    fn median_and_percentile_are_by_nearest_rank() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Spread::of(&values), Some(Spread { median: 50.0, p95: 95.0 }));
        assert_eq!(Spread::of(&[7.0]), Some(Spread { median: 7.0, p95: 7.0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
