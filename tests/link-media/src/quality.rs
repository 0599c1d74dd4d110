//! How much of the recording's picture is left in what was shown: structural similarity and signal-to-noise ratio.

use std::path::Path;

use anyhow::Result;
use kiosk_proto::timecode::strip_height;

use crate::y4m;

/// Both pictures are scaled to this before they are compared, so that a smaller picture is judged as an agent sees it.
pub const SIZE: (usize, usize) = (640, 360);
/// Side of the squares in which structure is compared.
const BLOCK: usize = 8;
/// The constants of Wang et al. (2004) for 8 bits: (0.01 * 255)² and (0.03 * 255)².
const C1: f64 = 6.5025;
const C2: f64 = 58.5225;

/// Every frame of the recording, scaled, without the strip of the code.
#[derive(Debug)]
pub struct Reference {
    frames: Vec<Vec<u8>>,
}

/// Rows that are compared: whole squares above the strip.
fn rows() -> usize {
    (SIZE.1 - strip_height(SIZE.1)) / BLOCK * BLOCK
}

impl Reference {
    /// Reads and scales a recording: about 220 kB a frame.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn load(path: &Path) -> Result<Self> {
        let mut reader = y4m::Reader::open(path)?;
        let (mut frames, mut picture) = (Vec::with_capacity(reader.frames), Vec::new());
        for number in 0..reader.frames {
            reader.read(number, &mut picture)?;
            frames.push(scale(&picture, reader.width, reader.width, reader.height));
        }
        Ok(Self { frames })
    }

    /// SSIM and PSNR (dB) of a picture that [`scale`] gave, against the recording's frame of that number.
    #[must_use]
    pub fn compare(&self, index: u16, shown: &[u8]) -> Option<(f64, f64)> {
        let reference = self.frames.get(usize::from(index))?;
        Some((ssim(reference, shown), psnr(reference, shown)))
    }
}

/// Scales a luma plane to [`SIZE`] and leaves the strip out: means of what a pixel covers when the picture gets smaller,
/// linear between pixels when it gets larger.
#[must_use]
pub fn scale(luma: &[u8], stride: usize, width: usize, height: usize) -> Vec<u8> {
    let columns = weights(width, SIZE.0);
    let lines = weights(height, SIZE.1);
    let mut out = Vec::with_capacity(SIZE.0 * rows());
    let mut sums = vec![0_f32; width];
    for line in lines.iter().take(rows()) {
        sums.fill(0.0);
        for (row, weight) in line {
            let Some(row) = luma.get(row * stride..row * stride + width) else { return Vec::new() };
            for (sum, pixel) in sums.iter_mut().zip(row) {
                *sum += weight * f32::from(*pixel);
            }
        }
        for column in &columns {
            let value: f32 = column.iter().map(|(x, weight)| weight * sums[*x]).sum();
            out.push((value + 0.5) as u8);
        }
    }
    out
}

/// For each pixel of the result: which pixels it is made of, and how much of each.
fn weights(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let step = from as f64 / to as f64;
    // The width of the triangle or box over which is averaged.
    let reach = step.max(1.0);
    let one = |position: usize| {
        let centre = (position as f64 + 0.5) * step;
        let (left, right) = (centre - reach / 2.0, centre + reach / 2.0);
        let mut parts = Vec::new();
        let mut x = left.floor();
        while x < right {
            let share = (x + 1.0).min(right) - x.max(left);
            if share > 1e-9 {
                parts.push((x.clamp(0.0, from as f64 - 1.0) as usize, (share / reach) as f32));
            }
            x += 1.0;
        }
        parts
    };
    (0..to).map(one).collect()
}

fn psnr(reference: &[u8], shown: &[u8]) -> f64 {
    let sum: u64 = reference.iter().zip(shown).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    let mean = sum as f64 / reference.len().max(1) as f64;
    // The same picture has no noise; 100 dB stands for it.
    if mean > 0.0 { (10.0 * (255.0_f64.powi(2) / mean).log10()).min(100.0) } else { 100.0 }
}

fn ssim(reference: &[u8], shown: &[u8]) -> f64 {
    if reference.len() != shown.len() || reference.is_empty() {
        return 0.0;
    }
    let (mut sum, mut blocks) = (0.0, 0.0);
    for top in (0..reference.len() / SIZE.0).step_by(BLOCK) {
        for left in (0..SIZE.0).step_by(BLOCK) {
            let (mut a, mut b, mut aa, mut bb, mut ab) = (0_u32, 0_u32, 0_u32, 0_u32, 0_u32);
            for row in top..top + BLOCK {
                let at = row * SIZE.0 + left;
                for (x, y) in reference[at..at + BLOCK].iter().zip(&shown[at..at + BLOCK]) {
                    let (x, y) = (u32::from(*x), u32::from(*y));
                    (a, b, aa, bb, ab) = (a + x, b + y, aa + x * x, bb + y * y, ab + x * y);
                }
            }
            let n = (BLOCK * BLOCK) as f64;
            let (mean_a, mean_b) = (f64::from(a) / n, f64::from(b) / n);
            let spread = |sum: u32, mean: f64| (f64::from(sum) / n - mean * mean).max(0.0) * n / (n - 1.0);
            let together = (f64::from(ab) / n - mean_a * mean_b) * n / (n - 1.0);
            sum += (2.0 * mean_a * mean_b + C1) * (2.0 * together + C2)
                / ((mean_a.powi(2) + mean_b.powi(2) + C1) * (spread(aa, mean_a) + spread(bb, mean_b) + C2));
            blocks += 1.0;
        }
    }
    sum / blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Vec<u8> {
        let wave = |x: f64, y: f64| 128.0 + 60.0 * (x * 40.0).sin() * (y * 25.0).cos();
        let value = |i: usize| wave((i % width) as f64 / width as f64, (i / width) as f64 / height as f64) as u8;
        (0..width * height).map(value).collect()
    }

    fn at(width: usize, height: usize) -> Vec<u8> {
        scale(&picture(width, height), width, width, height)
    }

    #[test]
    fn the_same_picture_is_the_same_in_every_size() {
        let reference = at(1280, 720);
        assert_eq!(reference.len(), 640 * 352);
        assert!((ssim(&reference, &reference) - 1.0).abs() < 1e-9);
        assert_eq!(psnr(&reference, &reference), 100.0);
        for (width, height) in [(960, 540), (640, 360), (854, 480), (480, 270), (320, 180)] {
            let shown = at(width, height);
            assert!(ssim(&reference, &shown) > 0.99, "{width} {}", ssim(&reference, &shown));
            assert!(psnr(&reference, &shown) > 38.0, "{width} {}", psnr(&reference, &shown));
        }
    }

    #[test]
    fn what_is_lost_is_seen() {
        let reference = at(1280, 720);
        let coarse: Vec<u8> = reference.iter().map(|luma| luma / 32 * 32 + 16).collect();
        let grey = vec![128; reference.len()];
        let brighter: Vec<u8> = reference.iter().map(|luma| luma + 10).collect();
        assert!(ssim(&reference, &coarse) < 0.98);
        assert!(ssim(&reference, &grey) < 0.7, "{}", ssim(&reference, &grey));
        assert!((psnr(&reference, &brighter) - 28.13).abs() < 0.01, "{}", psnr(&reference, &brighter));
        assert!(ssim(&reference, &coarse) > ssim(&reference, &grey));
    }

    #[test]
    fn a_plane_that_is_too_small_gives_nothing() {
        assert!(scale(&[0; 100], 1280, 1280, 720).is_empty());
        assert_eq!(ssim(&[1; 64], &[]), 0.0);
    }
}
