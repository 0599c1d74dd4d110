//! The peers that the daemon is compared with: `webrtcbin` as it comes, with the daemon's encoder at a fixed bitrate, and
//! [`crate::webrtcsink`]. They send the same recording with the same codes. Nothing of the daemon's watches the link.
//!
//! As in the daemon, what captures has a pipeline of its own: it starts over at the recording's end, the connection does
//! not.

use anyhow::{Context, Result, anyhow, bail};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_sdp as sdp;
use gstreamer_video as video;
use gstreamer_webrtc as webrtc;
use kiosk_harness::link::{
    peers::{PublisherOptions, Transport},
    record::now_us,
};
use kiosk_proto::encoder::{self, BitrateControl};
use kiosk_proto::ice::Direction;
use kiosk_proto::timecode::{self, Code, SAMPLE_RATE, ToneSource};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::webrtcsink;

/// How long gathering may take.
const GATHERING: Duration = Duration::from_secs(10);
/// The daemon's own (src/media/publish.rs): payload bytes of a packet, and what is negotiated.
const MTU: u32 = 1200;
const VIDEO: &str = "application/x-rtp,media=(string)video,encoding-name=(string)H264,payload=(int)96,\
    clock-rate=(int)90000,packetization-mode=(string)1,profile-level-id=(string)42e01f,\
    rtcp-fb-nack-pli=(boolean)true,rtcp-fb-ccm-fir=(boolean)true,ssrc=(uint)1001";
const VIDEO_UDP: &str = ",rtcp-fb-nack=(boolean)true";
const AUDIO: &str = "application/x-rtp,media=(string)audio,encoding-name=(string)OPUS,payload=(int)111,\
    clock-rate=(int)48000,encoding-params=(string)2,ssrc=(uint)1002";
/// The tones that are behind by more than this are made up for: the machine was held up.
const SLIP_US: u64 = 15_000;

/// A running publisher.
#[derive(Debug)]
pub struct Publisher {
    capture: gst::Pipeline,
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    /// Of `webrtcsink`, which makes the offer and takes the answer itself.
    signaller: Option<glib::Object>,
    transport: Transport,
}

impl Publisher {
    /// Makes and starts the pipeline.
    ///
    /// # Errors
    /// When an element is missing or the recording can't be played.
    pub fn start(options: &PublisherOptions) -> Result<Self> {
        let (width, height) = options.size;
        let raw =
            format!("video/x-raw,format=I420,width={width},height={height},framerate=30/1,pixel-aspect-ratio=1/1");
        let capture = pipeline(&format!(
            "filesrc name=file ! decodebin ! videoconvert ! videoscale ! videorate ! {raw} ! appsink name=out"
        ))?;
        named::<gst::Element>(&capture, "file")?.set_property("location", options.recording.display().to_string());
        let sources = [
            format!(
                "appsrc name=pictures caps=\"{raw}\" format=time is-live=true do-timestamp=true max-buffers=2 \
                 max-bytes=0 leaky-type=downstream"
            ),
            format!(
                "audiotestsrc name=tones is-live=true wave=silence samplesperbuffer=480 \
                 ! audio/x-raw,format=S16LE,rate={SAMPLE_RATE},channels=1"
            ),
        ];
        let pipeline = match &options.webrtcsink {
            Some(plugin) => webrtcsink::pipeline(plugin, &sources, options.bits_per_second)?,
            None => webrtcbin(&sources, options)?,
        };
        lead(&named(&capture, "out")?, named(&pipeline, "pictures")?, &raw.parse()?)?;
        write_tones(&named::<gst::Element>(&pipeline, "tones")?.static_pad("src").context("the sound's pad")?);
        let play = || -> Result<()> {
            pipeline.set_state(gst::State::Playing)?;
            capture.set_state(gst::State::Playing)?;
            Ok(())
        };
        let (webrtc, signaller) = if options.webrtcsink.is_some() {
            let sink = named(&pipeline, "webrtc")?;
            let session = webrtcsink::Session::new(&sink, options.transport)?;
            play()?;
            session.begin(&pipeline)?
        } else {
            play()?;
            (named(&pipeline, "webrtc")?, None)
        };
        Ok(Self { capture, pipeline, webrtc, signaller, transport: options.transport })
    }

