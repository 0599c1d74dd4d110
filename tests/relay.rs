//! A branch that reaches port 443 and nothing else: media goes by way of a TURN server, in TLS, as a TCP connection that
//! the relay makes to Janus. No UDP anywhere, and no STUN that anybody could read.

use kiosk_harness::{
    Error, Result,
    capture::Capture,
    janus::{Janus, JanusOptions},
    kiosk::{Kiosk, KioskConfig},
    middlebox,
    procfs::{SocketWatch, datagram_sockets},
    proxy::{HttpProxy, PORT},
    relay::{PLAIN_PORT, Relay, TLS_PORT},
    scene::{self, SETUP},
    wait::until,
    world::{Host, World, scenario},
};
use kiosk_proto::{secret::Secret, turn, via::Via};
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, SystemTime},
};

/// Where the relay is.
const RELAY: Host = Host::Agent2;
/// What is quiet for so long is reset by a box on the way. A minute is usual.
const QUIET_S: u64 = 35;
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
    Ok(relay.used_by(scene::kiosk_config(janus)?, policy))
}

fn file(world: &World, name: &str, text: &str) -> Result<PathBuf> {
    let path = world.dir().join(name);
    fs::write(&path, text).map_err(Error::io(name)).map(|()| path)
}

/// Waits until a call sends, and says by way of what.
fn sends_by(kiosk: &mut Kiosk) -> Result<Option<Via>> {
    kiosk.start_call()?;
    let figures = kiosk.wait_figures(SETUP, "media that is sent", |figures| {
        figures.publish.pair.is_some() && figures.publish.video.bits_per_second > 0
    })?;
    assert_eq!(kiosk.state()?, "waiting");
    Ok(figures.publish.pair.and_then(|pair| pair.via))
}

