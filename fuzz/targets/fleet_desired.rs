//! Layers that the admin signed, one a line, on a kiosk whose probes all pass: it always ends on a configuration that
//! its site file could be, and what is on the disk is what is in memory.
#![no_main]

use std::time::Duration;

use kiosk_fuzz::{signed, site};
use kiosk_proto::config::parse;
use kiosk_proto::fleet::machine::{Delivery, DesiredState, Effect, Input, Probe};
use kiosk_proto::fleet::{Durable, LayerName, Now, PayloadType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| {
    let now = Now { monotonic: Duration::ZERO, wall: Some(1_800_000_000) };
    let (mut state, _) = DesiredState::start("1", site(), None, false, now);
    let _ = state.handle(now, Input::LinkUp);
    for line in script.split(|byte| *byte == b'\n').take(6) {
        let Some(bytes) = signed(PayloadType::Desired, line) else { continue };
        let layer = LayerName::Device;
        let mut effects = state.handle(now, Input::Message { layer, bytes, delivery: Delivery(1) });
        for input in [Input::Tick]
            .into_iter()
            .chain([Probe::Broker, Probe::Janus, Probe::Camera].map(Input::ProbePassed))
            .chain([Input::Tick])
        {
            effects.extend(state.handle(now, input));
        }
        for effect in effects {
            match effect {
                Effect::Persist(durable) => {
                    assert_eq!(Durable::decode(&durable.encode()).as_ref(), Ok(durable.as_ref()));
                }
                Effect::Apply(application) => {
                    let text = toml::to_string(&application.config).expect("a configuration can be written");
                    assert_eq!(parse(&text).as_ref(), Ok(&application.config), "{text}");
                }
                Effect::Report(report) => drop(serde_json::to_string(&report).expect("a report is JSON")),
                _ => {}
            }
        }
        // A restart that is asked for by a good layer may be due; nothing else is left on trial.
        assert!(!state.on_trial());
    }
});
