//! A subscriber that decodes what a publisher sends and notes when each picture and each tone came out of the decoder.
//!
//! It takes its media over TCP, like an agent's browser, and plays nothing: a frame counts when it is decoded. Its jitter
//! buffer holds packets back only while one before them is missing, and then for [`JITTER_MS`] at most.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_sdp as sdp;
use gstreamer_video as video;
use gstreamer_video::VideoFrameExt;
use gstreamer_webrtc as webrtc;
use kiosk_harness::link::record::{Frame, Line, Medium, Tone, now_us};
use kiosk_proto::janus::{ask_by_pli, declare_reporter, wait_for_dtls};
use kiosk_proto::timecode::{self, ToneReader};

use crate::counter::Counter;
use crate::notes::Notes;
use crate::whole::{ask_until_a_frame_comes, begin_with_key_frame, keep_frames_together};

/// How long a missing packet is waited for, milliseconds: time for a retransmission over UDP.
pub const JITTER_MS: u32 = 200;
/// How long gathering may take.
const GATHERING: Duration = Duration::from_secs(10);

/// One connection from Janus, with its decoders. Dropping it closes it.
#[derive(Debug)]
pub struct Receiver {
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    /// Packets of picture and sound.
    pub counters: [(Medium, Arc<Mutex<Counter>>); 2],
}

