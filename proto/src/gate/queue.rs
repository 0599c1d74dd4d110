//! What waits for the server's socket: three queues of whole packets, the most urgent first.

use std::collections::VecDeque;
use std::time::Duration;

use super::class::timestamp;
use super::state::{ByClass, ClassState};
use super::{Class, LENGTH_BYTES, Room, classify};

/// Sound that waited longer is not sent any more: the other side would play it late, or faster.
pub const AUDIO_MAX_AGE: Duration = Duration::from_millis(500);
/// A connection's set-up has some ten packets of at most 1,200 bytes under way, RTCP far less.
const CONTROL_BOUND: usize = 64 * 1024;
/// Reached by age long before: a second of sound has 8 KiB.
const AUDIO_BOUND: usize = 64 * 1024;
/// Several key frames of 1280x720. Reached only if frames are not held back before the encoder.
const VIDEO_BOUND: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy)]
struct Packet {
    /// With the two bytes in front.
    bytes: usize,
    arrived: Duration,
    timestamp: u32,
}

#[derive(Debug, Default)]
struct ClassQueue {
    bytes: VecDeque<u8>,
    packets: VecDeque<Packet>,
    /// Of the first packet: written already.
    begun: usize,
    counts: ClassState,
}

impl ClassQueue {
    fn push(&mut self, now: Duration, frame: &[u8]) {
        self.bytes.extend(frame);
        let timestamp = timestamp(frame.get(LENGTH_BYTES..).unwrap_or_default());
        self.packets.push_back(Packet { bytes: frame.len(), arrived: now, timestamp });
        self.counts.packets_in += 1;
        self.counts.bytes_in += frame.len() as u64;
    }

    /// Removes written bytes from the front.
    fn written(&mut self, mut bytes: usize) {
        self.bytes.drain(..bytes.min(self.bytes.len()));
        while let Some(first) = self.packets.front().copied() {
            let left = first.bytes - self.begun;
            if bytes < left {
                self.begun += bytes;
                return;
            }
            bytes -= left;
            self.begun = 0;
            self.packets.pop_front();
            self.counts.packets_out += 1;
            self.counts.bytes_out += first.bytes as u64;
        }
    }

    /// Index of the first packet that may be thrown away: what is begun must be finished, or the framing is lost.
    fn free(&self) -> usize {
        usize::from(self.begun > 0)
    }

    /// Throws away the first `count` packets that are not begun.
    fn discard(&mut self, count: usize) {
        let skip = self.free();
        let kept = self.packets.iter().take(skip).map(|packet| packet.bytes - self.begun).sum::<usize>();
        let gone = self.packets.drain(skip..skip + count).map(|packet| packet.bytes).sum::<usize>();
        self.bytes.drain(kept..kept + gone);
        self.counts.packets_discarded += count as u64;
    }

    /// Throws away whole pictures from the oldest on, until the bound holds.
    fn shrink_to(&mut self, bound: usize) {
        while self.bytes.len() > bound {
            let mut waiting = self.packets.iter().skip(self.free());
            let Some(first) = waiting.next() else { return };
            let count = 1 + waiting.take_while(|packet| packet.timestamp == first.timestamp).count();
            self.discard(count);
        }
    }

    fn discard_older(&mut self, age: Duration, now: Duration) {
        let waiting = self.packets.iter().skip(self.free());
        let count = waiting.take_while(|packet| now.saturating_sub(packet.arrived) > age).count();
        self.discard(count);
    }

    /// Bytes of the first packet, which is not begun, if there is room for it.
    fn fitting(&self, class: Class, room: Room) -> usize {
        self.packets.front().map(|packet| packet.bytes).filter(|bytes| room.admits(class, *bytes)).unwrap_or(0)
    }
}

/// What is to be written next, of one packet, so that nothing more urgent has to wait longer than for that; in two parts
/// when the queue's memory wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Whose they are.
    pub class: Class,
    /// The first part, never empty.
    pub first: &'a [u8],
    /// The second part.
    pub second: &'a [u8],
}

/// The queues of one connection.
#[derive(Debug, Default)]
pub struct GateQueue {
    classes: ByClass<ClassQueue>,
    /// The class whose first packet is written in part; nothing else may be written before it is finished.
    begun: Option<Class>,
}

impl GateQueue {
    /// Takes one frame, its length in front, and returns what it is. `now` counts from any fixed moment.
    pub fn push(&mut self, now: Duration, frame: &[u8]) -> Class {
        let class = classify(frame.get(LENGTH_BYTES..).unwrap_or_default());
        let queue = self.classes.of_mut(class);
        queue.push(now, frame);
        queue.shrink_to(match class {
            Class::Control => CONTROL_BOUND,
            Class::Audio => AUDIO_BOUND,
            Class::Video => VIDEO_BOUND,
        });
        class
    }

    /// What to write now, if there is something and room for it. To be followed by [`GateQueue::written`].
    pub fn next(&mut self, now: Duration, room: Room) -> Option<Chunk<'_>> {
        self.classes.audio.discard_older(AUDIO_MAX_AGE, now);
        let (class, bytes) = match self.begun {
            Some(class) => {
                let queue = self.classes.of(class);
                (class, queue.packets.front().map_or(0, |first| first.bytes - queue.begun))
            }
            None => Class::ALL
                .iter()
                .map(|class| (*class, self.classes.of(*class).fitting(*class, room)))
                .find(|(_, bytes)| *bytes > 0)?,
        };
        let (first, second) = self.classes.of(class).bytes.as_slices();
        let split = bytes.min(first.len());
        Some(Chunk { class, first: first.get(..split)?, second: second.get(..bytes - split)? })
    }

    /// So many bytes of the last chunk were taken by the kernel.
    pub fn written(&mut self, class: Class, bytes: usize) {
        let queue = self.classes.of_mut(class);
        queue.written(bytes);
        self.begun = (queue.begun > 0).then_some(class);
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Class::ALL.iter().all(|class| self.classes.of(*class).packets.is_empty())
    }

    /// Throws away all of a class but a packet that is begun. Returns the number of packets.
    pub fn discard(&mut self, class: Class) -> u64 {
        let queue = self.classes.of_mut(class);
        let count = queue.packets.len() - queue.free();
        queue.discard(count);
        count as u64
    }

    /// What came, went and waits.
    #[must_use]
    pub fn state(&self, now: Duration) -> ByClass<ClassState> {
        let of = |class: Class| {
            let queue = self.classes.of(class);
            ClassState {
                queued_packets: queue.packets.len() as u64,
                queued_bytes: queue.bytes.len() as u64,
                oldest: queue.packets.front().map_or(Duration::ZERO, |first| now.saturating_sub(first.arrived)),
                ..queue.counts
            }
        };
        ByClass { control: of(Class::Control), audio: of(Class::Audio), video: of(Class::Video) }
    }
}
