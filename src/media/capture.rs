//! One opening of the camera, or of what stands in for it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;
use kiosk_proto::camera::{Event, OpenFailure};
use kiosk_proto::config::{Camera as Config, CameraSource};
use tracing::{info, warn};

use super::camera::Report;
use super::port::{self, Inlet};
use super::{MediaError, explain, named, pipeline, timecode, v4l2};

/// How often the thread looks whether it is to stop.
const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// No picture is older when it leaves the capture; a time stamp that says so is wrong.
const MOST_AGE: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// A capture under way, on a thread of its own: a driver that hangs hangs no other part.
#[derive(Debug)]
pub struct Capture {
    stop: mpsc::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
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
        let failed = report.clone();
        let thread =
            thread::Builder::new().name("capture".to_owned()).spawn(move || run(&config, &inlet, &report, &stopped));
        if let Err(error) = &thread {
            failed.event(Event::OpenFailed(OpenFailure::Device, error.to_string()));
        }
        Self { stop, thread: thread.ok() }
    }

    /// Ends it. Waits until the device is closed, so that it can be opened again.
    pub fn close(mut self) {
        let _ = self.stop.send(());
        let Some(thread) = self.thread.take() else { return };
        for _ in 0..20 {
            if thread.is_finished() {
                return;
            }
            thread::sleep(Duration::from_millis(25));
        }
        warn!("the camera's driver does not let go; its thread is left behind");
    }
}

fn run(config: &Config, inlet: &Inlet, report: &Report, stopped: &mpsc::Receiver<()>) {
    let (pipeline, mut feed) = match build(config, inlet, report) {
        Ok(built) => built,
        Err((failure, text)) => return report.event(Event::OpenFailed(failure, text)),
    };
    if let Err(text) = start(&pipeline) {
        return report.event(Event::OpenFailed(OpenFailure::Device, text));
    }
    report.event(Event::Opened);
    let Some(bus) = pipeline.bus() else { return };
    while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
        // A camera sets the pace itself.
        let wait = if feed.is_some() { gst::ClockTime::ZERO } else { POLL };
        if let Some(Err(error)) = feed.as_mut().map(Feed::pass_on) {
            report.event(Event::Error(error.to_string()));
            break;
        }
        let Some(message) = bus.timed_pop_filtered(wait, &[gst::MessageType::Error, gst::MessageType::Eos]) else {
            continue;
        };
        match message.view() {
            gst::MessageView::Eos(_)
                // A recording starts over.
                if pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT, gst::ClockTime::ZERO).is_err()
                => {
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

/// From the camera's driver into the pipeline.
struct Feed {
    pictures: v4l2::Pictures,
    entrance: app::AppSrc,
}

impl Feed {
    /// One picture, if there is one soon.
    fn pass_on(&mut self) -> Result<(), v4l2::CameraError> {
        if let Some(picture) = self.pictures.next(POLL.into())? {
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

type Built = (gst::Pipeline, Option<Feed>);

fn build(config: &Config, inlet: &Inlet, report: &Report) -> Result<Built, (OpenFailure, String)> {
    let mut pictures = None;
    let front = match config.source {
        CameraSource::V4l2 => {
            let (front, camera) = v4l2::open(config).map_err(|error| (error.kind(), error.to_string()))?;
            pictures = Some(camera);
            front
        }
        CameraSource::File => {
            let file = config.file.clone().unwrap_or_default();
            if !file.is_file() {
                return Err((OpenFailure::NotFound, "there is no such recording".to_owned()));
            }
            "filesrc name=file ! decodebin".to_owned()
        }
        CameraSource::Test => "videotestsrc is-live=true pattern=smpte horizontal-speed=2".to_owned(),
    };
    let refused = |error: MediaError| (OpenFailure::Device, error.to_string());
    let pipeline = pipeline(&format!(
        "{front} ! videorate drop-only={} ! videoconvert ! videoscale add-borders=true ! capsfilter name=size ! appsink name=out sync={}",
        config.source == CameraSource::V4l2,
        config.source == CameraSource::File,
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
    let out: app::AppSink = named(&pipeline, "out").map_err(refused)?;
    let frames = report.clone();
    if config.time_code {
        stamp(&out, config, inlet.clone(), frames).map_err(refused)?;
    } else {
        port::exit(&out, inlet.clone(), move |_| frames.frame());
    }
    let feed = match pictures {
        Some(pictures) => Some(Feed { pictures, entrance: named(&pipeline, "camera").map_err(refused)? }),
        None => None,
    };
    info!(source = %name(config), "capture opens");
    Ok((pipeline, feed))
}

/// Every picture gets a code with the time of its capture.
fn stamp(out: &app::AppSink, config: &Config, inlet: Inlet, frames: Report) -> Result<(), MediaError> {
    let info = video::VideoInfo::from_caps(&port::video_caps(config.width, config.height, config.frames_per_second))?;
    warn!("every picture carries a time code (camera.time_code): for measuring, not for customers");
    let (sink, from_camera) = (out.downgrade(), config.source == CameraSource::V4l2);
    port::exit_through(out, inlet, move |picture| {
        frames.frame();
        // A camera's picture was decoded and scaled since; the others are captured as they come out here.
        let now = sink.upgrade().filter(|_| from_camera).and_then(|sink| sink.current_running_time());
        let age = picture.pts().zip(now).map_or(gst::ClockTime::ZERO, |(captured, now)| now.saturating_sub(captured));
        timecode::picture(picture, &info, age.min(MOST_AGE))
    });
    Ok(())
}
