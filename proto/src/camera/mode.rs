//! What a camera can deliver: pixel format, size and rate.

use std::cmp::Ordering;
use std::fmt;

/// A pixel format as V4L2 names it: four characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

/// What the pictures of a usable format are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Motion JPEG: each picture alone, compressed.
    Jpeg,
    /// Planar luma, interleaved chroma, 12 bits a pixel.
    Nv12,
    /// Planar, 12 bits a pixel.
    I420,
    /// Packed, 16 bits a pixel, luma first.
    Yuyv,
    /// Packed, 16 bits a pixel, chroma first.
    Uyvy,
}

impl FourCc {
    /// What the pictures are; `None` for formats that the pipeline does not read, among them the camera's own H.264.
    pub fn encoding(self) -> Option<Encoding> {
        match &self.0 {
            b"MJPG" | b"JPEG" => Some(Encoding::Jpeg),
            b"NV12" => Some(Encoding::Nv12),
            b"YU12" => Some(Encoding::I420),
            b"YUYV" => Some(Encoding::Yuyv),
            b"UYVY" => Some(Encoding::Uyvy),
            _ => None,
        }
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.0.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { ' ' }).collect();
        f.write_str(text.trim_end())
    }
}

/// Frames per second as a fraction: cameras that say 30 mean 30000/1001 as often as not.
#[derive(Debug, Clone, Copy)]
pub struct FrameRate {
    /// Frames.
    pub numerator: u32,
    /// Seconds for that many frames; a rate with 0 here counts as 0.
    pub denominator: u32,
}

impl FrameRate {
    /// Whole frames per second.
    pub fn per_second(frames: u32) -> Self {
        Self { numerator: frames, denominator: 1 }
    }

    fn fraction(self) -> (u64, u64) {
        if self.denominator == 0 { (0, 1) } else { (self.numerator.into(), self.denominator.into()) }
    }

    /// Whether this is the wanted rate or more; 2 % less is the same to the eye and covers 29.97 for 30.
    pub fn reaches(self, wanted: Self) -> bool {
        let ((n, d), (wanted_n, wanted_d)) = (self.fraction(), wanted.fraction());
        u128::from(n) * u128::from(wanted_d) * 100 >= u128::from(wanted_n) * u128::from(d) * 98
    }

    /// Whether there is any frame at all.
    pub fn is_zero(self) -> bool {
        self.fraction().0 == 0
    }
}

impl Ord for FrameRate {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((n, d), (other_n, other_d)) = (self.fraction(), other.fraction());
        (n * other_d).cmp(&(other_n * d))
    }
}

impl PartialOrd for FrameRate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FrameRate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for FrameRate {}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, d) = self.fraction();
        if n % d == 0 {
            return write!(f, "{}", n / d);
        }
        let hundredths = (n * 100 + d / 2) / d;
        write!(f, "{}.{:02}", hundredths / 100, hundredths % 100)
    }
}

/// One way in which a camera can deliver pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Pixel format.
    pub fourcc: FourCc,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub frame_rate: FrameRate,
}

impl Mode {
    /// Pixels of a picture.
    pub fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}x{} at {} frames/s", self.fourcc, self.width, self.height, self.frame_rate)
    }
}
