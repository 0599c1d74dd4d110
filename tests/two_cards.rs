//! A kiosk with two network cards, of which one leads nowhere: the call comes up by the other, without a word in the
//! configuration and with `ice.local_address`.

use kiosk_harness::{
    scene::{self, SETUP},
    world::{Host, scenario},
};

/// Of the card that leads nowhere.
const DEAD: &str = "10.77.99.2";

#[test]
fn a_second_card_that_leads_nowhere_does_no_harm() {
    scenario(|world| {
        // Its cable has another end, where nobody answers; and it claims to be a way out too.
        let ip = |arguments: &str| world.run(Host::Kiosk, "ip", &arguments.split(' ').collect::<Vec<_>>());
        ip("link add eth1 type veth peer name nowhere")?;
        ip(&format!("address add {DEAD}/24 dev eth1"))?;
        ip("link set nowhere up")?;
        ip("link set eth1 up")?;
        ip("route add default via 10.77.99.1 dev eth1 metric 500")?;

        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let mut kiosk = scene::kiosk(world, &config)?;
        let mut agent = scene::agent(world, &janus)?;
        let address = Host::Kiosk.address().to_string();
        for config in [config.clone(), config.with("ice", "local_address", address.as_str())] {
            kiosk.reload(&config)?;
            kiosk.start_call()?;
            scene::flows(&mut kiosk, &mut agent, SETUP)?;
            let figures =
                kiosk.wait_figures(SETUP, "both pairs", |f| f.publish.pair.is_some() && f.receive.pair.is_some())?;
            for pair in [figures.publish.pair, figures.receive.pair].into_iter().flatten() {
                assert_eq!(pair.local.address, address, "{pair:?}");
            }
            let log = kiosk.process().log_text();
            assert!(!log.contains("starting over"), "the call did not come up at once:\n{log}");
            kiosk.end_call()?;
            kiosk.wait_state("idle", SETUP)?;
        }
        Ok(())
    });
}
