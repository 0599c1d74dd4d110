//! A branch whose only way out is an HTTP proxy that asks for a password: signalling, fleet and media go through it, and
//! what the proxy refuses is told in words that help.

use kiosk_harness::{
    Result,
    capture::Capture,
    fleet::{self, Fleet, UPLOAD_PORT, command},
    janus::{Janus, JanusOptions, WSS_PORT},
    kiosk::KioskConfig,
    mosquitto,
    place::Place,
    procfs::SocketWatch,
    proxy::{HttpProxy, PORT},
    scene::{self, SETUP},
    wait::until,
    world::{Host, World, scenario},
};
use kiosk_proto::{
    fleet::{Command, Upload},
    via::Via,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// The branch's own server, which the proxy runs on.
const BRANCH: Host = Host::Agent2;
/// A password that the proxy does not know.
const WRONG: &str = "Tr0ub4dor-and-3";
/// Known to the proxy only: the branch has no DNS.
const NAME: &str = "janus.bank.test";

fn janus(world: &World) -> Result<Janus> {
    let options = JanusOptions { name: Some(NAME.into()), ..JanusOptions::new(Host::Server.address()) };
    Janus::start(&world.at(Host::Server)?, options)
}

/// How a proxy is started.
type Start = fn(&Place, Ipv4Addr, Vec<u16>, &[(&str, IpAddr)]) -> Result<HttpProxy>;

/// The proxy, with ports that it connects to; and the kiosk's firewall lets it dial nothing else.
fn proxy(world: &World, start: Start, ports: impl IntoIterator<Item = u16>) -> Result<HttpProxy> {
    let address = format!("{{ {} }}", BRANCH.address());
    let port = format!("{{ {PORT} }}");
    world.firewall(Host::Kiosk, "kiosk.nft", &[("server_addresses", &address), ("signalling_ports", &port)])?;
    let names = [(NAME, Host::Server.address().into())];
    start(&world.at(BRANCH)?, BRANCH.address(), ports.into_iter().collect(), &names)
}

fn config(janus: &Janus, proxy: &HttpProxy) -> Result<KioskConfig> {
    Ok(proxy.used_by(scene::kiosk_config(janus)?).with("janus", "url", format!("wss://{NAME}:{WSS_PORT}/")))
}

#[test]
fn a_two_way_call_and_the_fleet_by_way_of_tinyproxy_alone() {
    call_and_fleet(HttpProxy::start);
}

#[test]
fn a_two_way_call_and_the_fleet_by_way_of_squid_alone() {
    call_and_fleet(HttpProxy::start_squid);
}

fn call_and_fleet(start: Start) {
    scenario(|world| {
        let janus = janus(world)?;
        let mut proxy = proxy(world, start, [WSS_PORT, mosquitto::PORT, UPLOAD_PORT].into_iter().chain(40000..=40099))?;
        let capture = Capture::start(world, Host::Kiosk)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, config(&janus, &proxy)?)?;
        let kiosk = &mut fleet.kiosk;
        let watch = SocketWatch::start(kiosk.process().pid(), Duration::from_millis(20));
        kiosk.start_call()?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(kiosk, &mut agent, SETUP)?;

        let via = Via::Proxy(proxy.address());
        let figures =
            kiosk.wait_figures(SETUP, "both pairs", |f| f.publish.pair.is_some() && f.receive.pair.is_some())?;
        for pair in [figures.publish.pair, figures.receive.pair].into_iter().flatten() {
            assert_eq!(pair.via.as_ref(), Some(&via), "{pair:?}");
            assert_eq!(pair.remote.address, Host::Server.address().to_string());
            assert!((40000..=40099).contains(&pair.remote.port), "{pair:?}");
        }
        agent.end()?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        let seen = watch.seen();
        assert!(seen.datagram_peak == 0 && seen.failures == 0 && seen.samples > 100, "{seen:?}");
        for counter in ["udp_in", "udp_out", "tcp_in", "media_out", "other_out"] {
            assert_eq!(world.counter(Host::Kiosk, counter)?.packets, 0, "{counter} of the kiosk's firewall");
        }

        // And by HTTPS, what a command asks for.
        let _server = fleet.upload_server(world, "201 Created")?;
        let upload = Upload::Https { url: format!("https://{}:{UPLOAD_PORT}/kiosk-1.gz", Host::Server.address()) };
        let answer = fleet.run(&command(Command::CollectDiagnostics { journal_minutes: 1, upload }))?;
        assert_eq!(answer["outcome"], "done", "{answer}");
        assert!(fleet::uploaded(world)?.starts_with(b"PUT /kiosk-1.gz HTTP/1.1\r\n"));
        let packets = capture.stop()?;
        assert_eq!(packets.udp()?, Vec::<String>::new());
        let beside = format!("tcp and not (host {} and port {PORT})", BRANCH.address());
        assert_eq!(packets.matching(&beside)?, Vec::<String>::new());
        // With the daemon the last tunnel ends.
        fleet.kiosk.process().terminate(Duration::from_secs(10))?;
        let of_the_server = |port: u16| format!("CONNECT {}:{port}", Host::Server.address());
        let name = format!("CONNECT {NAME}:{WSS_PORT}");
        for target in [name, of_the_server(mosquitto::PORT), of_the_server(UPLOAD_PORT)] {
            until(SETUP, &target, || Ok(proxy.log().contains(&target).then_some(())))?;
        }
        Ok(())
    });
}

#[test]
fn a_proxy_that_refuses_says_what_to_do() {
    // To a wrong password, the one says 401 and the other 407.
    refuses(HttpProxy::start, "(401)");
    refuses(HttpProxy::start_squid, "(407)");
}

fn refuses(start: Start, code: &str) {
    scenario(|world| {
        let janus = janus(world)?;
        let proxy = proxy(world, start, [WSS_PORT])?;
        let config = config(&janus, &proxy)?;
        proxy.write_password(WRONG)?;
        let mut kiosk = scene::kiosk(world, &config)?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("proxy-refused", SETUP)?;
        for words in [proxy.address().as_str(), NAME, code, "proxy.username and proxy.password_file"] {
            assert!(fault.contains(words), "{words}: {fault}");
        }
        assert!(!kiosk.process().log_text().contains(WRONG), "the password is in the log");

        // The file counts at the next try. Signalling comes up; the media ports are not open at the proxy.
        proxy.mend_password()?;
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
        kiosk.wait_state("idle", SETUP)?;

        kiosk.reload(&config.with("proxy", "address", format!("{}:{PORT}", BRANCH.address())))?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("server-unreachable", SETUP)?;
        assert!(fault.contains("the proxy 10.77.5.2") && fault.contains("refused"), "{fault}");
        Ok(())
    });
}
