//! Events that wait for the broker: bounded, each kept until it is acknowledged, also across a power cut.
//!
//! The outbox is pure data. What changes it returns bytes to append to its file; [`Outbox::replay`] makes the outbox of
//! that file again, however its end is damaged.

mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::clock::Now;
use super::event::{Class, Event, EventKind};
use super::hold::{Holds, Subject};
use record::Record;

/// How much waits at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of all their payloads.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 2_000, bytes: 1024 * 1024 }
    }
}

/// Events that are on their way at once.
const WINDOW: usize = 16;
/// After damage, sequence numbers go on this far behind the last one that was read: some that were given out may be
/// lost, and none is given out twice.
const AFTER_DAMAGE: u64 = 10_000;
/// A file is written anew when so much of it is past, bytes.
const SLACK: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    sequence: u64,
    class: Class,
    payload: Vec<u8>,
    sent: bool,
    /// How often the broker did not take it.
    refusals: u32,
}

/// Events that wait, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    limits: Limits,
    entries: VecDeque<Entry>,
    bytes: usize,
    next: u64,
    dropped: BTreeMap<Class, u64>,
    file_bytes: usize,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (entries, dropped) = (VecDeque::new(), BTreeMap::new());
        Self { limits, entries, bytes: 0, next: 1, dropped, file_bytes: 0 }
    }

    /// The outbox that a file holds, and how many of its bytes are damaged: what can't be read is left out, the rest
    /// is kept. After damage, write [`Outbox::snapshot`] in its place.
    #[must_use]
    pub fn replay(file: &[u8], limits: Limits) -> (Self, usize) {
        let mut outbox = Self::new(limits);
        let damaged = record::read(file, |record| outbox.redo(record));
        if damaged > 0 {
            outbox.next = outbox.next.saturating_add(AFTER_DAMAGE);
        }
        outbox.file_bytes = file.len();
        outbox.bound();
        (outbox, damaged)
    }

    fn redo(&mut self, record: Record<'_>) {
        match record {
            Record::Append { sequence, class, payload } => {
                // Only a file that was put together by somebody has one twice.
                if self.entries.iter().all(|entry| entry.sequence != sequence) {
                    self.bytes += payload.len();
                    self.entries.push_back(Entry {
                        sequence,
                        class,
                        payload: payload.to_vec(),
                        sent: false,
                        refusals: 0,
                    });
                }
                self.next = self.next.max(sequence.saturating_add(1));
            }
            Record::Done { sequence } => {
                self.remove(sequence);
                self.next = self.next.max(sequence.saturating_add(1));
            }
            Record::Next { sequence } => self.next = self.next.max(sequence),
            Record::Dropped { class, count } => {
                self.dropped.insert(class, count);
            }
        }
    }

    fn remove(&mut self, sequence: u64) -> bool {
        let Some(at) = self.entries.iter().position(|entry| entry.sequence == sequence) else { return false };
        let entry = self.entries.remove(at);
        self.bytes -= entry.map_or(0, |entry| entry.payload.len());
        true
    }

    /// Adds an event; `at` is the time in Unix seconds while the clock is synchronised. Returns what to append to the file.
    #[must_use]
    pub fn push(&mut self, at: Option<u64>, kind: EventKind) -> Vec<u8> {
        let (sequence, class) = (self.next, kind.class());
        let payload = serde_json::to_vec(&Event { sequence, at, kind }).unwrap_or_default();
        let mut out = Vec::new();
        Record::Append { sequence, class, payload: &payload }.write(&mut out);
        self.next = self.next.saturating_add(1);
        self.bytes += payload.len();
        self.entries.push_back(Entry { sequence, class, payload, sent: false, refusals: 0 });
        let dropped = self.bound();
        for sequence in &dropped {
            Record::Done { sequence: *sequence }.write(&mut out);
        }
        if !dropped.is_empty() {
            self.write_dropped(&mut out);
        }
        self.file_bytes += out.len();
        out
    }

    /// Drops what is too much: the class that matters least first, the oldest of it first. What was sent and waits for
    /// its acknowledgement goes last.
    fn bound(&mut self) -> Vec<u64> {
        let mut dropped = Vec::new();
        while self.entries.len() > self.limits.events || self.bytes > self.limits.bytes {
            let least = self.entries.iter().min_by_key(|entry| (entry.sent, entry.class, entry.sequence));
            let Some((sequence, class)) = least.map(|entry| (entry.sequence, entry.class)) else { break };
            self.remove(sequence);
            *self.dropped.entry(class).or_default() += 1;
            dropped.push(sequence);
        }
        dropped
    }

    fn write_dropped(&self, out: &mut Vec<u8>) {
        for (class, count) in &self.dropped {
            Record::Dropped { class: *class, count: *count }.write(out);
        }
    }

    /// With the link up: adds an event for each class of which some were dropped. Returns what to append to the file.
    #[must_use]
    pub fn tell_dropped(&mut self, at: Option<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        for (class, count) in std::mem::take(&mut self.dropped) {
            if count > 0 {
                out.extend(self.push(at, EventKind::EventsDropped { class, count }));
                let mut reset = Vec::new();
                let count = self.dropped.get(&class).copied().unwrap_or(0);
                Record::Dropped { class, count }.write(&mut reset);
                self.file_bytes += reset.len();
                out.extend(reset);
            }
        }
        out
    }

    /// The event to send next, with its sequence number, if it is time for one; it counts as sent from now on. First
    /// come those that were never refused, oldest first, then those that are set aside, one at a time. One whose payload
    /// has more bytes than `fits` allows is left out.
    pub fn send(&mut self, holds: &Holds, now: Now, fits: impl Fn(usize) -> bool) -> Option<(Subject, u64, &[u8])> {
        let window = if holds.is_doubted(Subject::Event) { 1 } else { WINDOW };
        if self.in_flight() >= window || !holds.may(Subject::Event, now) {
            return None;
        }
        let aside = holds.may(Subject::EventSetAside, now) && holds.on_the_way(Subject::EventSetAside) == 0;
        let waiting = self
            .entries
            .iter_mut()
            .filter(|entry| !entry.sent && (entry.refusals == 0 || aside) && fits(entry.payload.len()));
        let entry = waiting.min_by_key(|entry| (entry.refusals, entry.sequence))?;
        entry.sent = true;
        let subject = if entry.refusals == 0 { Subject::Event } else { Subject::EventSetAside };
        Some((subject, entry.sequence, &entry.payload))
    }

    /// The broker has refused an event: it waits aside, so that it is in the way of no other.
    pub fn refused(&mut self, sequence: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.sequence == sequence) {
            entry.sent = false;
            entry.refusals = entry.refusals.saturating_add(1);
        }
    }

    /// The event that a broker which hung up is most likely not to take: brokers acknowledge in order, so the oldest
    /// on its way; one that was set aside before the others.
    #[must_use]
    pub fn suspect(&self) -> Option<u64> {
        let sent = self.entries.iter().filter(|entry| entry.sent);
        sent.min_by_key(|entry| (entry.refusals == 0, entry.sequence)).map(|entry| entry.sequence)
    }

    /// The oldest event that does not fit, with its bytes, and how many there are.
    pub fn too_large(&self, fits: impl Fn(usize) -> bool) -> Option<(u64, usize, usize)> {
        let mut large = self.entries.iter().filter(|entry| !fits(entry.payload.len()));
        let first = large.next()?;
        Some((first.sequence, first.payload.len(), 1 + large.count()))
    }

    /// How many are on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.entries.iter().filter(|entry| entry.sent).count()
    }

    /// The broker has an event. Returns what to append to the file.
    #[must_use]
    pub fn acknowledged(&mut self, sequence: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if self.remove(sequence) {
            Record::Done { sequence }.write(&mut out);
        }
        self.file_bytes += out.len();
        out
    }

    /// The link is lost: what was on its way is sent again with the next one.
    pub fn link_lost(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.sent = false);
    }

    /// Whether the file has so much of the past in it that it should be written anew.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.file_bytes > 2 * self.bytes + SLACK
    }

    /// A whole file for what waits now, to take the place of the old one.
    #[must_use]
    pub fn snapshot(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        Record::Next { sequence: self.next }.write(&mut out);
        self.write_dropped(&mut out);
        for Entry { sequence, class, payload, .. } in &self.entries {
            Record::Append { sequence: *sequence, class: *class, payload }.write(&mut out);
        }
        self.file_bytes = out.len();
        out
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
