//! The devices and the two peer connections of a call: opened, and closed again.

use std::mem;
use std::time::Duration;

use futures_util::future::join_all;
use kiosk_proto::call::{Event, PeerId};
use kiosk_proto::fault::{Fault, FaultCode};
use kiosk_proto::ice::TcpOnlySdp;
use kiosk_proto::watchdog::Part;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{CLOSE, Engine, SOON};
use crate::media::MediaError;
use crate::media::camera::Camera;
use crate::media::device::Device;
use crate::media::link::{self, LinkWatch};
use crate::media::microphone;
use crate::media::peer::Peer;
use crate::media::playback::PlaybackDevices;
use crate::media::publish::Publisher;
use crate::media::receive::Receiver;

/// Camera, microphone, loudspeaker and screen of the running call.
#[derive(Debug)]
pub(super) struct Devices {
    camera: Camera,
    microphone: Option<Device>,
    playback: PlaybackDevices,
}

impl Engine {
    pub(super) fn start_publisher(&mut self, id: PeerId) -> Result<(), MediaError> {
        let (policy, events, gates) = (self.settings.policy.clone(), self.events.clone(), self.gates.clone());
        let rate = link::settings(&self.config, &self.last_rate);
        let publisher = Publisher::new(id, &self.config, policy, events, gates, rate)?;
        self.pictures.lead_to(Some(publisher.pictures.clone()));
        self.sound.lead_to(publisher.sound.clone());
        self.publisher = Some(publisher.clone());
        let events = self.events.clone();
        tokio::spawn(async move {
            events.happened(match publisher.offer().await {
                Ok(offer) => Event::OfferReady(id, offer),
                Err(error) => Event::PeerFailed(id, media_fault(&error)),
            });
        });
        if self.devices.is_none() {
            self.devices = Some(self.open_devices()?);
        }
        Ok(())
    }

    fn open_devices(&self) -> Result<Devices, MediaError> {
        // The loudspeaker first: the microphone's echo canceller looks for its signal.
        let playback = self.playback.open(&self.config, &self.events)?;
        let microphone = microphone::open(&self.config.audio, &self.sound, &self.events);
        let camera = Camera::open(&self.config.camera, self.pictures.clone(), self.events.clone(), self.pulse.clone());
        Ok(Devices { camera, microphone, playback })
    }

    pub(super) fn start_receiver(&mut self, id: PeerId, offer: TcpOnlySdp) -> Result<(), MediaError> {
        let (policy, events, gates) = (self.settings.policy.clone(), self.events.clone(), self.gates.clone());
        let receiver = Receiver::new(id, &self.config, policy, events, gates, &self.playback)?;
        self.receiver = Some(receiver.clone());
        let events = self.events.clone();
        tokio::spawn(async move {
            events.happened(match receiver.answer(&offer).await {
                Ok(answer) => Event::AnswerReady(id, answer),
                Err(error) => Event::PeerFailed(id, media_fault(&error)),
            });
        });
        Ok(())
    }

    pub(super) fn peer(&self, id: PeerId) -> Option<Peer> {
        let publisher = self.publisher.as_ref().map(|publisher| &publisher.peer);
        let receiver = self.receiver.as_ref().map(|receiver| &receiver.peer);
        [publisher, receiver].into_iter().flatten().find(|peer| peer.id() == id).cloned()
    }

    pub(super) fn stop_peer(&mut self, id: PeerId) {
        let Some(peer) = self.peer(id) else { return };
        if self.publisher.as_ref().is_some_and(|publisher| publisher.peer.id() == id) {
            self.link = None;
            self.pictures.lead_to(None);
            self.pictures.hold(false);
            self.pictures.pace(0);
            self.sound.lead_to(None);
            self.publisher = None;
        } else {
            self.receiver = None;
        }
        self.closing.retain(|task| !task.is_finished());
        let is_left = peer.is_left();
        self.closing.push(tokio::spawn(async move {
            let closed = async {
                let _ = spawn_blocking(move || peer.stop()).await;
                while is_left() {
                    sleep(SOON).await;
                }
            };
            let _ = timeout(CLOSE, closed).await;
        }));
    }

    pub(super) async fn close_all(&mut self) {
        if let Some(devices) = self.devices.take() {
            devices.camera.stop().await;
            if let Some(microphone) = devices.microphone {
                microphone.stop().await;
            }
            devices.playback.close().await;
        }
        self.pulse.rest(Part::Frames);
        all_closed(mem::take(&mut self.closing), CLOSE).await;
        self.audit.pairs(Vec::new());
    }

    pub(super) fn watch_link(&mut self) {
        if let Some(publisher) = &self.publisher {
            let (rate, last) = (link::settings(&self.config, &self.last_rate), self.last_rate.clone());
            self.link = Some(LinkWatch::start(publisher.clone(), self.pictures.clone(), rate, last));
        }
    }
}

/// Waits for connections that are being closed.
pub(super) async fn all_closed(closing: Vec<JoinHandle<()>>, at_most: Duration) {
    if timeout(at_most, join_all(closing)).await.is_err() {
        warn!("a connection does not close; it is left behind");
    }
}

pub(super) fn media_fault(error: &MediaError) -> Fault {
    let code = match error {
        MediaError::Encoder(_) => FaultCode::NoEncoder,
        MediaError::NoElement(_) => FaultCode::PluginMissing,
        MediaError::Refused(_) | MediaError::Agent(_) => FaultCode::MediaFailed,
    };
    Fault::new(code, error.to_string())
}
