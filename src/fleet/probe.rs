//! Whether a configuration on trial reaches Janus, and has a camera and an encoder that work.

use std::time::Duration;

use kiosk_proto::config::Config;
use kiosk_proto::fleet::machine::{Input, Probe};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::{janus, media::rehearsal};

/// Between a probe that failed and the next.
const PAUSE: Duration = Duration::from_secs(1);
/// What probes tell.
const CAPACITY: usize = 16;

/// Probes under way; dropping them ends them.
#[derive(Debug)]
pub struct Probes {
    tasks: JoinSet<()>,
    outcomes: mpsc::Receiver<Input>,
}

impl Probes {
    /// Begins those of `wanted` that are tried here. The broker is not: the link itself shows whether it is reached.
    pub fn start(wanted: impl IntoIterator<Item = Probe>, config: &Config) -> Self {
        let (sender, outcomes) = mpsc::channel(CAPACITY);
        let mut tasks = JoinSet::new();
        for probe in wanted {
            if probe != Probe::Broker {
                tasks.spawn(run(probe, config.clone(), sender.clone()));
            }
        }
        Self { tasks, outcomes }
    }

    /// The next outcome; waits for ever when there is none to come.
    pub async fn next(&mut self) -> Input {
        match self.outcomes.recv().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }

    /// Ends them; returns when the camera is closed.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn run(probe: Probe, config: Config, outcomes: mpsc::Sender<Input>) {
    loop {
        match attempt(probe, &config).await {
            Ok(()) => {
                let _ = outcomes.send(Input::ProbePassed(probe)).await;
                return;
            }
            Err(why) => {
                if outcomes.send(Input::ProbeFailed(probe, why)).await.is_err() {
                    return;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

async fn attempt(probe: Probe, config: &Config) -> Result<(), String> {
    match probe {
        Probe::Broker => Ok(()),
        Probe::Janus => janus::ask(config).await.map_err(|fault| fault.message),
        Probe::Camera => {
            rehearsal::camera(config).await?;
            rehearsal::encoder(config).await
        }
    }
}
