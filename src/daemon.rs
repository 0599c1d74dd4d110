//! The daemon: starts the parts, listens to signals, ends cleanly.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use kiosk_proto::config::{Config, Site};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::audit::Audit;
use crate::call::Engine;
use crate::doctor::service::SelfCheck;
use crate::events::{Events, News};
use crate::fleet::{self, FleetView, Handle, Order};
use crate::host::journal::Verbosity;
use crate::host::systemd::{Pulse, feed_watchdog, notify};
use crate::host::{journal, process, sysctl};
use crate::media::Certificate;
use crate::media::publish::Publisher;
use crate::tcp_only::gate::Gates;
use crate::{config, control, media};

/// A stop by systemd is answered within this time.
const STOP: Duration = Duration::from_secs(3);

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was asked to stop.
    Stopped,
    /// Its fleet wants it to start again.
    Restart,
}

/// Runs until SIGTERM or SIGINT, or until it is to start again.
///
/// # Errors
/// When the configuration is wrong or D-Bus can't be reached: what a restart alone can mend.
pub fn run(path: &Path) -> anyhow::Result<End> {
    process::give_memory_back();
    let site = config::load_site(path)?;
    let verbosity = journal::begin(site.config().kiosk.id.as_str()).context("the journal can't be reached")?;
    media::init().context("GStreamer does not start")?;
    // Two threads: one for the call, one for what waits; media has threads of GStreamer's own, and so has the fleet.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(serve(path, site, verbosity));
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

async fn serve(path: &Path, site: Site, verbosity: Verbosity) -> anyhow::Result<End> {
    let (events, inbox) = Events::channel();
    let (gates, pulse) = (Gates::of_this_kiosk(), Pulse::new());
    info!(version = env!("CARGO_PKG_VERSION"), gstreamer = %gstreamer::version_string(), "kioskd starts");
    sysctl::check();
    let alone = site.config().clone();
    let (boot, fleet_view) = match fleet::boot(site) {
        Some((boot, view)) => (Some(boot), view),
        None => (None, watch::channel(FleetView::default()).1),
    };
    let config = boot.as_ref().map_or(alone, |boot| boot.config().clone());
    let audit = Audit::new(gates.clone(), config.janus.media_ports);
    let bus = config.control.bus.clone();
    // Tried now, so that the first call need not wait for it; without an encoder the daemon stays up, and the call says so.
    let rehearsed = rehearse(&config, &events, &gates).await?;
    let (engine, view) = Engine::new(config, events.clone(), audit.clone(), gates, pulse.clone());
    let mut call = tokio::spawn(engine.run(inbox));
    let mut looks = tokio::spawn(audit.run(events.clone(), pulse.clone()));
    let (handle, handed) = watch::channel(None);
    let check = SelfCheck::new();
    let control = control::Fleet { view: fleet_view, handle: handed };
    let connection = control::serve(&bus, events.clone(), view.clone(), control, check.clone())
        .await
        .context("D-Bus can't be used: is it running, and is config/dbus/org.branchkiosk.Kiosk1.conf installed?")?;
    let (orders, mut ordered) = mpsc::channel(1);
    if let Some(boot) = boot {
        let (events, encoder) = (events.clone(), rehearsed.as_ref().map(|(_, encoder)| *encoder));
        let daemon =
            fleet::Daemon { events, view, bus: connection.clone(), verbosity, encoder, check, orders: orders.clone() };
        handle.send_replace(Some(boot.start(daemon).context("there is no thread for the fleet's part")?));
    }
    feed_watchdog(pulse);
    notify(&[NotifyState::Ready]);

    let (mut terminate, mut interrupt, mut hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    let end = loop {
        tokio::select! {
            _ = terminate.recv() => break End::Stopped,
            _ = interrupt.recv() => break End::Stopped,
            _ = hangup.recv() => {
                let fleet = handle.borrow().clone();
                reload(path, &events, fleet).await;
            }
            Some(Order::Restart) = ordered.recv() => break End::Restart,
            // Only a defect ends them. What they owned is gone: the end of the process makes systemd start anew.
            outcome = &mut call => bail!("the call's task has ended: {outcome:?}"),
            outcome = &mut looks => bail!("the audit has ended: {outcome:?}"),
        }
    };
    info!(?end, "stopping");
    if end == End::Stopped {
        notify(&[NotifyState::Stopping]);
    }
    let fleet = handle.borrow().clone();
    if let Some(fleet) = fleet {
        fleet.stop().await;
    }
    let (reply, ended) = oneshot::channel();
    events.send(News::End(reply)).await;
    if timeout(STOP, ended).await.is_err() {
        error!("the call did not end within {} s", STOP.as_secs());
    }
    Ok(end)
}

/// Does once what the first call would otherwise wait for. What fails here, fails again in the call, and is a fault there.
async fn rehearse(
    config: &Config,
    events: &Events,
    gates: &Gates,
) -> anyhow::Result<Option<(Certificate, &'static str)>> {
    let (config, events, gates) = (config.clone(), events.clone(), gates.clone());
    let rehearsal = move || {
        let certificate = Certificate::make()?;
        Publisher::rehearse(&config, events, gates).map(|encoder| (certificate, encoder))
    };
    Ok(match tokio::task::spawn_blocking(rehearsal).await? {
        Ok((certificate, encoder)) => {
            info!(encoder, "chosen for the camera's picture");
            Some((certificate, encoder))
        }
        Err(error) => {
            warn!("a call could not be published: {error}");
            None
        }
    })
}

async fn reload(path: &Path, events: &Events, fleet: Option<Handle>) {
    let now = NotifyState::monotonic_usec_now();
    let mut states = vec![NotifyState::Reloading];
    states.extend(now.ok());
    notify(&states);
    match (config::load_site(path), fleet) {
        (Err(error), _) => error!("the configuration stays as it was: {error}"),
        (Ok(site), Some(fleet)) if site.config().fleet.is_some() => fleet.site(site).await,
        (Ok(site), fleet) => {
            if fleet.is_some() || site.config().fleet.is_some() {
                warn!("the section [fleet] came or went: that counts from the next start of the daemon");
            }
            if fleet.is_none() {
                events.send(News::Reconfigured(Box::new(site.config().clone()))).await;
            }
        }
    }
    notify(&[NotifyState::Ready]);
}
