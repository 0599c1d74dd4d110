//! What the broker does not take is held back, kept and said again, and the rest of the link stays in use meanwhile.

use kiosk_harness::{
    Result,
    broker::{NOT_AUTHORIZED, Obedient, Verdict},
    fleet::{self, Fleet, KIOSK, desired},
    kiosk::{Kiosk, KioskConfig},
    scene,
    wait::until,
    world::{Host, World, scenario},
};
use kiosk_proto::fleet::Command;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// The first pause after a refusal.
const PAUSE: Duration = Duration::from_secs(30);
/// Some pauses, and the way back to the broker between them.
const LATER: Duration = Duration::from_secs(150);

/// How often the daemon's log has these words.
fn count(fleet: &mut Fleet, words: &str) -> usize {
    fleet.kiosk.process().log_text().matches(words).count()
}

#[test]
fn an_access_list_that_forbids_events_costs_the_events_and_nothing_else() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        fleet.broker.set_writable("event", false)?;
        // It reads its list again when it has time: then another kiosk can't write either.
        let (other, mut round) = (world.at(Host::Kiosk2)?, 0);
        until(fleet::SOON, "the broker to refuse events", || {
            round += 1;
            let [word, behind] = ["word", "behind"].map(|text| format!("{text} {round}"));
            fleet.broker.publish_as(&other, "kiosk-2", "bk/v1/device/kiosk-2/event", word.as_bytes(), &[])?;
            fleet.broker.publish(&fleet.admin, "bk/v1/device/kiosk-2/marker", behind.as_bytes(), false)?;
            fleet.all.wait(fleet::SOON, "the marker", |message| message.text() == behind)?;
            Ok(fleet.all.messages().iter().all(|message| message.text() != word).then_some(()))
        })?;
        let connected = "connected to the broker";
        let (begin, before) = (Instant::now(), count(&mut fleet, connected));
        // Each command and each phase of a push is an event. This mosquitto hangs up when it refuses one.
        let ping = || fleet::command(Command::Ping {});
        let first = ping();
        fleet.send(&first)?;
        fleet.wait_answer(first.id.as_str(), |answer| answer["outcome"] == "done")?;
        let (presence, events) = (fleet.topic("presence"), json!([fleet.topic("event")]));
        let told = |presence: &Value| presence["online"] == true && presence["unwritable"] == events;
        fleet.wait_last(LATER, "the refused topic in presence", &presence, told)?;
        for revision in 1..=3 {
            // Sent again when the connection was lost just then.
            until(LATER, "an answer", || Ok(fleet.run(&ping()).ok()))?;
            fleet.push(&desired(revision, json!({"video": {"bitrate_kbps": 700 + revision}})))?;
            fleet.wait_phase(revision, "confirmed")?;
        }
        fleet.wait_last(LATER, "the same as before", &presence, told)?;
        // At most: two connections until it is known what the broker does not like, and one for each pause since.
        let connections = count(&mut fleet, connected) - before;
        let pauses = usize::try_from(begin.elapsed().as_secs() / PAUSE.as_secs()).unwrap_or(usize::MAX);
        assert!((1..=2 + pauses).contains(&connections), "{connections} connections in {:?}", begin.elapsed());
        assert!(fleet.said("event").iter().all(|event| event["kind"] != "command-finished"));

        fleet.broker.set_writable("event", true)?;
        fleet.wait(LATER, "the event", |message| message.json()["kind"] == "command-finished")?;
        let seen = until(LATER, "every event", || {
            let seen: BTreeSet<u64> =
                fleet.said("event").iter().filter_map(|event| event["sequence"].as_u64()).collect();
            let waiting = fleet.said("metrics").pop().map(|metrics| metrics["outbox_events"].clone());
            Ok((waiting == Some(0.into()) && seen.last().copied() == Some(seen.len() as u64)).then_some(seen))
        })?;
        assert_eq!(seen.first().copied(), Some(1), "{seen:?}");
        Ok(())
    });
}

/// A kiosk at a broker that does as it is told.
fn kiosk(world: &World, host: Host, broker: &Obedient, config: KioskConfig) -> Result<Kiosk> {
    let state = world.dir().join(format!("state-{}", host.name()));
    let config = fleet::section_for(config, broker.url(), &broker.ca(), broker.kiosk(), &state)?;
    Kiosk::start(&world.at(host)?, &format!("kioskd-{}", host.name()), &config)
}

#[test]
fn a_refusal_is_tried_again_on_the_same_connection_and_an_event_that_breaks_it_is_found() {
    scenario(|world| {
        let mut janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        janus.kill()?;
        let place = world.at(Host::Server)?;
        // One broker refuses the first event that it gets, with a reason.
        let mut refusals = 0;
        let polite = Obedient::start(&place, Host::Server.address(), 8883, move |word, _| {
            if word != "event" || refusals == 1 {
                return Verdict::Take;
            }
            refusals += 1;
            Verdict::Refuse(NOT_AUTHORIZED)
        })?;
        // The other hangs up whenever it gets the first event of all, and says nothing.
        let rude = Obedient::start(&place, Host::Server.address(), 8983, |word, json| match word {
            "event" if json["sequence"] == 1 => Verdict::HangUp,
            _ => Verdict::Take,
        })?;
        let mut kiosks = Vec::new();
        for (host, broker) in [(Host::Kiosk, &polite), (Host::Kiosk2, &rude)] {
            let mut kiosk = kiosk(world, host, broker, config.clone())?;
            // Two more events.
            kiosk.start_call()?;
            kiosk.process().wait_log("event=CallStarted", fleet::SOON)?;
            kiosk.end_call()?;
            kiosk.process().wait_log("event=CallEnded", fleet::SOON)?;
            kiosks.push(kiosk);
        }

        let taken = |said: &[kiosk_harness::broker::Said]| -> BTreeSet<u64> {
            let events = said.iter().filter(|said| said.word == "event" && said.verdict == Verdict::Take);
            events.filter_map(|said| said.json["sequence"].as_u64()).collect()
        };
        polite.wait(LATER, "the event that was refused, and those behind it", |said| {
            let taken = taken(said);
            taken.is_superset(&BTreeSet::from([1, 2, 3]))
        })?;
        assert_eq!(polite.connections(), 1);
        let events = polite.said_on("event");
        let refused = events.iter().find(|said| said.verdict != Verdict::Take);
        let again = events.iter().rfind(|said| refused.is_some_and(|refused| refused.json == said.json));
        assert!(refused.zip(again).is_some_and(|(refused, again)| again.at - refused.at >= PAUSE), "{events:#?}");
        // The admin reads of it while it is so, and what was not refused is not said again.
        polite.wait(fleet::SOON, "the presence when all is well again", |said| {
            let presence: Vec<_> = said.iter().filter(|said| said.word == "presence").collect();
            let events = format!("bk/v1/device/{KIOSK}/event");
            let unwritable: Vec<_> = presence.iter().map(|said| said.json["unwritable"][0].as_str()).collect();
            unwritable == [None, Some(events.as_str()), None]
        })?;
        let last = taken(&events).len();
        assert_eq!(events.len(), last + 1, "each event once, and the one that was refused twice: {events:#?}");

        rude.wait(LATER, "the events behind the one that it does not take", |said| !taken(said).is_empty())?;
        assert!(!taken(&rude.said()).contains(&1));
        // Two connections until it is known what the broker does not like, then one that lasts until it is tried again.
        let third = rude.said_on("event").into_iter().find(|said| said.verdict == Verdict::Take);
        assert_eq!(third.map(|said| said.connection), Some(3));
        Ok(())
    });
}
