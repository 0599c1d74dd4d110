//! The codes of a measurement, put into picture and sound at the moment they enter the machine. Their form is
//! `kiosk_proto::timecode`; the clock is CLOCK_MONOTONIC.

use std::sync::{Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_video as video;
use kiosk_proto::timecode::{self, Code, SAMPLE_RATE, ToneSource};

/// What takes the place of the microphone: silence in pieces of 10 ms, in the pace of the clock, for [`sound`].
pub const SILENCE: &str = "audiotestsrc name=tones is-live=true wave=silence samplesperbuffer=480";
/// The time that the tones are behind is made up for when it is more than this: the machine was held up.
const SLIP_US: u64 = 15_000;

fn now_us() -> u64 {
    u64::try_from(glib::monotonic_time()).unwrap_or(0)
}

/// Writes the code into a picture that was captured `age` ago. A recording that was made for it carries the number of
/// each of its frames in the same strip; that stays.
pub fn picture(mut buffer: gst::Buffer, info: &video::VideoInfo, age: gst::ClockTime) -> gst::Buffer {
    let captured_ms = now_us().saturating_sub(age.useconds()) / 1000;
    let (stride, width, height) = (info.stride()[0] as usize, info.width() as usize, info.height() as usize);
    if let Ok(mut picture) = buffer.make_mut().map_writable() {
        let index = timecode::read(&picture, stride, width, height).and_then(|code| code.index);
        timecode::stamp(&mut picture, stride, width, height, Code::new(captured_ms, index));
    }
    buffer
}

/// Writes the tones into the sound that leaves a pad, S16 at 48 kHz, one channel: as a microphone would hear them, the
/// last sample of a buffer now.
pub fn sound(pad: &gst::Pad) {
    let next_us = Mutex::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else { return gst::PadProbeReturn::Ok };
        let buffer = buffer.make_mut();
        // The source marks its silence as a gap, and what converts sound makes zeros of a gap.
        buffer.unset_flags(gst::BufferFlags::GAP);
        if let Ok(mut bytes) = buffer.map_writable() {
            let mut samples = vec![0; bytes.len() / 2];
            let length_us = samples.len() as u64 * 1_000_000 / u64::from(SAMPLE_RATE);
            let first_us = now_us().saturating_sub(length_us);
            let mut next_us = next_us.lock().unwrap_or_else(PoisonError::into_inner);
            // Without gaps, as long as the pace is the clock's.
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
    use crate::media::{named, pipeline, port};
    use gstreamer_app as app;
    use kiosk_proto::timecode::ToneReader;

    #[test]
    fn a_picture_says_when_it_was_captured_and_keeps_its_number() {
        gst::init().unwrap();
        let info = video::VideoInfo::from_caps(&port::video_caps(642, 360, 30)).unwrap();
        let (stride, width, height) = (info.stride()[0] as usize, 642, 360);
        let mut plane = vec![77; info.size()];
        timecode::stamp(&mut plane, stride, width, height, Code::new(0, Some(42)));
        let before = now_us() / 1000;
        let stamped = picture(gst::Buffer::from_slice(plane), &info, gst::ClockTime::from_mseconds(100));
        let code = timecode::read(&stamped.map_readable().unwrap(), stride, width, height).unwrap();
        assert_eq!(code.index, Some(42));
        let captured = timecode::capture_time_ms(code, before + 1000);
        assert!((before - 100..before).contains(&captured), "{captured} {before}");
    }

    #[test]
    fn the_tones_come_in_the_pace_of_the_clock_and_survive_a_conversion() {
        gst::init().unwrap();
        let pipeline = pipeline(&format!(
            "{SILENCE} ! audio/x-raw,format=S16LE,rate=48000,channels=1 ! audioconvert ! audio/x-raw,channels=2 \
             ! audioconvert ! audio/x-raw,format=S16LE,channels=1 ! appsink name=out sync=false"
        ))
        .unwrap();
        sound(&named::<gst::Element>(&pipeline, "tones").unwrap().static_pad("src").unwrap());
        let out: app::AppSink = named(&pipeline, "out").unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let (mut reader, mut tones) = (ToneReader::default(), Vec::new());
        // Four in a row; on a busy machine one may be missed.
        let in_pace = |tones: &[timecode::Tone]| {
            let last = tones.get(tones.len().saturating_sub(4)..).unwrap_or_default();
            last.len() == 4 && last.windows(2).all(|two| two[1].sent_us - two[0].sent_us == timecode::PERIOD_US)
        };
        // Pieces of 10 ms.
        let mut pieces = 0..3000;
        while !in_pace(&tones) {
            assert!(pieces.next().is_some() && tones.len() < 100, "{tones:?}");
            let sample = out.try_pull_sample(gst::ClockTime::from_seconds(5)).unwrap();
            let map = sample.buffer().unwrap().map_readable().unwrap();
            let samples: Vec<i16> = map.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
            tones.extend(reader.push(now_us(), &samples));
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
