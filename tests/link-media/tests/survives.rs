//! The codes survive the encoders at the lowest bitrates that a call comes down to.

#![allow(clippy::unwrap_used)]

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use kiosk_proto::encoder::{BitrateControl, ENCODERS};
use kiosk_proto::timecode::{Code, PERIOD_US, ToneReader, ToneSource, read, stamp};

const FRAMES: usize = 90;

/// Runs buffers through a pipeline from `in` to `out`.
fn through(description: &str, caps: &str, buffers: Vec<Vec<u8>>, duration: gst::ClockTime) -> Vec<Vec<u8>> {
    gst::init().unwrap();
    let text = format!("appsrc name=in format=time caps={caps} ! {description} ! appsink name=out sync=false");
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("in").unwrap().downcast::<app::AppSrc>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<app::AppSink>().unwrap();
    source.set_max_bytes(0);
    pipeline.set_state(gst::State::Playing).unwrap();
    for (number, bytes) in buffers.into_iter().enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        buffer.get_mut().unwrap().set_pts(duration * number as u64);
        buffer.get_mut().unwrap().set_duration(duration);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut out = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        out.push(sample.buffer().unwrap().map_readable().unwrap().to_vec());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    out
}

/// A picture in which everything moves a little, so that little is left for the strip.
fn picture(width: usize, height: usize, number: usize) -> Vec<u8> {
    let mut picture = vec![128; width * height * 3 / 2];
    for (position, luma) in picture[..width * height].iter_mut().enumerate() {
        let (x, y) = ((position % width * 1280 / width) as f64, (position / width * 720 / height) as f64);
        let wave = ((x + 2.0 * number as f64) / 61.0).sin() * ((y - number as f64) / 47.0).cos();
        *luma = (125.0 + 60.0 * wave) as u8;
    }
    stamp(&mut picture, width, width, height, Code::new(number as u64 * 33 + 77_777, Some(number as u16)));
    picture
}

#[test]
fn a_moving_picture_at_150_kilobits_keeps_its_code() {
    let spec = ENCODERS.iter().find(|spec| spec.element == "x264enc").unwrap();
    let BitrateControl::Property(name, unit) = spec.bitrate else { panic!("x264enc has a bitrate") };
    let properties: String = spec.properties.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    let encoder = format!("x264enc {name}={} {properties}", unit.from_bits_per_second(150_000));
    for (width, height) in [(1280, 720), (640, 360)] {
        let sent = (0..FRAMES).map(|number| picture(width, height, number)).collect();
        let caps = format!("video/x-raw,format=I420,width={width},height={height},framerate=30/1");
        let chain =
            format!("{encoder} ! h264parse ! avdec_h264 max-threads=1 ! videoconvert ! video/x-raw,format=I420");
        let got = through(&chain, &caps, sent, gst::ClockTime::SECOND / 30);
        assert_eq!(got.len(), FRAMES);
        let mut unread = Vec::<usize>::new();
        // At this bitrate the first key frame is little more than one grey.
        for (number, picture) in got.iter().enumerate().skip(15) {
            let expected = Code::new(number as u64 * 33 + 77_777, Some(number as u16));
            if read(picture, width, width, height) != Some(expected) {
                unread.push(number);
            }
        }
        assert_eq!(unread, Vec::<usize>::new(), "{width}x{height}");
    }
}

#[test]
fn tones_at_the_lowest_bitrate_of_speech_are_found() {
    let first_us = 1_000 * PERIOD_US + 31_000;
    let mut samples = vec![0_i16; 48_000 * 3];
    ToneSource.fill(first_us, &mut samples);
    let pieces = samples.chunks(480).map(|piece| piece.iter().flat_map(|sample| sample.to_le_bytes()).collect());
    for bits_per_second in [12_000, 24_000, 64_000] {
        let chain = format!(
            "opusenc audio-type=voice frame-size=20 bitrate={bits_per_second} ! opusdec ! audioconvert ! audio/x-raw,format=S16LE,rate=48000,channels=1"
        );
        let got = through(
            &chain,
            "audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved",
            pieces.clone().collect(),
            gst::ClockTime::from_mseconds(10),
        );
        let (mut reader, mut tones, mut at) = (ToneReader::default(), Vec::new(), 0);
        for piece in got {
            let piece: Vec<i16> = piece.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
            tones.extend(reader.push(first_us + at * 1_000_000 / 48_000, &piece));
            at += piece.len() as u64;
        }
        // 24 begin in that time.
        assert!(tones.len() >= 22, "{} tones at {bits_per_second} bit/s", tones.len());
        for tone in &tones {
            assert!(tone.heard_us - tone.sent_us <= 15_000, "{tone:?} at {bits_per_second} bit/s");
        }
        let delays: Vec<u64> = tones.iter().map(|tone| (tone.heard_us - tone.sent_us) / 1000).collect();
        println!(
            "{bits_per_second} bit/s: {} tones, {:?} to {:?} ms",
            tones.len(),
            delays.iter().min(),
            delays.iter().max()
        );
    }
}
