//! Makes the recording that all peers send: 1280x720, 30 frames/s, each frame with its number in the strip of the code.

use std::path::Path;

use anyhow::{Context, Result};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use kiosk_proto::timecode::{Code, NO_INDEX, stamp};

use crate::y4m;

/// Pixels.
pub const SIZE: (usize, usize) = (1280, 720);
/// Frames per second.
pub const RATE: u32 = 30;
/// Of a picture generator, when there is no film: 2 s, with the way back 4.
const GENERATED: usize = 60;
/// Noise of a camera's sensor, which scaling took out of the film: standard deviation of the luma.
const GRAIN: f64 = 1.5;

/// Writes the recording. A film is cut to 16:9, scaled, and played forwards and backwards, so that it can be looped
/// without a jump. Without a film a picture generator gives moving shapes. Returns the number of frames.
///
/// # Errors
/// When the film can't be decoded or the file can't be written.
pub fn make(film: Option<&Path>, to: &Path) -> Result<usize> {
    gst::init()?;
    let frames = frames(film)?;
    let mut writer = y4m::Writer::create(to, SIZE.0, SIZE.1, RATE)?;
    let mut grain = Grain(1);
    let there_and_back = frames.iter().chain(frames.iter().rev().skip(1).take(frames.len().saturating_sub(2)));
    let mut count = 0;
    for (frame, index) in there_and_back.zip(0..NO_INDEX) {
        let mut picture = frame.clone();
        let luma = &mut picture[..SIZE.0 * SIZE.1];
        luma.iter_mut().for_each(|pixel| *pixel = grain.on(*pixel));
        stamp(luma, SIZE.0, SIZE.0, SIZE.1, Code::new(0, Some(index)));
        writer.write(&picture)?;
        count += 1;
    }
    writer.finish()?;
    Ok(count)
}

fn frames(film: Option<&Path>) -> Result<Vec<Vec<u8>>> {
    let source = match film {
        Some(_) => "filesrc name=film ! decodebin ! videoconvert ! aspectratiocrop aspect-ratio=16/9".to_owned(),
        None => format!("videotestsrc pattern=zone-plate kx2=3 ky2=3 kt=3 num-buffers={GENERATED} ! videoconvert"),
    };
    let (width, height) = SIZE;
    let pipeline = gst::parse::launch(&format!(
        "{source} ! videoscale method=lanczos ! video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1 \
         ! appsink name=out sync=false"
    ))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("not a pipeline")?;
    if let (Some(source), Some(film)) = (pipeline.by_name("film"), film) {
        source.set_property("location", film.display().to_string());
    }
    let sink = pipeline.by_name("out").and_then(|sink| sink.downcast::<app::AppSink>().ok()).context("no sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut frames = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        frames.push(sample.buffer().context("a sample without a picture")?.map_readable()?.to_vec());
    }
    pipeline.set_state(gst::State::Null)?;
    anyhow::ensure!(
        frames.len() > 1,
        "the film {} has no pictures that can be decoded",
        film.unwrap_or(Path::new("-")).display()
    );
    Ok(frames)
}

/// The same noise in every run.
struct Grain(u32);

impl Grain {
    fn on(&mut self, pixel: u8) -> u8 {
        // The sum of four bytes is near enough to a bell: mean 510, standard deviation 148.
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mixed = self.0 ^ self.0 >> 15;
        let sum: u32 = mixed.to_le_bytes().iter().map(|byte| u32::from(*byte)).sum();
        let noise = (f64::from(sum) - 510.0) / 148.0 * GRAIN;
        (f64::from(pixel) + noise).round().clamp(16.0, 235.0) as u8
    }
}
