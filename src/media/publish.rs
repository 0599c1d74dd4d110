//! The kiosk's own media, from raw pictures and sound to the connection.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use kiosk_proto::call::PeerId;
use kiosk_proto::config::{AudioSource, Config};
use kiosk_proto::encoder::EncoderSpec;
use kiosk_proto::ice::{TcpOnlyPolicy, TcpOnlySdp};
use kiosk_proto::rate::{RateController, Settings, Step};

use super::keyframes::Keyframes;
use super::last_rate::LastRate;
use super::link;
use super::meter::Meter;
use super::peer::Peer;
use super::reports::{self, Reports};
use super::{MediaError, decoder, encoder, named, pipeline, port};
use crate::dial::Route;
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
    /// Key frames of the encoder.
    pub keyframes: Keyframes,
    /// RTP packets of the picture.
    pub video_packets: Meter,
    /// RTP packets of the sound.
    pub audio_packets: Meter,
    /// What the server reports of the packets.
    pub reports: Reports,
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
        rate: Settings,
    ) -> Result<Self, MediaError> {
        let spec = encoder::choose(&config.video.encoder)?;
        let begin = RateController::new(rate);
        // Janus tells audio and video of a bundle apart by the SSRCs in the offer, which is made before the first packet.
        let ssrc: [u32; 2] = rand::random();
        let reported = format!("extmap-1=(string){}", reports::EXTENSION);
        let caps = [VIDEO, AUDIO]
            .iter()
            .zip(ssrc)
            .map(|(caps, ssrc)| format!("{caps},rtcp-fb-transport-cc=(boolean)true,{reported},ssrc=(uint){ssrc}"));
        let caps: Vec<String> = caps.collect();
        let with_sound = config.audio.source != AudioSource::None;
        let sound = if with_sound {
            format!(
                "appsrc name=sound ! opusenc audio-type=voice complexity=5 frame-size=20 inband-fec=false \
                 ! rtpopuspay name=audiopay pt=111 ssrc={} ! application/x-rtp,{reported} ! webrtc.",
                ssrc[1]
            )
        } else {
            String::new()
        };
        // "bilinear", which it would take, makes a smaller picture that is further from the larger one (docs/decisions/0043).
        let pipeline = pipeline(&format!(
            "webrtcbin name=webrtc latency=0 \
             appsrc name=pictures ! videoscale method=lanczos envelope=3 ! capsfilter name=size ! {} \
             ! rtph264pay name=videopay pt=96 ssrc={} mtu={MTU} config-interval=-1 aggregate-mode=zero-latency \
             ! application/x-rtp,{reported} ! capssetter join=true caps=\"{}\" ! webrtc. {sound}",
            encoder::description(spec, begin.bits_per_second()),
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
        let frames =
            pad("encoder", "src").ok_or_else(|| MediaError::Refused(format!("{} has no source pad", spec.element)))?;
        encoded.watch(&frames);
        let interval = Duration::from_millis(u64::from(config.video.keyframe_min_interval_ms));
        let keyframes = Keyframes::watch(&frames, interval);
        if let Some(pad) = pad("videopay", "src") {
            video_packets.watch(&pad);
        }
        if let Some(pad) = pad("audiopay", "src") {
            audio_packets.watch(&pad);
        }
        let peer = Peer::new(id, "publish", pipeline, policy, Route::new(config), events, gates)?;
        let reports = Reports::listen(peer.webrtc());
        let caps = caps.into_iter().take(if with_sound { 2 } else { 1 }).collect();
        let publisher =
            Self { peer, pictures, sound, encoded, keyframes, video_packets, audio_packets, reports, caps, spec };
        publisher.set_size(begin.step())?;
        Ok(publisher)
    }

    /// Chooses the encoder and loads every plugin that a call needs, so that the first call need not wait for it.
    /// Returns the encoder's element.
    ///
    /// # Errors
    /// What would keep a call from being published.
    pub fn rehearse(config: &Config, events: Events, gates: Gates) -> Result<&'static str, MediaError> {
        let policy = TcpOnlyPolicy { media_ports: config.janus.media_ports };
        let rate = link::settings(config, &LastRate::default());
        let publisher = Self::new(PeerId(0), config, policy, events, gates, rate)?;
        let decoder = decoder::choose()?;
        pipeline(&format!(
            "appsrc ! rtph264depay ! h264parse ! {decoder} ! fakesink appsrc ! rtpopusdepay ! opusdec ! fakesink"
        ))?;
        Ok(publisher.spec.element)
    }

    /// Sets the bitrate of the running encoder.
    ///
    /// # Errors
    /// When the encoder takes no such value.
    pub fn set_bitrate(&self, bits_per_second: u64) -> Result<(), MediaError> {
        encoder::set_bitrate(&named(self.peer.pipeline(), "encoder")?, self.spec, bits_per_second)
    }

    /// Sets the size of the picture that is encoded, while it runs: the encoder begins a new sequence with a key frame, and
    /// decoders follow. The frames' own frequency stays what was negotiated inside; who leaves frames out does so before.
    ///
    /// # Errors
    /// When the pipeline has no place to scale.
    pub fn set_size(&self, step: Step) -> Result<(), MediaError> {
        let caps = gst::Caps::builder("video/x-raw")
            .field("width", step.width as i32)
            .field("height", step.height as i32)
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build();
        named::<gst::Element>(self.peer.pipeline(), "size")?.set_property("caps", caps);
        Ok(())
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
