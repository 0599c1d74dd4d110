//! How much the kernel and the network may hold: what is there already can't be overtaken and can't be thrown away.

use super::Class;

/// Bytes in flight and unsent that are allowed until somebody sets it: enough for a key frame.
pub const DEFAULT_LIMIT: u64 = 64 * 1024;
/// Sound may go beyond a limit by this much, and what the connection hangs on by twice as much: neither waits for the
/// picture to drain. Bytes; half a second of sound.
pub const RESERVE: u64 = 4 * 1024;
/// While so many bytes are unsent, the network does not take more: two packets, so that the kernel always has one.
pub const UNSENT: u64 = 2400;

/// What may be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    limit: u64,
    outstanding: u64,
    unsent: u64,
}

impl Room {
    /// `limit` and `outstanding` are bytes, in flight and unsent together; `unsent` those of them that were never sent.
    #[must_use]
    pub const fn new(limit: u64, outstanding: u64, unsent: u64) -> Self {
        Self { limit, outstanding, unsent }
    }

    /// Whether so many bytes may be written. One frame always may when nothing is on its way: nothing stands still
    /// because of a limit that is smaller than it.
    #[must_use]
    pub fn admits(&self, class: Class, bytes: usize) -> bool {
        let reserve = match class {
            Class::Control => 2 * RESERVE,
            Class::Audio => RESERVE,
            Class::Video => 0,
        };
        let wanted = self.outstanding.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let fits = wanted <= self.limit.saturating_add(reserve) && self.unsent < UNSENT + reserve;
        fits || self.outstanding == 0
    }
}
