//! What a trial call showed: set-up, picture and sound there and back, how late they are, and what the way carries.

mod advice;
mod ramp;
mod steady;

pub use advice::{Recommended, capacity};
pub use ramp::{Capacity, Limit, Load, Ramp};
pub use steady::{Spread, Steady, steady};