    /// The offer, with all candidates in it.
    ///
    /// # Errors
    /// When `webrtcbin` refuses or gathers nothing.
    pub fn offer(&self) -> Result<String> {
        if self.signaller.is_none() {
            let reply = self.ask("create-offer", None::<gst::Structure>.to_send_value())?.context("no reply")?;
            let offer = reply.get::<webrtc::WebRTCSessionDescription>("offer").context("webrtcbin made no offer")?;
            self.ask("set-local-description", offer.to_send_value())?;
        }
        let end = Instant::now() + GATHERING;
        let gathered = || {
            let state = self.webrtc.property::<webrtc::WebRTCICEGatheringState>("ice-gathering-state");
            state == webrtc::WebRTCICEGatheringState::Complete
        };
        while !gathered() {
            self.look()?;
            if Instant::now() > end {
                bail!("webrtcbin has not gathered within {} s", GATHERING.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let local = self.webrtc.property::<Option<webrtc::WebRTCSessionDescription>>("local-description");
        let text = local.context("webrtcbin has no description")?.sdp().as_text()?;
        Ok(filter(self.transport, Direction::Outgoing, &text))
    }

    /// Takes Janus's answer.
    ///
    /// # Errors
    /// When `webrtcbin` refuses it.
    pub fn answer(&self, answer: &str) -> Result<()> {
        let parsed = sdp::SDPMessage::parse_buffer(filter(self.transport, Direction::Incoming, answer).as_bytes())?;
        let description = webrtc::WebRTCSessionDescription::new(webrtc::WebRTCSDPType::Answer, parsed);
        match &self.signaller {
            Some(signaller) => webrtcsink::answer(signaller, &description),
            None => self.ask("set-remote-description", description.to_send_value()).map(drop)?,
        }
        Ok(())
    }

    /// Lets the recording start over when it is at its end. To be called often.
    ///
    /// # Errors
    /// When a pipeline has failed.
    pub fn look(&self) -> Result<()> {
        look(&self.capture)?;
        look(&self.pipeline)
    }

    fn ask(&self, action: &str, argument: glib::SendValue) -> Result<Option<gst::Structure>> {
        let promise = gst::Promise::new();
        self.webrtc.emit_by_name_with_values(action, &[argument.into(), promise.to_value()]);
        if promise.wait() != gst::PromiseResult::Replied {
            bail!("webrtcbin did not {action}");
        }
        let reply = promise.get_reply().map(ToOwned::to_owned);
        if let Some(error) = reply.as_ref().and_then(|reply| reply.get::<glib::Error>("error").ok()) {
            bail!("webrtcbin could not {action}: {}", error.message());
        }
        Ok(reply)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        for pipeline in [&self.capture, &self.pipeline] {
            let _ = pipeline.set_state(gst::State::Null);
        }
    }
}

/// Lets a recording that is at its end start over; an error when the pipeline has failed.
pub(crate) fn look(pipeline: &gst::Pipeline) -> Result<()> {
    let Some(bus) = pipeline.bus() else { return Ok(()) };
    while let Some(message) = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]) {
        match message.view() {
            gst::MessageView::Error(error) => {
                bail!("{} ({})", error.error().message(), error.debug().unwrap_or_default())
            }
            _ => pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT, gst::ClockTime::ZERO)?,
        }
    }
    Ok(())
}

/// `webrtcbin` with the daemon's encoders, and its streams ready for an offer.
fn webrtcbin([pictures, tones]: &[String; 2], options: &PublisherOptions) -> Result<gst::Pipeline> {
    // A retransmission makes sense over UDP only; the daemon negotiates none.
    let video = if options.transport == Transport::Udp { format!("{VIDEO}{VIDEO_UDP}") } else { VIDEO.to_owned() };
    let pipeline = pipeline(&format!(
        "webrtcbin name=webrtc latency=0 bundle-policy=max-bundle {pictures} ! {encoder} \
         ! rtph264pay name=videopay pt=96 ssrc=1001 mtu={MTU} config-interval=-1 aggregate-mode=zero-latency \
         ! capssetter join=true caps=\"{video}\" ! webrtc. \
         {tones} ! opusenc audio-type=voice frame-size=20 inband-fec=false ! rtpopuspay pt=111 ssrc=1002 ! webrtc.",
        encoder = encoder_description(options)?,
    ))?;
    let webrtc: gst::Element = named(&pipeline, "webrtc")?;
    limit_to(&webrtc, options.transport)?;
    for (index, caps) in [video.as_str(), AUDIO].iter().enumerate() {
        let pad = webrtc.static_pad(&format!("sink_{index}")).context("a pad of webrtcbin")?;
        if let Some(transceiver) = pad.property::<Option<glib::Object>>("transceiver") {
            transceiver.set_property_from_str("direction", "sendonly");
            transceiver.set_property("codec-preferences", caps.parse::<gst::Caps>()?);
            if options.transport == Transport::Udp {
                transceiver.set_property("do-nack", true);
            }
        }
    }
    Ok(pipeline)
}

/// The daemon's software encoder with the daemon's settings, at the bitrate that all peers may use at most.
fn encoder_description(options: &PublisherOptions) -> Result<String> {
    let spec =
        encoder::ENCODERS.iter().find(|spec| spec.element == "x264enc").context("x264enc is not in the table")?;
    let BitrateControl::Property(name, unit) = spec.bitrate else { bail!("x264enc has no bitrate") };
    let mut text =
        format!("{} name=encoder {name}={}", spec.element, unit.from_bits_per_second(options.bits_per_second));
    for (key, value) in spec.properties {
        text += &format!(" {key}={value}");
    }
    Ok(format!("{text} ! video/x-h264,stream-format=byte-stream,alignment=au,{}", spec.output_caps))
}

