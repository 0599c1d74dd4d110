//! Figures of the fleet: how one broker and many kiosks bear a start, a push, and the broker's restarts.
//!
//! The kiosks are simulated in this process: the state machines of `proto/` and an MQTT connection over TLS for each.

use crate::{
    Error, Result,
    kiosk::Kiosk,
    local::{
        Local,
        broker::LocalBroker,
        network::free_port,
        report::rounded,
        signals,
        simulated::{Counts, Fleet, Order, Running, Simulated, start},
    },
    place::Place,
    procfs::{Usage, usage},
};
use kiosk_proto::{
    config::KioskId,
    fleet::{Event, EventKind, GroupName},
};
use rumqttc::{
    AsyncClient, Broker, Event as MqttEvent, EventLoop, MqttOptions, SubscribeFilter,
    mqttbytes::{QoS, v5::Packet},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// The group that all kiosks are in.
const GROUP: &str = "all";
/// How long a step may take.
const STEP: Duration = Duration::from_secs(240);
/// How long the steady state is measured.
const STEADY: Duration = Duration::from_secs(15);
/// Seconds between two snapshots of metrics of each kiosk, as a site has it by default.
const METRICS_S: u64 = 60;
/// How long the daemon is measured at rest.
const REST: Duration = Duration::from_secs(30);
/// How long a simulated kiosk tries a configuration.
const TRIAL: Duration = Duration::from_millis(500);

/// What one number of kiosks took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scale {
    /// Kiosks.
    pub kiosks: usize,
    /// From the first connection's start until the last one is up and subscribed, seconds.
    pub connect_s: f64,
    /// From the start of `kioskctl config push` to the group until every kiosk has confirmed, seconds.
    pub push_s: f64,
    /// The same until `kioskctl` has ended with its table.
    pub push_told_s: f64,
    /// Broker's processor time for the connections, milliseconds per kiosk.
    pub broker_connect_ms: f64,
    /// Simulator's processor time for the connections, milliseconds per kiosk.
    pub simulator_connect_ms: f64,
    /// Broker's processor time for the push, milliseconds per kiosk.
    pub broker_push_ms: f64,
    /// Broker's resident memory per kiosk, KiB.
    pub broker_kib: f64,
    /// Simulator's resident memory per kiosk, KiB.
    pub simulator_kib: f64,
    /// Broker in the steady state, percent of one core.
    pub broker_steady_percent: f64,
    /// Simulator in the steady state, percent of one core.
    pub simulator_steady_percent: f64,
}

/// What the broker's restarts did.
#[derive(Debug, Clone, Serialize)]
pub struct Restarts {
    /// How often it was restarted.
    pub restarts: u32,
    /// Kiosks that had something to say meanwhile.
    pub kiosks: usize,
    /// Events that happened on them.
    pub events: u64,
    /// Events that never came to the admin's subscription.
    pub lost: u64,
    /// Events that came more than once; their sequence numbers tell.
    pub repeated: u64,
    /// How long it all took, seconds.
    pub seconds: f64,
}

/// The daemon's part of it.
#[derive(Debug, Clone, Serialize)]
pub struct DaemonPart {
    /// Without a `[fleet]` section: percent of one core, and MiB resident.
    pub without: (f64, f64),
    /// With it, connected, metrics every minute.
    pub with: (f64, f64),
}

struct Simulation {
    broker: LocalBroker,
    counts: Arc<Counts>,
    runtime: Runtime,
    kiosks: Vec<Running>,
    fleet: Fleet,
    _dir: tempfile::TempDir,
}

