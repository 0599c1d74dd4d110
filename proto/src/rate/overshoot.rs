//! What the encoder makes against what it was told. Some make half as much again, and all need some frames to follow.

use std::collections::VecDeque;

/// Frames that are looked at.
const FRAMES: u64 = 30;
/// Samples that are kept.
const MARKS: usize = 128;
/// What one sample may add: a key frame is paid for by the queue, it says nothing of the encoder's rate.
const LARGE: f64 = 4.0;
/// An encoder that makes more than this many times what it is told is broken.
const MOST: f64 = 2.0;
/// One that keeps to a constant rate stays a little below it. One that makes still less has a picture that needs no more.
const LEAST: f64 = 0.97;

/// How much too much.
#[derive(Debug, Clone, Default)]
pub(super) struct Overshoot {
    marks: VecDeque<(u64, f64, f64)>,
    bytes: u64,
    made: f64,
    told: f64,
    told_per_frame: f64,
    frames: u64,
}

impl Overshoot {
    /// The encoder is told so many bytes a frame from now on.
    pub(super) fn tell(&mut self, bytes_per_frame: f64) {
        self.told_per_frame = bytes_per_frame;
    }

    /// Totals of frames and bytes that left the encoder.
    pub(super) fn see(&mut self, frames: u64, bytes: u64) {
        if frames < self.frames || bytes < self.bytes {
            *self = Self { told_per_frame: self.told_per_frame, frames, bytes, ..Self::default() };
            return;
        }
        let (new_frames, new_bytes) = ((frames - self.frames) as f64, (bytes - self.bytes) as f64);
        (self.frames, self.bytes) = (frames, bytes);
        if new_frames == 0.0 || new_bytes > LARGE * self.told_per_frame * new_frames {
            return;
        }
        self.told += self.told_per_frame * new_frames;
        self.made += new_bytes;
        self.marks.push_back((frames, self.told, self.made));
        while self.marks.len() > MARKS || self.marks.get(1).is_some_and(|(at, ..)| frames - at >= FRAMES) {
            self.marks.pop_front();
        }
    }

    /// The quotient; 1 when nothing is known yet.
    pub(super) fn factor(&self) -> f64 {
        match (self.marks.front(), self.marks.back()) {
            (Some((from, told, made)), Some((to, told_now, made_now)))
                if to - from >= FRAMES / 2 && told_now > told =>
            {
                ((made_now - made) / (told_now - told)).clamp(LEAST, MOST)
            }
            _ => 1.0,
        }
    }
}
