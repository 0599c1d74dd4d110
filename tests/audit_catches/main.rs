//! The checks can fail: what they are there for is done on purpose, from outside, and they notice.

mod doctor;
mod relay;

use kiosk_harness::{
    Error, Result,
    capture::Capture,
    janus::{Janus, JanusOptions},
    kiosk::{Kiosk, KioskConfig},
    process::run,
    procfs::{datagram_sockets, listening_ports},
    scene::{self, SETUP},
    wait::until,
    world::{Host, World, repository, scenario},
};
use relay::{OWN, Relay, Tamper, URL};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// How long the audit gets on a busy machine. It looks ten times a second.
const NOTICED: Duration = Duration::from_secs(45);
const VIOLATION: &str = "tcp-only-violation";

/// The violation's evidence, on D-Bus and as an error in the log; the call has ended.
fn caught(kiosk: &mut Kiosk) -> Result<String> {
    let evidence = kiosk.wait_fault(VIOLATION, NOTICED)?;
    kiosk.wait_state("idle", NOTICED)?;
    let log = kiosk.process().log_text();
    let told = log.lines().any(|line| line.contains("ERROR") && line.contains(VIOLATION) && line.contains(&evidence));
    assert!(told, "{evidence:?} is not logged as an error:\n{log}");
    Ok(evidence)
}

fn create(file: &Path) -> Result<()> {
    File::create(file).map(drop).map_err(Error::io(file.display().to_string()))
}

/// Variables that make a program hold a UDP socket while `wanted` exists.
fn holds(world: &World, wanted: &Path) -> Result<Vec<(&'static str, String)>> {
    let library = world.dir().join("hold.so");
    let source = repository().join("tests/audit_catches/hold.c");
    run(Command::new("cc").args(["-shared", "-fPIC", "-pthread", "-o"]).arg(&library).arg(source))?;
    Ok(vec![("LD_PRELOAD", library.display().to_string()), ("HOLD_WHILE", wanted.display().to_string())])
}

/// A daemon that holds a socket which is none of its own while `wanted` exists: UDP, or a connection to `tcp`.
fn kiosk_that_holds(world: &World, janus: &Janus, wanted: &Path, tcp: Option<String>) -> Result<Kiosk> {
    let mut environment = holds(world, wanted)?;
    environment.extend(tcp.map(|tcp| ("HOLD_TCP_TO", tcp)));
    Kiosk::start_in(&world.at(Host::Kiosk)?, "kioskd", &scene::kiosk_config(janus)?, &environment)
}

#[test]
fn a_udp_socket_in_the_daemon_ends_the_call() {
    scenario(|world| {
        let wanted = world.dir().join("hold");
        let janus = scene::janus(world)?;
        let mut kiosk = kiosk_that_holds(world, &janus, &wanted, None)?;
        kiosk.start_call()?;
        kiosk.wait_state("waiting", SETUP)?;
        create(&wanted)?;
        let evidence = caught(&mut kiosk)?;
        let fd = fd_of_udp(kiosk.process().pid())?;
        assert_eq!(evidence, format!("descriptor {fd} is a UDP socket, local 0.0.0.0:5353, remote none"));
        assert_eq!(kiosk.figures()?.sockets.udp_peak, 1);

        // It is still open: the next call does not come up either.
        kiosk.start_call()?;
        assert_eq!(caught(&mut kiosk)?, evidence);

        fs::remove_file(&wanted).map_err(Error::io("hold"))?;
        let pid = kiosk.process().pid();
        until(NOTICED, "the socket to be closed", || Ok((datagram_sockets(pid)? == 0).then_some(())))?;
        kiosk.start_call()?;
        kiosk.wait_state("waiting", SETUP)?;
        assert_eq!(kiosk.faults()?, []);
        Ok(())
    });
}

