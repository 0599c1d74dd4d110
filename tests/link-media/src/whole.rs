//! Makes GStreamer's receiver take H.264 as a browser does: a frame is what has one RTP time stamp, and a stream begins, and
//! begins again after a loss, only with a whole key frame.
//!
//! `rtph264pay` with `config-interval=-1` repeats the parameter sets before each slice of a key frame, and `rtph264depay`
//! takes each of them for the beginning of a new frame. A decoder then shows the pieces as pictures of their own, and half
//! of the picture stays missing until the next key frame.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use kiosk_proto::keyframe::KeyframeWait;

/// A key frame is asked for again when it has not come within this.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Types of NAL units (ITU-T H.264, table 7-1).
const SLICE: u8 = 1;
const KEY_SLICE: u8 = 5;
const FILLER: u8 = 12;
/// Payload types of RFC 6184.
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Turns parameter sets and the like that follow a slice of the same frame into filler, at a pad with RTP packets.
pub fn keep_frames_together(pad: &gst::Pad) {
    let sliced = Mutex::new(None);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let Ok(mut sliced) = sliced.lock() else { return gst::PadProbeReturn::Ok };
        let mut look = |buffer: &mut gst::BufferRef| {
            if let Ok(mut packet) = buffer.map_writable() {
                fill(&mut packet, &mut sliced);
            }
        };
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => look(buffer.make_mut()),
            Some(gst::PadProbeData::BufferList(list)) => {
                list.make_mut().foreach_mut(|mut buffer, _| {
                    look(buffer.make_mut());
                    ControlFlow::Continue(Some(buffer))
                });
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// The same for one packet; `sliced` is the time stamp of the last packet that had a slice.
fn fill(packet: &mut [u8], sliced: &mut Option<[u8; 4]>) -> Option<()> {
    let time = [*packet.get(4)?, *packet.get(5)?, *packet.get(6)?, *packet.get(7)?];
    let (first, extended) = (*packet.first()?, packet[0] & 0x10 != 0);
    let mut payload = 12 + 4 * usize::from(first & 0x0f);
    if extended {
        payload += 4 + 4 * usize::from(u16::from_be_bytes([*packet.get(payload + 2)?, *packet.get(payload + 3)?]));
    }
    let mut unit = |header: &mut u8| match *header & 0x1f {
        SLICE | KEY_SLICE => *sliced = Some(time),
        6..=9 if *sliced == Some(time) => *header = *header & 0xe0 | FILLER,
        _ => {}
    };
    match packet.get(payload)? & 0x1f {
        STAP_A => {
            let mut at = payload + 1;
            while at + 2 < packet.len() {
                let size = usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
                unit(&mut packet[at + 2]);
                at += 2 + size;
            }
        }
        FU_A => unit(&mut packet.get(payload + 1).map(|header| header & 0x1f)?),
        _ => unit(packet.get_mut(payload)?),
    }
    Some(())
}

/// Lets a depayloader with `wait-for-keyframe` and `request-keyframe` ask until a frame comes.
pub fn ask_until_a_frame_comes(sink: &gst::Pad, src: &gst::Pad) {
    let (start, waits) = (Instant::now(), Arc::new(Mutex::new(KeyframeWait::default())));
    let shown = Arc::clone(&waits);
    sink.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |pad, info| {
        let first = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => Some(buffer.flags()),
            Some(gst::PadProbeData::BufferList(list)) => list.get(0).map(|buffer| buffer.flags()),
            _ => None,
        };
        let lost = first.is_some_and(|flags| flags.contains(gst::BufferFlags::DISCONT));
        if waits.lock().is_ok_and(|mut waits| waits.packet(start.elapsed(), lost)) {
            pad.push_event(video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
        gst::PadProbeReturn::Ok
    });
    src.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if let Ok(mut waits) = shown.lock() {
            waits.frame();
        }
        gst::PadProbeReturn::Ok
    });
}

/// How an access unit begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With the first slice of a key frame.
    KeyFrame,
    /// With the first slice of another frame.
    Frame,
    /// With a later slice: what comes before it is missing.
    Middle,
    /// There is no slice in it.
    NoSlice,
}

/// Leaves out what comes before the first whole key frame at a pad with whole access units in the byte-stream format.
pub fn begin_with_key_frame(pad: &gst::Pad) {
    let state = Mutex::new((true, None::<Instant>));
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else { return gst::PadProbeReturn::Ok };
        let start = buffer.map_readable().map_or(Start::NoSlice, |unit| start(&unit));
        let Ok(mut state) = state.lock() else { return gst::PadProbeReturn::Ok };
        let (waits, asked) = &mut *state;
        *waits = match start {
            Start::KeyFrame => false,
            Start::Middle => true,
            Start::Frame | Start::NoSlice => *waits,
        };
        if !*waits || start == Start::NoSlice {
            return gst::PadProbeReturn::Ok;
        }
        let ask = asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN);
        if ask {
            *asked = Some(Instant::now());
        }
        // Asking may come back here on this thread.
        drop(state);
        if ask {
            pad.send_event(video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
        gst::PadProbeReturn::Drop
    });
}

