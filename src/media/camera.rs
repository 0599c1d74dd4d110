//! The customer's picture: the camera while there is one, else a picture that says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gstreamer as gst;
use kiosk_proto::call;
use kiosk_proto::camera::{Effect, Event, Presence};
use kiosk_proto::config::Camera as Config;
use kiosk_proto::watchdog::Part;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use super::capture::Capture;
use super::port::Inlet;
use super::slate;
use crate::events::Events;
use crate::host::systemd::Pulse;

const TICK: Duration = Duration::from_millis(200);
/// A camera that keeps its driver busy for longer is left behind.
const STOP: Duration = Duration::from_secs(2);
/// Events of one camera: a few a second.
const CAPACITY: usize = 32;

/// The camera of a call. [`Camera::stop`] closes it.
#[derive(Debug)]
pub struct Camera {
    events: mpsc::Sender<(u64, Event)>,
    task: JoinHandle<()>,
}

/// Tells the camera's task what a capture does; a capture that was closed is known by its number.
#[derive(Debug, Clone)]
pub struct Report {
    number: u64,
    events: mpsc::Sender<(u64, Event)>,
    frames: Arc<AtomicU64>,
}

impl Report {
    /// Of a capture that no task looks after, and where it tells.
    pub fn alone() -> (Self, mpsc::Receiver<(u64, Event)>) {
        let (events, inbox) = mpsc::channel(CAPACITY);
        (Self { number: 0, events, frames: Arc::default() }, inbox)
    }

    /// A picture came.
    pub fn frame(&self) {
        // The first is reported at once, the others by the task's own count.
        if self.frames.fetch_add(1, Relaxed) == 0 {
            self.event(Event::FrameArrived);
        }
    }

    /// Anything else happened.
    pub fn event(&self, event: Event) {
        if self.events.try_send((self.number, event)).is_err() {
            warn!("the camera's task does not keep up");
        }
    }
}

struct Task {
    config: Config,
    inlet: Inlet,
    out: Events,
    pulse: Pulse,
    /// Rendered when it is first needed.
    slate: Option<gst::Buffer>,
    start: Instant,
    capture: Option<Capture>,
    number: u64,
    frames: Arc<AtomicU64>,
    showing_slate: bool,
    reports: mpsc::Sender<(u64, Event)>,
}

impl Camera {
    /// Opens the camera; its pictures, or the substitute, go to `inlet`. A camera that can't be opened raises a fault
    /// and is tried again.
    pub fn open(config: &Config, inlet: Inlet, out: Events, pulse: Pulse) -> Self {
        let (events, inbox) = mpsc::channel(CAPACITY);
        let task = Task {
            config: config.clone(),
            inlet,
            out,
            pulse,
            slate: None,
            start: Instant::now(),
            capture: None,
            number: 0,
            frames: Arc::default(),
            showing_slate: false,
            reports: events.clone(),
        };
        Self { events, task: tokio::spawn(task.run(inbox)) }
    }

    /// Closes the camera; returns when it is closed.
    pub async fn stop(self) {
        let _ = self.events.send((u64::MAX, Event::Stop)).await;
        let _ = timeout(STOP, self.task).await;
    }
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<(u64, Event)>) {
        let (mut presence, effects) = Presence::start(super::capture::name(&self.config), self.start.elapsed());
        self.carry_out(effects).await;
        let mut tick = interval(TICK);
        let mut counted = 0;
        loop {
            tokio::select! {
                Some((number, event)) = inbox.recv() => {
                    let stop = event == Event::Stop;
                    if stop || number == self.number {
                        let effects = presence.handle(event, self.start.elapsed());
                        self.carry_out(effects).await;
                    }
                    if stop {
                        return;
                    }
                }
                _ = tick.tick() => {
                    let frames = self.frames.load(Relaxed);
                    if frames > counted {
                        let effects = presence.handle(Event::FrameArrived, self.start.elapsed());
                        self.carry_out(effects).await;
                    }
                    counted = frames;
                    let effects = presence.handle(Event::Tick, self.start.elapsed());
                    self.carry_out(effects).await;
                    if self.showing_slate {
                        // Five times a second: enough for a key frame that a late agent asks for.
                        self.put_slate();
                        self.pulse.beat(Part::Frames);
                    } else if frames > 0 {
                        self.pulse.beat(Part::Frames);
                    }
                }
            }
        }
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Open => self.open(),
                Effect::Close => self.close().await,
                Effect::ShowSlate => {
                    info!("the agent sees that the camera is unavailable");
                    self.showing_slate = true;
                    self.put_slate();
                }
                Effect::ShowCamera => self.showing_slate = false,
                Effect::Fault(fault) => self.out.happened(call::Event::FaultRaised(fault)),
                Effect::FaultCleared => self.out.happened(call::Event::FaultCleared(Presence::FAULT)),
            }
        }
    }

    /// Some tens of milliseconds the first time, on this task, which has nothing better to do then.
    fn put_slate(&mut self) {
        if self.slate.is_none() {
            let size = (self.config.width, self.config.height, self.config.frames_per_second);
            match tokio::task::block_in_place(|| slate::render(size.0, size.1, size.2)) {
                Ok(slate) => self.slate = Some(slate),
                Err(error) => warn!(%error, "no substitute picture"),
            }
        }
        if let Some(slate) = &self.slate {
            self.inlet.put(slate.clone());
        }
    }

    fn open(&mut self) {
        self.number += 1;
        self.frames = Arc::default();
        let report = Report { number: self.number, events: self.reports.clone(), frames: self.frames.clone() };
        self.capture = Some(Capture::open(self.config.clone(), self.inlet.clone(), report));
    }

    async fn close(&mut self) {
        self.number += 1;
        if let Some(capture) = self.capture.take() {
            capture.close().await;
        }
    }
}
