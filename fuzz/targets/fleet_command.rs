//! Commands that the admin signed, one a line: each is executed at most once, and everything is answered.
#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use kiosk_fuzz::{signed, trusted};
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::ledger::{Ledger, LedgerEffect, LedgerFile, LedgerInput, Reply};
use kiosk_proto::fleet::machine::Delivery;
use kiosk_proto::fleet::{Now, PayloadType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| {
    let now = Now { monotonic: Duration::ZERO, wall: Some(1_800_000_000) };
    let kiosk = KioskId::try_from("a-1".to_owned()).expect("a name");
    let (mut ledger, _) = Ledger::start(kiosk.clone(), None, now);
    let mut executed = BTreeSet::new();
    for line in script.split(|byte| *byte == b'\n').take(12) {
        let Some(bytes) = signed(PayloadType::Command, line) else { continue };
        let (reply, delivery, trusted) = (Reply::default(), Delivery(1), vec![trusted()]);
        let effects = ledger.handle(now, LedgerInput::Message { bytes, reply, delivery, trusted });
        assert!(effects.contains(&LedgerEffect::Ack(delivery)));
        let mut stored = None;
        for effect in effects {
            match effect {
                LedgerEffect::Execute(id, _) => assert!(executed.insert(id)),
                LedgerEffect::Persist(file) => stored = Some(LedgerFile::decode(&file.encode()).expect("a ledger")),
                _ => {}
            }
        }
        // Every other command falls into a power cut.
        if executed.len() % 2 == 1 && stored.is_some() {
            (ledger, _) = Ledger::start(kiosk.clone(), stored, now);
        }
    }
});
