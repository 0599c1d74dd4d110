//! The kiosk as one of a fleet: configuration, commands and reports over MQTT.
//!
//! What is decided stands in `kiosk_proto::fleet`; here it is carried out, by one task on a thread of its own: it waits
//! for the disk, and a call must never wait with it.

mod commands;
mod diagnostics;
mod identity;
mod link;
mod post;
mod probe;
mod session;
mod store;
mod task;
mod telemetry;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kiosk_proto::config::{Config, Site};
use kiosk_proto::fault::FaultCode;
use kiosk_proto::fleet::ledger::LedgerFile;
use kiosk_proto::fleet::machine::{DesiredState, Effect, Input};
use kiosk_proto::fleet::{Durable, Now, StateError};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{error, info, warn};
use zbus::Connection;

use crate::call::View;
use crate::doctor::service::SelfCheck;
use crate::events::Events;
use crate::host::journal::Verbosity;
use post::Post;
use store::Store;

/// File of the pushed configuration.
const DESIRED: &str = "desired";
/// File of the commands.
const LEDGER: &str = "commands";
/// File of the events, as messages call it.
const EVENTS: &str = "events";
/// A call waits no longer than this for the fleet's task; a disk that hangs keeps nobody from a call.
const CALL: Duration = Duration::from_millis(1500);
/// How long the farewell to the broker may take.
const STOP: Duration = Duration::from_secs(2);
/// Requests to the fleet's task: calls that start, files that were read again.
const CAPACITY: usize = 16;

/// What D-Bus shows of the fleet's part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetView {
    /// How the kiosk stands to its fleet.
    pub state: FleetState,
    /// Somebody wants to know which machine this is.
    pub identify: bool,
}

/// How the kiosk stands to its fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FleetState {
    /// It is in none.
    #[default]
    None,
    /// The broker is not reached.
    Offline,
    /// The broker is reached.
    Online,
    /// A configuration is on trial.
    Trial,
}

impl FleetState {
    /// The word on D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Trial => "trial",
        }
    }
}

/// What the daemon is asked to do by its fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Start again.
    Restart,
}

/// What the fleet's task is asked by the daemon.
#[derive(Debug)]
enum Request {
    /// A call is about to start: answered when the configuration for it is on its way.
    CallStarts(oneshot::Sender<()>),
    /// The site file was read again.
    Site(Box<Site>),
    /// The daemon stops.
    Stop(oneshot::Sender<()>),
}

/// The parts of the daemon that the fleet's task works with.
#[derive(Debug)]
pub struct Daemon {
    /// The way to the call's task.
    pub events: Events,
    /// What the call's task shows.
    pub view: watch::Receiver<Arc<View>>,
    /// Where logind and the clock are asked.
    pub bus: Connection,
    /// How much is written to the journal.
    pub verbosity: Verbosity,
    /// The encoder that was chosen at the start.
    pub encoder: Option<&'static str>,
    /// What runs the self-check.
    pub check: SelfCheck,
    /// Where orders go.
    pub orders: mpsc::Sender<Order>,
}

/// The fleet's part before its task runs: the configuration of the start is decided here.
#[derive(Debug)]
pub struct Boot {
    state: DesiredState,
    ledger: Option<LedgerFile>,
    post: Post,
    store: Store,
    state_dir: PathBuf,
    /// Effects of the start that can wait for the task.
    effects: Vec<Effect>,
    /// Files that were damaged, and whether the one before could be read.
    damaged: Vec<(&'static str, bool)>,
    show: watch::Sender<FleetView>,
}

/// The time as the decisions take it.
fn now(synchronised: bool) -> Now {
    let monotonic = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Now { monotonic, wall: synchronised.then(crate::host::clock::unix_seconds) }
}

/// Reads what was stored, and decides which configuration the daemon starts with. Without a `[fleet]` section in the
/// site file there is nothing to do.
pub fn boot(site: Site) -> Option<(Boot, watch::Receiver<FleetView>)> {
    let fleet = site.config().fleet.as_ref()?;
    let state_dir = fleet.state_dir.clone();
    let store = Store::new(&state_dir);
    let mut damaged = Vec::new();
    let (stored, recovered) = load(&store, DESIRED, Durable::from_json, &mut damaged);
    let (ledger, _) = load(&store, LEDGER, LedgerFile::from_json, &mut damaged);
    let (post, lost) = Post::open(&state_dir);
    if lost {
        damaged.push((EVENTS, true));
    }
    let now = now(false);
    let (mut state, mut effects) = DesiredState::start(env!("CARGO_PKG_VERSION"), site, stored, recovered, now);
    let mut later = Vec::new();
    while !effects.is_empty() {
        let mut next = Vec::new();
        for effect in effects {
            if let Effect::Persist(durable) = effect {
                if let Err(error) = store.save(DESIRED, &durable.to_json()) {
                    error!(FAULT = FaultCode::FleetStateNotStored.as_str(), "{error}");
                    next = state.handle(now, Input::PersistFailed(error.to_string()));
                    break;
                }
            } else {
                later.push(effect);
            }
        }
        effects = next;
    }
    let (show, shown) = watch::channel(FleetView { state: FleetState::Offline, identify: false });
    Some((Boot { state, ledger, post, store, state_dir, effects: later, damaged, show }, shown))
}

/// Reads one file. The flag says that it is the one before the newest.
fn load<T>(
    store: &Store,
    name: &'static str,
    read: impl Fn(&[u8]) -> Result<T, StateError>,
    damaged: &mut Vec<(&'static str, bool)>,
) -> (Option<T>, bool) {
    let loaded = store.load(name);
    let mut damage = loaded.damage;
    let stored = loaded.content.and_then(|content| match read(&content) {
        Ok(stored) => Some(stored),
        Err(error) => {
            damage.push(format!("{name}: {error}"));
            None
        }
    });
    for what in &damage {
        error!(FAULT = FaultCode::FleetStateDamaged.as_str(), recovered = stored.is_some(), "{what}");
    }
    let recovered = !damage.is_empty() && stored.is_some();
    if !damage.is_empty() {
        damaged.push((name, recovered));
    }
    (stored, recovered)
}

impl Boot {
    /// The configuration to start with.
    pub fn config(&self) -> &Config {
        self.state.config()
    }

    /// Starts the task.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(self, daemon: Daemon) -> std::io::Result<Handle> {
        let (requests, inbox) = mpsc::channel(CAPACITY);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async move { task::Task::new(self, daemon).run(inbox).await });
            info!("the fleet's task has ended");
        };
        thread::Builder::new().name("fleet".to_owned()).spawn(run)?;
        Ok(Handle { requests })
    }
}

/// The way to the fleet's task.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

impl Handle {
    /// To be called before a call starts: returns when the call may read the configuration. What is on trial and would
    /// disturb it has been taken back by then.
    pub async fn call_starts(&self) {
        let (reply, answer) = oneshot::channel();
        let ask = async {
            let _ = self.requests.send(Request::CallStarts(reply)).await;
            let _ = answer.await;
        };
        if timeout(CALL, ask).await.is_err() {
            warn!("the fleet's task does not answer; the call starts without it");
        }
    }

    /// The site file was read again.
    pub async fn site(&self, site: Site) {
        if self.requests.send(Request::Site(Box::new(site))).await.is_err() {
            error!("the fleet's task has ended: the site file is not taken over");
        }
    }

    /// Says farewell to the broker.
    pub async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        let ask = async {
            let _ = self.requests.send(Request::Stop(reply)).await;
            let _ = answer.await;
        };
        let _ = timeout(STOP, ask).await;
    }
}
