//! `kioskd doctor` at a branch that reaches port 443 and nothing else: the relay is checked in the place of the media ports,
//! carries the trial call, and each of its faults is named.

use kiosk_harness::{
    Error, Result,
    doctor::{Found, doctor, failed, names},
    fleet,
    janus::{Janus, JanusOptions},
    kiosk::KioskConfig,
    mosquitto::Mosquitto,
    proxy::{HttpProxy, PORT},
    relay::{Relay, TLS_PORT},
    scene,
    world::{Host, World, scenario},
};
use std::fs;

/// Where the relay is, and where a proxy, if there is one.
const RELAY: Host = Host::Agent2;
const PROXY: Host = Host::Agent;
/// Where the broker is, in one of the scenarios.
const BROKER: Host = Host::Kiosk2;

fn janus(world: &World) -> Result<Janus> {
    Janus::start(
        &world.at(Host::Server)?,
        JanusOptions { wss_port: TLS_PORT, ..JanusOptions::new(Host::Server.address()) },
    )
}

/// What the kiosk's firewall lets it dial: hosts, and one port of each.
fn lets_out(world: &World, hosts: &[Host], port: u16) -> Result<()> {
    let hosts: Vec<String> = hosts.iter().map(|host| host.address().to_string()).collect();
    let (hosts, port) = (format!("{{ {} }}", hosts.join(", ")), format!("{{ {port} }}"));
    let variables = [("server_addresses", hosts.as_str()), ("signalling_ports", &port), ("media_ports", &port)];
    world.firewall(Host::Kiosk, "kiosk.nft", &variables)
}

fn relay(world: &World, peer: Host) -> Result<Relay> {
    Relay::start(&world.at(RELAY)?, RELAY.address(), &[peer.address().into()])
}

fn config(janus: &Janus, relay: &Relay, policy: &str) -> Result<KioskConfig> {
    Ok(relay.used_by(scene::kiosk_config(janus)?, policy).with("relay", "after_s", 1))
}

/// How a check ended, and what it saw.
fn found<'a>(findings: &'a [Found], id: &str) -> (&'a str, &'a str) {
    let found = findings.iter().find(|(found, ..)| found == id);
    found.map_or(("missing", ""), |(_, outcome, seen)| (outcome, seen))
}

fn pass(findings: &[Found], ids: &[&str]) {
    let bad: Vec<_> = findings.iter().filter(|(_, outcome, _)| outcome == "fail").collect();
    assert!(bad.is_empty(), "{bad:?}");
    for id in ids {
        assert_eq!(found(findings, id).0, "pass", "{id}: {findings:#?}");
    }
}

const OF_THE_RELAY: [&str; 4] = ["relay.port", "tls.relay", "relay.credentials", "relay.allocation"];
const OF_THE_CALL: [&str; 8] = [
    "call.picture",
    "call.sound",
    "call.way",
    "proof.candidates",
    "proof.sdp",
    "proof.sockets",
    "proof.capture",
    "proof.pairs",
];

#[test]
fn where_port_443_alone_is_open_the_relay_is_checked_and_carries_the_trial_call() {
    scenario(|world| {
        lets_out(world, &[Host::Server, RELAY, BROKER], TLS_PORT)?;
        let (janus, relay) = (janus(world)?, relay(world, Host::Server)?);
        let via = format!("by way of relay {}", relay.url());
        // The relay does not carry MQTT: the broker has port 443 of a third address.
        let broker = Mosquitto::start_on(&world.at(BROKER)?, BROKER.address(), TLS_PORT, &[(fleet::KIOSK, &[])])?;
        let in_fleet = fleet::section(config(&janus, &relay, "auto")?, &broker, &world.dir().join("state"))?;

        let (_, findings) = doctor(world, &in_fleet, &[])?;
        pass(&findings, &[["firewall", "relay.name", "ice.dial"].as_slice(), &OF_THE_RELAY, &OF_THE_CALL].concat());
        pass(&findings, &["network.broker", "tls.broker", "tls.own"]);
        let ports = found(&findings, "network.media-ports");
        assert!(
            ports.0 == "info" && ports.1.contains("no answer") && ports.1.contains("by way of the relay"),
            "{ports:?}"
        );
        assert!(found(&findings, "ice.dial").1.contains(&via), "{findings:#?}");
        let stun = found(&findings, "network.stun");
        assert!(stun.0 == "info" && stun.1.contains(&Host::Kiosk.address().to_string()), "{stun:?}");
        let way = found(&findings, "call.way").1;
        assert!(way.starts_with(&via) && way.contains("could not be reached"), "{way}");
        let hop = format!("media to {}:{TLS_PORT} -> {}:4", RELAY.address(), Host::Server.address());
        assert!(found(&findings, "proof.sockets").1.contains(&hop), "{findings:#?}");

        let (_, findings) = doctor(world, &config(&janus, &relay, "relay")?, &["--no-call"])?;
        pass(&findings, &[["ice.dial"].as_slice(), &OF_THE_RELAY].concat());
        let ports = found(&findings, "network.media-ports");
        assert!(ports.0 == "skipped" && ports.1.contains("relay.policy"), "{ports:?}");
        assert!(found(&findings, "ice.dial").1.contains(&via), "{findings:#?}");
        // Somebody lets names out by UDP.
        let rule = ["insert", "rule", "inet", "kiosk", "output", "udp", "dport", "53", "accept"];
        world.run(Host::Kiosk, "nft", &rule)?;
        names(world, &config(&janus, &relay, "relay")?, "firewall", "udp dport 53 accept")
    });
}

