//! A broker, some kiosks, and `kioskctl` as an admin.

use kiosk_harness::local::broker::LocalBroker;
use kiosk_harness::local::simulated::{Counts, Fleet, Order, Running, Simulated, start};
use kiosk_harness::place::Place;
use kiosk_proto::fleet::GroupName;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long something may take on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Two ports below those that the kernel gives to connections: nobody takes one by chance, also while the broker is away.
fn free_ports() -> [u16; 2] {
    let own = 20_000 + 2 * u16::try_from(std::process::id() % 5_000).unwrap();
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let pairs = (own..32_000).chain(20_000..own).step_by(2).map(|port| [port, port + 1]);
    pairs.into_iter().find(|pair| pair.iter().all(|port| is_free(*port))).unwrap()
}

/// How a simulated kiosk is made.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub fails: bool,
    pub two_signatures: bool,
    pub trial: Duration,
}

impl Default for Kind {
    fn default() -> Self {
        Self { fails: false, two_signatures: false, trial: Duration::from_millis(100) }
    }
}

/// All kiosks are in the group `seoul`.
pub struct Trial {
    pub kiosks: BTreeMap<String, Running>,
    pub counts: Arc<Counts>,
    runtime: Runtime,
    pub broker: LocalBroker,
    _dir: TempDir,
}

impl Trial {
    /// Kiosks `k-0`, `k-1` and so on; the closure says how each is.
    pub fn start(number: usize, kind: impl Fn(usize) -> Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..number).map(|number| format!("k-{number}")).collect();
        let groups = BTreeMap::from([("seoul".to_owned(), names.clone())]);
        let broker = LocalBroker::start(&Place::here(dir.path()), free_ports(), &groups).unwrap();
        let (_, second) = broker.another_key("ben").unwrap();
        let keys = vec![broker.trusted_key().unwrap(), second];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let counts = Arc::new(Counts::default());
        let inside = runtime.enter();
        let mut kiosks = BTreeMap::new();
        for (index, name) in names.into_iter().enumerate() {
            let kind = kind(index);
            let fleet = Fleet {
                host: "localhost".into(),
                port: broker.kiosk_port,
                groups: vec![GroupName::try_from("seoul".to_owned()).unwrap()],
                keys: keys.clone(),
                two_signatures: kind.two_signatures,
                // On a busy machine a trial takes longer than it should.
                trial_deadline_s: if kind.fails { 5 } else { 60 },
                metrics_s: None,
            };
            let id = name.clone().try_into().unwrap();
            let kiosk = Simulated { id, identity: broker.kiosk(&name), fails: kind.fails, trial: kind.trial };
            kiosks.insert(name, start(&fleet, &kiosk, &broker.ca(), &counts).unwrap());
        }
        drop(inside);
        let trial = Self { kiosks, counts, runtime, broker, _dir: dir };
        trial.until("all kiosks to connect", |trial| Counts::get(&trial.counts.connected) == number as u64);
        trial
    }

    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < LONG, "waited {LONG:?} for {what}: {:?}", self.counts);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn order(&self, kiosk: &str, order: Order) {
        assert!(self.kiosks[kiosk].order(order));
    }

    /// Cuts a kiosk's power.
    pub fn cut(&mut self, kiosk: &str) {
        self.kiosks.remove(kiosk).unwrap().cut();
        let connected = self.kiosks.len();
        let listed =
            |trial: &Self| trial.json(&["fleet", "list", "--selector", "online=yes"]).as_array().unwrap().len();
        self.until("the last will", |trial| listed(trial) == connected);
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.broker.ctl().unwrap();
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end: exit code, standard output and standard error.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// Runs it with `--json`; it must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let (code, json) = self.coded(arguments);
        assert_eq!(code, 0, "{arguments:?}: {json}");
        json
    }

    /// The same, however it ends.
    pub fn coded(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, output, errors) = self.run(&[arguments, &["--json"]].concat());
        let json = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{arguments:?}: {code} {output} {errors}"));
        (code, json)
    }

    /// Pushes with what every push has.
    pub fn push(&self, arguments: &[&str]) -> (i32, Value) {
        self.coded(&[&["config", "push", "--yes", "--reason", "a test", "--timeout", "20s"], arguments].concat())
    }

    /// Starts it and lets it run.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What a kiosk has for a key.
    pub fn value(&self, kiosk: &str, key: &str) -> Value {
        self.json(&["config", "explain", key, "--device", kiosk])["value"].clone()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.kiosks.clear();
    }
}
