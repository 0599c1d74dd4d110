//! Readiness and the watchdog of `Type=notify`.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kiosk_proto::watchdog::{Heartbeats, Part};
use sd_notify::NotifyState;
use tracing::error;

/// The heartbeats, shared by all parts.
#[derive(Debug, Clone)]
pub struct Pulse {
    start: Instant,
    beats: Arc<Mutex<Heartbeats>>,
}

impl Pulse {
    /// No part has begun yet.
    pub fn new() -> Self {
        Self { start: Instant::now(), beats: Arc::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Heartbeats, Duration) -> T) -> T {
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut beats, self.start.elapsed())
    }

    /// A part lives.
    pub fn beat(&self, part: Part) {
        self.with(|beats, now| beats.beat(part, now));
    }

    /// A part is no longer expected.
    pub fn rest(&self, part: Part) {
        self.with(|beats, _| beats.rest(part));
    }

    fn silent(&self) -> Vec<Part> {
        self.with(|beats, now| beats.silent(now))
    }
}

/// Tells systemd something; without systemd nothing happens.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        error!(%error, "systemd could not be notified");
    }
}

/// Feeds the watchdog four times as often as it wants, while all parts live: one turn that comes late, or finds a part
/// busy, is not yet the end. From a thread of its own: a part that blocks can hold up everything else that tokio runs, and
/// then nobody would say which part it was.
pub fn feed_watchdog(pulse: Pulse) {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    let feed = move || {
        loop {
            let silent = pulse.silent();
            if silent.is_empty() {
                notify(&[NotifyState::Watchdog]);
            } else {
                error!(?silent, "the watchdog is not fed: these parts do not answer; systemd will restart the daemon");
            }
            thread::sleep(timeout / 4);
        }
    };
    if let Err(error) = thread::Builder::new().name("watchdog".to_owned()).spawn(feed) {
        error!(%error, "no thread for the watchdog; systemd will restart the daemon");
    }
}
