//! Janus behind a 1:1 NAT: it has a private address that nobody can dial, and the site file names the public one.

use kiosk_harness::{
    Result,
    agent::{Browser, BrowserOptions, Part},
    doctor::names,
    janus::{Janus, JanusOptions, ROOM, WSS_PORT},
    kiosk::KioskConfig,
    scene::{self, SETUP},
    world::{Host, World, scenario},
};

/// The server's address as the world knows it. No host has it.
const PUBLIC: &str = "198.51.100.10";

/// Janus behind the NAT, with this about media in its site file; and a kiosk's configuration.
fn behind_nat(world: &World, media: String) -> Result<(Janus, KioskConfig)> {
    let private = Host::Server.address();
    world.nft(
        Host::Router,
        &format!(
            "table ip nat {{
                counter translated {{ }}
                counter private {{ }}
                chain prerouting {{
                    type nat hook prerouting priority dstnat;
                    ip daddr {PUBLIC} counter name translated dnat to {private}
                }}
                chain postrouting {{ type nat hook postrouting priority srcnat; ip saddr {private} snat to {PUBLIC}; }}
                chain forward {{
                    type filter hook forward priority filter;
                    ct original ip daddr {private} counter name private drop
                }}
            }}"
        ),
    )?;
    let options = JanusOptions { name: Some(PUBLIC.into()), media, ..JanusOptions::new(private) };
    let janus = Janus::start(&world.at(Host::Server)?, options)?;
    let config = scene::kiosk_config(&janus)?.with("janus", "url", url());
    Ok((janus, config))
}

fn url() -> String {
    format!("wss://{PUBLIC}:{WSS_PORT}/")
}

#[test]
fn a_server_that_does_not_know_its_public_address_is_named() {
    scenario(|world| {
        let (_janus, config) = behind_nat(world, String::new())?;
        names(world, &config, "ice.nat", "is private")
    });
}

#[test]
fn a_two_way_call_with_a_server_behind_one_to_one_nat() {
    scenario(|world| {
        let (janus, config) = behind_nat(world, format!("public_address = \"{PUBLIC}\""))?;
        let mut kiosk = scene::kiosk(world, &config)?;
        kiosk.start_call()?;
        let options = BrowserOptions { server: url(), ..BrowserOptions::new(Part::Agent, "agent", &janus, ROOM)? };
        let mut agent = Browser::start(&world.at(Host::Agent)?, &options)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;

        let figures =
            kiosk.wait_figures(SETUP, "both pairs", |f| f.publish.pair.is_some() && f.receive.pair.is_some())?;
        for pair in [figures.publish.pair, figures.receive.pair].into_iter().flatten() {
            assert_eq!((pair.remote.transport.as_str(), pair.remote.address.as_str()), ("tcp", PUBLIC), "{pair:?}");
        }
        // Signalling and two media connections of each side.
        assert!(world.counter(Host::Router, "translated")?.packets >= 6);
        assert_eq!(world.counter(Host::Router, "private")?.packets, 0, "somebody dialled the private address");
        Ok(())
    });
}
