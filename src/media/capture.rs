//! One opening of the camera, or of what stands in for it.

use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;
use kiosk_proto::camera::{Event, OpenFailure};
use kiosk_proto::config::{Camera as Config, CameraSource};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

use super::camera::Report;
use super::port::{self, Inlet};
use super::recording::Recording;
use super::{MediaError, explain, named, pipeline, timecode, v4l2};

/// How often the thread looks whether it is to stop, when nobody can wake it.
const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// How long what is closed is waited for.
const LET_GO: Duration = Duration::from_secs(1);
/// No picture is older when it leaves the capture; a time stamp that says so is wrong.
const MOST_AGE: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// A capture under way, on a thread of its own: a driver that hangs hangs no other part.
#[derive(Debug)]
pub struct Capture {
    name: String,
    stop: mpsc::Sender<()>,
    /// Where the thread waits, once it does.
    bus: Arc<OnceLock<gst::Bus>>,
    /// Nothing is ever sent: its other end goes with the thread.
    ended: oneshot::Receiver<()>,
}

/// What messages call the source of pictures.
pub fn name(config: &Config) -> String {
    match (config.source, &config.file) {
        (CameraSource::V4l2, _) => "camera".to_owned(),
        (CameraSource::File, Some(file)) => file.display().to_string(),
        (CameraSource::File, None) | (CameraSource::Test, _) => "test pattern".to_owned(),
    }
}

impl Capture {
    /// Begins; how it goes is reported.
    pub fn open(config: Config, inlet: Inlet, report: Report) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (thread, ended) = oneshot::channel();
        let (name, bus) = (name(&config), Arc::default());
        let (failed, waits_at) = (report.clone(), Arc::clone(&bus));
        let run = move || {
            let _thread: oneshot::Sender<()> = thread;
            run(&config, &inlet, &report, &stopped, &waits_at);
        };
        if let Err(error) = thread::Builder::new().name("capture".to_owned()).spawn(run) {
            failed.event(Event::OpenFailed(OpenFailure::Device, error.to_string()));
        }
        Self { name, stop, bus, ended }
    }

    /// Ends it. Returns when the device is closed, so that it can be opened again; a driver that hangs is left behind.
    pub async fn close(self) {
        let name = self.name.clone();
        if !self.ends_within(LET_GO).await {
            warn!(source = %name, "the capture does not end; its thread is left behind");
        }
    }

    /// Tells it to end. Whether it has, in time.
    async fn ends_within(self, at_most: Duration) -> bool {
        let _ = self.stop.send(());
        if let Some(bus) = self.bus.get() {
            let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty("stop")));
        }
        timeout(at_most, self.ended).await.is_ok()
    }
}

fn run(config: &Config, inlet: &Inlet, report: &Report, stopped: &mpsc::Receiver<()>, waits_at: &OnceLock<gst::Bus>) {
    let (pipeline, mut feed) = match build(config, inlet, report) {
        Ok(built) => built,
        Err((failure, text)) => return report.event(Event::OpenFailed(failure, text)),
    };
    if let Err(text) = start(&pipeline) {
        return report.event(Event::OpenFailed(OpenFailure::Device, text));
    }
    report.event(Event::Opened);
    let Some(bus) = pipeline.bus() else { return };
    let bus = waits_at.get_or_init(|| bus);
    let wanted = [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::Application];
    while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
        // What is fed sets the pace itself.
        let wait = if feed.is_some() { gst::ClockTime::ZERO } else { POLL };
        if let Some(Err(error)) = feed.as_mut().map(Feed::pass_on) {
            report.event(Event::Error(error));
            break;
        }
        let Some(message) = bus.timed_pop_filtered(wait, &wanted) else {
            continue;
        };
        match message.view() {
            gst::MessageView::Eos(_) if rewind(&pipeline).is_err() => {
                report.event(Event::Error("the recording can't be played again".to_owned()));
                break;
            }
            gst::MessageView::Error(error) => {
                report.event(Event::Error(explain(error)));
                break;
            }
            _ => {}
        }
    }
    let _ = pipeline.set_state(gst::State::Null);
}

/// From the camera's driver, or from an uncompressed recording, into the pipeline.
struct Feed {
    pictures: Pictures,
    entrance: app::AppSrc,
}

enum Pictures {
    Camera(v4l2::Pictures),
    Recording(Recording),
}

impl Feed {
    /// One picture, if there is one soon.
    fn pass_on(&mut self) -> Result<(), String> {
        let picture = match &mut self.pictures {
            Pictures::Camera(camera) => camera.next(POLL.into()).map_err(|error| error.to_string())?,
            Pictures::Recording(recording) => recording.next(POLL.into()).map_err(|error| error.to_string())?,
        };
        if let Some(picture) = picture {
            // A pipeline that has failed says so on its bus.
            let _ = self.entrance.push_buffer(picture);
        }
        Ok(())
    }
}

fn start(pipeline: &gst::Pipeline) -> Result<(), String> {
    if pipeline.set_state(gst::State::Playing).is_ok() {
        return Ok(());
    }
    let message = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    let _ = pipeline.set_state(gst::State::Null);
    Err(match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => explain(error),
        _ => "does not start".to_owned(),
    })
}

/// A recording starts over, and with it the time by which it is played.
fn rewind(pipeline: &gst::Pipeline) -> Result<(), gst::glib::BoolError> {
    let refused = |_| gst::glib::bool_error!("the pipeline does not change its state");
    pipeline.set_state(gst::State::Paused).map_err(refused)?;
    pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT, gst::ClockTime::ZERO)?;
    pipeline.set_start_time(gst::ClockTime::ZERO);
    pipeline.set_state(gst::State::Playing).map(drop).map_err(refused)
}