fn start(unit: &[u8]) -> Start {
    let begins = unit.windows(3).enumerate().filter(|(_, three)| *three == [0, 0, 1]).map(|(at, _)| at + 3);
    for at in begins {
        let (Some(header), Some(first)) = (unit.get(at), unit.get(at + 1)) else { break };
        // ITU-T H.264, 7.3.3: a slice header begins with first_mb_in_slice, of which 0 is coded as a single 1.
        let is_first = first & 0x80 != 0;
        match (header & 0x1f, is_first) {
            (KEY_SLICE, true) => return Start::KeyFrame,
            (SLICE, true) => return Start::Frame,
            (SLICE | KEY_SLICE, false) => return Start::Middle,
            _ => {}
        }
    }
    Start::NoSlice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_an_access_unit_begins() {
        let sps = [0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f];
        let unit = |slices: &[&[u8]]| {
            let mut unit = sps.to_vec();
            slices.iter().for_each(|slice| unit.extend([&[0, 0, 1], *slice].concat()));
            start(&unit)
        };
        assert_eq!(unit(&[&[0x65, 0x88, 0x84], &[0x65, 0x0a]]), Start::KeyFrame);
        assert_eq!(unit(&[&[0x65, 0x0a]]), Start::Middle);
        assert_eq!(unit(&[&[0x41, 0x9a]]), Start::Frame);
        assert_eq!(unit(&[&[0x41, 0x1a]]), Start::Middle);
        assert_eq!(unit(&[]), Start::NoSlice);
        assert_eq!(start(&[0, 0, 1]), Start::NoSlice);
    }

    /// Frames that pass of a stream whose first packets are missing.
    fn passed(missing: usize) -> Vec<Start> {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(
            "videotestsrc num-buffers=30 pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 \
             ! x264enc tune=zerolatency speed-preset=ultrafast threads=4 key-int-max=10 bitrate=1000 \
             ! rtph264pay name=pay mtu=1200 config-interval=-1 aggregate-mode=zero-latency \
             ! rtph264depay name=depay wait-for-keyframe=true ! video/x-h264,stream-format=byte-stream,alignment=au \
             ! appsink name=out sync=false",
        );
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let pad = |name: &str| pipeline.by_name(name).unwrap().static_pad("src").unwrap();
        let seen = Mutex::new(0);
        pad("pay").add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
            let mut seen = seen.lock().unwrap();
            if let Some(gst::PadProbeData::BufferList(list)) = &mut info.data {
                list.make_mut().foreach_mut(|buffer, _| {
                    *seen += 1;
                    if *seen > missing { ControlFlow::Continue(Some(buffer)) } else { ControlFlow::Continue(None) }
                });
                return gst::PadProbeReturn::Ok;
            }
            *seen += 1;
            if *seen > missing { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
        });
        keep_frames_together(&pipeline.by_name("depay").unwrap().static_pad("sink").unwrap());
        begin_with_key_frame(&pad("depay"));
        let out = pipeline.by_name("out").unwrap().downcast::<gstreamer_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut starts = Vec::new();
        while let Ok(sample) = out.pull_sample() {
            starts.push(start(&sample.buffer().unwrap().map_readable().unwrap()));
        }
        pipeline.set_state(gst::State::Null).unwrap();
        starts
    }

    #[test]
    fn parameter_sets_within_a_frame_become_filler() {
        let packet = |time: u8, payload: &[u8]| [&[0x80, 96, 0, 1, 0, 0, 0, time, 0, 0, 0, 1], payload].concat();
        let mut sliced = None;
        let mut filled = |time, payload: &[u8]| {
            let mut packet = packet(time, payload);
            let _ = fill(&mut packet, &mut sliced);
            packet[12..].to_vec()
        };
        assert_eq!(filled(1, &[0x67, 1]), [0x67, 1], "before the first slice");
        assert_eq!(filled(1, &[0x7c, 0x85, 9]), [0x7c, 0x85, 9], "a key slice in fragments");
        assert_eq!(
            filled(1, &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1, 0, 2, 0x65, 8]),
            [0x78, 0, 2, 0x6c, 1, 0, 2, 0x6c, 1, 0, 2, 0x65, 8]
        );
        assert_eq!(filled(1, &[0x68, 1]), [0x6c, 1]);
        assert_eq!(filled(2, &[0x67, 1]), [0x67, 1], "the next frame");
        for cut in 0..16 {
            let mut short = packet(1, &[0x78, 0, 9, 0x67])[..cut].to_vec();
            let _ = fill(&mut short, &mut Some([0, 0, 0, 1]));
        }
    }

    #[test]
    fn a_stream_begins_with_a_whole_key_frame() {
        assert_eq!(passed(0).len(), 30);
        // Nine frames are waited for the second key frame, once the first slice of the first is missing.
        let late: Vec<Start> = passed(6).into_iter().filter(|start| *start != Start::NoSlice).collect();
        assert!(late.len() == 20 && late[0] == Start::KeyFrame, "{late:?}");
    }
}