#[test]
fn a_connection_to_a_media_port_beside_the_gate_ends_the_call() {
    scenario(|world| {
        let wanted = world.dir().join("hold");
        let janus = scene::janus(world)?;
        // Whether it is Janus or something else that listens there.
        let beside = SocketAddr::from((Host::Server.address(), 40099));
        let listener = world.at(Host::Server)?.listen(beside)?;
        let to = format!("{} {}", beside.ip(), beside.port());
        let mut kiosk = kiosk_that_holds(world, &janus, &wanted, Some(to))?;
        kiosk.start_call()?;
        kiosk.wait_state("waiting", SETUP)?;
        assert_eq!(kiosk.faults()?, []);
        create(&wanted)?;
        let evidence = caught(&mut kiosk)?;
        assert!(evidence.contains(&format!("leads to the media port {beside}, beside the media gate")), "{evidence}");
        drop(listener);
        Ok(())
    });
}

#[test]
fn another_program_of_the_kiosk_is_turned_away_by_the_gate() {
    const OPEN: &str = "exec 3<>/dev/tcp/127.0.0.1/$0; printf '\\0\\1x' >&3; cat <&3 || true";
    scenario(|world| {
        let janus = scene::janus(world)?;
        let capture = Capture::start(world, Host::Kiosk)?;
        let mut kiosk = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        kiosk.start_call()?;
        kiosk.wait_state("waiting", SETUP)?;
        let ports = listening_ports(kiosk.process().pid(), Ipv4Addr::LOCALHOST)?;
        assert_eq!(ports.len(), 1, "listeners of the media gate: {ports:?}");
        // One that is held is ended by `timeout`, which says so.
        world.run(Host::Kiosk, "timeout", &["30", "bash", "-c", OPEN, &ports[0].to_string()])?;
        kiosk.process().wait_log("another program of this machine dialled the media gate", NOTICED)?;
        kiosk.end_call()?;
        let packets = capture.stop()?;
        let media = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and dst portrange 40000-40099";
        assert_eq!(packets.matching(media)?.len(), 1, "the server was dialled for it");
        Ok(())
    });
}

/// The one descriptor of a process that is in the kernel's table of UDP sockets.
fn fd_of_udp(pid: u32) -> Result<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/udp")).map_err(Error::io("net/udp"))?;
    let inodes: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9)).collect();
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).map_err(Error::io("fd"))?;
    let found = entries.flatten().find(|entry| {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        inodes.iter().any(|inode| link.as_os_str() == format!("socket:[{inode}]").as_str())
    });
    found.map(|entry| entry.file_name().display().to_string()).ok_or_else(|| Error::Other("no UDP socket".into()))
}

/// Adds what must not reach an ICE agent to every description of Janus, and again one by one.
struct Inject {
    done: Arc<AtomicUsize>,
}

/// At addresses that a kiosk has no business with, or at ports that are not for media; better than any real one.
const FORBIDDEN: [&str; 7] = [
    "candidate:90 1 udp 2130706431 10.77.3.2 40050 typ host",
    "candidate:91 1 udp 2130706431 janus-host.local 40050 typ host",
    "candidate:92 1 tcp 2130706431 janus-host.local 40050 typ host tcptype passive",
    "candidate:93 1 tcp 2130706431 10.77.3.2 40051 typ host",
    "candidate:94 1 tcp 2130706431 10.77.1.2 9999 typ host tcptype passive",
    "candidate:95 1 tcp 2130706431 10.77.3.2 443 typ host tcptype passive",
    "candidate:96 1 tcp 2130706431 10.77.3.2 9 typ host tcptype active",
];

