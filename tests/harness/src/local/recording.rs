//! A recording that both the daemon and Chromium play as their camera, so that their encoders have the same to do.

use crate::{Error, Result};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
/// Five seconds at 30 frames/s; both loop it.
const FRAMES: usize = 150;
/// Full swing of what a camera's sensor adds to each pixel, of 255.
const NOISE: u32 = 6;

/// Writes a head that sways before a wall, with a sensor's noise, as Y4M: 1280x720, 30 frames/s, I420, 200 MB.
pub fn write(path: &Path) -> Result<()> {
    let file = File::create(path).map_err(Error::io(path.display().to_string()))?;
    frames(BufWriter::new(file)).map_err(Error::io(path.display().to_string()))
}

fn frames(mut out: impl Write) -> std::io::Result<()> {
    writeln!(out, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F30:1 Ip A1:1 C420jpeg")?;
    let mut luma = vec![0; WIDTH * HEIGHT];
    let chroma = vec![128; WIDTH * HEIGHT / 2];
    let mut random = 1_u32;
    for frame in 0..FRAMES {
        // A whole number of turns, so that the loop has no jump.
        let turn = frame as f64 / FRAMES as f64 * std::f64::consts::TAU * 2.0;
        let (x0, y0) = (640.0 + 90.0 * turn.sin(), 380.0 + 25.0 * (2.0 * turn).cos());
        for (y, line) in luma.chunks_exact_mut(WIDTH).enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (dx, dy) = ((x as f64 - x0) / 190.0, (y as f64 - y0) / 260.0);
                let wall = 60 + (x / 16 + y / 12) as u32;
                let shade = if dx * dx + dy * dy < 1.0 { 150 + (x % 24) as u32 } else { wall };
                *pixel = u8::try_from(shade + (random >> 16) % NOISE).unwrap_or(u8::MAX);
            }
        }
        out.write_all(b"FRAME\n")?;
        out.write_all(&luma)?;
        out.write_all(&chroma)?;
    }
    out.flush()
}
