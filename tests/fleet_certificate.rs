//! A kiosk's certificate is renewed by writing over its files: what the broker does not take cuts nobody off.

use kiosk_harness::{
    Error, Result,
    fleet::{self, Fleet, KIOSK},
    scene,
    world::scenario,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};

/// Waits until the kiosk is there with the certificate in its files, or with the one before it.
fn connected(fleet: &mut Fleet, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let topic = fleet.topic("presence");
    fleet.wait_last(fleet::SOON, what, &topic, |presence| presence["online"] == true && wanted(presence))
}

#[test]
fn a_renewed_certificate_counts_once_the_broker_has_taken_it() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let files = fleet.broker.kiosk(KIOSK);
        let presence = connected(&mut fleet, "the first certificate", |_| true)?;
        let (first, ends) = (presence["certificate"].clone(), presence["certificate_ends"].clone());
        assert!(ends.is_u64(), "{presence}");
        assert_eq!(first.as_str().map(str::len), Some(64), "{first}");

        // One that is over already, with a key of its own; and one of which half is written when the kiosk starts.
        fleet.broker.authority().client_until(KIOSK, 2020)?;
        fleet.kiosk.process().signal(Signal::SIGHUP)?;
        let before = |words: &'static str| {
            let first = first.clone();
            move |presence: &Value| {
                let why = presence["certificate_refused"].as_str();
                presence["certificate"] == first && why.is_some_and(|why| why.to_lowercase().contains(words))
            }
        };
        connected(&mut fleet, "the first one, because the second is over", before("expired"))?;
        fleet.kiosk.process().kill()?;
        fleet.wait_presence(false)?;
        fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nMIGH").map_err(Error::io("the key"))?;
        fleet.kiosk.restart()?;
        connected(&mut fleet, "the first one, because the second can't be read", before("kiosk-1.key"))?;

        // A good one is taken, and is what the kiosk falls back to from now on.
        fleet.broker.authority().client(KIOSK)?;
        fleet.kiosk.process().signal(Signal::SIGHUP)?;
        let taken = |presence: &Value| presence["certificate"] != first && presence["certificate_refused"].is_null();
        let second = connected(&mut fleet, "the renewed certificate", taken)?["certificate"].clone();
        fleet.kiosk.process().kill()?;
        fleet.wait_presence(false)?;
        for file in [&files.certificate, &files.key] {
            fs::remove_file(file).map_err(Error::io("the kiosk's identity"))?;
        }
        fleet.kiosk.restart()?;
        connected(&mut fleet, "the renewed one without its files", |presence| {
            presence["certificate"] == second && presence["certificate_refused"].is_string()
        })?;
        let kept = fs::metadata(fleet.state_dir.join("identity")).map_err(Error::io("what is kept"))?;
        assert_eq!(kept.permissions().mode() & 0o777, 0o600);

        // All that it has ended while it was off. Whoever looks from afar sees when; a technician brings it back.
        fleet.kiosk.process().kill()?;
        let topic = fleet.topic("presence");
        fleet.wait_last(fleet::SOON, "the end in the last will", &topic, |presence| {
            presence["online"] == false && presence["certificate_ends"].is_u64()
        })?;
        let over = fleet.broker.authority().client_until(KIOSK, 2020)?;
        let read = |file| fs::read_to_string(file).map_err(Error::io("the pair that is over"));
        let both = read(&over.certificate)? + &read(&over.key)?;
        fs::write(fleet.state_dir.join("identity"), both).map_err(Error::io("what is kept"))?;
        let told = |log: &str| log.matches("no connection to the broker").count();
        let before = told(&fleet.kiosk.process().log_text());
        fleet.kiosk.restart()?;
        let daemon = fleet.kiosk.process();
        let log = daemon.log().to_owned();
        daemon.until(fleet::SOON, "that no certificate is taken", || {
            let log = fs::read_to_string(&log).map_err(Error::io("the log"))?;
            Ok((told(&log) > before).then_some(()))
        })?;
        fleet.broker.authority().client(KIOSK)?;
        connected(&mut fleet, "what the technician installed", |presence| presence["certificate_refused"].is_null())?;
        Ok(())
    });
}