/// Leaves the candidates of the transport: of TCP those for connections that the kiosk dials.
fn filter(transport: Transport, direction: Direction, sdp: &str) -> String {
    let keeps = |line: &str| {
        let Some(candidate) = line.strip_prefix("a=candidate:") else { return true };
        let candidate = candidate.to_ascii_lowercase();
        match (transport, direction) {
            (Transport::Udp, _) => candidate.contains(" udp "),
            (Transport::Tcp, Direction::Outgoing) => candidate.contains("tcptype active"),
            (Transport::Tcp, Direction::Incoming) => candidate.contains("tcptype passive"),
        }
    };
    sdp.lines().filter(|line| keeps(line)).map(|line| format!("{line}\r\n")).collect()
}

/// Only TCP, or only UDP.
pub(crate) fn limit_to(webrtc: &gst::Element, transport: Transport) -> Result<()> {
    let agent = webrtc.property::<Option<glib::Object>>("ice-agent").context("webrtcbin has no ICE agent")?;
    agent.set_property("ice-udp", transport == Transport::Udp);
    agent.set_property("ice-tcp", transport == Transport::Tcp);
    let nice = agent.property::<Option<glib::Object>>("agent").context("no libnice agent")?;
    nice.set_property("upnp", false);
    Ok(())
}

/// Every picture gets the time at which it leaves the recording, as the daemon's do, and goes to the encoder.
fn lead(out: &app::AppSink, pictures: app::AppSrc, caps: &gst::Caps) -> Result<()> {
    let info = video::VideoInfo::from_caps(caps)?;
    let (stride, width, height) = (info.stride()[0] as usize, info.width() as usize, info.height() as usize);
    out.set_max_buffers(2);
    out.set_drop(true);
    let pass_on = move |out: &app::AppSink| {
        let sample = out.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let Some(mut buffer) = sample.buffer_owned() else { return Ok(gst::FlowSuccess::Ok) };
        let writable = buffer.make_mut();
        writable.set_pts(gst::ClockTime::NONE);
        writable.set_dts(gst::ClockTime::NONE);
        if let Ok(mut picture) = writable.map_writable() {
            let index = timecode::read(&picture, stride, width, height).and_then(|code| code.index);
            timecode::stamp(&mut picture, stride, width, height, Code::new(now_us() / 1000, index));
        }
        // A connection that is being closed takes none.
        let _ = pictures.push_buffer(buffer);
        Ok(gst::FlowSuccess::Ok)
    };
    out.set_callbacks(app::AppSinkCallbacks::builder().new_sample(pass_on).build());
    Ok(())
}

pub(crate) fn pipeline(description: &str) -> Result<gst::Pipeline> {
    gst::parse::launch(description)?.downcast().map_err(|_| anyhow!("{description} is no pipeline"))
}

pub(crate) fn named<T: IsA<gst::Element>>(pipeline: &gst::Pipeline, name: &str) -> Result<T> {
    let element = pipeline.by_name(name).and_then(|element| element.downcast().ok());
    element.with_context(|| format!("the pipeline has no usable {name}"))
}

/// The tones, the last sample of each buffer now, as the daemon's are.
fn write_tones(pad: &gst::Pad) {
    let next_us = Mutex::new(0_u64);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
            && let Ok(mut bytes) = buffer.make_mut().map_writable()
        {
            let mut samples = vec![0; bytes.len() / 2];
            let length_us = samples.len() as u64 * 1_000_000 / u64::from(SAMPLE_RATE);
            let first_us = now_us().saturating_sub(length_us);
            let mut next_us = next_us.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if first_us.abs_diff(*next_us) > SLIP_US {
                *next_us = first_us;
            }
            ToneSource.fill(*next_us, &mut samples);
            *next_us += length_us;
            for (bytes, sample) in bytes.chunks_exact_mut(2).zip(&samples) {
                bytes.copy_from_slice(&sample.to_le_bytes());
            }
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_candidates_of_the_transport_are_left() {
        let lines = [
            "a=mid:0",
            "a=candidate:1 1 UDP 2122 192.0.2.1 40000 typ host",
            "a=candidate:2 1 TCP 1015 192.0.2.1 9 typ host tcptype active",
            "a=candidate:3 1 tcp 1010 192.0.2.1 40001 typ host tcptype passive",
        ];
        let left = |transport, direction| {
            let left = filter(transport, direction, &lines.join("\r\n"));
            lines.iter().enumerate().filter(|(_, line)| left.contains(*line)).map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(left(Transport::Tcp, Direction::Outgoing), [0, 2]);
        assert_eq!(left(Transport::Tcp, Direction::Incoming), [0, 3]);
        assert_eq!(left(Transport::Udp, Direction::Outgoing), [0, 1]);
        assert_eq!(left(Transport::Udp, Direction::Incoming), [0, 1]);
    }
}
