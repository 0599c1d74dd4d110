//! What the receiver writes down: one line of JSON for each thing that arrives.

use std::io::{BufWriter, Stdout, Write, stdout};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use gstreamer as gst;
use gstreamer_video as video;
use gstreamer_video::VideoFrameExt;
use kiosk_harness::link::record::{Frame, Line};

use crate::quality::{self, Reference};

/// Frames that wait for their quality to be measured. Each holds a picture of the decoder's.
const WAITING: usize = 6;

/// Where lines go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notes {
    out: Arc<Mutex<BufWriter<Stdout>>>,
    judge: Option<Judge>,
}

#[derive(Debug, Clone)]
struct Judge {
    every: u32,
    /// Frames shown so far: not their numbers are counted, since a sender that leaves every other out sends odd ones only.
    shown: Arc<AtomicU32>,
    frames: SyncSender<(Frame, gst::Sample)>,
}

impl Notes {
    /// Lines to standard output. With a reference, the quality of every n-th frame that is shown is measured, on a
    /// thread of its own: decoding must not wait for it.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new(reference: Option<Reference>, every: u32) -> std::io::Result<Self> {
        let out = Arc::new(Mutex::new(BufWriter::new(stdout())));
        let mut notes = Self { out, judge: None };
        if let Some(reference) = reference {
            let (frames, inbox) = sync_channel(WAITING);
            let own = notes.clone();
            thread::Builder::new().name("quality".to_owned()).spawn(move || own.judge(&reference, &inbox))?;
            notes.judge = Some(Judge { every: every.max(1), shown: Arc::default(), frames });
        }
        Ok(notes)
    }

    /// Writes a line.
    pub fn write(&self, line: &Line) {
        let Ok(text) = serde_json::to_string(line) else { return };
        let _ = writeln!(self.out.lock().unwrap_or_else(PoisonError::into_inner), "{text}");
    }

    /// Brings what was written on its way. To be called often.
    pub fn flush(&self) {
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    /// Writes the line of a frame, at once or when its quality is known. A frame that would have to wait for too many
    /// others is written without.
    pub fn frame(&self, frame: Frame, sample: gst::Sample) {
        let judge = self.judge.as_ref().filter(|judge| judge.shown.fetch_add(1, Ordering::Relaxed) % judge.every == 0);
        match judge.map(|judge| judge.frames.try_send((frame.clone(), sample))) {
            Some(Ok(())) => {}
            None | Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) => self.write(&Line::Frame(frame)),
        }
    }

    fn judge(&self, reference: &Reference, frames: &Receiver<(Frame, gst::Sample)>) {
        while let Ok((mut frame, sample)) = frames.recv() {
            if let Some((ssim, psnr)) = frame.index.and_then(|index| compare(reference, index, &sample)) {
                (frame.ssim, frame.psnr) = (Some(ssim), Some(psnr));
            }
            self.write(&Line::Frame(frame));
        }
    }
}

fn compare(reference: &Reference, index: u16, sample: &gst::Sample) -> Option<(f64, f64)> {
    let info = video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let picture = video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let (stride, width, height) = (picture.plane_stride()[0] as usize, info.width() as usize, info.height() as usize);
    reference.compare(index, &quality::scale(picture.plane_data(0).ok()?, stride, width, height))
}