impl Simulation {
    /// Certificates and the broker; no kiosk runs yet.
    fn new(kiosks: usize) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("kiosk-bench-").tempdir().map_err(Error::io("temporary directory"))?;
        let names = (0..kiosks).map(name).collect();
        let ports = [free_port(crate::local::broker::KIOSK_PORT)?, free_port(crate::local::broker::ADMIN_PORT)?];
        let broker = LocalBroker::start(&Place::here(dir.path()), ports, &BTreeMap::from([(GROUP.to_owned(), names)]))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(Error::io("runtime of the simulation"))?;
        let group = GroupName::try_from(GROUP.to_owned()).map_err(|error| Error::Other(error.to_string()))?;
        let fleet = Fleet {
            host: "localhost".into(),
            port: broker.kiosk_port,
            groups: vec![group],
            keys: vec![broker.trusted_key()?],
            two_signatures: false,
            // What a kiosk has by default: here it is processor time that is short, not the kiosks' patience.
            trial_deadline_s: 60,
            metrics_s: Some(METRICS_S),
        };
        Ok(Self { broker, counts: Arc::default(), runtime, kiosks: Vec::new(), fleet, _dir: dir })
    }

    fn start_all(&mut self, kiosks: usize) -> Result<()> {
        let _inside = self.runtime.enter();
        for number in 0..kiosks {
            let id = KioskId::try_from(name(number)).map_err(|error| Error::Other(error.to_string()))?;
            let identity = self.broker.kiosk(&name(number));
            let kiosk = Simulated { id, identity, fails: false, trial: TRIAL };
            self.kiosks.push(start(&self.fleet, &kiosk, &self.broker.ca(), &self.counts)?);
        }
        Ok(())
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Counts) -> bool) -> Result<()> {
        let start = Instant::now();
        while !holds(&self.counts) {
            self.broker.process().must_run()?;
            if signals::asked_to_end() {
                return Err(Error::Other("ended before the benchmark was done".into()));
            }
            if start.elapsed() > STEP {
                let log = format!("{:?}", self.counts);
                return Err(Error::Timeout { what: what.into(), after: STEP, log });
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn used(&mut self) -> Result<(Usage, Usage)> {
        Ok((usage(self.broker.process().pid())?, usage(std::process::id())?))
    }
}

fn name(number: usize) -> String {
    format!("k-{number}")
}

/// One number of kiosks, measured in this process.
pub fn scale(kiosks: usize) -> Result<Scale> {
    let mut simulation = Simulation::new(kiosks)?;
    let wanted = kiosks as u64;
    let before = simulation.used()?;
    let start = Instant::now();
    simulation.start_all(kiosks)?;
    simulation.until("all kiosks to connect", |counts| Counts::get(&counts.connected) == wanted)?;
    let connect_s = start.elapsed().as_secs_f64();
    let connected = simulation.used()?;
    sleep(Duration::from_secs(3));

    let (steady, start) = (simulation.used()?, Instant::now());
    sleep(STEADY);
    let (rested, steady_s) = (simulation.used()?, start.elapsed().as_secs_f64());

    let start = Instant::now();
    let push = ["config", "push", "--yes", "--json", "--group", GROUP, "--reason", "bench", "--timeout", "3m"];
    let mut command = simulation.broker.ctl()?;
    command.args(push).args(["--set", "video.bitrate_kbps=800"]).stdout(std::process::Stdio::piped());
    let pushing = command.spawn().map_err(Error::io("kioskctl config push"))?;
    simulation.until("all kiosks to confirm", |counts| Counts::get(&counts.confirmed) == wanted)?;
    let push_s = start.elapsed().as_secs_f64();
    let pushed = simulation.used()?;
    let output = pushing.wait_with_output().map_err(Error::io("kioskctl config push"))?;
    let push_told_s = start.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(Error::Other(format!("the push ended with {}", output.status)));
    }
    let each = |first: f64, last: f64| rounded((last - first) * 1000.0 / kiosks as f64);
    let percent = |first: f64, last: f64| rounded((last - first) * 100.0 / steady_s);
    let memory = |first: &Usage, last: &Usage| rounded((last.rss_kib as f64 - first.rss_kib as f64) / kiosks as f64);
    Ok(Scale {
        kiosks,
        connect_s: rounded(connect_s),
        push_s: rounded(push_s),
        push_told_s: rounded(push_told_s),
        broker_connect_ms: each(before.0.cpu_seconds, connected.0.cpu_seconds),
        simulator_connect_ms: each(before.1.cpu_seconds, connected.1.cpu_seconds),
        broker_push_ms: each(rested.0.cpu_seconds, pushed.0.cpu_seconds),
        broker_kib: memory(&before.0, &rested.0),
        simulator_kib: memory(&before.1, &rested.1),
        broker_steady_percent: percent(steady.0.cpu_seconds, rested.0.cpu_seconds),
        simulator_steady_percent: percent(steady.1.cpu_seconds, rested.1.cpu_seconds),
    })
}

/// Events that came to an admin: kiosk and sequence, and how often.
type Seen = Arc<Mutex<BTreeMap<(String, u64), u64>>>;

/// Restarts the broker again and again while kiosks have something to say.
pub fn restarts(times: u32, kiosks: usize) -> Result<Restarts> {
    let mut simulation = Simulation::new(kiosks)?;
    let seen = Seen::default();
    let (client, events) = subscriber(&simulation.broker)?;
    let following = simulation.runtime.spawn(follow(client, events, Arc::clone(&seen)));
    simulation.start_all(kiosks)?;
    let wanted = kiosks as u64;
    simulation.until("all kiosks to connect", |counts| Counts::get(&counts.connected) == wanted)?;
    // What is said before anybody listens for the first time is not kept for them.
    sleep(Duration::from_secs(2));
    let start = Instant::now();
    let mut said: BTreeSet<usize> = BTreeSet::new();
    for time in 0..times {
        for (number, kiosk) in simulation.kiosks.iter().enumerate() {
            let code = format!("restart-{time}");
            if kiosk.order(Order::Happens(EventKind::FaultRaised { code })) {
                said.insert(number);
            }
        }
        // At another moment of its work each time.
        sleep(Duration::from_millis(u64::from(time % 10) * 20));
        simulation.broker.restart()?;
        let half = wanted / 2;
        simulation.until("the kiosks to come back", |counts| Counts::get(&counts.connected) > half)?;
    }
    let all = |counts: &Counts| Counts::get(&counts.delivered) >= Counts::get(&counts.events);
    simulation.until("all events to be acknowledged", all)?;
    let events = Counts::get(&simulation.counts.events);
    // The admin's own connection comes back last.
    let deadline = Instant::now() + Duration::from_secs(60);
    let known = || seen.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
    while known() < events && Instant::now() < deadline {
        sleep(Duration::from_millis(100));
    }
    following.abort();
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Restarts {
        restarts: times,
        kiosks: said.len(),
        events,
        lost: events.saturating_sub(seen.len() as u64),
        repeated: seen.values().filter(|count| **count > 1).count() as u64,
        seconds: rounded(start.elapsed().as_secs_f64()),
    })
}

