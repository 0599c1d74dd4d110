//! The kiosk's own media, from raw pictures and sound to the connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;
use kiosk_proto::call::PeerId;
use kiosk_proto::config::{AudioSource, Config};
use kiosk_proto::encoder::EncoderSpec;
use kiosk_proto::ice::{TcpOnlyPolicy, TcpOnlySdp};
use kiosk_proto::keyframe::{KeyframeLimiter, Verdict};
use tokio::runtime::Handle;
use tracing::debug;

use super::meter::Meter;
use super::peer::Peer;
use super::{MediaError, encoder, named, pipeline, port};
use crate::events::Events;
use crate::tcp_only::gate::Gates;

/// Payload bytes of an RTP packet: below any path's MTU, with room for SRTP, RFC 4571 framing and a tunnel.
const MTU: u32 = 1200;
/// What is negotiated: constrained baseline, level 3.1. Encoders write their own level into the stream; decoders follow the stream.
const VIDEO: &str = "application/x-rtp,media=(string)video,encoding-name=(string)H264,payload=(int)96,clock-rate=(int)90000,\
    packetization-mode=(string)1,profile-level-id=(string)42e01f,\
    rtcp-fb-nack-pli=(boolean)true,rtcp-fb-ccm-fir=(boolean)true";
const AUDIO: &str = "application/x-rtp,media=(string)audio,encoding-name=(string)OPUS,payload=(int)111,clock-rate=(int)48000,\
    encoding-params=(string)2";
/// Marks a request for a key frame as ours, so that it is not limited again.
const SERVED: u32 = u32::MAX;

/// The publishing peer connection with its encoder.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// The connection.
    pub peer: Peer,
    /// Where pictures go in: I420 in the call's size.
    pub pictures: app::AppSrc,
    /// Where sound goes in, unless the kiosk sends none.
    pub sound: Option<app::AppSrc>,
    /// Frames that left the encoder.
    pub encoded: Meter,
    /// RTP packets of the picture.
    pub video_packets: Meter,
    /// RTP packets of the sound.
    pub audio_packets: Meter,
    /// What is negotiated, by media section.
    caps: Vec<String>,
    /// The chosen encoder.
    pub spec: &'static EncoderSpec,
}

impl Publisher {
    /// Makes the pipeline, in state NULL.
    ///
    /// # Errors
    /// When no encoder works or an element is missing.
    pub fn new(
        id: PeerId,
        config: &Config,
        policy: TcpOnlyPolicy,
        events: Events,
        gates: Gates,
    ) -> Result<Self, MediaError> {
        let spec = encoder::choose(&config.video.encoder)?;
        let bits_per_second = u64::from(config.video.bitrate_kbps.bits_per_second());
        // Janus tells audio and video of a bundle apart by the SSRCs in the offer, which is made before the first packet.
        let ssrc: [u32; 2] = rand::random();
        let caps = [format!("{VIDEO},ssrc=(uint){}", ssrc[0]), format!("{AUDIO},ssrc=(uint){}", ssrc[1])];
        let with_sound = config.audio.source != AudioSource::None;
        let sound = if with_sound {
            format!(
                "appsrc name=sound ! opusenc audio-type=voice frame-size=20 inband-fec=false \
                 ! rtpopuspay name=audiopay pt=111 ssrc={} ! webrtc.",
                ssrc[1]
            )
        } else {
            String::new()
        };
        let pipeline = pipeline(&format!(
            "webrtcbin name=webrtc latency=0 \
             appsrc name=pictures ! {} \
             ! rtph264pay name=videopay pt=96 ssrc={} mtu={MTU} config-interval=-1 aggregate-mode=zero-latency \
             ! capssetter join=true caps=\"{}\" ! webrtc. {sound}",
            encoder::description(spec, bits_per_second),
            ssrc[0],
            caps[0]
        ))?;
        let pictures: app::AppSrc = named(&pipeline, "pictures")?;
        let camera = &config.camera;
        port::entrance(&pictures, Some(&port::video_caps(camera.width, camera.height, camera.frames_per_second)), 2);
        let sound = with_sound.then(|| named::<app::AppSrc>(&pipeline, "sound")).transpose()?;
        if let Some(sound) = &sound {
            port::entrance(sound, Some(&port::audio_caps()), 10);
        }
        let (encoded, video_packets, audio_packets) = (Meter::default(), Meter::default(), Meter::default());
        let pad = |name: &str, pad: &str| named::<gst::Element>(&pipeline, name).ok()?.static_pad(pad);
        if let Some(pad) = pad("encoder", "src") {
            encoded.watch(&pad);
            let interval = Duration::from_millis(u64::from(config.video.keyframe_min_interval_ms));
            limit_keyframes(&pad, interval);
        }
        if let Some(pad) = pad("videopay", "src") {
            video_packets.watch(&pad);
        }
        if let Some(pad) = pad("audiopay", "src") {
            audio_packets.watch(&pad);
        }
        let peer = Peer::new(id, "publish", pipeline, policy, config.ice.local_address, events, gates)?;
        let caps = caps.into_iter().take(if with_sound { 2 } else { 1 }).collect();
        Ok(Self { peer, pictures, sound, encoded, video_packets, audio_packets, caps, spec })
    }

