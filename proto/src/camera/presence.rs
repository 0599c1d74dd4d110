//! Whether the camera is there: from the start of a call to its end, through being unplugged and plugged in again.

use std::time::Duration;

use crate::fault::{Fault, FaultCode};

/// A running camera that is silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a camera may take until its first picture when a call starts.
const FIRST_FRAME: Duration = Duration::from_secs(5);
/// The same after a loss. Shorter: an attempt that began just before the camera was plugged in again must not use up
/// the five seconds within which it has to be back.
const FIRST_FRAME_AGAIN: Duration = Duration::from_secs(3);
/// Between one attempt to open it and the next.
const RETRY: Duration = Duration::from_secs(1);

/// What happened to the camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// [`Effect::Open`] succeeded; no picture yet.
    Opened,
    /// [`Effect::Open`] failed, and nothing is left of it.
    OpenFailed(OpenFailure, String),
    /// A picture came. The shell may leave some out, but not for longer than half a second.
    FrameArrived,
    /// The running camera reported an error.
    Error(String),
    /// Time has passed; due at least four times a second.
    Tick,
    /// The call is over.
    Stop,
}

/// Why a camera can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFailure {
    /// There is none.
    NotFound,
    /// Another program has it.
    Busy,
    /// It has no mode that can be used.
    NoMode,
    /// The daemon may not use it.
    Denied,
    /// The device refused, for a reason of its own.
    Device,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Open it, in the mode that is best now; answer with [`Event::Opened`] or [`Event::OpenFailed`].
    Open,
    /// Close it, whatever state it is in. What it still reports afterwards must not be passed on.
    Close,
    /// The agent sees "camera unavailable".
    ShowSlate,
    /// The agent sees the camera.
    ShowCamera,
    /// Say what is wrong.
    Fault(Fault),
    /// It is right again.
    FaultCleared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A picture has to come until then.
    Opening {
        until: Duration,
    },
    /// The last picture came then.
    Live {
        last_frame: Duration,
    },
    /// To be tried again then.
    Lost {
        retry: Duration,
    },
    Stopped,
}

/// The camera of one call.
#[derive(Debug)]
pub struct Presence {
    device: String,
    state: State,
    /// What the agent sees, once there is anything to see.
    slate: Option<bool>,
    fault: Option<Fault>,
}

impl Presence {
    /// The code of the one fault that this raises.
    pub const FAULT: FaultCode = FaultCode::CameraUnavailable;

    /// A call starts. `device` is what messages call the camera.
    pub fn start(device: impl Into<String>, now: Duration) -> (Self, Vec<Effect>) {
        let state = State::Opening { until: now + FIRST_FRAME };
        (Self { device: device.into(), state, slate: None, fault: None }, vec![Effect::Open])
    }

    /// What follows from an event. `now` is the time since any fixed moment and never runs backwards.
    #[must_use]
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        match (self.state, event) {
            (State::Stopped, Event::Opened) => vec![Effect::Close],
            (State::Stopped, _) => Vec::new(),
            (state, Event::Stop) => {
                self.state = State::Stopped;
                if matches!(state, State::Lost { .. }) { Vec::new() } else { vec![Effect::Close] }
            }

            (State::Opening { .. }, Event::Opened) => {
                self.state = State::Opening { until: now + self.first_frame() };
                Vec::new()
            }
            (State::Opening { .. } | State::Live { .. }, Event::FrameArrived) => self.live(now),
            (State::Opening { .. } | State::Live { .. }, Event::Error(text)) => {
                self.lost(format!("{}: {text}; check its cable", self.device), true, now)
            }
            (State::Opening { .. }, Event::OpenFailed(why, text)) => {
                self.lost(format!("{}: {text}{}", self.device, remedy(why)), false, now)
            }
            (State::Opening { until }, Event::Tick) if now >= until => {
                let text = "it delivers no picture; unplug it and plug it in again";
                self.lost(format!("{}: {text}", self.device), true, now)
            }
            (State::Live { last_frame }, Event::Tick) if now.saturating_sub(last_frame) >= SILENCE => {
                self.lost(format!("{}: no picture for 1 s; check its cable", self.device), true, now)
            }
            (State::Lost { retry }, Event::Tick) if now >= retry => {
                self.state = State::Opening { until: now + self.first_frame() };
                vec![Effect::Open]
            }

            // An attempt that was given up answers after all.
            (State::Lost { .. }, Event::Opened) => vec![Effect::Close],
            (State::Lost { .. }, Event::FrameArrived | Event::Error(_) | Event::OpenFailed(..) | Event::Tick)
            | (State::Live { .. }, Event::Opened | Event::OpenFailed(..) | Event::Tick)
            | (State::Opening { .. }, Event::Tick) => Vec::new(),
        }
    }

    fn first_frame(&self) -> Duration {
        if self.fault.is_some() { FIRST_FRAME_AGAIN } else { FIRST_FRAME }
    }

    fn live(&mut self, now: Duration) -> Vec<Effect> {
        self.state = State::Live { last_frame: now };
        let mut effects = Vec::new();
        if self.slate != Some(false) {
            self.slate = Some(false);
            effects.push(Effect::ShowCamera);
        }
        if self.fault.take().is_some() {
            effects.push(Effect::FaultCleared);
        }
        effects
    }

    fn lost(&mut self, message: String, open: bool, now: Duration) -> Vec<Effect> {
        self.state = State::Lost { retry: now + RETRY };
        let mut effects = Vec::new();
        // The agent comes first: closing a device that is gone can take its time.
        if self.slate != Some(true) {
            self.slate = Some(true);
            effects.push(Effect::ShowSlate);
        }
        if open {
            effects.push(Effect::Close);
        }
        let fault = Fault::new(Self::FAULT, message);
        if self.fault.as_ref() != Some(&fault) {
            self.fault = Some(fault.clone());
            effects.push(Effect::Fault(fault));
        }
        effects
    }
}

