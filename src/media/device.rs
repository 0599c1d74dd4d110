//! A device in a pipeline of its own: started, watched, and started again when it fails.

use std::time::Duration;

use futures_util::StreamExt;
use gstreamer as gst;
use gstreamer::prelude::*;
use kiosk_proto::call::Event;
use kiosk_proto::fault::{Fault, FaultCode};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::{MediaError, explain};
use crate::events::Events;

/// Between one attempt and the next.
const RETRY: Duration = Duration::from_secs(1);
/// A device that keeps its driver busy for longer is left behind.
const STOP: Duration = Duration::from_secs(2);

/// A supervised device. [`Device::stop`] closes it.
#[derive(Debug)]
pub struct Device {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Device {
    /// Opens the device with `build`, again and again, until it works, and again when it fails.
    /// While it doesn't work, the fault `code` stands; its message ends with `remedy`.
    pub fn supervise<B>(code: FaultCode, remedy: &'static str, events: Events, build: B) -> Self
    where
        B: Fn() -> Result<gst::Pipeline, MediaError> + Send + Sync + Clone + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(run(code, remedy, events, build, stopped)) }
    }

    /// Closes the device; returns when it is closed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = timeout(STOP, self.task).await;
    }
}

async fn run<B>(code: FaultCode, remedy: &'static str, events: Events, build: B, mut stopped: watch::Receiver<bool>)
where
    B: Fn() -> Result<gst::Pipeline, MediaError> + Send + Sync + Clone + 'static,
{
    let mut raised: Option<String> = None;
    loop {
        let build = build.clone();
        let opened = spawn_blocking(move || {
            let pipeline = build()?;
            start(&pipeline).map(|()| pipeline)
        });
        let reason = match opened.await {
            Ok(Ok(pipeline)) => {
                if raised.take().is_some() {
                    events.happened(Event::FaultCleared(code));
                }
                let reason = watch_bus(&pipeline, &mut stopped).await;
                let _ = spawn_blocking(move || pipeline.set_state(gst::State::Null)).await;
                reason
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let Some(reason) = reason else { return };
        if raised.as_ref() != Some(&reason) {
            events.happened(Event::FaultRaised(Fault::new(code, format!("{reason}; {remedy}"))));
            raised = Some(reason);
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

fn start(pipeline: &gst::Pipeline) -> Result<(), MediaError> {
    if pipeline.set_state(gst::State::Playing).is_ok() {
        return Ok(());
    }
    let message = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    let _ = pipeline.set_state(gst::State::Null);
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(MediaError::Refused(explain(error))),
        _ => Err(MediaError::Refused("the device does not start".to_owned())),
    }
}

/// Until the pipeline fails (why) or is to stop (none).
async fn watch_bus(pipeline: &gst::Pipeline, stopped: &mut watch::Receiver<bool>) -> Option<String> {
    let mut messages = pipeline.bus()?.stream_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]);
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => None,
        message = messages.next() => Some(match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => explain(error),
            _ => "the stream ended".to_owned(),
        }),
    }
}
