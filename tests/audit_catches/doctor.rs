//! The self-check's trial call: a server that is slow, or hangs, is named; the proofs fail when there is UDP.

use super::{Inject, create, holds, janus_behind_relay};
use crate::relay::{Relay, Tamper};
use kiosk_harness::{
    doctor::{Found, doctor, doctor_in},
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
