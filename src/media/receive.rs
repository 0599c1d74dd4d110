//! The agent's media, from the connection to raw pictures and sound.

use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use gstreamer_webrtc as webrtc;
use kiosk_proto::call::{Event, PeerId};
use kiosk_proto::config::Config;
use kiosk_proto::fault::{Fault, FaultCode};
use kiosk_proto::ice::{TcpOnlyPolicy, TcpOnlySdp};
use kiosk_proto::keyframe::KeyframeWait;
use tracing::{debug, warn};

use super::meter::Meter;
use super::peer::Peer;
use super::playback::Playback;
use super::{MediaError, decoder, pipeline, port};
use crate::dial::Route;
use crate::events::Events;
use crate::tcp_only::gate::Gates;

/// Jitter buffer, milliseconds. On TCP nothing is lost or reordered on the way; it evens out what arrives in bursts.
const JITTER_MS: u32 = 60;

/// The receiving peer connection.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// The connection.
    pub peer: Peer,
    /// RTP packets of the picture.
    pub video_packets: Meter,
    /// RTP packets of the sound.
    pub audio_packets: Meter,
}

impl Receiver {
    /// Makes the pipeline, in state NULL. What is decoded goes to `playback`.
    ///
    /// # Errors
    /// When an element is missing.
    pub fn new(
        id: PeerId,
        config: &Config,
        policy: TcpOnlyPolicy,
        events: Events,
        gates: Gates,
        playback: &Playback,
    ) -> Result<Self, MediaError> {
        let pipeline = pipeline(&format!("webrtcbin name=webrtc latency={JITTER_MS}"))?;
        let peer = Peer::new(id, "receive", pipeline, policy, Route::new(config), events, gates)?;
        let receiver = Self { peer, video_packets: Meter::default(), audio_packets: Meter::default() };
        receiver.take_streams(playback.clone());
        Ok(receiver)
    }

    /// Sets Janus' offer and makes the answer.
    ///
    /// # Errors
    /// When `webrtcbin` refuses.
    pub async fn answer(&self, offer: &TcpOnlySdp) -> Result<TcpOnlySdp, MediaError> {
        self.peer.play()?;
        self.peer.set_remote(webrtc::WebRTCSDPType::Offer, offer).await?;
        self.peer.answer().await
    }

    fn take_streams(&self, playback: Playback) {
        let peer = self.peer.clone();
        let (video, audio) = (self.video_packets.clone(), self.audio_packets.clone());
        // The closure belongs to the bin; a strong reference to it in there would be a cycle.
        let (pipeline, events, id) = (peer.pipeline().downgrade(), peer.events().clone(), peer.id());
        self.peer.webrtc().connect_pad_added(move |_, pad| {
            let Some(pipeline) = pipeline.upgrade().filter(|_| pad.direction() == gst::PadDirection::Src) else {
                return;
            };
            let codec = pad.current_caps().and_then(|caps| caps.structure(0)?.get::<String>("encoding-name").ok());
            let linked = match codec.as_deref() {
                Some("H264") => {
                    video.watch(pad);
                    take_video(&pipeline, pad, &playback, announce(&events, id))
                }
                Some("OPUS") => {
                    audio.watch(pad);
                    take_audio(&pipeline, pad, &playback, announce(&events, id))
                }
                other => {
                    warn!(codec = other, "a stream of the agent is not used");
                    attach(&pipeline, pad, "fakesink name=entry sync=false").map(|_| ())
                }
            };
            if let Err(error) = linked {
                events.happened(Event::PeerFailed(id, Fault::new(FaultCode::AgentMediaLost, error.to_string())));
            }
        });
    }
}

