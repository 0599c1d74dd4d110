//! Events reach the admin: each at least once, over restarts of the broker and of the kiosk, and none with a word of a
//! customer's or an agent's.

use kiosk_harness::{
    Result,
    fleet::{self, Fleet},
    scene,
    wait::until,
    world::{Host, scenario},
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// The numbers of all events that have come.
fn sequences(fleet: &Fleet) -> BTreeSet<u64> {
    fleet.said("event").iter().filter_map(|event| event["sequence"].as_u64()).collect()
}

/// A call that begins and ends: two events, and one or two faults, since there is no server.
fn call(fleet: &mut Fleet) -> Result<()> {
    begin(fleet)?;
    end(fleet)
}

/// The fleet's part looks at the newest state of the call: each state has to last until it has seen it.
fn begin(fleet: &mut Fleet) -> Result<()> {
    seen(fleet, "event=CallStarted", |fleet| fleet.kiosk.start_call().map(drop))
}

fn end(fleet: &mut Fleet) -> Result<()> {
    seen(fleet, "event=CallEnded", |fleet| fleet.kiosk.end_call())
}

/// Does something, and waits until the daemon's log has these words once more.
fn seen(fleet: &mut Fleet, words: &str, act: impl FnOnce(&Fleet) -> Result<()>) -> Result<()> {
    let count = |fleet: &mut Fleet| fleet.kiosk.process().log_text().matches(words).count();
    let before = count(fleet);
    act(fleet)?;
    until(fleet::SOON, words, || Ok((count(fleet) > before).then_some(())))
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
            call(&mut fleet)?;
            // In the middle of what it has to say.
            begin(&mut fleet)?;
            if round % 2 == 0 {
                fleet.broker.stop()?
            } else {
                fleet.broker.kill()?
            }
            end(&mut fleet)?;
            (0..5).try_for_each(|_| call(&mut fleet))?;
            if round == 2 {
                // The power fails while they wait.
                fleet.kiosk.process().kill()?;
                fleet.kiosk.restart()?;
                call(&mut fleet)?;
            }
            let before = fleet.said("presence").len();
            fleet.broker.restart()?;
            until(BACK, "the kiosk at the broker", || Ok((fleet.said("presence").len() > before).then_some(())))?;
        }
        // A last one, behind which nothing waits.
        call(&mut fleet)?;
        // The kiosk may still be on its way back to the broker, and its last figures be old: the calls' ends are waited for.
        let seen = until(BACK, "every event of at least 28 of the 30 calls", || {
            let seen = sequences(&fleet);
            let last = seen.last().copied().unwrap_or(0);
            let waiting = fleet.said("metrics").pop().map(|metrics| metrics["outbox_events"].clone());
            let ends: BTreeSet<u64> = fleet
                .said("event")
                .iter()
                .filter(|event| event["kind"] == "call-ended")
                .filter_map(|event| event["sequence"].as_u64())
                .collect();
            let whole = seen.len() as u64 == last && waiting == Some(0.into()) && ends.len() >= 28;
            Ok(whole.then_some(seen.len()))
        });
        let seen = seen.map_err(|error| fleet.kiosk.process().explain(error))?;
        println!("measured: {seen} events, none missing");
        Ok(())
    });
}

#[test]
fn a_cable_that_is_pulled_is_noticed_at_both_ends_and_what_happened_meanwhile_is_told() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let begin = Instant::now();
        world.cut(Host::Kiosk)?;
        // Within twice the keepalive of 5 s when nothing else runs, and not the minutes that TCP alone takes.
        fleet.kiosk.process().wait_log("no connection to the broker", Duration::from_secs(60))?;
        let noticed = begin.elapsed();
        fleet.wait_presence(false)?;
        println!("measured: noticed after {noticed:.1?} by the kiosk, {:.1?} by the broker", begin.elapsed());
        call(&mut fleet)?;
        world.restore(Host::Kiosk)?;
        until(BACK, "the call's end", || {
            Ok(fleet.said("event").iter().any(|event| event["kind"] == "call-ended").then_some(()))
        })?;
        fleet.wait_presence(true)?;
        Ok(())
    });
}