/// An admin whose session the broker keeps while the connection is away.
fn subscriber(broker: &LocalBroker) -> Result<(AsyncClient, EventLoop)> {
    let tls = crate::local::simulated::connector(&broker.ca(), &broker.admin())?;
    let mut options = MqttOptions::new("bench-events", Broker::tcp("localhost", broker.admin_port));
    options.set_clean_start(false).set_session_expiry_interval(Some(3600)).set_keep_alive(30);
    options.set_max_packet_size(Some(kiosk_proto::fleet::MAX_PACKET_BYTES)).set_outgoing_inflight_upper_limit(16);
    crate::local::simulated::over(&mut options, "localhost".into(), tls);
    Ok(AsyncClient::builder(options).capacity(64).build())
}

async fn follow(client: AsyncClient, mut events: EventLoop, seen: Seen) {
    loop {
        match events.poll().await {
            Ok(MqttEvent::Incoming(Packet::ConnAck(_))) => {
                let _ = client.try_subscribe_many([SubscribeFilter::new("bk/v1/device/+/event", QoS::AtLeastOnce)]);
            }
            Ok(MqttEvent::Incoming(Packet::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                if let Ok(event) = serde_json::from_slice::<Event>(&publish.payload) {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    *seen.entry((topic, event.sequence)).or_default() += 1;
                }
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// What the daemon uses at rest, without and with a fleet.
pub fn daemon() -> Result<DaemonPart> {
    let local = Local::start()?;
    let broker = local.start_broker()?;
    let without = at_rest(&local, "kioskd-alone", &local.test_config()?)?;
    let with = at_rest(&local, "kioskd-fleet", &local.in_fleet(local.test_config()?, &broker)?)?;
    drop(broker);
    Ok(DaemonPart { without, with })
}

fn at_rest(local: &Local, name: &str, config: &crate::kiosk::KioskConfig) -> Result<(f64, f64)> {
    let mut kiosk = Kiosk::start(local.place(), name, config)?;
    sleep(Duration::from_secs(8));
    let pid = kiosk.process().pid();
    let (before, start) = (usage(pid)?, Instant::now());
    sleep(REST);
    let (after, seconds) = (usage(pid)?, start.elapsed().as_secs_f64());
    kiosk.process().must_run()?;
    let percent = rounded((after.cpu_seconds - before.cpu_seconds) * 100.0 / seconds);
    Ok((percent, rounded(after.rss_kib as f64 / 1024.0)))
}

/// Open files that this process may have, after asking for as many as it may ask for.
pub fn raise_file_limit() -> Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let failed = |errno: nix::errno::Errno| Error::io("the limit of open files")(errno.into());
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)?;
    Ok(hard)
}

/// What [`scale`] printed in a process of its own, so that every number starts with an empty memory.
pub fn scale_in_own_process(program: &Path, kiosks: usize) -> Result<Scale> {
    let text = crate::process::run(std::process::Command::new(program).args(["scale", &kiosks.to_string()]))?;
    serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(Error::json("figures of one scale"))
}