impl Receiver {
    /// Takes Janus's offer and makes the answer, with all candidates in it. What arrives is noted under this name.
    ///
    /// # Errors
    /// When an element is missing or `webrtcbin` refuses.
    pub fn new(publisher: &str, offer: &str, notes: &Notes) -> Result<(Self, String)> {
        let pipeline = gst::Pipeline::new();
        let webrtc = gst::ElementFactory::make("webrtcbin").property("latency", JITTER_MS).build()?;
        webrtc.set_property_from_str("bundle-policy", "max-bundle");
        pipeline.add(&webrtc)?;
        tcp_only(&webrtc)?;
        let counters = [Medium::Video, Medium::Audio].map(|medium| (medium, Arc::<Mutex<Counter>>::default()));
        let receiver = Self { pipeline, webrtc, counters };
        receiver.count(offer);
        receiver.decode(publisher, notes);
        receiver.announce(publisher, notes);
        receiver.pipeline.set_state(gst::State::Playing)?;
        let answer = receiver.answer(&ask_by_pli(&tcp_lines(offer, "tcptype passive")))?;
        let bin = receiver.webrtc.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name("rtpbin"));
        let session = bin.and_then(|bin| bin.emit_by_name::<Option<glib::Object>>("get-internal-session", &[&0_u32]));
        let ssrc = session.context("webrtcbin has no RTP session")?.property("internal-ssrc");
        Ok((receiver, declare_reporter(&tcp_lines(&answer, "tcptype active"), ssrc)))
    }

    /// An error of the pipeline, if there was one.
    ///
    /// # Errors
    /// That error.
    pub fn look(&self) -> Result<()> {
        let message = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => {
                bail!("{} ({})", error.error().message(), error.debug().unwrap_or_default())
            }
            _ => Ok(()),
        }
    }

    /// Counts packets before the jitter buffer, which would hide what is missing.
    fn count(&self, offer: &str) {
        let video = payload_types(offer, "H264/");
        let counters = self.counters.clone();
        let Some(bin) = self.webrtc.downcast_ref::<gst::Bin>() else { return };
        bin.connect_deep_element_added(move |_, _, element| {
            let is_buffer = element.factory().is_some_and(|factory| factory.name() == "rtpjitterbuffer");
            let Some(pad) = element.static_pad("sink").filter(|_| is_buffer) else { return };
            let (video, counters) = (video.clone(), counters.clone());
            pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
                let count = |buffer: &gst::BufferRef| {
                    let mut header = [0; 4];
                    if buffer.copy_to_slice(0, &mut header).is_ok() {
                        let medium = usize::from(!video.contains(&(header[1] & 0x7f)));
                        let sequence = u16::from_be_bytes([header[2], header[3]]);
                        let mut counter = counters[medium].1.lock().unwrap_or_else(PoisonError::into_inner);
                        counter.count(sequence, buffer.size());
                    }
                };
                match &info.data {
                    Some(gst::PadProbeData::Buffer(buffer)) => count(buffer),
                    Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(count),
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            });
        });
    }

    fn announce(&self, publisher: &str, notes: &Notes) {
        let (publisher, notes, said) = (publisher.to_owned(), notes.clone(), AtomicBool::new(false));
        self.webrtc.connect_notify(Some("connection-state"), move |webrtc, _| {
            let state = webrtc.property::<webrtc::WebRTCPeerConnectionState>("connection-state");
            if state == webrtc::WebRTCPeerConnectionState::Connected && !said.swap(true, Ordering::Relaxed) {
                notes.write(&Line::Up { at_us: now_us(), publisher: publisher.clone() });
            }
        });
    }

    fn decode(&self, publisher: &str, notes: &Notes) {
        let (pipeline, publisher, notes) = (self.pipeline.downgrade(), publisher.to_owned(), notes.clone());
        self.webrtc.connect_pad_added(move |_, pad| {
            let Some(pipeline) = pipeline.upgrade().filter(|_| pad.direction() == gst::PadDirection::Src) else {
                return;
            };
            let codec = pad.current_caps().and_then(|caps| caps.structure(0)?.get::<String>("encoding-name").ok());
            let taken = match codec.as_deref() {
                Some("H264") => take_video(&pipeline, pad, &publisher, &notes),
                Some("OPUS") => take_audio(&pipeline, pad, &publisher, &notes),
                other => Err(anyhow!("a stream of {other:?}")),
            };
            if let Err(error) = taken {
                eprintln!("{publisher}: {error:#}");
            }
        });
    }

    fn answer(&self, offer: &str) -> Result<String> {
        let parsed = sdp::SDPMessage::parse_buffer(offer.as_bytes())?;
        let offer = webrtc::WebRTCSessionDescription::new(webrtc::WebRTCSDPType::Offer, parsed);
        self.ask("set-remote-description", offer.to_send_value())?;
        let reply = self.ask("create-answer", None::<gst::Structure>.to_send_value())?.context("no reply")?;
        let answer = reply.get::<webrtc::WebRTCSessionDescription>("answer").context("webrtcbin made no answer")?;
        let waits = sdp::SDPMessage::parse_buffer(wait_for_dtls(&answer.sdp().as_text()?).as_bytes())?;
        let answer = webrtc::WebRTCSessionDescription::new(webrtc::WebRTCSDPType::Answer, waits);
        self.ask("set-local-description", answer.to_send_value())?;
        let end = Instant::now() + GATHERING;
        let complete = webrtc::WebRTCICEGatheringState::Complete;
        while self.webrtc.property::<webrtc::WebRTCICEGatheringState>("ice-gathering-state") != complete {
            self.look()?;
            ensure!(Instant::now() < end, "webrtcbin has not gathered within {} s", GATHERING.as_secs());
            std::thread::sleep(Duration::from_millis(5));
        }
        let local = self.webrtc.property::<Option<webrtc::WebRTCSessionDescription>>("local-description");
        Ok(local.context("webrtcbin has no description")?.sdp().as_text()?)
    }

    fn ask(&self, action: &str, argument: glib::SendValue) -> Result<Option<gst::Structure>> {
        let promise = gst::Promise::new();
        self.webrtc.emit_by_name_with_values(action, &[argument.into(), promise.to_value()]);
        ensure!(promise.wait() == gst::PromiseResult::Replied, "webrtcbin did not {action}");
        let reply = promise.get_reply().map(ToOwned::to_owned);
        if let Some(error) = reply.as_ref().and_then(|reply| reply.get::<glib::Error>("error").ok()) {
            bail!("webrtcbin could not {action}: {}", error.message());
        }
        Ok(reply)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn tcp_only(webrtc: &gst::Element) -> Result<()> {
    let agent = webrtc.property::<Option<glib::Object>>("ice-agent").context("webrtcbin has no ICE agent")?;
    agent.set_property("ice-udp", false);
    agent.set_property("ice-tcp", true);
    let nice = agent.property::<Option<glib::Object>>("agent").context("no libnice agent")?;
    nice.set_property("upnp", false);
    Ok(())
}

/// Leaves out all candidates but those of this type.
fn tcp_lines(sdp: &str, kind: &str) -> String {
    let keeps = |line: &&str| !line.starts_with("a=candidate:") || line.to_ascii_lowercase().contains(kind);
    sdp.lines().filter(keeps).map(|line| format!("{line}\r\n")).collect()
}

/// Payload types that an SDP gives to a codec.
fn payload_types(sdp: &str, codec: &str) -> Vec<u8> {
    let of = |line: &str| {
        let (number, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        name.starts_with(codec).then(|| number.parse().ok()).flatten()
    };
    sdp.lines().filter_map(of).collect()
}

/// Puts decoders behind a pad; returns where raw media comes out.
fn attach(pipeline: &gst::Pipeline, pad: &gst::Pad, description: &str) -> Result<app::AppSink> {
    let bin = gst::parse::bin_from_description(description, true)?;
    let out = bin.by_name("out").and_then(|out| out.downcast::<app::AppSink>().ok()).context("no output")?;
    pipeline.add(&bin)?;
    bin.sync_state_with_parent()?;
    let sink = bin.static_pad("sink").context("the decoder has no input")?;
    pad.link(&sink).map_err(|error| anyhow!("the decoder does not take the stream: {error}"))?;
    Ok(out)
}

fn take_video(pipeline: &gst::Pipeline, pad: &gst::Pad, publisher: &str, notes: &Notes) -> Result<()> {
    let out = attach(
        pipeline,
        pad,
        "rtph264depay name=depay request-keyframe=true wait-for-keyframe=true \
         ! video/x-h264,stream-format=byte-stream,alignment=au ! h264parse ! avdec_h264 max-threads=1 \
         ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false async=false enable-last-sample=false",
    )?;
    let depay = pipeline.by_name("depay").context("no depayloader")?;
    let (sink, src) = (depay.static_pad("sink").context("its input")?, depay.static_pad("src").context("its output")?);
    keep_frames_together(&sink);
    ask_until_a_frame_comes(&sink, &src);
    begin_with_key_frame(&src);
    let (publisher, notes) = (publisher.to_owned(), notes.clone());
    let take = move |out: &app::AppSink| {
        let shown_us = now_us();
        let sample = out.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if let Some(frame) = read(&publisher, shown_us, &sample) {
            notes.frame(frame, sample);
        } else {
            notes.write(&Line::Unread { at_us: shown_us, publisher: publisher.clone() });
        }
        Ok(gst::FlowSuccess::Ok)
    };
    out.set_callbacks(app::AppSinkCallbacks::builder().new_sample(take).build());
    Ok(())
}

fn read(publisher: &str, shown_us: u64, sample: &gst::Sample) -> Option<Frame> {
    let info = video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let picture = video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let (width, height, stride) = (info.width(), info.height(), picture.plane_stride()[0] as usize);
    let code = timecode::read(picture.plane_data(0).ok()?, stride, width as usize, height as usize)?;
    Some(Frame {
        publisher: publisher.to_owned(),
        shown_us,
        captured_us: timecode::capture_time_ms(code, shown_us / 1000) * 1000,
        index: code.index,
        width,
        height,
        ssim: None,
        psnr: None,
    })
}

fn take_audio(pipeline: &gst::Pipeline, pad: &gst::Pad, publisher: &str, notes: &Notes) -> Result<()> {
    let out = attach(
        pipeline,
        pad,
        "rtpopusdepay ! opusdec plc=false ! audioconvert ! audioresample \
         ! audio/x-raw,format=S16LE,rate=48000,channels=1 ! appsink name=out sync=false async=false enable-last-sample=false",
    )?;
    let (publisher, notes, reader) = (publisher.to_owned(), notes.clone(), Mutex::new(ToneReader::default()));
    let take = move |out: &app::AppSink| {
        let heard_us = now_us();
        let sample = out.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if let Some(bytes) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) {
            let samples: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
            let tones = reader.lock().unwrap_or_else(PoisonError::into_inner).push(heard_us, &samples);
            for tone in tones {
                let (heard_us, sent_us) = (tone.heard_us, tone.sent_us);
                notes.write(&Line::Tone(Tone { publisher: publisher.clone(), heard_us, sent_us }));
            }
        }
        Ok(gst::FlowSuccess::Ok)
    };
    out.set_callbacks(app::AppSinkCallbacks::builder().new_sample(take).build());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sdp_says_which_packets_are_the_picture() {
        let sdp = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:111 opus/48000/2\r\n";
        assert_eq!(payload_types(sdp, "H264/"), [96]);
    }

    #[test]
    fn only_candidates_of_the_type_are_left() {
        let sdp = "v=0\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=candidate:2 1 TCP 1 10.0.0.1 9 typ host tcptype passive\r\na=mid:0\r\n";
        let left = tcp_lines(sdp, "tcptype passive");
        assert!(!left.contains("udp") && left.contains("passive\r\n") && left.ends_with("a=mid:0\r\n"), "{left}");
    }
}