/// Puts a bin behind a pad of the running pipeline. The stream goes into its element named `entry`. A sink in it that gets
/// no buffer must be `async=false` from the start: else a lost packet makes it wait until every other sink is ready too.
fn attach(pipeline: &gst::Pipeline, pad: &gst::Pad, description: &str) -> Result<gst::Bin, MediaError> {
    let missing = || MediaError::Refused("the decoder has no input".to_owned());
    let bin = gst::parse::bin_from_description(description, false)?;
    let entry = bin.by_name("entry").and_then(|element| element.static_pad("sink")).ok_or_else(missing)?;
    let entry = gst::GhostPad::with_target(&entry)?;
    bin.add_pad(&entry)?;
    pipeline.add(&bin)?;
    bin.sync_state_with_parent()?;
    pad.link(&entry).map_err(|error| MediaError::Refused(format!("the decoder does not take the stream: {error}")))?;
    Ok(bin)
}

fn sink(bin: &gst::Bin) -> Result<gst::Element, MediaError> {
    bin.by_name("out").ok_or_else(|| MediaError::Refused("the decoder has no output".to_owned()))
}

/// Says once that the agent's media arrives.
fn announce(events: &Events, id: PeerId) -> impl Fn() + Send + Sync + 'static {
    let (first, events) = (Once::new(), events.clone());
    move || first.call_once(|| events.happened(Event::AgentMedia(id)))
}

fn take_video(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    playback: &Playback,
    arrived: impl Fn() + Send + Sync + 'static,
) -> Result<(), MediaError> {
    let decoder = decoder::choose()?;
    let bin = attach(
        pipeline,
        pad,
        &format!(
            "rtph264depay name=entry request-keyframe=true wait-for-keyframe=true ! h264parse \
             ! {decoder} name={} ! videoconvert ! video/x-raw,format=I420 ! fakesink name=out async=false",
            decoder::NAME
        ),
    )?;
    ask_until_a_frame_comes(&bin)?;
    playback.decoded_by(&decoder);
    // Decoding frames side by side holds each back until its neighbours are done.
    if let Some(element) = bin.by_name(decoder::NAME).filter(|element| element.find_property("max-threads").is_some()) {
        element.set_property_from_str("max-threads", "1");
    }
    let out = sink(&bin)?;
    let frames = playback.frames.clone();
    port::exit(&out, playback.pictures.clone(), move |buffer| {
        frames.count(buffer.size());
        arrived();
    })?;
    if let Some(pad) = out.static_pad("sink") {
        let playback = playback.clone();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(gst::PadProbeData::Event(event)) = &info.data
                && let gst::EventView::Caps(caps) = event.view()
            {
                playback.new_size(caps.caps());
            }
            gst::PadProbeReturn::Ok
        });
    }
    Ok(())
}