impl Tamper for Inject {
    fn of_janus(&mut self, mut message: Value) -> Vec<Value> {
        let Some(sdp) = message["jsep"]["sdp"].as_str() else { return vec![message] };
        let lines: String = FORBIDDEN.iter().map(|candidate| format!("a={candidate}\r\n")).collect();
        let sdp = sdp.replacen("a=candidate:", &format!("{lines}a=candidate:"), 1);
        assert!(sdp.contains(FORBIDDEN[0]), "Janus' description has no candidate: {sdp}");
        message["jsep"]["sdp"] = sdp.into();
        let one_by_one = FORBIDDEN.iter().map(|candidate| {
            json!({
                "janus": "trickle", "session_id": message["session_id"], "sender": message["sender"],
                "candidate": { "sdpMid": "0", "sdpMLineIndex": 0, "candidate": candidate },
            })
        });
        let one_by_one: Vec<Value> = one_by_one.collect();
        self.done.fetch_add(1, Relaxed);
        [vec![message], one_by_one].concat()
    }
}

/// Janus with its loopback port, and a kiosk that takes the relay for it.
fn janus_behind_relay(world: &World, ice_lite: Option<bool>) -> Result<(Janus, KioskConfig)> {
    let options = JanusOptions { ws_port: Some(8188), ice_lite, ..JanusOptions::new(Host::Server.address()) };
    let janus = Janus::start(&world.at(Host::Server)?, options)?;
    let config = scene::kiosk_config(&janus)?.with("janus", "url", URL).without("janus", "ca_file");
    Ok((janus, config))
}

#[test]
fn forbidden_candidates_of_a_man_in_the_middle_reach_no_ice_agent() {
    const COUNT: &str = "table inet watch {\n counter udp_out { }\n\
        chain output { type filter hook output priority filter; meta l4proto udp counter name udp_out; }\n}\n";
    scenario(|world| {
        let (janus, config) = janus_behind_relay(world, None)?;
        // Counted, not dropped: whatever the daemon tries can be seen.
        world.nft(Host::Kiosk, COUNT)?;
        let capture = Capture::start(world, Host::Kiosk)?;
        let done = Arc::<AtomicUsize>::default();
        let _relay = Relay::start(world, Inject { done: Arc::clone(&done) })?;
        let mut kiosk = scene::kiosk(world, &config)?;
        kiosk.start_call()?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;
        assert_eq!(done.load(Relaxed), 2, "descriptions that were tampered with: publisher's answer, receiver's offer");
        assert_eq!(kiosk.faults()?, []);
        let figures = kiosk.figures()?;
        for pair in [&figures.publish.pair, &figures.receive.pair].into_iter().flatten() {
            assert_eq!((pair.local.transport.as_str(), pair.remote.transport.as_str()), ("tcp", "tcp"), "{pair:?}");
            assert_eq!(pair.remote.address, Host::Server.address().to_string());
        }
        assert_eq!((figures.sockets.udp_peak, datagram_sockets(kiosk.process().pid())?), (0, 0));
        kiosk.end_call()?;

        assert_eq!(world.counter(Host::Kiosk, "udp_out")?.packets, 0);
        let packets = capture.stop()?;
        assert_eq!(packets.udp()?, Vec::<String>::new());
        let to_agent = format!("host {}", Host::Agent.address());
        assert_eq!(packets.matching(&to_agent)?, Vec::<String>::new(), "dialled where a forbidden candidate led");
        let elsewhere = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and not dst portrange 40000-40099";
        assert_eq!(packets.matching(elsewhere)?, Vec::<String>::new(), "dialled outside the range");
        assert_eq!(packets.connections()?.len(), 2, "one connection to publish, one to receive");
        Ok(())
    });
}

/// Tells Janus where the kiosk's ICE agent listens, instead of that it dials.
struct Listens {
    pid: Arc<AtomicU32>,
    told: Arc<AtomicUsize>,
}

