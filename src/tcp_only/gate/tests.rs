use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiosk_proto::call::PeerId;
use kiosk_proto::config::PortRange;
use kiosk_proto::gate::{Class, Frames, GateState, LENGTH_BYTES, RESERVE, classify};

use super::{Gate, Gates, Link};
use crate::dial::Route;
use crate::events::Events;

const SOON: Duration = Duration::from_secs(5);

fn gate() -> Gate {
    Gate::new(Gates::default(), "publish", PortRange::default(), Route::default(), (PeerId(1), Events::channel().0))
}

fn server(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

fn until<T>(what: &str, probe: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < SOON, "no {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn frame(first: u8, second: u8, bytes: usize) -> Vec<u8> {
    let mut frame = u16::try_from(bytes).unwrap().to_be_bytes().to_vec();
    frame.extend([first, second]);
    frame.resize(LENGTH_BYTES + bytes, 7);
    frame
}

fn video() -> Vec<u8> {
    frame(0x80, 96, 1200)
}

fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut read = vec![0; bytes];
    stream.read_exact(&mut read).unwrap();
    read
}

fn ends(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SOON)).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn state(link: &Arc<Link>, wanted: impl Fn(&GateState) -> bool) -> GateState {
    until("such state", || link.state().filter(&wanted))
}

/// A link with the ICE agent's and the server's ends of it.
fn link(gate: &Gate, listener: &TcpListener) -> (TcpStream, TcpStream, Arc<Link>) {
    let way = gate.way_to(listener.local_addr().unwrap()).unwrap();
    let mut agent = TcpStream::connect(way).unwrap();
    agent.write_all(&frame(22, 254, 100)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert_eq!(read(&mut server, 102), frame(22, 254, 100));
    (agent, server, until("chosen link", || gate.media()))
}

fn carries(address: &str) {
    let (listener, at) = server(address);
    listener.set_nonblocking(true).unwrap();
    let gate = gate();
    let way = gate.way_to(at).unwrap();
    assert!(way.ip().is_loopback() && way.is_ipv4() == at.is_ipv4() && way != at, "{way}");
    assert!(!PortRange::default().contains(way.port()), "{way}");
    assert_eq!((gate.way_to(at), gate.server_behind(way), gate.server_behind(at)), (Some(way), Some(at), None));
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "the server is dialled before it is needed"
    );

    let mut agent = TcpStream::connect(way).unwrap();
    agent.write_all(&frame(0, 1, 60)).unwrap();
    let (mut server, _) = until("connection", || listener.accept().ok());
    server.set_nonblocking(false).unwrap();
    assert_eq!(read(&mut server, 62), frame(0, 1, 60));
    assert!(gate.media().is_none(), "a connectivity check goes to every candidate");
    // In two parts, as a stream may come.
    let packet = video();
    agent.write_all(&packet[..700]).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    agent.write_all(&packet[700..]).unwrap();
    assert_eq!(read(&mut server, packet.len()), packet);
    server.write_all(&packet).unwrap();
    assert_eq!(read(&mut agent, packet.len()), packet);

    let link = until("chosen link", || gate.media());
    assert_eq!((link.remote(), link.local()), (at, server.peer_addr().unwrap()));
    let state = state(&link, |state| state.classes.video.packets_out == 1 && state.tcp.in_flight_bytes == 0);
    assert_eq!((state.classes.control.packets_in, state.classes.control.packets_out), (1, 1));
    assert!(state.tcp.acked_bytes >= 1264 && state.tcp.min_rtt < SOON, "{state:?}");

    let other = gate.clone();
    gate.close();
    until("closed listener", || TcpStream::connect(way).is_err().then_some(()));
    assert_eq!(other.way_to("192.0.2.1:40000".parse().unwrap()), None);
    drop(agent);
    assert!(ends(&mut server));
    until("end of the link", || link.state().is_none().then_some(()));
    let left = until("empty registry", || Some(gate.shared.gates.sockets()).filter(|left| *left == Default::default()));
    drop(left);
}

#[test]
fn carries_both_ways_over_ipv4() {
    carries("127.0.0.1:0");
}

#[test]
fn carries_both_ways_over_ipv6() {
    carries("[::1]:0");
}

