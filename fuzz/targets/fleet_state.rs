//! Files in the state directory: whatever is in them, the kiosk starts, with a configuration.
#![no_main]

use std::time::Duration;

use kiosk_fuzz::site;
use kiosk_proto::config::{KioskId, parse};
use kiosk_proto::fleet::ledger::{Ledger, LedgerFile, LedgerInput};
use kiosk_proto::fleet::machine::{DesiredState, Input};
use kiosk_proto::fleet::{Durable, Now, seal, unseal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(content) = unseal(bytes) {
        assert_eq!(seal(content), bytes);
    }
    // Behind the seal: a state that was written by something else than this daemon.
    let now = Now { monotonic: Duration::from_secs(5), wall: Some(1_800_000_000) };
    if let Ok(durable) = Durable::from_json(bytes) {
        assert_eq!(Durable::decode(&durable.encode()).as_ref(), Ok(&durable));
        for recovered in [false, true] {
            let (mut state, _) = DesiredState::start("1", site(), Some(durable.clone()), recovered, now);
            for input in [Input::LinkUp, Input::Tick, Input::CallStarted, Input::CallEnded, Input::Tick] {
                let _ = state.handle(now, input);
            }
            let _ = (state.deadline(), state.explain(&[]), serde_json::to_string(&state.reported()));
            let text = toml::to_string(state.config()).expect("a configuration can be written");
            assert!(parse(&text).is_ok(), "{text}");
        }
    }
    if let Ok(file) = LedgerFile::from_json(bytes) {
        let kiosk = KioskId::try_from("a-1".to_owned()).expect("a name");
        let (mut ledger, _) = Ledger::start(kiosk, Some(file), now);
        for input in [LedgerInput::LinkUp, LedgerInput::CallStarted, LedgerInput::CallEnded, LedgerInput::Tick] {
            let _ = (ledger.handle(now, input), ledger.deadline(now));
        }
    }
});