impl Tamper for Listens {
    fn of_kiosk(&mut self, message: Value) -> Vec<Value> {
        let dials = message["candidate"]["candidate"].as_str().is_some_and(|line| line.contains("tcptype active"));
        if message["janus"] != "trickle" || !dials {
            return vec![message];
        }
        let address = Host::Kiosk.address();
        let ports = listening_ports(self.pid.load(Relaxed), address).unwrap_or_default();
        self.told.fetch_add(ports.len(), Relaxed);
        let instead = ports.iter().map(|port| {
            let mut message = message.clone();
            message["transaction"] = OWN.into();
            let line = format!("candidate:1 1 TCP 2130706431 {address} {port} typ host tcptype passive");
            message["candidate"]["candidate"] = line.into();
            message
        });
        let mut out: Vec<Value> = instead.collect();
        out.push(message);
        out
    }
}

/// A kiosk in a call, whose listening ports a man in the middle tells Janus.
fn call_with_listening_port_told(world: &World, config: &KioskConfig) -> Result<(Kiosk, Relay)> {
    let (pid, told) = (Arc::<AtomicU32>::default(), Arc::<AtomicUsize>::default());
    let relay = Relay::start(world, Listens { pid: Arc::clone(&pid), told: Arc::clone(&told) })?;
    let mut kiosk = scene::kiosk(world, config)?;
    pid.store(kiosk.process().pid(), Relaxed);
    kiosk.start_call()?;
    until(SETUP, "a candidate of the kiosk", || Ok((told.load(Relaxed) > 0).then_some(())))?;
    Ok((kiosk, relay))
}

fn inbound_ends_the_call(ice_lite: bool) {
    scenario(|world| {
        let (_janus, config) = janus_behind_relay(world, Some(ice_lite))?;
        let (mut kiosk, _relay) = call_with_listening_port_told(world, &config)?;
        let evidence = caught(&mut kiosk)?;
        let from = format!("{}:", Host::Server.address());
        assert!(evidence.starts_with(&from) && evidence.contains("connected to the kiosk's port"), "{evidence}");
        Ok(())
    });
}

#[test]
fn an_inbound_media_connection_ends_the_call_with_ice_lite() {
    inbound_ends_the_call(true);
}

#[test]
fn an_inbound_media_connection_ends_the_call_with_full_ice() {
    inbound_ends_the_call(false);
}

#[test]
fn the_firewall_keeps_an_inbound_media_connection_out() {
    scenario(|world| {
        let (_janus, config) = janus_behind_relay(world, None)?;
        let server = format!("{{ {} }}", Host::Server.address());
        world.firewall(Host::Kiosk, "kiosk.nft", &[("server_addresses", &server)])?;
        let (mut kiosk, _relay) = call_with_listening_port_told(world, &config)?;
        let dropped = || Ok((world.counter(Host::Kiosk, "tcp_in")?.packets > 0).then_some(()));
        until(SETUP, "an inbound connection to be dropped and counted", dropped)?;
        kiosk.wait_state("waiting", SETUP)?;
        thread::sleep(Duration::from_secs(2));
        assert_eq!((kiosk.state()?, kiosk.faults()?), ("waiting".to_owned(), vec![]));
        assert_eq!(world.counter(Host::Kiosk, "udp_out")?.packets, 0);
        Ok(())
    });
}

#[test]
fn media_ports_outside_the_configured_range_are_not_dialled() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let capture = Capture::start(world, Host::Kiosk)?;
        let config = scene::kiosk_config(&janus)?;
        let mut kiosk = scene::kiosk(world, &config.with("janus", "media_ports", "41000-41099"))?;
        kiosk.start_call()?;
        let message = kiosk.wait_fault("no-tcp-candidate", SETUP)?;
        for word in ["TCP port 400", "janus.media_ports = \"41000-41099\"", "media.rtp_port_range in janus.jcfg"] {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
        kiosk.end_call()?;
        let packets = capture.stop()?;
        let media = "tcp portrange 40000-41099 or udp";
        assert_eq!(packets.matching(media)?, Vec::<String>::new());
        assert!(!packets.matching("tcp port 8989")?.is_empty(), "the capture saw nothing at all");
        Ok(())
    });
}
