//! Events reach the admin: each at least once, over restarts of the broker and of the kiosk, and none with a word of a
//! customer's or an agent's.

use kiosk_harness::{
    Result,
    fleet::{self, Fleet},
    scene,
    wait::until,
    world::scenario,
};
use std::{collections::BTreeSet, thread, time::Duration};

/// The numbers of all events that have come.
fn sequences(fleet: &Fleet) -> BTreeSet<u64> {
    fleet.said("event").iter().filter_map(|event| event["sequence"].as_u64()).collect()
}

/// A call that begins and ends: two events, and one or two faults, since there is no server.
fn call(fleet: &Fleet) -> Result<()> {
    fleet.kiosk.start_call()?;
    thread::sleep(Duration::from_millis(60));
    fleet.kiosk.end_call()
}

/// The back-off grows with each restart.
const BACK: Duration = Duration::from_secs(90);

#[test]
fn no_event_is_lost_while_broker_and_kiosk_stop_and_start() {
    scenario(|world| {
        let mut janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        janus.kill()?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, config)?;
        for round in 0..4 {
            call(&fleet)?;
            // In the middle of what it has to say.
            fleet.kiosk.start_call()?;
            if round % 2 == 0 {
                fleet.broker.stop()?
            } else {
                fleet.broker.kill()?
            }
            fleet.kiosk.end_call()?;
            (0..5).try_for_each(|_| call(&fleet))?;
            if round == 2 {
                // The power fails while they wait.
                fleet.kiosk.process().kill()?;
                fleet.kiosk.restart()?;
                call(&fleet)?;
            }
            let before = fleet.said("presence").len();
            fleet.broker.restart()?;
            until(BACK, "the kiosk at the broker", || Ok((fleet.said("presence").len() > before).then_some(())))?;
        }
        // A last one, behind which nothing waits.
        call(&fleet)?;
        let seen = until(BACK, "every event", || {
            let seen = sequences(&fleet);
            let last = seen.last().copied().unwrap_or(0);
            let waiting = fleet.said("metrics").pop().map(|metrics| metrics["outbox_events"].clone());
            let whole = seen.len() as u64 == last && waiting == Some(0.into());
            Ok(whole.then_some(seen.len()))
        });
        let seen = seen.map_err(|error| fleet.kiosk.process().explain(error))?;
        let ends = fleet.said("event").iter().filter(|event| event["kind"] == "call-ended").count();
        println!("measured: {seen} events, none missing");
        assert!(ends >= 28, "{ends} calls ended");
        Ok(())
    });
}
