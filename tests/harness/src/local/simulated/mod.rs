//! Kiosks without a camera: the state machines of `proto/`, and a real MQTT connection over TLS for each.
//!
//! What a daemon does with the disk is done in memory, and a trial's probes pass at once, or fail where a test wants
//! that. Everything that travels is as a daemon sends it.

mod kiosk;
mod tls;

use crate::{Error, Result, tls::ClientIdentity};
use kiosk::Kiosk;
use kiosk_proto::{
    config::{KioskId, Site},
    fleet::{EventKind, GroupName, TrustedKey},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

pub(crate) use tls::{connector, over};

/// What all simulated kiosks have in common.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// Where the broker is.
    pub host: String,
    /// Its port for kiosks.
    pub port: u16,
    /// Groups of every kiosk.
    pub groups: Vec<GroupName>,
    /// Keys that they trust.
    pub keys: Vec<TrustedKey>,
    /// Whether keys that can cut a kiosk off want two signatures.
    pub two_signatures: bool,
    /// Seconds that a configuration has to prove itself, of 5 or more.
    pub trial_deadline_s: u32,
    /// Seconds between two snapshots of metrics; none without.
    pub metrics_s: Option<u64>,
}

/// One kiosk.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Its id.
    pub id: KioskId,
    /// Its certificate.
    pub identity: ClientIdentity,
    /// Whether it can't reach its media server with what is pushed: every trial is taken back.
    pub fails: bool,
    /// How long it takes to try a configuration.
    pub trial: Duration,
}

/// What happened so far, of all kiosks together.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that are up.
    pub connected: AtomicU64,
    /// Connections that were made.
    pub connections: AtomicU64,
    /// Layers that were confirmed.
    pub confirmed: AtomicU64,
    /// Layers that were rejected or rolled back.
    pub failed: AtomicU64,
    /// Events that were made.
    pub events: AtomicU64,
    /// Events that the broker has acknowledged.
    pub delivered: AtomicU64,
}

impl Counts {
    /// One of the numbers.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// Orders from whoever runs the simulation.
#[derive(Debug, Clone)]
pub enum Order {
    /// Something happens on the kiosk.
    Happens(EventKind),
}

/// A kiosk that runs.
#[derive(Debug)]
pub struct Running {
    orders: mpsc::Sender<Order>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Gives it an order; it is lost when the kiosk has too many.
    pub fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// Ends it as a power cut would.
    pub fn cut(self) {
        self.task.abort();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a kiosk on the present runtime.
pub fn start(fleet: &Fleet, kiosk: &Simulated, ca: &Path, counts: &Arc<Counts>) -> Result<Running> {
    let tls = connector(ca, &kiosk.identity)?;
    let site = Site::parse(&site_file(fleet, kiosk)).map_err(|error| Error::Other(error.to_string()))?;
    let (orders, inbox) = mpsc::channel(64);
    let (fleet, kiosk, counts) = (fleet.clone(), kiosk.clone(), Arc::clone(counts));
    let task = tokio::spawn(async move {
        let mut running = Kiosk::new(fleet, kiosk, site, counts, &tls);
        running.run(inbox).await;
    });
    Ok(Running { orders, task })
}

fn site_file(fleet: &Fleet, kiosk: &Simulated) -> String {
    let list = |items: Vec<String>| {
        format!("[{}]", items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", "))
    };
    format!(
        "[kiosk]\nid = \"{}\"\n[janus]\nurl = \"wss://janus.example:8989/\"\nroom = 1001\n\
         [fleet]\nbroker = \"mqtts://{}:{}\"\ncert_file = {:?}\nkey_file = {:?}\ngroups = {}\nkeys = {}\n\
         two_signatures = {}\ntrial_deadline_s = {}\n",
        kiosk.id,
        fleet.host,
        fleet.port,
        kiosk.identity.certificate.display().to_string(),
        kiosk.identity.key.display().to_string(),
        list(fleet.groups.iter().map(ToString::to_string).collect()),
        list(fleet.keys.iter().map(ToString::to_string).collect()),
        fleet.two_signatures,
        fleet.trial_deadline_s,
    )
}
