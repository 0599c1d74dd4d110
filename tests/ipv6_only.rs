//! A network without IPv4: kiosk, server and agent have an IPv6 address each and no other.

use kiosk_harness::{
    capture::Capture,
    doctor::doctor,
    janus::{Janus, JanusOptions},
    relay::{Relay, TLS_PORT},
    scene::{self, SETUP},
    world::{Host, World, scenario},
};
use kiosk_proto::via::Via;
use std::net::Ipv6Addr;

/// Where a relay is, in one of the scenarios.
const RELAY: Host = Host::Agent2;
const HOSTS: [Host; 4] = [Host::Server, Host::Kiosk, Host::Agent, RELAY];

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
        kiosk.wait_state("idle", SETUP)?;
        let packets = capture.stop()?;
        assert_eq!(packets.udp()?, Vec::<String>::new());
        assert_eq!(packets.matching("ip")?, Vec::<String>::new(), "packets of IPv4");
        assert!(packets.matching("ip6 and tcp portrange 40000-40099")?.len() > 100);
        Ok(())
    });
}

#[test]
fn the_self_check_and_a_call_by_way_of_a_relay_without_ipv4() {
    scenario(|world| {
        only_ipv6(world)?;
        let reached = format!("{{ {}, {} }}", address(Host::Server), address(RELAY));
        let open =
            [("server_addresses_6", reached.as_str()), ("signalling_ports", "{ 443 }"), ("media_ports", "{ 443 }")];
        world.firewall(Host::Kiosk, "kiosk.nft", &open)?;
        let server = JanusOptions::new(address(Host::Server));
        let options = JanusOptions { media: "ipv6 = true".into(), wss_port: TLS_PORT, ..server };
        let janus = Janus::start(&world.at(Host::Server)?, options)?;
        let relay = Relay::start(&world.at(RELAY)?, address(RELAY), &[address(Host::Server).into()])?;
        let config = relay.used_by(scene::kiosk_config(&janus)?, "relay");
        let via = Via::Relay(relay.url());

        let (_, findings) = doctor(world, &config, &[])?;
        let bad: Vec<_> = findings.iter().filter(|(_, outcome, _)| outcome == "fail").collect();
        assert!(bad.is_empty(), "{bad:?}");
        for id in ["relay.allocation", "ice.candidates", "ice.dial", "call.picture", "proof.sockets", "proof.capture"] {
            let passed = findings.iter().any(|(found, outcome, _)| found == id && outcome == "pass");
            assert!(passed, "{id}: {findings:#?}");
        }
        let way = findings.iter().find(|(id, ..)| id == "call.way").map(|(_, _, seen)| seen.as_str());
        assert_eq!(way, Some(format!("by way of {via}").as_str()));

        let mut kiosk = scene::kiosk(world, &config)?;
        kiosk.start_call()?;
        let figures = kiosk.wait_figures(SETUP, "media that is sent", |figures| {
            figures.publish.pair.is_some() && figures.publish.video.bits_per_second > 0
        })?;
        let pair = figures.publish.pair.unwrap_or_default();
        assert_eq!((pair.via, pair.remote.address), (Some(via), address(Host::Server).to_string()));
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        for counter in ["udp_in", "udp_out", "tcp_in"] {
            assert_eq!(world.counter(Host::Kiosk, counter)?.packets, 0, "{counter} of the kiosk's firewall");
        }
        Ok(())
    });
}
