//! A branch whose firewall lets the kiosk dial the bank's server and nothing else: a call must come up, and no UDP
//! packet may even be tried.

use kiosk_harness::{
    capture::Capture,
    procfs::SocketWatch,
    scene::{self, SETUP},
    world::{Host, scenario},
};
use std::{thread, time::Duration};

#[test]
fn a_two_way_call_behind_a_branch_firewall_sends_no_udp() {
    scenario(|world| {
        let server = format!("{{ {} }}", Host::Server.address());
        world.firewall(Host::Kiosk, "kiosk.nft", &[("server_addresses", &server)])?;
        world.firewall(Host::Server, "server.nft", &[])?;
        let capture = Capture::start(world, Host::Kiosk)?;

        let janus = scene::janus(world)?;
        let mut kiosk = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        let watch = SocketWatch::start(kiosk.process().pid(), Duration::from_millis(20));
        kiosk.start_call()?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;
        thread::sleep(Duration::from_secs(5));
        scene::flows(&mut kiosk, &mut agent, SETUP)?;

        let figures = kiosk.figures()?;
        for pair in [&figures.publish.pair, &figures.receive.pair].into_iter().flatten() {
            assert_eq!((pair.local.transport.as_str(), pair.remote.transport.as_str()), ("tcp", "tcp"), "{pair:?}");
            assert_eq!(pair.remote.address, Host::Server.address().to_string());
            assert!((40000..=40099).contains(&pair.remote.port), "{pair:?}");
        }
        assert!(figures.publish.pair.is_some() && figures.receive.pair.is_some(), "{figures:?}");
        let pairs = agent.stats()?.pairs;
        assert_eq!(pairs.len(), 2, "{pairs:?}");
        assert!(pairs.iter().all(|pair| pair.local.protocol == "tcp" && pair.remote.protocol == "tcp"), "{pairs:?}");

        agent.end()?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        let seen = watch.seen();
        assert!(seen.datagram_peak == 0 && seen.failures == 0 && seen.samples > 100, "{seen:?}");

        for counter in ["udp_in", "udp_out", "tcp_in"] {
            assert_eq!(world.counter(Host::Kiosk, counter)?.packets, 0, "{counter} of the kiosk's firewall");
        }
        for counter in ["signalling_out", "media_out"] {
            assert!(world.counter(Host::Kiosk, counter)?.packets > 0, "{counter} of the kiosk's firewall");
        }
        let packets = capture.stop()?;
        assert_eq!(packets.udp()?, Vec::<String>::new());
        let inbound = format!("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and dst host {}", Host::Kiosk.address());
        assert_eq!(packets.matching(&inbound)?, Vec::<String>::new(), "connections that were opened to the kiosk");
        let media = packets.matching("tcp portrange 40000-40099")?.len();
        assert!(media > 500, "only {media} packets of media were captured");
        Ok(())
    });
}