fn remedy(why: OpenFailure) -> &'static str {
    match why {
        OpenFailure::NotFound => "; plug it in, or set camera.device",
        OpenFailure::Busy => "; another program uses it: end that one",
        OpenFailure::Denied => "; add the daemon's user to the group video",
        // What there is, and what to do, is in the text already.
        OpenFailure::NoMode => "",
        OpenFailure::Device => "; unplug it and plug it in again",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn fault(message: &str) -> Effect {
        Effect::Fault(Fault::new(FaultCode::CameraUnavailable, message))
    }

    fn live(at: Duration) -> Presence {
        let (mut camera, effects) = Presence::start("/dev/video0", Duration::ZERO);
        assert_eq!(effects, [Effect::Open]);
        assert_eq!(camera.handle(Event::Opened, at), []);
        assert_eq!(camera.handle(Event::FrameArrived, at), [Effect::ShowCamera]);
        camera
    }

    #[test]
    fn an_error_shows_the_slate_at_once_and_it_is_tried_again_every_second() {
        let mut camera = live(ms(300));
        let lost = [Effect::ShowSlate, Effect::Close, fault("/dev/video0: No such device; check its cable")];
        assert_eq!(camera.handle(Event::Error("No such device".into()), ms(5000)), lost);
        let failed = || Event::OpenFailed(OpenFailure::NotFound, "there is no such device".into());
        let not_found = fault("/dev/video0: there is no such device; plug it in, or set camera.device");
        assert_eq!(camera.handle(Event::Tick, ms(5999)), []);
        assert_eq!(camera.handle(Event::Tick, ms(6000)), [Effect::Open]);
        assert_eq!(camera.handle(failed(), ms(6010)), [not_found]);
        assert_eq!(camera.handle(Event::Tick, ms(7009)), []);
        assert_eq!(camera.handle(Event::Tick, ms(7010)), [Effect::Open]);
        assert_eq!(camera.handle(failed(), ms(7020)), [], "the same fault is told once");
        assert_eq!(camera.handle(Event::Tick, ms(8020)), [Effect::Open]);
        assert_eq!(camera.handle(Event::Opened, ms(8100)), []);
        assert_eq!(camera.handle(Event::FrameArrived, ms(8400)), [Effect::ShowCamera, Effect::FaultCleared]);
        assert_eq!(camera.handle(Event::FrameArrived, ms(8433)), []);
    }

    #[test]
    fn a_running_camera_may_be_silent_for_a_second_and_a_starting_one_for_five() {
        let mut camera = live(ms(300));
        assert_eq!(camera.handle(Event::Tick, ms(1299)), []);
        let silent = fault("/dev/video0: no picture for 1 s; check its cable");
        assert_eq!(camera.handle(Event::Tick, ms(1300)), [Effect::ShowSlate, Effect::Close, silent]);

        let (mut camera, _) = Presence::start("auto", Duration::ZERO);
        assert_eq!(camera.handle(Event::Opened, ms(400)), []);
        assert_eq!(camera.handle(Event::Tick, ms(5399)), []);
        let effects = camera.handle(Event::Tick, ms(5400));
        assert_eq!(effects[..2], [Effect::ShowSlate, Effect::Close]);
        assert_eq!(camera.handle(Event::Tick, ms(6400)), [Effect::Open]);
        assert_eq!(camera.handle(Event::Tick, ms(9399)), []);
        assert_eq!(camera.handle(Event::Tick, ms(9400)), [Effect::Close], "three seconds from now on");
    }

    #[test]
    fn a_call_without_a_camera_starts_with_the_slate() {
        let (mut camera, _) = Presence::start("auto", Duration::ZERO);
        let effects = camera.handle(Event::OpenFailed(OpenFailure::Busy, "it is in use".into()), ms(5));
        assert_eq!(effects, [Effect::ShowSlate, fault("auto: it is in use; another program uses it: end that one")]);
    }

    #[test]
    fn what_comes_after_the_end_or_for_an_attempt_that_was_given_up_changes_nothing() {
        let mut camera = live(ms(300));
        assert_eq!(camera.handle(Event::Error("x".into()), ms(400)).len(), 3);
        assert_eq!(camera.handle(Event::FrameArrived, ms(410)), []);
        assert_eq!(camera.handle(Event::Opened, ms(420)), [Effect::Close]);
        assert_eq!(camera.handle(Event::Stop, ms(430)), [], "it is closed already");
        assert_eq!(camera.handle(Event::Tick, ms(9000)), []);
        assert_eq!(camera.handle(Event::Opened, ms(9000)), [Effect::Close]);

        let mut camera = live(ms(300));
        assert_eq!(camera.handle(Event::Stop, ms(430)), [Effect::Close]);
        assert_eq!(camera.handle(Event::Stop, ms(430)), []);
    }

    /// A camera on a cable, and the shell around the machine.
    struct Desk {
        plugged: bool,
        /// A camera that vanished without telling anybody delivers nothing more.
        tells: bool,
        open: Option<Duration>,
        /// It was there when it was opened, and ever since: only then do pictures come.
        connected: bool,
        opening: Option<Duration>,
        last_open: Option<Duration>,
        shown: Option<bool>,
        seen: bool,
    }

    const STEP: Duration = Duration::from_millis(50);
    const FRAME_AFTER: Duration = Duration::from_millis(800);

    impl Desk {
        fn apply(&mut self, effects: Vec<Effect>, now: Duration) -> Result<(), TestCaseError> {
            for effect in effects {
                match effect {
                    Effect::Open => {
                        prop_assert!(self.open.is_none() && self.opening.is_none(), "opened twice");
                        if let Some(last) = self.last_open {
                            prop_assert!(now - last >= RETRY, "attempts come too fast");
                        }
                        (self.opening, self.last_open) = (Some(now), Some(now));
                    }
                    Effect::Close => (self.open, self.opening) = (None, None),
                    Effect::ShowSlate => prop_assert!(self.shown.replace(false) != Some(false)),
                    Effect::ShowCamera => {
                        self.seen = true;
                        prop_assert!(self.shown.replace(true) != Some(true));
                    }
                    Effect::Fault(_) => prop_assert_eq!(self.shown, Some(false)),
                    Effect::FaultCleared => prop_assert_eq!(self.shown, Some(true)),
                }
            }
            Ok(())
        }

        /// What the camera does in this step.
        fn step(&mut self, now: Duration) -> Vec<Event> {
            let mut events = Vec::new();
            if self.opening.take().is_some() {
                if self.plugged || !self.tells {
                    (self.open, self.connected) = (Some(now), self.plugged);
                    events.push(Event::Opened);
                } else {
                    events.push(Event::OpenFailed(OpenFailure::NotFound, "gone".into()));
                }
            }
            self.connected &= self.plugged;
            if let Some(since) = self.open {
                if self.connected && now - since >= FRAME_AFTER {
                    events.push(Event::FrameArrived);
                } else if !self.plugged && self.tells {
                    events.push(Event::Error("gone".into()));
                }
            }
            events
        }
    }

    proptest! {
        /// Whenever it is unplugged and plugged in, and whether it says so or not.
        #[test]
        fn the_slate_is_there_in_time_and_the_camera_is_back_within_five_seconds(
            phases in prop::collection::vec((any::<bool>(), any::<bool>(), 1..300_u32), 1..8),
        ) {
            let mut desk = Desk {
                plugged: true,
                tells: true,
                open: None,
                connected: false,
                opening: None,
                last_open: None,
                shown: None,
                seen: false,
            };
            let mut now = Duration::from_secs(77);
            let (mut camera, effects) = Presence::start("cam", now);
            desk.apply(effects, now)?;
            for (plugged, tells, steps) in phases {
                let changed = now;
                (desk.plugged, desk.tells) = (plugged, tells);
                for _ in 0..steps {
                    now += STEP;
                    for event in desk.step(now) {
                        let effects = camera.handle(event, now);
                        desk.apply(effects, now)?;
                    }
                    let effects = camera.handle(Event::Tick, now);
                    desk.apply(effects, now)?;
                    let for_long = now - changed;
                    // Each attempt takes the desk a step, and a step is where time is looked at.
                    let limit = if desk.seen { ms(5000) } else { FIRST_FRAME + RETRY + FRAME_AFTER + STEP * 3 };
                    if plugged && for_long >= limit {
                        prop_assert_eq!(desk.shown, Some(true));
                    }
                    // Before the first picture there is nothing to replace.
                    if !plugged && for_long > if tells { STEP } else { SILENCE } && desk.shown.is_some() {
                        prop_assert_eq!(desk.shown, Some(false));
                    }
                }
            }
        }
    }
}
