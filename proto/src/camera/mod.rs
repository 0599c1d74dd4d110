//! The camera: which of its modes to use, and what to do when it goes away.

mod choice;
mod mode;
mod presence;

pub use choice::{Choice, NoMode, Wanted, choose_mode};
pub use mode::{Encoding, FourCc, FrameRate, Mode};
pub use presence::{Effect, Event, OpenFailure, Presence};