#[test]
fn each_fault_of_the_way_by_the_relay_is_named() {
    scenario(|world| {
        let (janus, mut relay) = (janus(world)?, relay(world, Host::Agent)?);
        let good = config(&janus, &relay, "relay")?;
        let ids = |config: &KioskConfig, word: &str| -> Result<Vec<String>> {
            let failed = failed(world, config)?;
            assert!(failed.iter().all(|(_, seen)| seen.contains(word)), "{word}: {failed:?}");
            Ok(failed.into_iter().map(|(id, _)| id).collect())
        };

        // It may connect to somebody else only.
        assert_eq!(ids(&good, "(403)")?, ["ice.dial"]);
        let wrong = world.dir().join("wrong-secret");
        fs::write(&wrong, "0123456789abcdef0123456789abcdef").map_err(Error::io("a secret"))?;
        let refused = good.clone().with("relay", "secret_file", wrong.display().to_string());
        assert_eq!(ids(&refused, "(401)")?, ["relay.credentials"]);
        // The way that media takes is open.
        let spare = refused.with("relay", "policy", "auto");
        let (code, findings) = doctor(world, &spare, &["--no-call"])?;
        assert_eq!((code, found(&findings, "relay.credentials").0), (2, "warn"), "{findings:#?}");
        pass(&findings, &["network.media-ports", "ice.dial"]);
        // Another authority than the one that signed.
        let [ca, key] = ["another.pem", "another.key"].map(|name| world.dir().join(name).display().to_string());
        let make = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=Another authority", "-keyout", &key];
        world.run(Host::Kiosk, "openssl", &[make.as_slice(), &["-out", &ca]].concat())?;
        let other = good.clone().with("relay", "ca_file", ca);
        assert_eq!(ids(&other, "")?, ["tls.relay"]);
        assert_eq!(ids(&good.clone().with("relay", "url", "turns:nobody.bank.test:443"), "nobody")?, ["relay.name"]);
        assert_eq!(
            ids(&good.clone().with("relay", "url", format!("turns:{}:4443", RELAY.address())), "refused")?,
            ["relay.port"]
        );
        // Something that is no relay.
        let server = format!("turns:{}:{TLS_PORT}", Host::Server.address());
        let none = good.clone().with("relay", "url", server).with(
            "relay",
            "ca_file",
            janus.identity().ca.display().to_string(),
        );
        assert_eq!(ids(&none, "")?, ["relay.allocation"]);
        relay.process().kill()?;
        assert_eq!(ids(&good, "refused")?, ["relay.port"]);
        Ok(())
    });
}

#[test]
fn a_relay_behind_a_proxy_that_opens_443_alone() {
    scenario(|world| {
        lets_out(world, &[PROXY], PORT)?;
        let (janus, relay) = (janus(world)?, relay(world, Host::Server)?);
        let mut proxy = HttpProxy::start(&world.at(PROXY)?, PROXY.address(), [TLS_PORT], &[])?;
        let config = proxy.used_by(config(&janus, &relay, "auto")?);
        let (_, findings) = doctor(world, &config, &[])?;
        pass(
            &findings,
            &[["proxy.reach", "proxy.credentials", "ice.dial"].as_slice(), &OF_THE_RELAY, &OF_THE_CALL].concat(),
        );
        let ports = found(&findings, "network.media-ports");
        assert!(ports.0 == "info" && ports.1.contains("403"), "{ports:?}");
        let via = format!("by way of proxy {}, relay {}", proxy.address(), relay.url());
        assert!(found(&findings, "call.way").1.starts_with(&via), "{findings:#?}");
        let tunnel = format!("CONNECT {}:{TLS_PORT}", RELAY.address());
        assert!(proxy.log().contains(&tunnel), "the proxy was not asked to {tunnel}");
        Ok(())
    });
}
