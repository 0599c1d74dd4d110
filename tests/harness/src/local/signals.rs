//! Ctrl-C and the other polite ways to end a program, as a flag that is looked at.

use crate::{Error, Result};
use nix::{
    libc::c_int,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP only set the flag.
pub fn catch() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
        unsafe { sigaction(signal, &action) }.map_err(|errno| Error::io(format!("catch {signal}"))(errno.into()))?;
    }
    Ok(())
}

/// Whether this program was asked to end.
pub fn asked_to_end() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Sleeps until `end`, or until this program is asked to end; says whether to go on.
pub fn sleep_until(end: Instant) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    while !asked_to_end() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(STEP));
    }
    false
}
