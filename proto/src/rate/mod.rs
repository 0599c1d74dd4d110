//! How much picture the media connection carries now: from what the kernel says of the TCP socket to a bitrate for the
//! encoder and to whether the next frame may enter it.
//!
//! On TCP nothing is lost, so what is too much becomes delay. The controller keeps the delay short by feeding less: frames
//! are left out *before* the encoder while the queue is over its budget, and never a packet after it.

mod controller;
#[cfg(test)]
mod simulation;

pub use controller::{Bounds, LinkSample, RateController, Verdict};
