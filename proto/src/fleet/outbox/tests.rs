use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { events: 4, bytes: 10_000 };

fn fault(code: &str) -> EventKind {
    EventKind::FaultRaised { code: code.to_owned() }
}

fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), wall: None }
}

/// What goes out next to a broker that has refused nothing.
fn next(outbox: &mut Outbox) -> Option<(u64, &[u8])> {
    outbox.send(&Holds::default(), at(0), |_| true).map(|(_, sequence, payload)| (sequence, payload))
}

/// What waits, as its payloads say.
fn waiting(outbox: &Outbox) -> Vec<Event> {
    outbox.entries.iter().map(|entry| serde_json::from_slice(&entry.payload).unwrap()).collect()
}

fn sequences(outbox: &Outbox) -> Vec<u64> {
    waiting(outbox).iter().map(|event| event.sequence).collect()
}

#[test]
fn an_event_waits_until_it_is_acknowledged() {
    let mut outbox = Outbox::new(LIMITS);
    let mut file = outbox.push(Some(1_800_000_000), EventKind::CallStarted {});
    file.extend(outbox.push(None, EventKind::CallEnded { reason: "asked to end".into(), seconds: 9 }));
    let (first, payload) = next(&mut outbox).unwrap();
    assert_eq!(first, 1);
    insta::assert_snapshot!(String::from_utf8(payload.to_vec()).unwrap());
    assert_eq!((next(&mut outbox).unwrap().0, next(&mut outbox)), (2, None));
    assert_eq!(outbox.in_flight(), 2);

    outbox.link_lost();
    assert_eq!(next(&mut outbox).unwrap().0, 1, "what was on its way is sent again, in order");
    file.extend(outbox.acknowledged(1));
    assert_eq!(outbox.acknowledged(1), b"", "an acknowledgement that comes twice changes nothing");
    assert_eq!(sequences(&outbox), [2]);

    let (replayed, damaged) = Outbox::replay(&file, LIMITS);
    assert_eq!((sequences(&replayed), replayed.next, damaged), (vec![2], 3, 0));
}

#[test]
fn what_matters_least_is_dropped_first_and_it_is_told() {
    let mut outbox = Outbox::new(LIMITS);
    let mut file = Vec::new();
    for kind in [
        EventKind::TcpOnlyViolation {},
        fault("a"),
        EventKind::CallStarted {},
        fault("b"),
        EventKind::TcpOnlyViolation {},
        EventKind::TcpOnlyViolation {},
        EventKind::TcpOnlyViolation {},
        EventKind::DaemonStarted { version: "1".into() },
    ] {
        file.extend(outbox.push(None, kind));
    }
    // Both faults, the call, and last the event that came into a box full of alarms.
    assert_eq!(sequences(&outbox), [1, 5, 6, 7]);
    let dropped = [(Class::Daemon, 1), (Class::Device, 2), (Class::Call, 1)];
    assert_eq!(outbox.dropped, dropped.into());
    assert_eq!(Outbox::replay(&file, LIMITS).0.dropped, dropped.into(), "the count survives");

    for sequence in [1, 5, 6, 7] {
        file.extend(outbox.acknowledged(sequence));
    }
    file.extend(outbox.tell_dropped(None));
    let told: Vec<EventKind> = waiting(&outbox).into_iter().map(|event| event.kind).collect();
    assert_eq!(told, dropped.map(|(class, count)| EventKind::EventsDropped { class, count }));
    let (replayed, _) = Outbox::replay(&file, LIMITS);
    assert!(replayed.dropped.values().all(|count| *count == 0), "told once");
    assert_eq!(waiting(&replayed), waiting(&outbox));
    assert_eq!(outbox.tell_dropped(None), b"");
}

#[test]
fn bytes_are_bounded_too() {
    let mut outbox = Outbox::new(Limits { events: 1_000, bytes: 2_000 });
    for _ in 0..50 {
        let _ = outbox.push(None, fault(&"x".repeat(300)));
        assert!(outbox.bytes <= 2_000);
    }
    assert_eq!(outbox.len() as u64 + outbox.dropped[&Class::Device], 50);
    let _ = outbox.push(None, fault(&"x".repeat(3_000)));
    assert!(outbox.bytes <= 2_000);
}

#[test]
fn what_is_on_its_way_is_dropped_last() {
    let mut outbox = Outbox::new(LIMITS);
    for _ in 0..4 {
        let _ = outbox.push(None, fault("a"));
    }
    assert_eq!(next(&mut outbox).unwrap().0, 1);
    let _ = outbox.push(None, fault("b"));
    assert_eq!(sequences(&outbox), [1, 3, 4, 5]);
}

