//! A branch that reaches port 443 and nothing else: media goes by way of a TURN server, in TLS, as a TCP connection that
//! the relay makes to Janus. No UDP anywhere, and no STUN that anybody could read.

use kiosk_harness::{
    Result,
    capture::Capture,
    janus::{Janus, JanusOptions},
    kiosk::KioskConfig,
    procfs::{SocketWatch, datagram_sockets},
    relay::Relay,
    scene::{self, SETUP},
    world::{Host, World, scenario},
};
use std::{thread, time::Duration};

/// Where the relay is.
const RELAY: Host = Host::Agent2;
/// The magic cookie of STUN (RFC 8489), in TURN's messages behind 4 bytes and in those of ICE-TCP behind 6 (RFC 4571).
const PLAIN_STUN: &str =
    "tcp[((tcp[12] & 0xf0) >> 2) + 4:4] = 0x2112a442 or tcp[((tcp[12] & 0xf0) >> 2) + 6:4] = 0x2112a442";
/// A TLS handshake record with a ClientHello.
const CLIENT_HELLO: &str = "tcp[((tcp[12] & 0xf0) >> 2):1] = 0x16 and tcp[((tcp[12] & 0xf0) >> 2) + 5:1] = 0x01";

/// Janus with signalling at 443, and a kiosk that reaches 443 of Janus and of the relay.
fn branch(world: &World) -> Result<Janus> {
    let addresses = format!("{{ {}, {} }}", Host::Server.address(), RELAY.address());
    let variables =
        [("server_addresses", addresses.as_str()), ("signalling_ports", "{ 443 }"), ("media_ports", "{ 443 }")];
    world.firewall(Host::Kiosk, "kiosk.nft", &variables)?;
    Janus::start(&world.at(Host::Server)?, JanusOptions { wss_port: 443, ..JanusOptions::new(Host::Server.address()) })
}

fn relay(world: &World, peer: Host) -> Result<Relay> {
    Relay::start(&world.at(RELAY)?, RELAY.address(), &[peer.address().into()])
}

fn config(janus: &Janus, relay: &Relay, policy: &str) -> Result<KioskConfig> {
    Ok(scene::kiosk_config(janus)?
        .with("relay", "url", relay.url())
        .with("relay", "ca_file", relay.ca())
        .with("relay", "secret_file", relay.secret_file())
        .with("relay", "policy", policy))
}

#[test]
fn a_two_way_call_through_port_443_alone() {
    scenario(|world| {
        let janus = branch(world)?;
        let mut relay = relay(world, Host::Server)?;
        let capture = Capture::start(world, Host::Kiosk)?;
        let mut kiosk = scene::kiosk(world, &config(&janus, &relay, "relay")?)?;
        let watch = SocketWatch::start(kiosk.process().pid(), Duration::from_millis(20));
        kiosk.start_call()?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;

        let via = format!("relay {}", relay.url());
        let figures =
            kiosk.wait_figures(SETUP, "both pairs", |f| f.publish.pair.is_some() && f.receive.pair.is_some())?;
        for pair in [figures.publish.pair, figures.receive.pair].into_iter().flatten() {
            assert_eq!(pair.via.as_ref(), Some(&via), "{pair:?}");
            assert_eq!(pair.remote.address, Host::Server.address().to_string());
        }
        assert_eq!(datagram_sockets(relay.process().pid())?, 0, "UDP sockets of the relay");
        // The allocations are asked for again every 20 s, which the connections survive.
        let before = kiosk.figures()?;
        thread::sleep(Duration::from_secs(22));
        scene::flows(&mut kiosk, &mut agent, SETUP)?;
        let after = kiosk.figures()?;
        assert_eq!((after.publish.pair, after.receive.pair), (before.publish.pair, before.receive.pair));

        agent.end()?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", Duration::from_secs(5))?;
        let seen = watch.seen();
        assert!(seen.datagram_peak == 0 && seen.failures == 0 && seen.samples > 100, "{seen:?}");
        for counter in ["udp_in", "udp_out", "tcp_in", "other_out"] {
            assert_eq!(world.counter(Host::Kiosk, counter)?.packets, 0, "{counter} of the kiosk's firewall");
        }
        let packets = capture.stop()?;
        assert_eq!(packets.matching("not (tcp and port 443) and ip")?, Vec::<String>::new());
        let relayed = format!("host {} and", RELAY.address());
        // Two connections for each of the two that carry media.
        assert!(packets.matching(&format!("{relayed} {CLIENT_HELLO}"))?.len() >= 4);
        assert_eq!(packets.matching(&format!("{relayed} ({PLAIN_STUN})"))?, Vec::<String>::new());
        assert!(packets.matching(&format!("{relayed} tcp"))?.len() > 500);
        Ok(())
    });
}

