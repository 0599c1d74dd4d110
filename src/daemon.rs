//! The daemon: starts the parts, listens to signals, ends cleanly.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use kiosk_proto::config::Config;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::audit::Audit;
use crate::call::Engine;
use crate::events::{Events, News};
use crate::host::systemd::{Pulse, feed_watchdog, notify};
use crate::host::{journal, process, sysctl};
use crate::media::Certificate;
use crate::media::publish::Publisher;
use crate::tcp_only::gate::Gates;
use crate::{config, control, media};

/// A stop by systemd is answered within this time.
const STOP: Duration = Duration::from_secs(3);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the configuration is wrong or D-Bus can't be reached: what a restart alone can mend.
pub fn run(path: &Path) -> anyhow::Result<()> {
    process::give_memory_back();
    let config = config::load(path)?;
    journal::begin(config.kiosk.id.as_str()).context("the journal can't be reached")?;
    media::init().context("GStreamer does not start")?;
    // Two threads: one for the call, one for what waits; media has threads of GStreamer's own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(serve(path, config));
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

async fn serve(path: &Path, config: Config) -> anyhow::Result<()> {
    let (events, inbox) = Events::channel();
    let (gates, pulse) = (Gates::default(), Pulse::new());
    let audit = Audit::new(gates.clone());
    let bus = config.control.bus.clone();
    info!(version = env!("CARGO_PKG_VERSION"), gstreamer = %gstreamer::version_string(), "kioskd starts");
    sysctl::check();
    // Tried now, so that the first call need not wait for it; without an encoder the daemon stays up, and the call says so.
    let _certificate = rehearse(&config, &events, &gates).await?;
    let (engine, view) = Engine::new(config, events.clone(), audit.clone(), gates, pulse.clone());
    let mut call = tokio::spawn(engine.run(inbox));
    let mut looks = tokio::spawn(audit.run(events.clone(), pulse.clone()));
    let _connection = control::serve(&bus, events.clone(), view)
        .await
        .context("D-Bus can't be used: is it running, and is config/dbus/org.branchkiosk.Kiosk1.conf installed?")?;
    feed_watchdog(pulse);
    notify(&[NotifyState::Ready]);

    let (mut terminate, mut interrupt, mut hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(path, &events).await,
            // Only a defect ends them. What they owned is gone: the end of the process makes systemd start anew.
            outcome = &mut call => bail!("the call's task has ended: {outcome:?}"),
            outcome = &mut looks => bail!("the audit has ended: {outcome:?}"),
        }
    }
    info!("stopping");
    notify(&[NotifyState::Stopping]);
    let (reply, ended) = oneshot::channel();
    events.send(News::End(reply)).await;
    if timeout(STOP, ended).await.is_err() {
        error!("the call did not end within {} s", STOP.as_secs());
    }
    Ok(())
}

/// Does once what the first call would otherwise wait for. What fails here, fails again in the call, and is a fault there.
async fn rehearse(config: &Config, events: &Events, gates: &Gates) -> anyhow::Result<Option<Certificate>> {
    let (config, events, gates) = (config.clone(), events.clone(), gates.clone());
    let rehearsal = move || {
        let certificate = Certificate::make()?;
        Publisher::rehearse(&config, events, gates).map(|encoder| (certificate, encoder))
    };
    Ok(match tokio::task::spawn_blocking(rehearsal).await? {
        Ok((certificate, encoder)) => {
            info!(encoder, "chosen for the camera's picture");
            Some(certificate)
        }
        Err(error) => {
            warn!("a call could not be published: {error}");
            None
        }
    })
}

async fn reload(path: &Path, events: &Events) {
    let now = NotifyState::monotonic_usec_now();
    let mut states = vec![NotifyState::Reloading];
    states.extend(now.ok());
    notify(&states);
    match config::load(path) {
        Ok(config) => events.send(News::Reconfigured(Box::new(config))).await,
        Err(error) => error!("the configuration stays as it was: {error}"),
    }
    notify(&[NotifyState::Ready]);
}
