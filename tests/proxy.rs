//! A branch whose only way out is an HTTP proxy that asks for a password: signalling, fleet and media go through it, and
//! what the proxy refuses is told in words that help.

use kiosk_harness::{
    Error, Result,
    capture::Capture,
    fleet::{self, Fleet},
    janus::{Janus, JanusOptions, WSS_PORT},
    kiosk::KioskConfig,
    mosquitto,
    procfs::SocketWatch,
    proxy::{HttpProxy, PASSWORD, PORT, USER},
    scene::{self, SETUP},
    world::{Host, World, scenario},
};
use std::{fs, path::PathBuf, time::Duration};

/// The branch's own server, which the proxy runs on.
const BRANCH: Host = Host::Agent2;
/// A password that the proxy does not know. To it, tinyproxy says 401.
const WRONG: &str = "Tr0ub4dor-and-3";
/// Known to the proxy only: the branch has no DNS.
const NAME: &str = "janus.bank.test";

fn janus(world: &World) -> Result<Janus> {
    let options = JanusOptions { name: Some(NAME.into()), ..JanusOptions::new(Host::Server.address()) };
    Janus::start(&world.at(Host::Server)?, options)
}

/// The proxy, with ports that it connects to; and the kiosk's firewall lets it dial nothing else.
fn proxy(world: &World, ports: impl IntoIterator<Item = u16>) -> Result<HttpProxy> {
    let address = format!("{{ {} }}", BRANCH.address());
    let port = format!("{{ {PORT} }}");
    world.firewall(Host::Kiosk, "kiosk.nft", &[("server_addresses", &address), ("signalling_ports", &port)])?;
    let names = [(NAME, Host::Server.address().into())];
    HttpProxy::start(&world.at(BRANCH)?, BRANCH.address(), ports, &names)
}

fn password_file(world: &World) -> PathBuf {
    world.dir().join("proxy-password")
}

fn write_password(world: &World, password: &str) -> Result<()> {
    fs::write(password_file(world), format!("{password}\n")).map_err(Error::io("the password's file"))
}

fn config(world: &World, janus: &Janus, proxy: &HttpProxy) -> Result<KioskConfig> {
    write_password(world, PASSWORD)?;
    let config = scene::kiosk_config(janus)?
        .with("janus", "url", format!("wss://{NAME}:{WSS_PORT}/"))
        .with("proxy", "address", proxy.address())
        .with("proxy", "username", USER)
        .with("proxy", "password_file", password_file(world).display().to_string());
    Ok(config)
}

#[test]
fn a_two_way_call_and_the_fleet_by_way_of_the_proxy_alone() {
    scenario(|world| {
        let janus = janus(world)?;
        let mut proxy = proxy(world, [WSS_PORT, mosquitto::PORT].into_iter().chain(40000..=40099))?;
        let capture = Capture::start(world, Host::Kiosk)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, config(world, &janus, &proxy)?)?;
        let kiosk = &mut fleet.kiosk;
        let watch = SocketWatch::start(kiosk.process().pid(), Duration::from_millis(20));
        kiosk.start_call()?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(kiosk, &mut agent, SETUP)?;

        let via = format!("proxy {}", proxy.address());
        let figures =
            kiosk.wait_figures(SETUP, "both pairs", |f| f.publish.pair.is_some() && f.receive.pair.is_some())?;
        for pair in [figures.publish.pair, figures.receive.pair].into_iter().flatten() {
            assert_eq!(pair.via.as_ref(), Some(&via), "{pair:?}");
            assert_eq!(pair.remote.address, Host::Server.address().to_string());
            assert!((40000..=40099).contains(&pair.remote.port), "{pair:?}");
        }
        let log = proxy.log();
        for target in [format!("CONNECT {NAME}:{WSS_PORT}"), format!("CONNECT {}:8883", Host::Server.address())] {
            assert!(log.contains(&target), "the proxy was not asked to {target}:\n{log}");
        }

        agent.end()?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", Duration::from_secs(5))?;
        let seen = watch.seen();
        assert!(seen.datagram_peak == 0 && seen.failures == 0 && seen.samples > 100, "{seen:?}");
        for counter in ["udp_in", "udp_out", "tcp_in", "media_out", "other_out"] {
            assert_eq!(world.counter(Host::Kiosk, counter)?.packets, 0, "{counter} of the kiosk's firewall");
        }
        let packets = capture.stop()?;
        assert_eq!(packets.udp()?, Vec::<String>::new());
        let beside = format!("tcp and not (host {} and port {PORT})", BRANCH.address());
        assert_eq!(packets.matching(&beside)?, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn a_proxy_that_refuses_says_what_to_do() {
    scenario(|world| {
        let janus = janus(world)?;
        let proxy = proxy(world, [WSS_PORT])?;
        let config = config(world, &janus, &proxy)?;
        write_password(world, WRONG)?;
        let mut kiosk = scene::kiosk(world, &config)?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("proxy-refused", SETUP)?;
        for words in [proxy.address().as_str(), NAME, "(401)", "proxy.username and proxy.password_file"] {
            assert!(fault.contains(words), "{words}: {fault}");
        }
        assert!(!kiosk.process().log_text().contains(WRONG), "the password is in the log");

        // The file counts at the next try. Signalling comes up; the media ports are not open at the proxy.
        write_password(world, PASSWORD)?;
        let fault = kiosk.wait_fault("media-unreachable", SETUP)?;
        for words in ["10.77.1.2:400", proxy.address().as_str(), "403", "let it allow CONNECT to this host and port"] {
            assert!(fault.contains(words), "{words}: {fault}");
        }
        assert_eq!(world.counter(Host::Kiosk, "udp_out")?.packets, 0);
        Ok(())
    });
}

#[test]
fn a_proxy_that_is_none_or_not_there() {
    scenario(|world| {
        let janus = janus(world)?;
        // Janus itself, in place of a proxy: it speaks TLS.
        let server = format!("{}:{WSS_PORT}", Host::Server.address());
        let config = scene::kiosk_config(&janus)?.with("proxy", "address", server.as_str());
        let mut kiosk = scene::kiosk(world, &config)?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("proxy-refused", SETUP)?;
        assert!(fault.contains(&server) && fault.contains("is proxy.address"), "{fault}");
        kiosk.end_call()?;
        kiosk.wait_state("idle", Duration::from_secs(5))?;

        kiosk.write_config(&config.with("proxy", "address", format!("{}:{PORT}", BRANCH.address())))?;
        kiosk.process().signal(nix::sys::signal::Signal::SIGHUP)?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("server-unreachable", SETUP)?;
        assert!(fault.contains("the proxy 10.77.5.2") && fault.contains("refused"), "{fault}");
        Ok(())
    });
}
