//! A network without IPv4: kiosk, server and agent have an IPv6 address each and no other.

use kiosk_harness::{
    capture::Capture,
    janus::{Janus, JanusOptions},
    scene::{self, SETUP},
    world::{Host, World, scenario},
};
use std::{net::Ipv6Addr, time::Duration};

const HOSTS: [Host; 3] = [Host::Server, Host::Kiosk, Host::Agent];

fn network(host: Host) -> u16 {
    u16::from(host.address().octets()[2])
}

fn address(host: Host) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, network(host), 0, 0, 0, 2)
}

fn only_ipv6(world: &World) -> kiosk_harness::Result<()> {
    world.run(Host::Router, "sh", &["-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"])?;
    for host in HOSTS {
        let gateway = format!("fd77:0:0:{:x}::1", network(host));
        let ip = |on, arguments: &str| world.run(on, "ip", &arguments.split(' ').collect::<Vec<_>>());
        ip(Host::Router, &format!("address add {gateway}/64 dev {} nodad", host.name()))?;
        ip(host, "-4 address flush dev eth0")?;
        ip(host, &format!("address add {}/64 dev eth0 nodad", address(host)))?;
        ip(host, &format!("-6 route add default via {gateway}"))?;
    }
    Ok(())
}

#[test]
fn a_two_way_call_without_ipv4_behind_the_firewall() {
    scenario(|world| {
        only_ipv6(world)?;
        let server = format!("{{ {} }}", address(Host::Server));
        world.firewall(Host::Kiosk, "kiosk.nft", &[("server_addresses_6", &server)])?;
        let capture = Capture::start(world, Host::Kiosk)?;
        let options = JanusOptions { media: "ipv6 = true".into(), ..JanusOptions::new(address(Host::Server)) };
        let janus = Janus::start(&world.at(Host::Server)?, options)?;
        let mut kiosk = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        kiosk.start_call()?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;

        let figures =
            kiosk.wait_figures(SETUP, "both pairs", |f| f.publish.pair.is_some() && f.receive.pair.is_some())?;
        for pair in [figures.publish.pair, figures.receive.pair].into_iter().flatten() {
            assert_eq!(pair.remote.address, address(Host::Server).to_string(), "{pair:?}");
            assert_eq!(pair.local.address, address(Host::Kiosk).to_string(), "{pair:?}");
        }
        for counter in ["udp_in", "udp_out", "tcp_in"] {
            assert_eq!(world.counter(Host::Kiosk, counter)?.packets, 0, "{counter} of the kiosk's firewall");
        }
        agent.end()?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", Duration::from_secs(5))?;
        let packets = capture.stop()?;
        assert_eq!(packets.udp()?, Vec::<String>::new());
        assert_eq!(packets.matching("ip")?, Vec::<String>::new(), "packets of IPv4");
        assert!(packets.matching("ip6 and tcp portrange 40000-40099")?.len() > 100);
        Ok(())
    });
}