#[test]
fn a_server_that_can_not_be_reached_itself_is_reached_by_the_relay_and_that_is_remembered() {
    scenario(|world| {
        let janus = branch(world)?;
        let relay = relay(world, Host::Server)?;
        let mut kiosk = scene::kiosk(world, &config(&janus, &relay, "auto")?.with("relay", "after_s", 1))?;
        kiosk.start_call()?;
        kiosk.wait_state("waiting", SETUP)?;
        let blocked = world.counter(Host::Kiosk, "other_out")?.packets;
        assert!(blocked > 0, "the server itself was not tried");
        kiosk.end_call()?;
        kiosk.wait_state("idle", Duration::from_secs(5))?;

        kiosk.start_call()?;
        kiosk.wait_state("waiting", SETUP)?;
        assert_eq!(world.counter(Host::Kiosk, "other_out")?.packets, blocked, "it was tried again");
        // Where the server can be reached, it is.
        world.run(Host::Kiosk, "nft", &["delete", "table", "inet", "kiosk"])?;
        let mut open = kiosk_harness::kiosk::Kiosk::start(
            &world.at(Host::Kiosk)?,
            "another",
            &config(&janus, &relay, "auto")?.with("kiosk", "id", "kiosk-2"),
        )?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", Duration::from_secs(5))?;
        let capture = Capture::start(world, Host::Kiosk)?;
        open.start_call()?;
        let figures = open.wait_figures(SETUP, "its pair", |figures| figures.publish.pair.is_some())?;
        assert_eq!(figures.publish.pair.and_then(|pair| pair.via), None);
        open.end_call()?;
        open.wait_state("idle", Duration::from_secs(5))?;
        // What the other scenario looks for in vain is there to be seen on this way.
        assert!(!capture.stop()?.matching(PLAIN_STUN)?.is_empty());
        Ok(())
    });
}

#[test]
fn a_relay_that_refuses_says_what_to_do() {
    scenario(|world| {
        let janus = branch(world)?;
        // It may connect to somebody else only.
        let relay = relay(world, Host::Agent)?;
        let good = config(&janus, &relay, "relay")?;
        let wrong = world.dir().join("wrong-secret");
        std::fs::write(&wrong, "0123456789abcdef0123456789abcdef").map_err(kiosk_harness::Error::io("a secret"))?;
        let mut kiosk = scene::kiosk(world, &good.clone().with("relay", "secret_file", wrong.display().to_string()))?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("media-unreachable", SETUP)?;
        for words in [relay.url().as_str(), "(401)", "relay.secret_file"] {
            assert!(fault.contains(words), "{words}: {fault}");
        }
        kiosk.end_call()?;
        kiosk.wait_state("idle", Duration::from_secs(5))?;
        kiosk.write_config(&good)?;
        kiosk.process().signal(nix::sys::signal::Signal::SIGHUP)?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("media-unreachable", SETUP)?;
        for words in ["(403)", "allowed-peer-ip"] {
            assert!(fault.contains(words), "{words}: {fault}");
        }
        Ok(())
    });
}