#[test]
fn a_two_way_call_through_port_443_alone() {
    scenario(|world| {
        let janus = branch(world)?;
        let mut relay = relay(world, Host::Server)?;
        let capture = Capture::start(world, Host::Kiosk)?;
        middlebox::resets_what_was_quiet(world, Host::Kiosk, QUIET_S)?;
        let mut kiosk = scene::kiosk(world, &config(&janus, &relay, "relay")?)?;
        let watch = SocketWatch::start(kiosk.process().pid(), Duration::from_millis(20));
        kiosk.start_call()?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;

        let via = Via::Relay(relay.url());
        let figures =
            kiosk.wait_figures(SETUP, "both pairs", |f| f.publish.pair.is_some() && f.receive.pair.is_some())?;
        for pair in [figures.publish.pair, figures.receive.pair].into_iter().flatten() {
            assert_eq!(pair.via.as_ref(), Some(&via), "{pair:?}");
            assert_eq!(pair.remote.address, Host::Server.address().to_string());
        }
        assert_eq!(datagram_sockets(relay.process().pid())?, 0, "UDP sockets of the relay");
        // The allocations are asked for again every 20 s, which the connections survive, and the box sees that they live.
        let before = kiosk.figures()?;
        thread::sleep(Duration::from_secs(QUIET_S + 4));
        scene::flows(&mut kiosk, &mut agent, SETUP)?;
        let after = kiosk.figures()?;
        assert_eq!((after.publish.pair, after.receive.pair), (before.publish.pair, before.receive.pair));
        assert_eq!(world.counter(Host::Router, "cut")?.packets, 0, "packets of connections that were quiet");

        agent.end()?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
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

/// Stops the daemon as systemd does, changes something, and starts it again.
fn restart(kiosk: &mut Kiosk, between: impl FnOnce() -> Result<()>) -> Result<()> {
    kiosk.process().terminate(Duration::from_secs(10))?;
    between()?;
    kiosk.restart()
}

/// The way of a call's media, and how many packets the kiosk's firewall stopped meanwhile: those to the server itself.
fn one_call(world: &World, kiosk: &mut Kiosk) -> Result<(Option<Via>, u64)> {
    let before = world.counter(Host::Kiosk, "other_out")?.packets;
    let via = sends_by(kiosk)?;
    let stopped = world.counter(Host::Kiosk, "other_out")?.packets - before;
    kiosk.end_call()?;
    kiosk.wait_state("idle", SETUP)?;
    Ok((via, stopped))
}

#[test]
fn that_the_relay_was_needed_is_known_after_a_restart_and_an_opened_firewall_is_noticed() {
    scenario(|world| {
        let janus = branch(world)?;
        let relay = relay(world, Host::Server)?;
        let state = world.dir().join("state");
        fs::create_dir(&state).map_err(Error::io("the state folder"))?;
        let stored = state.join("relay-needed");
        let needed = || fs::read_to_string(&stored).map_err(Error::io("relay-needed"));
        let config = config(&janus, &relay, "auto")?;
        let folder = [("STATE_DIRECTORY", state.display().to_string())];
        let mut kiosk = Kiosk::start_in(&world.at(Host::Kiosk)?, "kioskd", &config, &folder)?;
        let by_relay = Some(Via::Relay(relay.url()));
        let (via, stopped) = one_call(world, &mut kiosk)?;
        assert!(via == by_relay && stopped > 0, "the server itself was not tried: {via:?}, {stopped}");
        assert_eq!(one_call(world, &mut kiosk)?, (by_relay.clone(), 0), "it was tried again");
        restart(&mut kiosk, || Ok(()))?;
        assert_eq!(one_call(world, &mut kiosk)?, (by_relay.clone(), 0), "it was forgotten");

        // When that is long ago, both are dialled at once.
        let tried = || -> Result<String> {
            let text = needed()?;
            Ok(text.rsplit_once("\"tried\":").map(|(_, tried)| tried.trim_end_matches(['}', ']'])).unwrap_or("").into())
        };
        let make_old = || fs::write(&stored, needed()?.replace(&tried()?, "1")).map_err(Error::io("relay-needed"));
        restart(&mut kiosk, make_old)?;
        let (via, stopped) = one_call(world, &mut kiosk)?;
        assert!(via == by_relay && stopped > 0, "the server itself was not tried again: {via:?}, {stopped}");
        until(SETUP, "the new time to be stored", || Ok((tried()? != "1").then_some(())))?;

        // And where the server can be reached by then, it is.
        world.run(Host::Kiosk, "nft", &["delete", "table", "inet", "kiosk"])?;
        restart(&mut kiosk, make_old)?;
        let capture = Capture::start(world, Host::Kiosk)?;
        assert_eq!(sends_by(&mut kiosk)?, None);
        until(SETUP, "the memory to be gone", || Ok((needed()? == "[]").then_some(())))?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        // What the other scenario looks for in vain is there to be seen on this way.
        assert!(!capture.stop()?.matching(PLAIN_STUN)?.is_empty());
        Ok(())
    });
}

/// What a box between branch and bank does with connections to media ports.
enum Does {
    /// It lets the handshake pass, and resets the connection when it sees that what follows is neither TLS nor HTTP.
    Reset,
    /// The same, but it drops what follows.
    Drop,
    /// It takes the connection in the server's place, and says nothing.
    Take,
}

fn where_a_box(does: &Does) {
    scenario(|world| {
        let (kiosk, gateway) = (Host::Kiosk.name(), "10.77.2.1:9999");
        let look = |verdict: &str| {
            format!(
                "type filter hook forward priority filter
                 iifname {kiosk} tcp dport 40000-40099 tcp flags & psh == psh counter name stopped {verdict}"
            )
        };
        let chain = match does {
            Does::Reset => look("reject with tcp reset"),
            Does::Drop => look("drop"),
            Does::Take => format!(
                "type nat hook prerouting priority dstnat
                 iifname {kiosk} tcp dport 40000-40099 counter name stopped dnat to {gateway}"
            ),
        };
        world.nft(
            Host::Router,
            &format!("table ip box {{\n counter stopped {{ }}\n chain look {{\n {chain}\n }}\n}}\n"),
        )?;
        let silent: SocketAddr = gateway.parse().map_err(|_| Error::Other(gateway.into()))?;
        let _silent = world.at(Host::Router)?.listen(silent)?;
        let (janus, relay) = (scene::janus(world)?, relay(world, Host::Server)?);
        let mut kiosk = scene::kiosk(world, &config(&janus, &relay, "auto")?)?;
        assert_eq!(sends_by(&mut kiosk)?, Some(Via::Relay(relay.url())));
        let stopped = world.counter(Host::Router, "stopped")?.packets;
        assert!(stopped > 0, "the server itself was not tried");
        // The connection that had begun was led there, and no new one was needed.
        kiosk.process().wait_log("asking the relay, because nothing comes over the connection to the server", SETUP)?;
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        assert_eq!(sends_by(&mut kiosk)?, Some(Via::Relay(relay.url())));
        assert_eq!(world.counter(Host::Router, "stopped")?.packets, stopped, "it was tried again");
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)
    });
}

#[test]
fn where_a_box_resets_what_it_does_not_know_the_relay_takes_over() {
    where_a_box(&Does::Reset);
}

#[test]
fn where_a_box_lets_nothing_but_the_handshake_through_the_relay_takes_over() {
    where_a_box(&Does::Drop);
}

#[test]
fn where_a_box_takes_connections_and_says_nothing_the_relay_takes_over() {
    where_a_box(&Does::Take);
}

#[test]
fn a_relay_that_refuses_says_what_to_do() {
    scenario(|world| {
        let janus = branch(world)?;
        // It may connect to somebody else only.
        let relay = relay(world, Host::Agent)?;
        let good = config(&janus, &relay, "relay")?;
        let wrong = file(world, "wrong-secret", "0123456789abcdef0123456789abcdef")?;
        let mut kiosk = scene::kiosk(world, &good.clone().with("relay", "secret_file", wrong.display().to_string()))?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("media-unreachable", SETUP)?;
        for words in [relay.url().as_str(), "(401)", "relay.secret_file"] {
            assert!(fault.contains(words), "{words}: {fault}");
        }
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        kiosk.reload(&good)?;
        kiosk.start_call()?;
        let fault = kiosk.wait_fault("media-unreachable", SETUP)?;
        for words in ["(403)", "allowed-peer-ip"] {
            assert!(fault.contains(words), "{words}: {fault}");
        }
        Ok(())
    });
}

#[test]
fn the_relay_is_reached_by_way_of_a_proxy_that_opens_443_alone() {
    scenario(|world| {
        let proxy = Host::Kiosk2;
        let janus = branch(world)?;
        let relay = relay(world, Host::Server)?;
        let (address, port) = (format!("{{ {} }}", proxy.address()), format!("{{ {PORT} }}"));
        world.firewall(Host::Kiosk, "kiosk.nft", &[("server_addresses", &address), ("signalling_ports", &port)])?;
        let mut proxy = HttpProxy::start_squid(&world.at(proxy)?, proxy.address(), [TLS_PORT], &[])?;
        let config = proxy.used_by(config(&janus, &relay, "relay")?);
        let capture = Capture::start(world, Host::Kiosk)?;
        let mut kiosk = scene::kiosk(world, &config)?;
        let via = sends_by(&mut kiosk)?;
        assert_eq!(via, Some(Via::Both { proxy: proxy.address(), relay: relay.url() }));
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        let tunnel = format!("CONNECT {}:{TLS_PORT}", RELAY.address());
        until(SETUP, &tunnel, || Ok(proxy.log().contains(&tunnel).then_some(())))?;
        let beside = format!("ip and not (tcp and host {} and port {PORT})", Host::Kiosk2.address());
        let packets = capture.stop()?;
        assert_eq!(packets.matching(&beside)?, Vec::<String>::new());
        assert_eq!(packets.matching(PLAIN_STUN)?, Vec::<String>::new());
        assert_eq!(world.counter(Host::Kiosk, "udp_out")?.packets, 0);
        Ok(())
    });
}

#[test]
fn a_name_and_a_password_that_somebody_else_made_are_taken_and_without_tls_stun_can_be_read() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let relay = Relay::start_plain(&world.at(RELAY)?, RELAY.address(), &[Host::Server.address().into()])?;
        let secret = fs::read_to_string(relay.secret_file()).map_err(Error::io("the relay's secret"))?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let given = turn::rest(&Secret::new(secret.trim()), "branch-7", now, Duration::from_secs(600));
        let config = config(&janus, &relay, "relay")?
            .without("relay", "secret_file")
            .with("relay", "url", relay.plain_url())
            .with("relay", "username", given.username.as_str())
            .with("relay", "password_file", file(world, "password", given.password.expose())?.display().to_string());
        let capture = Capture::start(world, Host::Kiosk)?;
        let mut kiosk = scene::kiosk(world, &config)?;
        assert_eq!(sends_by(&mut kiosk)?, Some(Via::Relay(relay.plain_url())));
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        let packets = capture.stop()?;
        assert_eq!(packets.udp()?, Vec::<String>::new());
        assert!(!packets.matching(&format!("port {PLAIN_PORT} and ({PLAIN_STUN})"))?.is_empty());
        Ok(())
    });
}
