//! Codes that picture and sound carry when a call is measured: the receiver reads in them when each was captured.
//!
//! Times are those of the sender's monotonic clock. A receiver on the same machine shares it; any other one must know
//! the difference of both clocks.

mod picture;
mod tone;

pub use picture::{Code, NO_INDEX, TIME_WRAP_MS, capture_time_ms, read, stamp, strip_height};
pub use tone::{PERIOD_US, SAMPLE_RATE, TONE_WRAP_US, Tone, ToneReader, ToneSource};
