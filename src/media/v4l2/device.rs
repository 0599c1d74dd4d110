//! Device nodes: which of them are cameras, and one of them opened.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use v4l::Device;
use v4l::capability::Flags;
use v4l::v4l_sys::v4l2_capability;

use super::CameraError;

/// Which camera it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraInfo {
    /// The device node.
    pub device: PathBuf,
    /// Its name, from its maker.
    pub card: String,
    /// The kernel's driver.
    pub driver: String,
    /// What it hangs on, such as `usb-0000:00:14.0-1`.
    pub bus: String,
}

impl CameraInfo {
    /// Whether it hangs on USB.
    pub fn over_usb(&self) -> bool {
        self.bus.starts_with("usb-")
    }
}

impl fmt::Display for CameraInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, card, driver, bus } = self;
        write!(f, "{} ({card}, driver {driver}, bus {bus})", device.display())
    }
}

/// A camera that this process has open.
pub(super) struct Opened {
    pub(super) info: CameraInfo,
    pub(super) handle: Device,
}

impl Opened {
    /// Opens a device, if it is a camera.
    pub(super) fn open(device: &Path) -> Result<Self, CameraError> {
        let refused = |step| move |source| CameraError::Refused { device: device.into(), step, source };
        // `Device::with_path` panics on a path with a zero byte.
        if device.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(refused("opening it")(io::ErrorKind::NotFound.into()));
        }
        let handle = Device::with_path(device).map_err(refused("opening it"))?;
        let (info, flags) = query(&handle, device).map_err(refused("asking what it is"))?;
        if is_camera(flags) {
            return Ok(Self { info, handle });
        }
        Err(CameraError::NoCapture { device: device.into(), found: format!("{}, driver {}", info.card, info.driver) })
    }

    pub(super) fn refused(&self, step: &'static str, source: io::Error) -> CameraError {
        CameraError::Refused { device: self.info.device.clone(), step, source }
    }
}

/// A node that delivers pictures: not their metadata, not a codec, not a receiver of other things.
fn is_camera(flags: Flags) -> bool {
    flags.contains(Flags::VIDEO_CAPTURE | Flags::STREAMING)
        && !flags.intersects(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE | Flags::VIDEO_OUTPUT | Flags::META_CAPTURE)
}

/// What `Device::query_caps` does too, but that panics when the name of a camera is not UTF-8 or was cut
/// within a character.
fn query(handle: &Device, device: &Path) -> io::Result<(CameraInfo, Flags)> {
    let mut answer = MaybeUninit::<v4l2_capability>::zeroed();
    let fd = handle.handle().fd();
    // SAFETY: the ioctl fills a `v4l2_capability`, which is plain data and has its size.
    let answer = unsafe {
        v4l::v4l2::ioctl(fd, v4l::v4l2::vidioc::VIDIOC_QUERYCAP, answer.as_mut_ptr().cast())?;
        answer.assume_init()
    };
    let info = CameraInfo {
        device: device.into(),
        card: text(&answer.card),
        driver: text(&answer.driver),
        bus: text(&answer.bus_info),
    };
    let flags = Flags::from(answer.capabilities);
    // A driver that says so has several nodes, and `capabilities` is what all of them can do together.
    Ok((info, if flags.contains(Flags::DEVICE_CAPS) { Flags::from(answer.device_caps) } else { flags }))
}

/// A name as it came over a cable: nothing in it may disturb a terminal or a journal.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Every camera that can be opened, those on USB first, then by number: on a board with a built-in image processor, the
/// low numbers are its parts.
///
/// # Errors
/// There is none, or all of them refused; then the error is the first one's.
pub(super) fn candidates() -> Result<Vec<Opened>, CameraError> {
    let mut cameras = Vec::new();
    let mut first_error = None;
    for device in nodes() {
        match Opened::open(&device) {
            Ok(camera) => cameras.push(camera),
            Err(CameraError::NoCapture { .. }) => {}
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    cameras.sort_by_key(|camera| !camera.info.over_usb());
    if cameras.is_empty() { Err(first_error.unwrap_or(CameraError::None)) } else { Ok(cameras) }
}

/// `/dev/video*` in the order of their numbers.
fn nodes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut nodes: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_that_deliver_pictures_are_cameras() {
        let camera = Flags::VIDEO_CAPTURE | Flags::STREAMING | Flags::EXT_PIX_FORMAT;
        assert!(is_camera(camera));
        for other in [
            Flags::META_CAPTURE | Flags::STREAMING,
            Flags::VIDEO_M2M | Flags::STREAMING,
            camera | Flags::VIDEO_OUTPUT,
            Flags::VIDEO_CAPTURE,
        ] {
            assert!(!is_camera(other), "{other}");
        }
    }

    #[test]
    fn a_name_that_was_cut_or_is_hostile_does_no_harm() {
        assert_eq!(text(b"USB Camera\0\0\0rest"), "USB Camera");
        assert_eq!(text("Caméra".as_bytes().get(..4).unwrap()), "Cam\u{fffd}");
        assert_eq!(text(b"\x1b[2Jx\n\0"), "[2Jx");
    }
}
