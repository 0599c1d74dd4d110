//! Servers with other media ports than the usual ones, and with few, of which a call takes four. Who comes when none is
//! free is told so, and gets in when a call ends.

use kiosk_harness::{
    Result,
    agent::{Browser, BrowserOptions, Part},
    janus::{Janus, JanusOptions, ROOM},
    kiosk::{Kiosk, KioskConfig},
    procfs::listening_ports,
    scene::{self, SETUP},
    wait::until,
    world::{Host, World, scenario},
};

const OTHERS: &str = "41000-41019";
const TEN: &str = "40000-40009";
const TWENTY: &str = "40000-40019";
/// One in a call and those that wait for an agent, each with one port; the last finds none.
const KIOSKS: u64 = 8;

fn taken(janus: &mut Janus) -> Result<usize> {
    let ports = listening_ports(janus.process().pid(), Host::Server.address())?;
    Ok(ports.iter().filter(|port| (40000..=40019).contains(*port)).count())
}

/// A kiosk with a picture as small as possible: many of them run at once.
fn kiosk(world: &World, janus: &Janus, number: u64) -> Result<Kiosk> {
    let config = KioskConfig::new(&format!("kiosk-{number}"), janus, ROOM + number)?
        .with("camera", "width", 160)
        .with("camera", "height", 120)
        .with("camera", "frames_per_second", 5);
    let kiosk = Kiosk::start(&world.at(Host::Kiosk2)?, &format!("kioskd-{number}"), &config)?;
    kiosk.start_call()?;
    Ok(kiosk)
}

/// The audit knows the ports of the configuration from the first connection of the first call on.
#[test]
fn a_range_of_its_own_carries_the_first_call_of_a_daemon_and_every_other() {
    scenario(|world| {
        let options = JanusOptions { media_ports: OTHERS.into(), ..JanusOptions::new(Host::Server.address()) };
        let janus = Janus::start(&world.at(Host::Server)?, options)?;
        let mut agent = scene::agent(world, &janus)?;
        let mut kiosk = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        for _ in 0..2 {
            kiosk.start_call()?;
            scene::flows(&mut kiosk, &mut agent, SETUP)?;
            kiosk.wait_no_fault(SETUP)?;
            kiosk.end_call()?;
            kiosk.wait_state("idle", SETUP)?;
        }
        Ok(())
    });
}

#[test]
fn ten_ports_carry_two_calls_and_the_one_too_many_is_told_and_gets_in_later() {
    scenario(|world| {
        let rooms = (0..KIOSKS).map(|number| (ROOM + number, format!("Test branch, kiosk {number}"))).collect();
        let options = JanusOptions {
            media_ports: TEN.into(),
            media: "simultaneous_calls = 2".into(),
            rooms,
            ..JanusOptions::new(Host::Server.address())
        };
        let mut janus = Janus::start(&world.at(Host::Server)?, options)?;
        let mut first = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        first.start_call()?;
        let options = BrowserOptions::new(Part::Agent, "agent", &janus, ROOM)?;
        let mut agent = Browser::start(&world.at(Host::Agent)?, &options)?;
        scene::flows(&mut first, &mut agent, SETUP)?;
        assert_eq!(taken(&mut janus)?, 4, "ports of one call");

        let mut waiting = Vec::new();
        for number in 1..KIOSKS - 1 {
            let mut kiosk = kiosk(world, &janus, number)?;
            kiosk.wait_state("waiting", SETUP)?;
            waiting.push(kiosk);
        }
        assert_eq!(taken(&mut janus)?, 10, "ports of a call and {} that wait", waiting.len());
        let mut last = kiosk(world, &janus, KIOSKS - 1)?;
        let fault = last.wait_fault("server-busy", SETUP)?;
        assert!(fault.contains("media.ports"), "{fault}");
        scene::flows(&mut first, &mut agent, SETUP)?;

        waiting[0].end_call()?;
        last.wait_state("waiting", SETUP)?;
        last.wait_no_fault(SETUP)?;
        until(SETUP, "ten ports in use again", || Ok((taken(&mut janus)? == 10).then_some(())))
    });
}

/// Five calls, each of a kiosk and a browser, with pictures as small as possible.
#[test]
fn twenty_ports_carry_five_calls_and_the_sixth_kiosk_is_told_and_gets_in_when_one_ends() {
    const CALLS: u64 = 5;
    scenario(|world| {
        let rooms = (0..=CALLS).map(|number| (ROOM + number, format!("Test branch, kiosk {number}"))).collect();
        let options = JanusOptions {
            media_ports: TWENTY.into(),
            media: format!("simultaneous_calls = {CALLS}"),
            rooms,
            ..JanusOptions::new(Host::Server.address())
        };
        let mut janus = Janus::start(&world.at(Host::Server)?, options)?;
        let mut calls = Vec::new();
        for number in 0..CALLS {
            let mut kiosk = kiosk(world, &janus, number)?;
            kiosk.wait_state("waiting", SETUP)?;
            let mut options = BrowserOptions::new(Part::Agent, &format!("agent-{number}"), &janus, ROOM + number)?;
            options.chromium.push("--use-fake-device-for-media-stream=fps=5".into());
            let agent = Browser::start(&world.at(Host::Agent)?, &options)?;
            kiosk.wait_state("active", SETUP)?;
            calls.push((kiosk, agent));
        }
        until(SETUP, "twenty ports in use", || Ok((taken(&mut janus)? == 20).then_some(())))?;

        let mut sixth = kiosk(world, &janus, CALLS)?;
        let fault = sixth.wait_fault("server-busy", SETUP)?;
        assert!(fault.contains("media.ports"), "{fault}");
        for (kiosk, agent) in &mut calls {
            scene::flows(kiosk, agent, SETUP)?;
        }
        calls[0].0.end_call()?;
        sixth.wait_state("waiting", SETUP)?;
        sixth.wait_no_fault(SETUP)
    });
}
