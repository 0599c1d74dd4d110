//! The pictures of an open camera, read from the driver.
//!
//! Not by `v4l2src`: in GStreamer 1.22 it leaves a descriptor of the device behind each time it is closed, so that the
//! camera stays open after the call, and a camera that was unplugged never comes back under its number.

use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as video;
use kiosk_proto::camera::{Encoding, FrameRate, Mode};
use nix::errno::Errno;
use nix::libc::POLLIN;
use tracing::warn;
use v4l::buffer::{Flags, Type};
use v4l::io::mmap::Stream as Mapped;
use v4l::io::traits::{CaptureStream as _, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Format, FourCC, Fraction};

use super::CameraError;
use super::device::{CameraInfo, Opened};

/// Enough to bridge a short delay of this process; more would only make pictures old.
const BUFFERS: u32 = 4;

/// A camera that delivers pictures.
pub struct Pictures {
    camera: Opened,
    layout: Layout,
    // Its `Drop` panics when the driver refuses to stop, so ours decides.
    stream: ManuallyDrop<Mapped<'static>>,
    buffers: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The driver has no buffer.
    Stopped,
    /// It has all of them.
    Started,
    /// It has all but the one that was read last.
    Running,
}

impl Pictures {
    /// Sets the mode and takes the driver's buffers, which fails while another program streams from the camera.
    pub(super) fn new(camera: Opened, mode: &Mode) -> Result<Self, CameraError> {
        let format = Format::new(mode.width, mode.height, FourCC::new(&mode.fourcc.0));
        let set = camera.handle.set_format(&format).map_err(|source| camera.refused("setting its format", source))?;
        let FrameRate { numerator, denominator } = mode.frame_rate;
        let interval = Parameters::new(Fraction::new(denominator, numerator));
        // A camera with one rate need not take it.
        if let Err(source) = camera.handle.set_params(&interval)
            && !matches!(source.raw_os_error().map(Errno::from_raw), Some(Errno::ENOTTY | Errno::EINVAL))
        {
            return Err(camera.refused("setting its frame rate", source));
        }
        let mut stream = Mapped::with_buffers(&camera.handle, Type::VideoCapture, BUFFERS)
            .map_err(|source| camera.refused("asking for buffers", source))?;
        stream.set_timeout(Duration::from_secs(1));
        let layout = Layout::of(mode, set.stride);
        Ok(Self { camera, layout, stream: ManuallyDrop::new(stream), buffers: 0, state: State::Stopped })
    }

    /// Which camera it is.
    pub fn info(&self) -> &CameraInfo {
        &self.camera.info
    }

    /// The next picture; `None` if there is none after `wait`, or a damaged one.
    ///
    /// # Errors
    /// The camera is gone, or failed.
    pub fn next(&mut self, wait: Duration) -> Result<Option<gst::Buffer>, CameraError> {
        self.read(wait).map_err(|source| self.camera.refused("reading a picture", source))
    }

    fn read(&mut self, wait: Duration) -> io::Result<Option<gst::Buffer>> {
        if self.state == State::Stopped {
            // How many there are is known by asking for one too many.
            while self.stream.queue(self.buffers).is_ok() {
                self.buffers += 1;
            }
            self.stream.start()?;
            self.state = State::Started;
        }
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        match self.stream.handle().poll(POLLIN, wait) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.state == State::Started {
            // The first is dark or torn with many cameras, and `next` gives a buffer back before it takes one.
            self.stream.dequeue()?;
            self.state = State::Running;
            return Ok(None);
        }
        let (bytes, about) = self.stream.next()?;
        let used = usize::try_from(about.bytesused).unwrap_or(usize::MAX).min(bytes.len());
        if about.flags.contains(Flags::ERROR) {
            return Ok(None);
        }
        Ok(self.layout.buffer(&bytes[..used]))
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        let stopped = if self.state == State::Stopped { Ok(()) } else { self.stream.stop() };
        match stopped.map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
            // SAFETY: it is not used after this.
            Ok(()) | Err(Some(Errno::ENODEV)) => unsafe { ManuallyDrop::drop(&mut self.stream) },
            Err(error) => warn!(?error, "{}: the driver does not stop; its buffers are left behind", self.camera.info),
        }
    }
}

/// How the pictures of a mode lie in memory.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    /// What GStreamer calls the format, with where each plane begins and how long its lines are; `None` for JPEG.
    planes: Option<(video::VideoFormat, Vec<usize>, Vec<i32>)>,
    width: u32,
    height: u32,
    /// A picture with fewer bytes was cut.
    least: usize,
}

