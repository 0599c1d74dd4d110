//! The V4L2 camera: which there are, what they can do, and the front of the pipeline that opens one.
//!
//! Everything here blocks for as long as the driver does: call it from a thread that may wait.

mod controls;
mod device;
mod modes;
mod pictures;

use std::fmt;
use std::io;
use std::path::PathBuf;

use kiosk_proto::camera::{Choice, FrameRate, NoMode, OpenFailure, Wanted, choose_mode};
use kiosk_proto::config::{Camera, CameraDevice};
use nix::errno::Errno;
use tracing::{info, warn};

use device::{CameraInfo, Opened};
use modes::entrance_description;
pub use pictures::Pictures;

/// A camera that can't be used, with its name and what the system said.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// `device = "auto"`, and there is nothing to choose from.
    #[error("no camera found: there is no /dev/video* that can capture")]
    None,
    /// The system refused a step.
    #[error("{} ({}): {step}: {source}", device.display(), describe(source))]
    Refused {
        /// The device node.
        device: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The device is something else than a camera.
    #[error("{}: it is no camera: {found}; set camera.device to one that `kioskd cameras` lists", device.display())]
    NoCapture {
        /// The device node.
        device: PathBuf,
        /// Card and driver.
        found: String,
    },
    /// The camera has no usable mode.
    #[error("{info}: {source}")]
    NoMode {
        /// The camera.
        info: CameraInfo,
        /// What it has.
        source: NoMode,
    },
}

impl CameraError {
    /// What it is to the machine that decides about opening it again.
    pub fn kind(&self) -> OpenFailure {
        match self {
            Self::None => OpenFailure::NotFound,
            Self::NoCapture { .. } | Self::NoMode { .. } => OpenFailure::NoMode,
            Self::Refused { source, .. } => failure(source),
        }
    }
}

fn failure(error: &io::Error) -> OpenFailure {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => OpenFailure::NotFound,
        Some(Errno::EBUSY) => OpenFailure::Busy,
        Some(Errno::EACCES | Errno::EPERM) => OpenFailure::Denied,
        _ => OpenFailure::Device,
    }
}

fn describe(error: &io::Error) -> &'static str {
    match failure(error) {
        OpenFailure::NotFound => "not there",
        OpenFailure::Busy => "in use",
        OpenFailure::Denied => "not allowed",
        OpenFailure::NoMode | OpenFailure::Device => "failed",
    }
}

/// Finds the configured camera, chooses its mode, sets its controls and makes it deliver. Returns the front of a
/// GStreamer pipeline that turns its pictures into raw ones, with an `appsrc` named `camera` to put them in, and where
/// they come from.
///
/// # Errors
/// Why not; for `device = "auto"` that of the first camera, when none can be used.
pub fn open(config: &Camera) -> Result<(String, Pictures), CameraError> {
    let devices = match &config.device {
        CameraDevice::Path(device) => return open_one(Opened::open(device)?, config),
        CameraDevice::Auto => device::candidates()?,
    };
    let mut first_error = None;
    for camera in devices {
        match open_one(camera, config) {
            Ok(opened) => return Ok(opened),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or(CameraError::None))
}

fn open_one(camera: Opened, config: &Camera) -> Result<(String, Pictures), CameraError> {
    let wanted = wanted(config, &camera.info);
    let no_mode = |source| CameraError::NoMode { info: camera.info.clone(), source };
    let choice = choose_mode(&camera.modes(&wanted)?, wanted).map_err(no_mode)?;
    let refused = controls::apply(&camera, config);
    let pictures = Pictures::new(camera, &choice.mode)?;
    info!(camera = %pictures.info(), mode = %choice.mode, "camera found{}", shortfall(&choice));
    for refused in refused {
        warn!("{refused}");
    }
    Ok((entrance_description(&choice.mode), pictures))
}

fn wanted(config: &Camera, info: &CameraInfo) -> Wanted {
    Wanted {
        width: config.width,
        height: config.height,
        frame_rate: FrameRate::per_second(config.frames_per_second),
        over_usb: info.over_usb(),
    }
}

fn shortfall(choice: &Choice) -> &'static str {
    match (choice.large_enough, choice.fast_enough) {
        (true, true) => "",
        (false, true) => ", smaller than wanted",
        (true, false) => ", slower than wanted",
        (false, false) => ", smaller and slower than wanted",
    }
}

/// What `kioskd cameras` prints: each camera, its modes, and which of them a call would use.
pub struct Report<'a>(pub &'a Camera);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cameras = match device::candidates() {
            Ok(cameras) => cameras,
            Err(error) => return writeln!(f, "{error}"),
        };
        for camera in cameras {
            writeln!(f, "{}", camera.info)?;
            let wanted = wanted(self.0, &camera.info);
            let modes = match camera.modes(&wanted) {
                Ok(modes) => modes,
                Err(error) => {
                    writeln!(f, "  {error}")?;
                    continue;
                }
            };
            match choose_mode(&modes, wanted) {
                Ok(choice) => writeln!(f, "  a call uses {}{}", choice.mode, shortfall(&choice))?,
                Err(error) => writeln!(f, "  {error}")?,
            }
            for mode in modes {
                writeln!(f, "  {mode}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_has_its_kind_and_its_words() {
        for (errno, kind, word) in [
            (Errno::ENOENT, OpenFailure::NotFound, "not there"),
            (Errno::ENODEV, OpenFailure::NotFound, "not there"),
            (Errno::EBUSY, OpenFailure::Busy, "in use"),
            (Errno::EACCES, OpenFailure::Denied, "not allowed"),
            (Errno::EIO, OpenFailure::Device, "failed"),
        ] {
            let source = io::Error::from_raw_os_error(errno as i32);
            let error = CameraError::Refused { device: "/dev/video7".into(), step: "opening it", source };
            assert_eq!(error.kind(), kind);
            let text = error.to_string();
            assert!(text.starts_with(&format!("/dev/video7 ({word}): opening it: ")), "{text}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let config = Camera { device: CameraDevice::Path("/dev/video-of-nobody".into()), ..Camera::default() };
        let Err(error) = open(&config) else { panic!("it is there") };
        assert_eq!(error.kind(), OpenFailure::NotFound);
        assert!(error.to_string().starts_with("/dev/video-of-nobody (not there): opening it: "), "{error}");
    }
}
