//! Counters that streaming threads bump and the figures read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

/// Buffers and bytes that passed a pad.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    buffers: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// Counts everything that passes this pad from now on.
    pub fn watch(&self, pad: &gst::Pad) {
        let counts = self.0.clone();
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
            let (buffers, bytes) = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => (1, buffer.size()),
                Some(gst::PadProbeData::BufferList(list)) => (list.len(), list.iter().map(gst::BufferRef::size).sum()),
                _ => (0, 0),
            };
            counts.buffers.fetch_add(buffers as u64, Relaxed);
            counts.bytes.fetch_add(bytes as u64, Relaxed);
            gst::PadProbeReturn::Ok
        });
    }

    /// Counts one buffer of this many bytes.
    pub fn count(&self, bytes: usize) {
        self.0.buffers.fetch_add(1, Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Buffers so far.
    pub fn buffers(&self) -> u64 {
        self.0.buffers.load(Relaxed)
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }
}

/// Turns a meter's totals into rates.
#[derive(Debug, Default)]
pub struct Rate {
    buffers: u64,
    bytes: u64,
}

impl Rate {
    /// Buffers and bits per second since the last call, `elapsed` ago.
    pub fn since(&mut self, meter: &Meter, elapsed: Duration) -> (f64, u64) {
        let (buffers, bytes) = (meter.buffers(), meter.bytes());
        // A total below the last one is another meter's, of a new connection: it counts from zero.
        let (new_buffers, new_bytes) =
            (buffers.checked_sub(self.buffers).unwrap_or(buffers), bytes.checked_sub(self.bytes).unwrap_or(bytes));
        let seconds = elapsed.as_secs_f64().max(1e-3);
        (self.buffers, self.bytes) = (buffers, bytes);
        (new_buffers as f64 / seconds, (new_bytes as f64 * 8.0 / seconds).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_meter_begins_at_zero() {
        let second = Duration::from_secs(1);
        let (mut rate, old, new) = (Rate::default(), Meter::default(), Meter::default());
        old.count(100);
        old.count(100);
        assert_eq!(rate.since(&old, second), (2.0, 1600));
        old.count(50);
        assert_eq!(rate.since(&old, second), (1.0, 400));
        new.count(10);
        assert_eq!(rate.since(&new, second), (1.0, 80));
        assert_eq!(rate.since(&new, second), (0.0, 0));
    }
}
