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
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use super::capture::Capture;
use super::port::Inlet;
use super::{MediaError, slate};
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
    slate: gst::Buffer,
    start: Instant,
    capture: Option<Capture>,
    number: u64,
    frames: Arc<AtomicU64>,
    showing_slate: bool,
    reports: mpsc::Sender<(u64, Event)>,
}

impl Camera {
    /// Opens the camera; its pictures, or the substitute, go to `inlet`.
    ///
    /// # Errors
    /// When the substitute picture can't be made. A camera that can't be opened raises a fault and is tried again.
    pub async fn open(config: &Config, inlet: Inlet, out: Events, pulse: Pulse) -> Result<Self, MediaError> {
        let (width, height, rate) = (config.width, config.height, config.frames_per_second);
        let slate = spawn_blocking(move || slate::render(width, height, rate))
            .await
            .map_err(|error| MediaError::Refused(error.to_string()))??;
        let (events, inbox) = mpsc::channel(CAPACITY);
        let task = Task {
            config: config.clone(),
            inlet,
            out,
            pulse,
            slate,
            start: Instant::now(),
            capture: None,
            number: 0,
            frames: Arc::default(),
            showing_slate: false,
            reports: events.clone(),
        };
        Ok(Self { events, task: tokio::spawn(task.run(inbox)) })
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
        self.carry_out(effects);
        let mut tick = interval(TICK);
        let mut counted = 0;
        loop {
            tokio::select! {
                Some((number, event)) = inbox.recv() => {
                    let stop = event == Event::Stop;
                    if stop || number == self.number {
                        let effects = presence.handle(event, self.start.elapsed());
                        self.carry_out(effects);
                    }
                    if stop {
                        return;
                    }
                }
                _ = tick.tick() => {
                    let frames = self.frames.load(Relaxed);
                    if frames > counted {
                        let effects = presence.handle(Event::FrameArrived, self.start.elapsed());
                        self.carry_out(effects);
                    }
                    counted = frames;
                    let effects = presence.handle(Event::Tick, self.start.elapsed());
                    self.carry_out(effects);
                    if self.showing_slate {
                        // Five times a second: enough for a key frame that a late agent asks for.
                        self.inlet.put(&self.slate);
                        self.pulse.beat(Part::Frames);
                    } else if frames > 0 {
                        self.pulse.beat(Part::Frames);
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Open => self.open(),
                Effect::Close => self.close(),
                Effect::ShowSlate => {
                    info!("the agent sees that the camera is unavailable");
                    self.showing_slate = true;
                    self.inlet.put(&self.slate);
                }
                Effect::ShowCamera => self.showing_slate = false,
                Effect::Fault(fault) => self.out.happened(call::Event::FaultRaised(fault)),
                Effect::FaultCleared => self.out.happened(call::Event::FaultCleared(Presence::FAULT)),
            }
        }
    }

    fn open(&mut self) {
        self.number += 1;
        self.frames = Arc::default();
        let report = Report { number: self.number, events: self.reports.clone(), frames: self.frames.clone() };
        self.capture = Some(Capture::open(self.config.clone(), self.inlet.clone(), report));
    }

    fn close(&mut self) {
        self.number += 1;
        if let Some(capture) = self.capture.take() {
            capture.close();
        }
    }
}
