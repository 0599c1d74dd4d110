//! Carries a rollout out: feeds what arrives to its state machine, and does what that says.

use super::bundle::{Bundle, BundleError};
use super::progress::Screen;
use crate::fleet::link::{Arrival, Link, LinkError, Message, Publisher};
use crate::fleet::view::{Pushed, desired_topic, history_topic};
use kiosk_proto::fleet::Topic;
use kiosk_proto::fleet::rollout::{Effect, Event, Outcome};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often a rollout learns how long it has waited.
const TICK: Duration = Duration::from_millis(250);
/// Messages that are sent and not acknowledged yet.
const WINDOW: usize = 200;

/// Why a rollout stands still. It can be resumed.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The file.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The broker.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// What is under way.
struct Drive<'a> {
    bundle: &'a mut Bundle,
    path: &'a Path,
    publisher: Publisher,
    sending: JoinSet<(usize, Result<(), LinkError>)>,
    waiting: Vec<usize>,
}

/// Goes on until the end. `None`: the admin pressed Ctrl-C.
pub async fn drive(
    link: &mut Link,
    bundle: &mut Bundle,
    path: &Path,
    abandon: bool,
    screen: &mut Screen,
) -> Result<Option<Outcome>, DriveError> {
    bundle.store(path)?;
    let publisher = link.publisher();
    let mut drive = Drive { bundle, path, publisher, sending: JoinSet::new(), waiting: Vec::new() };
    // What is given up puts back what the broker took before.
    if !abandon {
        drive.all_fit()?;
    }
    drive.catch_up(link).await?;
    if abandon {
        drive.handle(Event::Abandon)?;
    }
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut connected, mut last) = (true, Instant::now());
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        screen.show(&drive.bundle.rollout, connected);
        if let Some(outcome) = &drive.bundle.rollout.outcome
            && drive.has_said_all(outcome)
        {
            return Ok(Some(outcome.clone()));
        }
        tokio::select! {
            arrival = link.next() => match arrival {
                Arrival::Message(message) => drive.take(&message)?,
                Arrival::Down(_) => connected = false,
                Arrival::Up => {
                    connected = true;
                    last = Instant::now();
                    drive.catch_up(link).await?;
                    drive.fill();
                }
            },
            Some(sent) = drive.sending.join_next() => match sent {
                Ok((message, Ok(()))) => {
                    drive.handle(Event::Published(message))?;
                    drive.fill();
                }
                // What is put back has to arrive: it goes again when the broker is there.
                Ok((message, Err(_))) if !connected && drive.bundle.rollout.outcome.is_some() => {
                    drive.waiting.push(message);
                }
                // The broker said no: nothing that comes later changes that.
                Ok((_, Err(error))) if connected && drive.bundle.rollout.outcome.is_none() => return Err(error.into()),
                _ => {}
            },
            _ = ticks.tick() => {
                let elapsed = last.elapsed();
                last = Instant::now();
                if connected {
                    drive.handle(Event::Elapsed(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)))?;
                }
            },
            _ = &mut interrupted => return Ok(None),
        }
    }
}

impl Drive<'_> {
    /// Whether the broker takes every message: known before the first is sent.
    fn all_fit(&self) -> Result<(), DriveError> {
        for (planned, envelope) in self.bundle.rollout.plan.messages.iter().zip(&self.bundle.messages) {
            let bytes = envelope.to_bytes().map_err(BundleError::from)?.len();
            self.publisher.fits(&desired_topic(&planned.target).to_string(), bytes)?;
        }
        Ok(())
    }

    /// Tells everything that the broker holds, then that it is there.
    async fn catch_up(&mut self, link: &mut Link) -> Result<(), DriveError> {
        let mut held = Vec::new();
        link.retained(|message| held.push(message)).await?;
        for message in &held {
            self.take(message)?;
        }
        self.handle(Event::Connected)
    }

    fn take(&mut self, message: &Message) -> Result<(), DriveError> {
        let Ok(topic) = message.topic.parse::<Topic>() else { return Ok(()) };
        match topic {
            Topic::Reported(id) => match serde_json::from_slice(&message.payload) {
                Ok(report) => self.handle(Event::Reported(id, Box::new(report))),
                Err(_) => Ok(()),
            },
            Topic::GroupDesired(_) | Topic::DeviceDesired(_) => match Pushed::read(&message.payload) {
                Some(pushed) => self.handle(Event::Retained(pushed.payload.target, pushed.revision)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), DriveError> {
        for effect in self.bundle.rollout.handle(event) {
            match effect {
                Effect::Persist => self.bundle.store(self.path)?,
                Effect::Publish(message) => self.waiting.push(message),
                Effect::Finished(_) => {}
            }
        }
        self.fill();
        Ok(())
    }

    /// Whether nothing is under way that has to arrive: what is put back, that is. Of a push that was overtaken nothing
    /// has to.
    fn has_said_all(&self, outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Overtaken { .. }) || (self.waiting.is_empty() && self.sending.is_empty())
    }

    /// Sends what waits, as far as the window goes.
    fn fill(&mut self) {
        while self.sending.len() < WINDOW
            && let Some(index) = self.waiting.pop()
        {
            let planned = self.bundle.rollout.plan.messages.get(index);
            let envelope = self.bundle.messages.get(index).and_then(|envelope| envelope.to_bytes().ok());
            let (Some(planned), Some(envelope)) = (planned, envelope) else { continue };
            let topic = desired_topic(&planned.target).to_string();
            let history = history_topic(&planned.target, planned.revision.revision);
            let publisher = self.publisher.clone();
            self.sending.spawn(async move {
                let mut sent = publisher.publish(&topic, envelope.clone(), true, None).await;
                if sent.is_ok() {
                    sent = publisher.publish(&history, envelope, true, None).await;
                }
                (index, sent)
            });
        }
    }
}
