//! Figures of the kiosk, and what happened to its calls, out of what the call's task shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use kiosk_proto::call::CallState;
use kiosk_proto::config::{CameraSource, Config};
use kiosk_proto::fault::FaultCode;
use kiosk_proto::fleet::{CallMetrics, CameraMetrics, Digest, EventKind, FirewallMetrics, Metrics};
use serde_json::Value;

use crate::call::View;
use crate::host::clock;
use crate::host::machine::{self, Machine};

/// What `kiosk-counters.service` writes: the daemon itself may not look at the firewall.
const COUNTERS: &str = "/run/kiosk-counters/nftables.json";
/// Larger than all counters of `kiosk.nft`.
const MAX_COUNTERS_BYTES: u64 = 64 * 1024;
/// What the firewall drops is counted by these.
const DROPPED: [&str; 5] = ["udp_in", "udp_out", "tcp_in", "other_in", "other_out"];
/// The fault of a camera that is not there.
const CAMERA_FAULT: &str = FaultCode::CameraUnavailable.as_str();
const VIOLATION: &str = FaultCode::TcpOnlyViolation.as_str();

/// Takes the figures.
#[derive(Debug)]
pub struct Telemetry {
    start: Instant,
    machine: Machine,
    versions: BTreeMap<String, String>,
    encoder: Option<&'static str>,
}

/// What the figures need of the rest of the fleet's part.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// Its digest.
    pub digest: Digest,
    /// The folder on the disk that matters.
    pub state: &'a Path,
    /// Whether the clock can be relied on.
    pub clock_synchronised: bool,
    /// Events that wait.
    pub outbox_events: u64,
}

impl Telemetry {
    /// Begins to look. `encoder` is the element that the rehearsal at the start chose.
    pub fn new(encoder: Option<&'static str>) -> Self {
        let mut versions = BTreeMap::from([
            ("kioskd".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("gstreamer".to_owned(), gstreamer::version_string().to_string()),
        ]);
        versions.extend(machine::kernel().map(|kernel| ("kernel".to_owned(), kernel)));
        Self { start: Instant::now(), machine: Machine::new(), versions, encoder }
    }

    /// The daemon's age, seconds.
    pub fn uptime_s(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    /// One snapshot.
    pub fn metrics(&mut self, view: &View, around: &Surroundings<'_>) -> Metrics {
        let in_call = view.state != CallState::Idle;
        Metrics {
            at: around.clock_synchronised.then(clock::unix_seconds),
            uptime_s: self.uptime_s(),
            versions: self.versions.clone(),
            config: around.digest,
            call_state: view.state.as_str().to_owned(),
            call: in_call.then(|| CallMetrics::of(&view.figures)),
            host: self.machine.look(around.state, around.clock_synchronised),
            camera: camera(around.config, view),
            encoder: self.encoder.map(str::to_owned),
            firewall: firewall(Path::new(COUNTERS)),
            outbox_events: around.outbox_events,
            faults: view.faults.iter().map(|(code, _)| code.clone()).collect(),
        }
    }
}

fn camera(config: &Config, view: &View) -> Option<CameraMetrics> {
    if config.camera.source != CameraSource::V4l2 {
        return None;
    }
    let fault = view.faults.iter().any(|(code, _)| code == CAMERA_FAULT);
    let devices = fs::read_dir("/sys/class/video4linux").ok()?.flatten();
    let names = devices.filter_map(|device| fs::read_to_string(device.path().join("name")).ok());
    let name = names.map(|name| name.trim().to_owned()).min();
    Some(CameraMetrics { present: name.is_some() && !fault, name })
}

fn firewall(file: &Path) -> Option<FirewallMetrics> {
    if fs::metadata(file).ok()?.len() > MAX_COUNTERS_BYTES {
        return None;
    }
    let list: Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    let counters = list.get("nftables")?.as_array()?.iter().filter_map(|entry| entry.get("counter"));
    let dropped = counters.filter_map(|counter| {
        let name = counter.get("name")?.as_str().filter(|name| DROPPED.contains(name))?;
        Some((name.to_owned(), counter.get("packets")?.as_u64()?))
    });
    Some(FirewallMetrics { dropped: dropped.collect() })
}

/// Makes events of what the call's task shows.
#[derive(Debug, Default)]
pub struct Observer {
    calling: Option<Instant>,
    faults: BTreeSet<String>,
}

impl Observer {
    /// What happened since the last look.
    pub fn look(&mut self, view: &View) -> Vec<EventKind> {
        let mut events = Vec::new();
        let in_call = view.state != CallState::Idle;
        if in_call && self.calling.is_none() {
            self.calling = Some(Instant::now());
            events.push(EventKind::CallStarted {});
        }
        let faults: BTreeSet<String> = view.faults.iter().map(|(code, _)| code.clone()).collect();
        for code in faults.difference(&self.faults) {
            events.push(match code.as_str() {
                VIOLATION => EventKind::TcpOnlyViolation {},
                code => EventKind::FaultRaised { code: code.to_owned() },
            });
        }
        for code in self.faults.difference(&faults).filter(|code| *code != VIOLATION) {
            events.push(EventKind::FaultCleared { code: code.clone() });
        }
        self.faults = faults;
        if !in_call && let Some(begin) = self.calling.take() {
            let reason = view.ended.unwrap_or("unknown").to_owned();
            events.push(EventKind::CallEnded { reason, seconds: begin.elapsed().as_secs() });
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn view(state: CallState, faults: &[&str], ended: Option<&'static str>) -> View {
        let faults = faults.iter().map(|code| ((*code).to_owned(), "with agent/Secret Name".to_owned())).collect();
        View { state, faults, ended, ..View::default() }
    }

    #[test]
    fn a_call_its_faults_and_its_end_are_events_once() {
        let mut observer = Observer::default();
        let mut look = |state, faults: &[&str], ended| -> Vec<String> {
            let events = observer.look(&view(state, faults, ended));
            events.iter().map(|event| serde_json::to_string(event).unwrap()).collect()
        };
        assert!(look(CallState::Idle, &[], None).is_empty());
        assert_eq!(look(CallState::Connecting, &[], None), [r#"{"kind":"call-started"}"#]);
        assert!(look(CallState::Active, &[], None).is_empty());
        let lost = [r#"{"kind":"fault-raised","code":"camera-unavailable"}"#];
        assert_eq!(look(CallState::Active, &["camera-unavailable"], None), lost);
        assert!(look(CallState::Active, &["camera-unavailable"], None).is_empty());
        let found = [r#"{"kind":"fault-cleared","code":"camera-unavailable"}"#];
        assert_eq!(look(CallState::Active, &[], None), found);
        assert_eq!(look(CallState::Ending, &["tcp-only-violation"], None), [r#"{"kind":"tcp-only-violation"}"#]);
        let ended = [r#"{"kind":"call-ended","reason":"asked to end","seconds":0}"#];
        assert_eq!(look(CallState::Idle, &["tcp-only-violation"], Some("asked to end")), ended);
    }

    #[test]
    fn of_the_firewall_only_what_it_dropped_is_told() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("nftables.json");
        assert_eq!(firewall(&file), None);
        fs::write(&file, "{").unwrap();
        assert_eq!(firewall(&file), None);
        let text = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},
            {"counter":{"family":"inet","name":"udp_out","table":"kiosk","packets":7,"bytes":400}},
            {"counter":{"family":"inet","name":"media_out","table":"kiosk","packets":2,"bytes":120}}]}"#;
        fs::write(&file, text).unwrap();
        assert_eq!(firewall(&file).unwrap().dropped, BTreeMap::from([("udp_out".to_owned(), 7)]));
    }
}