    /// Chooses the encoder and loads every plugin that a call needs, so that the first call need not wait for it.
    /// Returns the encoder's element.
    ///
    /// # Errors
    /// What would keep a call from being published.
    pub fn rehearse(config: &Config, events: Events, gates: Gates) -> Result<&'static str, MediaError> {
        let policy = TcpOnlyPolicy { media_ports: config.janus.media_ports };
        let publisher = Self::new(PeerId(0), config, policy, events, gates)?;
        pipeline(
            "appsrc ! rtph264depay ! h264parse ! decodebin ! fakesink appsrc ! rtpopusdepay ! opusdec ! webrtcechoprobe ! fakesink",
        )?;
        Ok(publisher.spec.element)
    }

    /// Sets the bitrate of the running encoder.
    ///
    /// # Errors
    /// When the encoder takes no such value.
    pub fn set_bitrate(&self, bits_per_second: u64) -> Result<(), MediaError> {
        encoder::set_bitrate(&named(self.peer.pipeline(), "encoder")?, self.spec, bits_per_second)
    }

    /// Starts the pipeline and makes the offer. Needs no picture yet: what is negotiated is fixed.
    ///
    /// # Errors
    /// When `webrtcbin` refuses.
    pub async fn offer(&self) -> Result<TcpOnlySdp, MediaError> {
        let transceivers = self.peer.webrtc();
        for (index, caps) in self.caps.iter().enumerate() {
            let Some(pad) = transceivers.static_pad(&format!("sink_{index}")) else { continue };
            let transceiver = pad.property::<Option<gst::glib::Object>>("transceiver");
            if let Some(transceiver) = transceiver {
                transceiver.set_property_from_str("direction", "sendonly");
                transceiver.set_property("codec-preferences", caps.parse::<gst::Caps>()?);
            }
        }
        self.peer.play()?;
        self.peer.offer().await
    }
}

/// Lets requests for a key frame through to the encoder at most once per interval.
fn limit_keyframes(pad: &gst::Pad, interval: Duration) {
    let limiter = Arc::new(Mutex::new(KeyframeLimiter::new(interval)));
    let start = Instant::now();
    let runtime = Handle::try_current();
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |pad, info| {
        let Some(gst::PadProbeData::Event(event)) = &info.data else { return gst::PadProbeReturn::Ok };
        let Ok(request) = video::UpstreamForceKeyUnitEvent::parse(event) else { return gst::PadProbeReturn::Ok };
        if request.count == SERVED {
            return gst::PadProbeReturn::Ok;
        }
        let verdict = limiter.lock().unwrap_or_else(PoisonError::into_inner).request(start.elapsed());
        debug!(?verdict, "key frame wanted");
        match (verdict, &runtime) {
            (Verdict::Now, _) | (_, Err(_)) => return gst::PadProbeReturn::Ok,
            (Verdict::Merged, _) => {}
            (Verdict::At(at), Ok(runtime)) => {
                let (limiter, pad) = (limiter.clone(), pad.downgrade());
                runtime.spawn(async move {
                    tokio::time::sleep(at.saturating_sub(start.elapsed())).await;
                    limiter.lock().unwrap_or_else(PoisonError::into_inner).serve(start.elapsed());
                    if let Some(pad) = pad.upgrade() {
                        pad.send_event(
                            video::UpstreamForceKeyUnitEvent::builder().all_headers(true).count(SERVED).build(),
                        );
                    }
                });
            }
        }
        gst::PadProbeReturn::Drop
    });
}
