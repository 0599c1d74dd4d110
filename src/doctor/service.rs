//! The self-check as the daemon offers it: run as a process of its own, which may open the camera and the room, may be
//! ended at any moment, and takes nothing of the daemon with it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kiosk_proto::check::report;
use kiosk_proto::config::Config;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::HANDED_OVER;

/// It takes less than a minute; this is for a machine that is very busy.
const TIME: Duration = Duration::from_secs(90);
/// Once told to end, it leaves the room within three seconds.
const LEAVE: Duration = Duration::from_secs(4);

/// The self-check, at most one at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SelfCheck(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    running: Mutex<()>,
    end: watch::Sender<u64>,
    state: watch::Sender<String>,
}

impl SelfCheck {
    /// None was run yet.
    pub fn new() -> Self {
        let state = watch::channel(json!({ "state": "never" }).to_string()).0;
        Self(Arc::new(Shared { running: Mutex::default(), end: watch::channel(0).0, state }))
    }

    /// What is known, as JSON: `state` is `never`, `running`, `done` (with `checks`) or `failed` (with `message`).
    pub fn state(&self) -> watch::Receiver<String> {
        self.0.state.subscribe()
    }

    /// Runs it with this configuration. Only for a kiosk without a call.
    ///
    /// # Errors
    /// Why there is no result: another one runs, a call needed the kiosk, or it did not work.
    pub async fn run(&self, config: &Config) -> Result<Value, String> {
        let Ok(_running) = self.0.running.try_lock() else {
            return Err("a self-check is running already".to_owned());
        };
        let mut end = self.0.end.subscribe();
        end.mark_unchanged();
        self.0.state.send_replace(json!({ "state": "running" }).to_string());
        info!("the self-check begins");
        let outcome = self.carry_out(config, end).await;
        self.0.state.send_replace(match &outcome {
            Ok(result) => {
                let mut shown = result.clone();
                shown["state"] = json!("done");
                shown.to_string()
            }
            Err(message) => {
                warn!("there is no self-check: {message}");
                json!({ "state": "failed", "message": message }).to_string()
            }
        });
        outcome
    }

    async fn carry_out(&self, config: &Config, mut end: watch::Receiver<u64>) -> Result<Value, String> {
        let text = report::hand_over(config)?;
        let failed = |error: std::io::Error| format!("kioskd doctor: {error}");
        let mut command = Command::new("/proc/self/exe");
        command.args(["doctor", "--json", "--config", HANDED_OVER]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"] {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes()).await.map_err(failed)?;
        }
        let stdout = child.stdout.take();
        let read = async {
            let mut bytes = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(report::MOST_READ).read_to_end(&mut bytes).await.map_err(failed)?;
            }
            Ok(bytes)
        };
        let bytes = tokio::select! {
            read = timeout(TIME, read) => read.unwrap_or_else(|_| Err(format!("not done in {} s", TIME.as_secs()))),
            _ = end.changed() => Err("it was ended, because a call starts".to_owned()),
        };
        leave(&mut child).await;
        report::bounded(&bytes?)
    }

    /// Ends one that runs; returns when it is gone, after some seconds at the latest.
    pub async fn cancel(&self) {
        if self.0.running.try_lock().is_err() {
            self.0.end.send_modify(|count| *count += 1);
            let _ = timeout(LEAVE * 2, self.0.running.lock()).await;
        }
    }
}

/// A process that is done has ended already.
async fn leave(child: &mut Child) {
    if let (Ok(None), Some(pid)) = (child.try_wait(), child.id().and_then(|pid| i32::try_from(pid).ok())) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout(LEAVE, child.wait()).await.is_err() {
        warn!("the self-check does not end; it is killed");
        let _ = child.kill().await;
    }
}
