//! What `demo --check` measured, and whether it is good.

use crate::agent::{BrowserPair, BrowserStats};
use kiosk_proto::figures::{CallFigures, PairFigures};
use serde::Serialize;
use std::ops::RangeInclusive;

/// Fewer frames per second than this is no video; a slow machine gets at least this far.
const MIN_FRAMES_PER_SECOND: f64 = 5.0;
/// Opus sends 50 packets a second.
const MIN_AUDIO_PACKETS_PER_SECOND: f64 = 10.0;
/// The daemon's sockets are looked at ten times a second; a busy machine may lose some looks.
const MIN_LOOKS_PER_SECOND: f64 = 3.0;

/// One object on standard output.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Whether all is as it must be; what is not, otherwise.
    pub passed: bool,
    /// Why not.
    pub problems: Vec<String>,
    /// How long media was watched.
    pub seconds: f64,
    /// The range that media may use.
    pub media_ports: String,
    /// What the agent's browser saw.
    pub agent: AgentSide,
    /// What the kiosk saw.
    pub kiosk: KioskSide,
    /// Sockets of the daemon.
    pub sockets: Sockets,
    /// How long the set-up took.
    pub setup_ms: Setup,
    /// What the daemon used.
    pub daemon: Daemon,
    /// A push over the fleet's broker, in the running call.
    pub push: Push,
}

/// The agent's browser, over the watched time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AgentSide {
    /// Frames of the kiosk.
    pub frames_decoded: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Mean over the watched time.
    pub frames_per_second: f64,
    /// RTP packets of the kiosk's sound.
    pub audio_packets: u64,
    /// Whether anything but silence was heard.
    pub audible: bool,
    /// Selected candidate pairs.
    pub pairs: Vec<BrowserPair>,
}

/// The kiosk, over the watched time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KioskSide {
    /// Frames of the agent.
    pub frames_decoded: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Mean over the watched time.
    pub frames_per_second: f64,
    /// RTP packets of the agent's sound.
    pub audio_packets: u64,
    /// Whether anything but silence was heard.
    pub audible: bool,
    /// Selected pair of the sending connection.
    pub publish: Option<PairFigures>,
    /// Selected pair of the receiving connection.
    pub receive: Option<PairFigures>,
}

/// Sockets that can carry datagrams.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sockets {
    /// The most that were seen from outside, through /proc.
    pub udp_peak: u32,
    /// Looks from outside.
    pub samples: u64,
    /// Looks that failed.
    pub failed_samples: u64,
    /// The most that the daemon's own audit saw.
    pub udp_peak_of_audit: u32,
    /// Looks of the audit.
    pub audit_samples: u64,
}

/// Milliseconds from the control request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Setup {
    /// Until Janus said `webrtcup`.
    pub webrtcup: Option<u64>,
    /// Until the kiosk decoded something of the agent's; the agent's browser was started after the call.
    pub agent_media: Option<u64>,
}

/// A new bitrate, pushed to the kiosk in its call.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Push {
    /// What was pushed as video.bitrate_kbps.
    pub bitrate_kbps: u64,
    /// What became of it: `confirmed`, or `kioskctl`'s word for something else.
    pub outcome: String,
    /// From the command until it was confirmed.
    pub seconds: f64,
    /// What the encoder was asked for before, bits per second.
    pub target_before: u64,
    /// The same after, bits per second.
    pub target_after: u64,
}

/// What the daemon used.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Daemon {
    /// Peak resident set, KiB.
    pub rss_peak_kib: u64,
    /// Core-seconds per second over the watched time.
    pub cpu_cores: f64,
}

impl AgentSide {
    /// The difference between two readings.
    pub fn between(first: &BrowserStats, last: &BrowserStats, seconds: f64) -> Self {
        let frames = last.frames_decoded.saturating_sub(first.frames_decoded);
        Self {
            frames_decoded: frames,
            width: last.frame_width,
            height: last.frame_height,
            frames_per_second: rate(frames, seconds),
            audio_packets: last.audio.packets.saturating_sub(first.audio.packets),
            audible: last.audio.energy > first.audio.energy,
            pairs: last.pairs.clone(),
        }
    }
}

