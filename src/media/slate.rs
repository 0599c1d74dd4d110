//! The picture that the agent sees while the camera is unavailable.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;

use super::{MediaError, named, pipeline, port};

const PICTURE: &[u8] = include_bytes!("slate.png");
const TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Decodes the picture in the call's size. Blocks for some milliseconds.
///
/// # Errors
/// When GStreamer's PNG decoder is not installed.
pub fn render(width: u32, height: u32, frames_per_second: u32) -> Result<gst::Buffer, MediaError> {
    let pipeline = pipeline(
        "appsrc name=in ! pngdec ! videoconvert ! videoscale add-borders=true ! capsfilter name=size ! appsink name=out sync=false",
    )?;
    let (source, sink): (app::AppSrc, app::AppSink) = (named(&pipeline, "in")?, named(&pipeline, "out")?);
    let mut caps = port::video_caps(width, height, frames_per_second);
    // One picture has no rate.
    if let Some(structure) = caps.make_mut().structure_mut(0) {
        structure.remove_field("framerate");
    }
    named::<gst::Element>(&pipeline, "size")?.set_property("caps", &caps);
    source.set_caps(Some(&gst::Caps::builder("image/png").field("framerate", gst::Fraction::new(0, 1)).build()));
    pipeline.set_state(gst::State::Playing)?;
    let pushed = source.push_buffer(gst::Buffer::from_slice(PICTURE)).and_then(|_| source.end_of_stream());
    let sample = sink.try_pull_sample(TIMEOUT);
    let _ = pipeline.set_state(gst::State::Null);
    let buffer = sample.and_then(|sample| sample.buffer_owned());
    match (pushed, buffer) {
        (Ok(_), Some(buffer)) => Ok(buffer),
        _ => Err(MediaError::Refused("the substitute picture could not be decoded".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_in_every_size_that_a_call_has() {
        gst::init().unwrap();
        for (width, height) in [(1280, 720), (640, 360), (320, 240)] {
            let buffer = render(width, height, 30).unwrap();
            assert_eq!(buffer.size(), (width * height * 3 / 2) as usize);
            let map = buffer.map_readable().unwrap();
            let luma = &map[..(width * height) as usize];
            assert!(luma.iter().any(|y| *y > 200) && luma.iter().any(|y| *y < 60), "writing on a dark ground");
        }
    }
}
