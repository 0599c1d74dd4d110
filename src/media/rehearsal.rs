//! Whether camera and encoder of a configuration work, without a call.

use std::time::Duration;

use kiosk_proto::camera::Event;
use kiosk_proto::config::Config;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::camera::Report;
use super::capture::{self, Capture};
use super::encoder;
use super::port::Inlet;

/// A camera that has not given a picture by then gives none in a call either.
const PICTURE: Duration = Duration::from_secs(8);

/// Opens the camera and waits for its first picture.
///
/// # Errors
/// What is wrong with it.
pub async fn camera(config: &Config) -> Result<(), String> {
    let (report, mut events) = Report::alone();
    let capture = Capture::open(config.camera.clone(), Inlet::default(), report);
    let picture = async {
        while let Some((_, event)) = events.recv().await {
            match event {
                Event::FrameArrived => return Ok(()),
                Event::OpenFailed(_, reason) | Event::Error(reason) => return Err(reason),
                _ => {}
            }
        }
        Err("it ended".to_owned())
    };
    let name = capture::name(&config.camera);
    let outcome = timeout(PICTURE, picture)
        .await
        .unwrap_or_else(|_| Err(format!("no picture in {} s", PICTURE.as_secs())))
        .map_err(|reason| format!("{name}: {reason}"));
    capture.close().await;
    outcome
}

/// Lets the encoder make a few frames.
///
/// # Errors
/// Why there is none that works.
pub async fn encoder(config: &Config) -> Result<(), String> {
    let choice = config.video.encoder.clone();
    let trial = move || {
        let spec = encoder::choose(&choice).map_err(|error| error.to_string())?;
        encoder::try_one(spec).map(drop).map_err(|reason| format!("{}: {reason}", spec.element))
    };
    spawn_blocking(trial).await.unwrap_or_else(|error| Err(error.to_string()))
}