impl KioskSide {
    /// The difference between two readings.
    pub fn between(first: &CallFigures, last: &CallFigures, audible: bool, seconds: f64) -> Self {
        let (before, after) = (&first.receive, &last.receive);
        let frames = after.video.frames.saturating_sub(before.video.frames);
        Self {
            frames_decoded: frames,
            width: after.video.width,
            height: after.video.height,
            frames_per_second: rate(frames, seconds),
            audio_packets: after.audio.packets.saturating_sub(before.audio.packets),
            audible,
            publish: last.publish.pair.clone(),
            receive: after.pair.clone(),
        }
    }
}

/// To three digits after the point.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(count as f64 / seconds) } else { 0.0 }
}

/// Reads `first-last`.
fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

impl Report {
    /// Fills in the verdict.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.problems = problems(&self);
        self.passed = self.problems.is_empty();
        self
    }
}

/// All that keeps a report from passing.
pub fn problems(report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    let mut must = |holds: bool, otherwise: String| {
        if !holds {
            problems.push(otherwise);
        }
    };
    let seconds = report.seconds;
    must(seconds > 0.0, "media was not watched at all".into());
    let (agent, kiosk) = (&report.agent, &report.kiosk);
    for (who, frames, packets, audible) in [
        ("the agent", agent.frames_decoded, agent.audio_packets, agent.audible),
        ("the kiosk", kiosk.frames_decoded, kiosk.audio_packets, kiosk.audible),
    ] {
        must(
            rate(frames, seconds) >= MIN_FRAMES_PER_SECOND,
            format!("{who} decoded {frames} frames in {seconds:.0} s"),
        );
        let enough = rate(packets, seconds) >= MIN_AUDIO_PACKETS_PER_SECOND;
        must(enough, format!("{who} got {packets} packets of sound in {seconds:.0} s"));
        must(audible, format!("{who} heard only silence"));
    }

    let range = port_range(&report.media_ports);
    let in_range = |port: u16| range.as_ref().is_some_and(|range| range.contains(&port));
    let ports = &report.media_ports;
    for (leg, pair) in [("publish", &kiosk.publish), ("receive", &kiosk.receive)] {
        let Some(pair) = pair else {
            must(false, format!("the kiosk has no selected pair for {leg}"));
            continue;
        };
        let tcp = pair.local.transport == "tcp" && pair.remote.transport == "tcp";
        must(tcp, format!("the kiosk's {leg} pair is {} to {}", pair.local.transport, pair.remote.transport));
        must(
            in_range(pair.remote.port),
            format!("the kiosk's {leg} goes to port {}, not to {ports}", pair.remote.port),
        );
    }
    for leg in ["publish", "subscribe"] {
        must(agent.pairs.iter().any(|pair| pair.leg == leg), format!("the agent has no selected pair for {leg}"));
    }
    for pair in &agent.pairs {
        let (local, remote, leg) = (&pair.local, &pair.remote, &pair.leg);
        let tcp = local.protocol == "tcp" && remote.protocol == "tcp";
        must(tcp, format!("the agent's {leg} pair is {} to {}", local.protocol, remote.protocol));
        must(in_range(remote.port), format!("the agent's {leg} goes to port {}, not to {ports}", remote.port));
    }

    let sockets = &report.sockets;
    must(sockets.udp_peak == 0, format!("the daemon held {} UDP sockets, seen from outside", sockets.udp_peak));
    must(sockets.udp_peak_of_audit == 0, format!("the daemon's audit saw {} UDP sockets", sockets.udp_peak_of_audit));
    must(sockets.failed_samples == 0, format!("{} looks at the daemon's sockets failed", sockets.failed_samples));
    let looks = sockets.samples;
    must(rate(looks, seconds) >= MIN_LOOKS_PER_SECOND, format!("only {looks} looks at the daemon's sockets"));
    must(sockets.audit_samples > 0, "the daemon's audit never looked".into());
    must(report.setup_ms.webrtcup.is_some(), "Janus never said webrtcup".into());
    let push = &report.push;
    must(push.outcome == "confirmed", format!("the pushed configuration was not confirmed: {}", push.outcome));
    let (asked, limit) = (push.target_after, push.bitrate_kbps * 1000);
    must(
        push.target_before > limit && (1..=limit).contains(&asked),
        format!("the encoder was asked for {} b/s, and after a push of {limit} for {asked}", push.target_before),
    );
    problems
}

#[cfg(test)]
mod tests;