#[test]
fn what_the_broker_does_not_take_is_in_the_way_of_no_other() {
    let mut outbox = Outbox::new(Limits { events: 100, bytes: 100_000 });
    let large = |number: u64| number <= 17 && number != 3;
    for number in 1..=20 {
        let code = if large(number) { "x".repeat(900) } else { format!("f{number}") };
        let _ = outbox.push(None, fault(&code));
    }
    let small = |bytes: usize| bytes < 500;
    assert_eq!(outbox.too_large(small).map(|(first, _, count)| (first, count)), Some((1, 16)));
    assert_eq!(outbox.too_large(|_| true), None);
    let mut holds = Holds::default();
    let send = |outbox: &mut Outbox, holds: &Holds, seconds: u64| {
        outbox.send(holds, at(seconds), small).map(|(subject, sequence, _)| (subject, sequence))
    };
    let sent: Vec<_> = std::iter::from_fn(|| send(&mut outbox, &holds, 0)).collect();
    assert_eq!(sent, [3, 18, 19, 20].map(|sequence| (Subject::Event, sequence)));
    sent.iter().for_each(|(subject, _)| holds.sent(*subject));
    // The broker refuses one of them, and hangs up.
    outbox.refused(3);
    let _ = holds.refused(Subject::Event, at(0));
    assert_eq!((outbox.in_flight(), outbox.suspect(), holds.lost(at(0))), (3, Some(18), None));
    outbox.link_lost();
    assert_eq!(send(&mut outbox, &holds, 29), None);
    // Another one shows whether it takes events.
    assert_eq!(send(&mut outbox, &holds, 30), Some((Subject::Event, 18)));
    assert_eq!(send(&mut outbox, &holds, 30), None, "and no more before that is known");
    outbox.refused(18);
    let _ = holds.refused(Subject::Event, at(30));
    assert_eq!(send(&mut outbox, &holds, 90), Some((Subject::Event, 19)));
    let _ = outbox.acknowledged(19);
    holds.sent(Subject::Event);
    holds.taken(Subject::Event);
    // It does: those that are left, and then one that it refused, and no other beside that.
    let mut sent = Vec::new();
    while let Some((subject, sequence)) = send(&mut outbox, &holds, 90) {
        holds.sent(subject);
        sent.push((subject, sequence));
    }
    assert_eq!(sent, [(Subject::Event, 20), (Subject::EventSetAside, 3)]);
    assert_eq!(outbox.suspect(), Some(3), "the one that was set aside, and not an older one");
    let _ = outbox.acknowledged(20);
    holds.taken(Subject::Event);
    assert_eq!(holds.lost(at(91)), Some(Subject::EventSetAside));
    outbox.refused(3);
    outbox.link_lost();
    assert_eq!(send(&mut outbox, &holds, 120), None);
    assert_eq!(send(&mut outbox, &holds, 121), Some((Subject::EventSetAside, 18)), "refused least often");
    outbox.link_lost();
    // Another broker takes all.
    let mut all = Vec::new();
    while let Some((sequence, _)) = next(&mut outbox) {
        all.push(sequence);
        let _ = outbox.acknowledged(sequence);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=18).collect::<Vec<u64>>(), "nothing is lost");
}

#[test]
fn the_file_is_written_anew_when_most_of_it_is_past() {
    let mut outbox = Outbox::new(LIMITS);
    let mut appended = 0;
    while !outbox.wants_snapshot() {
        appended += outbox.push(None, fault(&"x".repeat(200))).len();
        assert!(appended < 1024 * 1024);
    }
    let file = outbox.snapshot();
    assert!(file.len() < 4_000 && !outbox.wants_snapshot());
    assert_eq!(Outbox::replay(&file, LIMITS), (outbox, 0));
}

/// Three events, one of them acknowledged.
fn a_file() -> Vec<u8> {
    let mut outbox = Outbox::new(LIMITS);
    let mut file = Vec::new();
    for code in ["a", "b", "c"] {
        file.extend(outbox.push(None, fault(code)));
    }
    file.extend(outbox.acknowledged(1));
    file
}

#[test]
fn a_file_that_was_cut_off_anywhere_keeps_what_is_before_the_cut() {
    let file = a_file();
    let whole = sequences(&Outbox::replay(&file, LIMITS).0);
    assert_eq!(whole, [2, 3]);
    let mut seen = std::collections::BTreeSet::new();
    for length in 0..=file.len() {
        let (outbox, damaged) = Outbox::replay(&file[..length], LIMITS);
        let kept = sequences(&outbox);
        seen.insert(kept.clone());
        assert!(kept.iter().all(|sequence| (1..=3).contains(sequence)));
        if damaged > 0 {
            assert!(outbox.next > 3, "no number is given out twice");
        }
        // What is written behind the damage is read again.
        let mut outbox = outbox;
        let mut mended = file[..length].to_vec();
        mended.extend(outbox.push(None, fault("d")));
        let (again, _) = Outbox::replay(&mended, LIMITS);
        assert_eq!(waiting(&again), waiting(&outbox), "cut at {length}");
    }
    assert_eq!(seen, [vec![], vec![1], vec![1, 2], vec![1, 2, 3], vec![2, 3]].into());
}