/// Lets the depayloader named `entry` ask for a key frame until it gives frames.
fn ask_until_a_frame_comes(bin: &gst::Bin) -> Result<(), MediaError> {
    let missing = || MediaError::Refused("the depayloader has no pads".to_owned());
    let entry = bin.by_name("entry").ok_or_else(missing)?;
    let (sink, src) = (entry.static_pad("sink").ok_or_else(missing)?, entry.static_pad("src").ok_or_else(missing)?);
    let (start, waits) = (Instant::now(), Arc::new(Mutex::new(KeyframeWait::default())));
    let shown = waits.clone();
    // The jitter buffer gives packets one by one.
    sink.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let lost = info.buffer().is_some_and(|packet| packet.flags().contains(gst::BufferFlags::DISCONT));
        let again = waits.lock().unwrap_or_else(PoisonError::into_inner).packet(start.elapsed(), lost);
        if again {
            debug!("a key frame is asked for again");
            pad.push_event(video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
        gst::PadProbeReturn::Ok
    });
    src.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
        shown.lock().unwrap_or_else(PoisonError::into_inner).frame();
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn take_audio(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    playback: &Playback,
    arrived: impl Fn() + Send + Sync + 'static,
) -> Result<(), MediaError> {
    let bin = attach(
        pipeline,
        pad,
        "rtpopusdepay name=entry ! opusdec plc=true ! audioconvert ! audioresample \
         ! audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved ! fakesink name=out async=false",
    )?;
    port::exit(&sink(&bin)?, playback.sound.clone(), move |_| arrived())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::named;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Duration;

    /// What arrives from an agent whose key frames are so many frames apart: the picture leaves `last`, the sound `sound`.
    fn agent(key_frames: u32) -> gst::Pipeline {
        gst::init().unwrap();
        pipeline(&format!(
            "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,framerate=30/1 \
             ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={key_frames} ! rtph264pay config-interval=-1 \
             ! queue ! identity name=last \
             audiotestsrc is-live=true ! opusenc ! rtpopuspay ! queue ! identity name=sound"
        ))
        .unwrap()
    }

    /// Waits until so many more pictures were decoded.
    fn shows(playback: &Playback, more: u64) {
        let (begin, before) = (Instant::now(), playback.frames.buffers());
        while playback.frames.buffers() < before + more {
            assert!(begin.elapsed() < Duration::from_secs(30), "{more} pictures after {before}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_key_frame_is_asked_for_until_it_comes() {
        let pipeline = agent(10_000);
        let last: gst::Element = named(&pipeline, "last").unwrap();
        let (pad, sink, playback) =
            (last.static_pad("src").unwrap(), last.static_pad("sink").unwrap(), Playback::default());
        let held = pad.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, |_, _| gst::PadProbeReturn::Ok);
        pipeline
            .by_name("sound")
            .unwrap()
            .static_pad("src")
            .unwrap()
            .add_probe(gst::PadProbeType::DATA_DOWNSTREAM, |_, _| gst::PadProbeReturn::Drop);
        pipeline.set_state(gst::State::Playing).unwrap();
        take_video(&pipeline, &pad, &playback, || {}).unwrap();
        pad.remove_probe(held.unwrap());
        shows(&playback, 5);
        // One packet is lost, as the jitter buffer says it, and the first request that follows too.
        let (packets, asked) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
        sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let number = packets.fetch_add(1, Relaxed);
            if let Some(packet) = info.buffer_mut().filter(|_| number == 1) {
                packet.make_mut().set_flags(gst::BufferFlags::DISCONT);
            }
            if number == 0 { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
        });
        let counted = asked.clone();
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let request = info.event().is_some_and(|event| video::UpstreamForceKeyUnitEvent::parse(event).is_ok());
            if request && counted.fetch_add(1, Relaxed) == 0 {
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
        shows(&playback, 15);
        let until_then = asked.load(Relaxed);
        assert!(until_then >= 2, "once by the depayloader, and at least once more");
        shows(&playback, 40);
        assert_eq!(asked.load(Relaxed), until_then, "there are pictures again");
        pipeline.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn a_packet_that_was_lost_holds_nothing_up() {
        let pipeline = agent(10);
        let last: gst::Element = named(&pipeline, "last").unwrap();
        // Of the sound nothing is lost.
        let sound: gst::Element = named(&pipeline, "sound").unwrap();
        let (pad, sound, playback) =
            (last.static_pad("src").unwrap(), sound.static_pad("src").unwrap(), Playback::default());
        // Nothing leaves a pad that leads nowhere yet: that would end its stream.
        let held = [&pad, &sound]
            .map(|pad| (pad, pad.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, |_, _| gst::PadProbeReturn::Ok)));
        pipeline.set_state(gst::State::Playing).unwrap();
        take_video(&pipeline, &pad, &playback, || {}).unwrap();
        take_audio(&pipeline, &sound, &playback, || {}).unwrap();
        for (pad, held) in held {
            pad.remove_probe(held.unwrap());
        }
        let stamp = Arc::new(AtomicU64::new(0));
        let last_stamp = stamp.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(gst::PadProbeData::Buffer(packet)) = &info.data {
                last_stamp.store(packet.pts().map_or(0, gst::ClockTime::nseconds), Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        shows(&playback, 15);
        // As the jitter buffer says it.
        let lost = gst::Structure::builder("GstRTPPacketLost")
            .field("seqnum", 1_u32)
            .field("timestamp", stamp.load(Relaxed))
            .field("duration", 0_u64);
        let sink = last.static_pad("sink").unwrap();
        let lost = gst::event::CustomDownstream::new(lost.build());
        // Where it holds up, this thread stays.
        std::thread::spawn(move || sink.send_event(lost));
        shows(&playback, 15);
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
