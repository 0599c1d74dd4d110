//! A box between branch and bank that resets connections which were quiet for some seconds: none of the kiosk's ever is
//! for so long, neither while it waits nor in a call.

use kiosk_harness::{
    Error,
    fleet::{self, Fleet},
    janus::WSS_PORT,
    middlebox,
    scene::{self, SETUP},
    wait::until,
    world::{Host, scenario},
};
use std::{io::Read, net::SocketAddr, thread, time::Duration};

/// Quiet for so long is dead. A minute is usual; the signs of life that the kiosk's parts send are seconds apart.
const QUIET_S: u64 = 10;
/// What was quiet for so long has met the box when the next sign of life is sent.
const NOTICED: Duration = Duration::from_secs(QUIET_S + 6);

#[test]
fn nothing_of_the_kiosks_is_quiet_long_enough_to_be_reset() {
    scenario(|world| {
        middlebox::resets_what_was_quiet(world, Host::Kiosk, QUIET_S)?;
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let kiosk = &mut fleet.kiosk;
        kiosk.start_call()?;
        kiosk.wait_state("waiting", SETUP)?;
        // Janus may need a second try before it has its ports; from now on nothing may break.
        let begun = kiosk.process().log_text().len();
        thread::sleep(NOTICED);
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(kiosk, &mut agent, SETUP)?;
        thread::sleep(NOTICED);
        scene::flows(kiosk, &mut agent, SETUP)?;
        let log = kiosk.process().log_text().split_off(begun);
        assert!(!log.contains("FAULT="), "{log}");
        assert!(!log.contains("no connection to the broker"), "{log}");
        assert_eq!(world.counter(Host::Router, "cut")?.packets, 0, "packets of connections that were quiet");

        // The box does what it should: a connection that says nothing is reset when it speaks again.
        let mut quiet = world.at(Host::Kiosk)?.dial(SocketAddr::new(Host::Server.address().into(), WSS_PORT))?;
        thread::sleep(Duration::from_secs(QUIET_S + 1));
        quiet.set_nonblocking(true).map_err(Error::io("a quiet connection"))?;
        until(SETUP, "the reset of a quiet connection", || {
            let _ = std::io::Write::write(&mut quiet, b"x");
            Ok(quiet
                .read(&mut [0])
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
                .then_some(()))
        })?;
        assert!(world.counter(Host::Router, "cut")?.packets > 0);
        Ok(())
    });
}
