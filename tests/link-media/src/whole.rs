//! Lets a stream of H.264 begin, and begin again after a loss, only with a whole key frame.
//!
//! GStreamer's depayloader takes the second slice of a key frame for a key frame when the first was lost, or was sent
//! before we came. The decoder then shows half a picture until the next one, which a browser does not.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;

/// A key frame is asked for again when it has not come within this.
const ASK_AGAIN: Duration = Duration::from_millis(300);

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
            (5, true) => return Start::KeyFrame,
            (1, true) => return Start::Frame,
            (1 | 5, false) => return Start::Middle,
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
}