#[test]
fn a_server_that_does_not_read_holds_back_nobody_but_the_picture() {
    let (listener, _) = server("127.0.0.1:0");
    let gate = gate();
    let (mut agent, mut server, link) = link(&gate, &listener);
    link.set_in_flight_limit(20_000);
    // The ICE agent gives up a packet at the first refusal.
    agent.set_nonblocking(true).unwrap();
    for number in 0..500_u64 {
        agent.write_all(&video()).unwrap();
        if number % 50 == 0 {
            state(&link, |state| state.classes.video.packets_in == number + 1);
        }
    }
    // Nobody acknowledges what a full receiver does not take: the limit alone must hold.
    let full = state(&link, |state| state.classes.video.packets_in == 500);
    let video = full.classes.video;
    assert_eq!(video.packets_in, video.packets_out + video.queued_packets);
    assert!(full.tcp.unsent_bytes + full.tcp.in_flight_bytes <= 20_000, "{full:?}");
    assert!(video.queued_packets == 0 || video.oldest > Duration::ZERO, "{full:?}");

    // The receiver's window is closed now, or soon.
    while state(&link, |_| true).classes.video.queued_packets < 100 {
        match agent.write(&self::video()) {
            Ok(written) => assert_eq!(written, 1202),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    let sound = frame(0x80, 111, 80);
    agent.write_all(&sound).unwrap();
    let before = state(&link, |state| state.classes.audio.packets_in == 1);
    assert!(before.tcp.unsent_bytes + before.tcp.in_flight_bytes <= 20_000 + RESERVE, "{before:?}");
    let thrown_away = link.discard_video();
    assert!(thrown_away >= 100, "{thrown_away}");
    let fresh = frame(0x80, 96, 333);
    agent.write_all(&fresh).unwrap();

    let mut out = Vec::new();
    server.set_read_timeout(Some(SOON)).unwrap();
    while !out.ends_with(&fresh) {
        let mut some = [0; 65536];
        let read = server.read(&mut some).unwrap();
        out.extend_from_slice(&some[..read]);
    }
    let mut frames = Frames::new(&out);
    let arrived: Vec<&[u8]> = frames.by_ref().collect();
    assert_eq!((frames.rest(), arrived.iter().filter(|frame| **frame == sound).count()), (0, 1));
    let counted = state(&link, |state| state.classes.video.queued_packets == 0).classes.video;
    let pictures = arrived.iter().filter(|frame| classify(&frame[LENGTH_BYTES..]) == Class::Video).count() as u64;
    assert_eq!((counted.packets_out, counted.packets_discarded), (pictures, thrown_away));
}

#[test]
fn a_server_that_refuses_ends_the_connection() {
    let (listener, at) = server("127.0.0.1:0");
    drop(listener);
    let gate = gate();
    let mut agent = TcpStream::connect(gate.way_to(at).unwrap()).unwrap();
    assert!(ends(&mut agent));
    assert!(gate.media().is_none());
}

#[test]
fn a_server_that_goes_ends_the_connection() {
    let (listener, _) = server("127.0.0.1:0");
    let gate = gate();
    let (mut agent, server, link) = link(&gate, &listener);
    drop(server);
    assert!(ends(&mut agent));
    until("end of the link", || link.state().is_none().then_some(()));
}

#[test]
fn another_program_is_turned_away() {
    let (listener, at) = server("127.0.0.1:0");
    listener.set_nonblocking(true).unwrap();
    let gate = gate();
    let way = gate.way_to(at).unwrap();
    let script = format!("exec 3<>/dev/tcp/{}/{}; cat <&3", way.ip(), way.port());
    let told = Command::new("timeout").args(["5", "bash", "-c", &script]).status().unwrap();
    assert!(told.success(), "it was not turned away: {told}");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "the server was dialled for it");
    // The way is still open for who it is meant for.
    let mut agent = TcpStream::connect(way).unwrap();
    agent.write_all(&video()).unwrap();
    until("connection", || listener.accept().ok());
}

#[test]
fn a_gate_that_is_dropped_listens_no_more() {
    let (_listener, at) = server("127.0.0.1:0");
    let gate = gate();
    let way = gate.way_to(at).unwrap();
    drop(gate.clone());
    TcpStream::connect(way).unwrap();
    drop(gate);
    until("closed listener", || TcpStream::connect(way).is_err().then_some(()));
}