#[test]
fn a_bit_that_flips_anywhere_costs_the_record_that_it_is_in_and_changes_no_event() {
    let file = a_file();
    let good: Vec<Event> = {
        let mut outbox = Outbox::new(LIMITS);
        ["a", "b", "c"].into_iter().for_each(|code| drop(outbox.push(None, fault(code))));
        waiting(&outbox)
    };
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (outbox, bytes) = Outbox::replay(&damaged, LIMITS);
        assert!(bytes > 0, "bit {bit} was not noticed");
        assert!(waiting(&outbox).iter().all(|event| good.contains(event)), "bit {bit}");
        // At most one record is lost: an event that waits, or an acknowledgement.
        assert!(outbox.len() == 1 || outbox.len() == 2 || sequences(&outbox) == [1, 2, 3], "bit {bit}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8),
    Send,
    Refuse(u64),
    Acknowledge(u64),
    LinkLost,
    Snapshot,
    Restart,
    Tell,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8).prop_map(Step::Push),
        2 => Just(Step::Send),
        1 => (1..40_u64).prop_map(Step::Refuse),
        3 => (1..40_u64).prop_map(Step::Acknowledge),
        1 => Just(Step::LinkLost),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        1 => Just(Step::Tell),
    ]
}

proptest! {
    /// Whatever happens: what is on the disk is what is in memory, nothing is lost without being counted, and no number
    /// comes twice.
    #[test]
    fn every_event_is_acknowledged_waits_or_is_counted(steps in proptest::collection::vec(any_step(), 1..60)) {
        let mut outbox = Outbox::new(LIMITS);
        let mut file = Vec::new();
        let (mut pushed, mut acknowledged, mut told) = (0_u64, 0_u64, 0_u64);
        for step in steps {
            match step {
                Step::Push(class) => {
                    let kind = match class {
                        0 => EventKind::DaemonStarted { version: "1".into() },
                        1 => fault("a"),
                        2 => EventKind::CallStarted {},
                        3 => EventKind::StateDamaged { file: "f".into(), recovered: true },
                        _ => EventKind::TcpOnlyViolation {},
                    };
                    file.extend(outbox.push(None, kind));
                    pushed += 1;
                }
                Step::Send => drop(next(&mut outbox).map(|(sequence, _)| sequence)),
                Step::Refuse(sequence) => outbox.refused(sequence),
                Step::Acknowledge(sequence) => {
                    let before = outbox.len();
                    file.extend(outbox.acknowledged(sequence));
                    acknowledged += (before - outbox.len()) as u64;
                }
                Step::LinkLost => outbox.link_lost(),
                Step::Snapshot => file = outbox.snapshot(),
                Step::Restart => {
                    outbox.link_lost();
                    let (replayed, damaged) = Outbox::replay(&file, LIMITS);
                    prop_assert_eq!(damaged, 0);
                    prop_assert_eq!(waiting(&replayed), waiting(&outbox));
                    prop_assert_eq!(replayed.next, outbox.next);
                    outbox = replayed;
                }
                Step::Tell => {
                    let counted: u64 = outbox.dropped.values().sum();
                    let classes = outbox.dropped.values().filter(|count| **count > 0).count() as u64;
                    file.extend(outbox.tell_dropped(None));
                    told += counted;
                    pushed += classes;
                }
            }
            prop_assert!(outbox.len() <= LIMITS.events);
            let counted: u64 = outbox.dropped.values().sum();
            prop_assert_eq!(pushed, acknowledged + outbox.len() as u64 + counted + told);
        }
    }

    #[test]
    fn no_file_makes_it_panic(mut file in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        let (outbox, _) = Outbox::replay(&file, LIMITS);
        prop_assert!(outbox.len() <= LIMITS.events);
        // Noise between two records costs neither.
        let good = a_file();
        file.retain(|byte| *byte != b'B');
        let mut mixed = file.clone();
        mixed.extend(&good);
        mixed.extend(&file[..at.index(file.len() + 1)]);
        prop_assert_eq!(sequences(&Outbox::replay(&mixed, LIMITS).0), [2, 3]);
    }
}
