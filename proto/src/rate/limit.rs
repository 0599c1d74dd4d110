//! How much the kernel may hold, sent and unsent: enough to keep the link busy, and little more.
//!
//! What is in the kernel can't be taken back, and sound has to wait behind it. What waits in front of it can be
//! overtaken and thrown away.

use std::time::Duration;

use super::path::Path;

/// Above the bytes that are on the way, what the kernel gets to keep the link busy between two looks.
const BUSY: Duration = Duration::from_millis(30);
/// Three segments, so that one lost is found by those behind it (RFC 5681, fast retransmit).
const LEAST: f64 = 3.0 * 1448.0;
/// A key frame leaves in two or three portions where the link is fast.
const MOST: f64 = 24_000.0;

/// Where somebody else fills the queue, the share of the link is the share in the queue: it may grow by this a round trip.
const GROW: f64 = 2.0;

/// Bytes for this path; `window` is TCP's own, which shares with others by TCP's rules.
pub(super) fn in_flight(path: &Path, min_rtt: Duration, window: u64) -> u64 {
    let bytes = |time: Duration| path.capacity() / 8.0 * time.as_secs_f64();
    let spare = bytes(BUSY).clamp(LEAST, MOST);
    let base = path.base().max(min_rtt);
    let alone = (bytes(base) + spare) as u64;
    let limit = if path.rivals.present() {
        let shared = (bytes(base + path.network) * GROW + spare) as u64;
        shared.min(window).max(alone)
    } else {
        alone
    };
    path.rivals.limit(limit)
}
