//! Bounded waiting.

use crate::{Error, Result};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(20);

/// Looks until `probe` gives a value or `timeout` is over; `what` names the thing in the error.
pub fn until<T>(timeout: Duration, what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if start.elapsed() >= timeout {
            return Err(Error::Timeout { what: what.to_owned(), after: timeout, log: String::new() });
        }
        thread::sleep(STEP);
    }
}