impl Layout {
    /// `stride` is what the driver says, in bytes.
    fn of(mode: &Mode, stride: u32) -> Self {
        let (line, lines) = (stride as usize, mode.height as usize);
        let chroma = lines.div_ceil(2);
        let packed = |format| (format, vec![0], vec![line], line * lines);
        let planes = match mode.fourcc.encoding() {
            Some(Encoding::Yuyv) => Some(packed(video::VideoFormat::Yuy2)),
            Some(Encoding::Uyvy) => Some(packed(video::VideoFormat::Uyvy)),
            Some(Encoding::Nv12) => {
                Some((video::VideoFormat::Nv12, vec![0, line * lines], vec![line, line], line * (lines + chroma)))
            }
            Some(Encoding::I420) => {
                let (luma, half) = (line * lines, line / 2);
                let offsets = vec![0, luma, luma + half * chroma];
                Some((video::VideoFormat::I420, offsets, vec![line, half, half], luma + 2 * half * chroma))
            }
            Some(Encoding::Jpeg) | None => None,
        };
        let least = planes.as_ref().map_or(1, |(.., size)| *size);
        let planes = planes.map(|(format, offsets, strides, _)| {
            (format, offsets, strides.into_iter().map(|stride| i32::try_from(stride).unwrap_or(i32::MAX)).collect())
        });
        Self { planes, width: mode.width, height: mode.height, least }
    }

    /// A copy, since the driver needs its memory back; `None` for a picture that was cut.
    fn buffer(&self, bytes: &[u8]) -> Option<gst::Buffer> {
        if bytes.len() < self.least {
            return None;
        }
        let mut buffer = gst::Buffer::from_slice(bytes.to_vec());
        if let Some((format, offsets, strides)) = &self.planes {
            let flags = video::VideoFrameFlags::empty();
            let (width, height) = (self.width, self.height);
            video::VideoMeta::add_full(buffer.get_mut()?, flags, *format, width, height, offsets, strides).ok()?;
        }
        Some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;
    use gstreamer_app as app;

    use super::*;

    fn layout(fourcc: &[u8; 4], stride: u32) -> Layout {
        let frame_rate = FrameRate::per_second(30);
        Layout::of(&Mode { fourcc: kiosk_proto::camera::FourCc(*fourcc), width: 162, height: 120, frame_rate }, stride)
    }

    #[test]
    fn lines_are_as_long_as_the_driver_says() {
        gst::init().unwrap();
        let nv12 = layout(b"NV12", 192);
        let buffer = nv12.buffer(&vec![7; 192 * 180]).unwrap();
        let meta = buffer.meta::<video::VideoMeta>().unwrap();
        assert_eq!((meta.offset(), meta.stride()), ([0, 192 * 120].as_slice(), [192, 192].as_slice()));
        let i420 = layout(b"YU12", 192).planes.unwrap();
        assert_eq!((i420.1, i420.2), (vec![0, 192 * 120, 192 * 120 + 96 * 60], vec![192, 96, 96]));
    }

    /// What the front of the pipeline makes of a picture: I420.
    fn shown(mode: &Mode, picture: gst::Buffer) -> gst::Sample {
        let front = super::super::modes::entrance_description(mode);
        let pipeline = gst::parse::launch(&format!("{front} ! video/x-raw,format=I420 ! appsink name=out sync=false"));
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let entrance = pipeline.by_name("camera").unwrap().downcast::<app::AppSrc>().unwrap();
        entrance.push_buffer(picture).unwrap();
        let out = pipeline.by_name("out").unwrap().downcast::<app::AppSink>().unwrap();
        let sample = out.try_pull_sample(gst::ClockTime::from_seconds(5)).unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        sample
    }

    #[test]
    fn a_compressed_picture_and_one_with_padded_lines_are_shown() {
        gst::init().unwrap();
        let mode = |fourcc: &[u8; 4]| Mode {
            fourcc: kiosk_proto::camera::FourCc(*fourcc),
            width: 320,
            height: 240,
            frame_rate: FrameRate::per_second(30),
        };
        let camera =
            "videotestsrc num-buffers=1 pattern=white ! video/x-raw,width=320,height=240 ! jpegenc ! appsink name=out";
        let camera = gst::parse::launch(camera).unwrap().downcast::<gst::Pipeline>().unwrap();
        camera.set_state(gst::State::Playing).unwrap();
        let jpeg = camera.by_name("out").unwrap().downcast::<app::AppSink>().unwrap().pull_sample().unwrap();
        camera.set_state(gst::State::Null).unwrap();
        let jpeg = jpeg.buffer().unwrap().map_readable().unwrap().to_vec();

        // White in the lines, black in what pads them.
        let mut yuyv = vec![0; 704 * 240];
        yuyv.chunks_mut(704).for_each(|line| line[..640].as_chunks_mut::<2>().0.fill([235, 128]));

        for (mode, stride, bytes) in [(mode(b"MJPG"), 0, jpeg), (mode(b"YUYV"), 704, yuyv)] {
            let sample = shown(&mode, Layout::of(&mode, stride).buffer(&bytes).unwrap());
            let picture = sample.buffer().unwrap().map_readable().unwrap();
            assert_eq!(picture.len(), 320 * 240 * 3 / 2);
            assert!(picture[..320 * 240].iter().all(|luma| *luma > 225), "{}", mode.fourcc);
        }
    }

    #[test]
    fn a_picture_that_was_cut_is_left_out() {
        gst::init().unwrap();
        let yuyv = layout(b"YUYV", 324);
        assert!(yuyv.buffer(&vec![0; 324 * 120 - 1]).is_none());
        assert!(yuyv.buffer(&vec![0; 324 * 120]).is_some());
        assert!(layout(b"MJPG", 0).buffer(&[]).is_none());
        assert!(layout(b"MJPG", 0).buffer(&[0xff]).is_some());
    }
}
