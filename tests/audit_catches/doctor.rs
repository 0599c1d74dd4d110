//! The self-check's trial call: a server that is slow, or hangs, is named; the proofs fail when there is UDP.

use super::{Inject, create, holds, janus_behind_relay};
use crate::relay::{Relay, Tamper};
use kiosk_harness::{
    Error,
    doctor::{Found, doctor, doctor_in},
    link::{emulator::Emulator, scenario::Scenario},
    scene,
    world::{Host, scenario},
};
use serde_json::Value;
use std::{
    sync::{Arc, atomic::AtomicUsize},
    thread,
    time::Duration,
};

/// How a check ended, and what it saw.
fn found<'a>(findings: &'a [Found], id: &str) -> (&'a str, &'a str) {
    let found = findings.iter().find(|(found, ..)| found == id);
    found.map_or(("missing", ""), |(_, outcome, seen)| (outcome, seen))
}

/// Janus hangs: the question what it is gets no answer.
struct Hangs;

impl Tamper for Hangs {
    fn of_janus(&mut self, message: Value) -> Vec<Value> {
        if message["janus"] == "server_info" { Vec::new() } else { vec![message] }
    }
}

#[test]
fn a_janus_that_does_not_answer_is_named() {
    scenario(|world| {
        let (_janus, config) = janus_behind_relay(world, None)?;
        let _relay = Relay::start(world, Hangs)?;
        let (code, findings) = doctor(world, &config, &["--no-call"])?;
        assert_eq!((code, found(&findings, "janus.version")), (1, ("fail", "no answer in 5 s")), "{findings:#?}");
        Ok(())
    });
}

/// Passes everything on.
struct Nothing;

impl Tamper for Nothing {}

#[test]
fn a_long_way_is_named() {
    scenario(|world| {
        let (_janus, config) = janus_behind_relay(world, None)?;
        // Signalling has a way of its own here, so that the questions before the call take no time.
        let _relay = Relay::start(world, Nothing)?;
        let plain = Scenario::find("steady10").ok_or_else(|| Error::Other("no such scenario".into()))?;
        let _emulator =
            Emulator::start(world, &Scenario { rtt_ms: 850, ..*plain }, "net.ipv4.tcp_congestion_control=reno")?;
        let (_, findings) = doctor(world, &config, &[])?;
        assert_eq!(found(&findings, "call.delay").0, "warn", "{findings:#?}");
        Ok(())
    });
}

#[test]
fn what_lets_the_beginning_of_a_call_through_or_nothing_of_it_is_named() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let kiosk = Host::Kiosk.name();
        let box_that = |rule: &str| {
            let chain = "type filter hook forward priority filter";
            world.nft(Host::Router, &format!("table inet box {{\n chain look {{\n {chain}\n {rule}\n }}\n}}\n"))
        };
        // After some kilobytes only acknowledgements come back.
        box_that(&format!("oifname {kiosk} tcp sport 40000-40099 meta length > 100 quota over 40 kbytes drop"))?;
        let (code, findings) = doctor(world, &config, &[])?;
        for id in ["call.picture", "call.sound"] {
            let (how, seen) = found(&findings, id);
            assert!(how == "fail" && seen.contains(", 0 back"), "{id}: {findings:#?}");
        }
        assert_eq!((code, found(&findings, "ice.dial").0), (1, "pass"), "{findings:#?}");
        world.run(Host::Router, "nft", &["delete", "table", "inet", "box"])?;

        // The handshake, and nothing that follows.
        box_that(&format!("iifname {kiosk} tcp dport 40000-40099 tcp flags & psh == psh drop"))?;
        let (code, findings) = doctor(world, &config, &[])?;
        let (how, seen) = found(&findings, "call");
        assert!(how == "fail" && seen.contains("media connection"), "{findings:#?}");
        assert_eq!((code, found(&findings, "ice.dial").0), (1, "pass"), "{findings:#?}");
        Ok(())
    });
}

/// Takes its time for the room's answers, and adds what must not reach an ICE agent.
struct Slow(Inject);

/// Two answers that are so late make a set-up too long; each of them is in time for itself.
const LATE: Duration = Duration::from_millis(2500);

impl Tamper for Slow {
    fn of_janus(&mut self, message: Value) -> Vec<Value> {
        let room = &message["plugindata"]["data"];
        if room["videoroom"] == "joined" || room["configured"] == "ok" {
            thread::sleep(LATE);
        }
        self.0.of_janus(message)
    }
}

#[test]
fn a_slow_server_is_named_and_each_proof_looks_for_itself() {
    scenario(|world| {
        let (_janus, config) = janus_behind_relay(world, None)?;
        let _relay = Relay::start(world, Slow(Inject { done: Arc::<AtomicUsize>::default() }))?;
        let wanted = world.dir().join("hold");
        create(&wanted)?;
        let mut environment = holds(world, &wanted)?;
        environment.push(("HOLD_UDP_TO", format!("{} 40000", Host::Server.address())));
        let (code, findings) = doctor_in(world, &config, &[], &environment)?;
        let (setup, connected) = found(&findings, "call.setup");
        assert!(setup == "warn" && connected.contains("connected in"), "{findings:#?}");
        let (sockets, socket) = found(&findings, "proof.sockets");
        assert!(sockets == "fail" && socket.contains("is a UDP socket, local 0.0.0.0:5353"), "{findings:#?}");
        let (capture, packet) = found(&findings, "proof.capture");
        let way = format!("{}:5353 -> {}:40000", Host::Kiosk.address(), Host::Server.address());
        assert!(capture == "fail" && packet.contains(&way), "{findings:#?}");
        // A man in the middle offers UDP: it is seen, and not used.
        let (candidates, offered) = found(&findings, "proof.candidates");
        assert!(candidates == "pass" && offered.contains(" 0 UDP used"), "{findings:#?}");
        assert!(!offered.contains(" and 0 UDP;"), "{findings:#?}");
        assert_eq!((code, found(&findings, "proof.sdp").0, found(&findings, "proof.pairs").0), (1, "pass", "pass"));
        Ok(())
    });
}
