//! The outbox's file, and damage to a good one: nothing comes out of it that was not written, and it goes on.
#![no_main]

use kiosk_proto::fleet::{EventKind, Holds, Limits, Now, Outbox};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { events: 8, bytes: 4_096 };

/// What waits, in order.
fn waiting(mut outbox: Outbox) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some((_, sequence, payload)) = outbox.send(&Holds::default(), Now::default(), |_| true) {
        all.push((sequence, payload.to_vec()));
    }
    all
}

fuzz_target!(|bytes: &[u8]| {
    let mut good = Outbox::new(LIMITS);
    let mut file = Vec::new();
    for code in ["a", "b", "c"] {
        file.extend(good.push(None, EventKind::FaultRaised { code: code.to_owned() }));
    }
    let written = waiting(good.clone());
    // The input as a file; in front of, behind and within a good one.
    let middle = bytes.first().map_or(0, |at| usize::from(*at) % file.len());
    let within = [&file[..middle], bytes, &file[middle..]].concat();
    for damaged in [bytes.to_vec(), [bytes, &file].concat(), [&file, bytes].concat(), within] {
        let (mut outbox, lost) = Outbox::replay(&damaged, LIMITS);
        assert!(outbox.len() <= LIMITS.events && lost <= damaged.len());
        let snapshot = outbox.snapshot();
        let (again, none) = Outbox::replay(&snapshot, LIMITS);
        assert_eq!((waiting(again), none), (waiting(outbox.clone()), 0));
        // The next event has a number of its own.
        let before: Vec<u64> = waiting(outbox.clone()).iter().map(|(sequence, _)| *sequence).collect();
        let _ = outbox.push(None, EventKind::TcpOnlyViolation {});
        let after = waiting(outbox);
        let last = after.last().map(|(sequence, _)| *sequence);
        assert!(last.is_some_and(|last| before.iter().all(|known| *known < last)), "{before:?} {last:?}");
    }
    let (outbox, _) = Outbox::replay(&[&file, bytes].concat(), LIMITS);
    if bytes.first() != Some(&b'B') {
        assert!(
            written.iter().all(|event| waiting(outbox.clone()).contains(event)),
            "what is before the damage is kept"
        );
    }
});
