//! The agent's picture and sound at the customer: screen and loudspeaker.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use kiosk_proto::config::{AudioSink, Config, DisplaySink};
use kiosk_proto::fault::FaultCode;
use tracing::{info, warn};

use super::device::Device;
use super::meter::Meter;
use super::port::{self, Inlet};
use super::{MediaError, explain, microphone, named, pipeline};
use crate::events::Events;

/// Name by which the microphone's echo canceller finds the loudspeaker's signal.
pub const ECHO_PROBE: &str = "kiosk-far-end";

/// Where decoded media of the agent goes.
#[derive(Debug, Clone, Default)]
pub struct Playback {
    /// Decoded pictures.
    pub pictures: Inlet,
    /// Decoded sound.
    pub sound: Inlet,
    /// Decoded frames.
    pub frames: Meter,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    width: AtomicU64,
    height: AtomicU64,
    /// Peak of the last second, dBFS.
    peak: Mutex<Option<f64>>,
    decoder: Mutex<String>,
}

/// The devices behind a [`Playback`] while a call runs.
#[derive(Debug)]
pub struct PlaybackDevices {
    far_end: gst::Pipeline,
    devices: Vec<Device>,
}

impl Playback {
    /// Opens screen and loudspeaker.
    ///
    /// # Errors
    /// When an element is missing; a device that fails raises a fault and is tried again.
    pub fn open(&self, config: &Config, events: &Events) -> Result<PlaybackDevices, MediaError> {
        let speaker = Inlet::default();
        let far_end = self.far_end(speaker.clone(), microphone::cancels_echo(&config.audio))?;
        let mut devices = Vec::new();
        if config.audio.sink == AudioSink::Alsa {
            let device = config.audio.sink_device.clone();
            let remedy = "plug it in, or set audio.sink_device to one that `aplay -L` lists";
            devices.push(Device::supervise(FaultCode::SpeakerUnavailable, remedy, events.clone(), move || {
                let pipeline = pipeline(
                    "appsrc name=in ! audioconvert ! audioresample ! alsasink name=speaker buffer-time=80000 latency-time=20000",
                )?;
                named::<gst::Element>(&pipeline, "speaker")?.set_property("device", &device);
                lead(&speaker, &pipeline, Some(&port::audio_caps()), 10)?;
                Ok(pipeline)
            }));
        }
        if shows(config.display.sink) {
            let pictures = self.pictures.clone();
            let remedy = "is a session running that the daemon may show a window in? Else set display.sink = \"none\"";
            devices.push(Device::supervise(FaultCode::DisplayUnavailable, remedy, events.clone(), move || {
                let pipeline = pipeline("appsrc name=in ! videoconvert ! videoscale ! autovideosink sync=false")?;
                lead(&pictures, &pipeline, None, 2)?;
                Ok(pipeline)
            }));
        }
        Ok(PlaybackDevices { far_end, devices })
    }

    /// The loudspeaker's signal on its way, measured and, where there is one, shown to the echo canceller: without one
    /// the probe would keep a megabyte of sound for it. No device: it can't fail.
    fn far_end(&self, speaker: Inlet, cancels_echo: bool) -> Result<gst::Pipeline, MediaError> {
        let probe = if cancels_echo { format!("! webrtcechoprobe name={ECHO_PROBE}") } else { String::new() };
        let pipeline = pipeline(&format!("appsrc name=in ! level interval=1000000000 {probe} ! fakesink name=out"))?;
        lead(&self.sound, &pipeline, Some(&port::audio_caps()), 10)?;
        port::exit(&named(&pipeline, "out")?, speaker, |_| {})?;
        let seen = self.seen.clone();
        if let Some(bus) = pipeline.bus() {
            bus.set_sync_handler(move |_, message| {
                match message.view() {
                    gst::MessageView::Element(element) => {
                        if let Some(peak) = element.structure().and_then(loudest) {
                            *seen.peak.lock().unwrap_or_else(PoisonError::into_inner) = Some(peak.max(-120.0));
                        }
                    }
                    gst::MessageView::Error(error) => warn!("the agent's sound is not played: {}", explain(error)),
                    _ => {}
                }
                gst::BusSyncReply::Drop
            });
        }
        pipeline.set_state(gst::State::Playing)?;
        Ok(pipeline)
    }

    /// The agent's picture has this format from now on.
    pub fn new_size(&self, caps: &gst::CapsRef) {
        self.pictures.set_caps(caps);
        if let Some(structure) = caps.structure(0) {
            let number = |field| structure.get::<i32>(field).ok().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
            self.seen.width.store(number("width"), Relaxed);
            self.seen.height.store(number("height"), Relaxed);
        }
    }

    /// The agent's picture is decoded by this element.
    pub fn decoded_by(&self, element: &str) {
        info!(decoder = element, "chosen for the agent's picture");
        element.clone_into(&mut self.seen.decoder.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Width and height of the agent's picture, and the element that decodes it.
    pub fn picture(&self) -> (u32, u32, String) {
        let number = |value: &AtomicU64| u32::try_from(value.load(Relaxed)).unwrap_or(0);
        let decoder = self.seen.decoder.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (number(&self.seen.width), number(&self.seen.height), decoder)
    }

    /// Loudest sample of the last second of the agent's sound, dBFS; none when there was no sound yet.
    pub fn peak_dbfs(&self) -> Option<f64> {
        *self.seen.peak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlaybackDevices {
    /// Closes the devices.
    pub async fn close(self) {
        for device in self.devices {
            device.stop().await;
        }
        if let Some(bus) = self.far_end.bus() {
            bus.unset_sync_handler();
        }
        let far_end = self.far_end;
        let _ = tokio::task::spawn_blocking(move || far_end.set_state(gst::State::Null)).await;
    }
}

/// The peak in a message of the element `level`, dBFS.
fn loudest(message: &gst::StructureRef) -> Option<f64> {
    message.get::<gst::glib::ValueArray>("peak").ok()?.first()?.get().ok()
}

fn lead(inlet: &Inlet, pipeline: &gst::Pipeline, caps: Option<&gst::Caps>, buffers: u64) -> Result<(), MediaError> {
    let source: app::AppSrc = named(pipeline, "in")?;
    port::entrance(&source, caps, buffers);
    inlet.lead_to(Some(source));
    Ok(())
}

/// Whether the agent's picture is shown: on demand, or where a session has a display.
fn shows(sink: DisplaySink) -> bool {
    match sink {
        DisplaySink::Window => true,
        DisplaySink::None => false,
        DisplaySink::Auto => {
            ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
        }
    }
}