type Built = (gst::Pipeline, Option<Feed>);

fn build(config: &Config, inlet: &Inlet, report: &Report) -> Result<Built, (OpenFailure, String)> {
    let mut pictures = None;
    let front = match config.source {
        CameraSource::V4l2 => {
            let (front, camera) = v4l2::open(config).map_err(|error| (error.kind(), error.to_string()))?;
            pictures = Some(Pictures::Camera(camera));
            format!("{front} ! videorate drop-only=true")
        }
        CameraSource::File => {
            let file = config.file.clone().unwrap_or_default();
            if !file.is_file() {
                return Err((OpenFailure::NotFound, "there is no such recording".to_owned()));
            }
            match Recording::open(&file, config).map_err(|error| (OpenFailure::Device, error.to_string()))? {
                Some(recording) => {
                    pictures = Some(Pictures::Recording(recording));
                    "appsrc name=camera".to_owned()
                }
                None => "filesrc name=file ! decodebin ! videorate ! identity sync=true".to_owned(),
            }
        }
        CameraSource::Test => "videotestsrc is-live=true pattern=smpte horizontal-speed=2".to_owned(),
    };
    let refused = |error: MediaError| (OpenFailure::Device, error.to_string());
    let pipeline = pipeline(&format!(
        "{front} ! videoconvert ! videoscale add-borders=true ! capsfilter name=size ! fakesink name=out"
    ))
    .map_err(refused)?;
    if let (Some(source), Some(file)) = (pipeline.by_name("file"), &config.file) {
        source.set_property("location", file.display().to_string());
    }
    let mut caps = port::video_caps(config.width, config.height, config.frames_per_second);
    if config.source == CameraSource::V4l2
        && let Some(structure) = caps.make_mut().structure_mut(0)
    {
        // A camera in the dark slows down; its frames are passed on as they come.
        structure.remove_field("framerate");
    }
    named::<gst::Element>(&pipeline, "size").map_err(refused)?.set_property("caps", caps);
    let out: gst::Element = named(&pipeline, "out").map_err(refused)?;
    let frames = report.clone();
    if config.time_code {
        stamp(&out, config, inlet.clone(), frames).map_err(refused)?;
    } else {
        port::exit(&out, inlet.clone(), move |_| frames.frame()).map_err(refused)?;
    }
    let feed = match pictures {
        Some(pictures) => {
            let entrance: app::AppSrc = named(&pipeline, "camera").map_err(refused)?;
            if let Pictures::Recording(_) = pictures {
                let caps = port::video_caps(config.width, config.height, config.frames_per_second);
                port::entrance(&entrance, Some(&caps), 2);
            }
            Some(Feed { pictures, entrance })
        }
        None => None,
    };
    info!(source = %name(config), "capture opens");
    Ok((pipeline, feed))
}

/// Every picture gets a code with the time of its capture.
fn stamp(out: &gst::Element, config: &Config, inlet: Inlet, frames: Report) -> Result<(), MediaError> {
    let info = video::VideoInfo::from_caps(&port::video_caps(config.width, config.height, config.frames_per_second))?;
    warn!("every picture carries a time code (camera.time_code): for measuring, not for customers");
    let (sink, from_camera) = (out.downgrade(), config.source == CameraSource::V4l2);
    port::exit_through(out, inlet, move |picture| {
        frames.frame();
        // A camera's picture was decoded and scaled since; the others are captured as they come out here.
        let now = sink.upgrade().filter(|_| from_camera).and_then(|sink| sink.current_running_time());
        let age = picture.pts().zip(now).map_or(gst::ClockTime::ZERO, |(captured, now)| now.saturating_sub(captured));
        timecode::picture(picture, &info, age.min(MOST_AGE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::meter::Meter;
    use std::time::Instant;

    #[test]
    fn a_recording_of_any_kind_is_played_again_at_its_end() {
        gst::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("short.mkv");
        let recorder = pipeline(&format!(
            "videotestsrc num-buffers=5 ! video/x-raw,width=64,height=48,framerate=30/1 ! jpegenc ! matroskamux \
             ! filesink location={}",
            file.display()
        ))
        .unwrap();
        recorder.set_state(gst::State::Playing).unwrap();
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = recorder.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(10), &ends).unwrap();
        assert_eq!(end.type_(), gst::MessageType::Eos);
        recorder.set_state(gst::State::Null).unwrap();

        let behind = pipeline("appsrc name=in ! fakesink name=end sync=false").unwrap();
        let (entry, inlet, meter): (app::AppSrc, _, _) =
            (named(&behind, "in").unwrap(), Inlet::default(), Meter::default());
        port::entrance(&entry, None, 30);
        meter.watch(&named::<gst::Element>(&behind, "end").unwrap().static_pad("sink").unwrap());
        inlet.lead_to(Some(entry));
        behind.set_state(gst::State::Playing).unwrap();
        let config =
            Config { source: CameraSource::File, file: Some(file), width: 64, height: 48, ..Config::default() };
        let (report, _events) = Report::alone();
        let begin = Instant::now();
        let capture = Capture::open(config, inlet, report);
        while meter.buffers() < 18 {
            assert!(begin.elapsed() < Duration::from_secs(20), "{} pictures", meter.buffers());
            thread::sleep(Duration::from_millis(10));
        }
        assert!(begin.elapsed() > Duration::from_millis(350), "18 pictures of 33 ms in {:?}", begin.elapsed());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(capture.ends_within(Duration::from_secs(20))), "it had to be left behind");
        behind.set_state(gst::State::Null).unwrap();
    }
}
