//! config/nftables: loaded into a network of its own, tried with real packets, its counters read.

use super::place::{done, in_own_network, repository, until};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

const HERE: [&str; 2] = ["203.0.113.5", "fd00::5"];
const THERE: [&str; 2] = ["203.0.113.6", "fd00::6"];
const SOON: Duration = Duration::from_millis(500);

/// Another machine on the wire: `203.0.113.6` and `fd00::6`.
struct Neighbour(File);

impl Neighbour {
    fn new() -> Self {
        let network = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let neighbour = Self(network.join().unwrap());
        // `ip` takes the network from its standard input: a path through /proc that holds in any process namespace.
        let mut link = Command::new("ip");
        link.args(["link", "set", "right", "netns", "/proc/self/fd/0"]).stdin(neighbour.0.try_clone().unwrap());
        done(&mut link);
        ip(&["addr", "add", "fd00::5/64", "dev", "left", "nodad"]);
        neighbour.there(|| {
            ip(&["link", "set", "lo", "up"]);
            ip(&["addr", "add", "203.0.113.6/24", "dev", "right"]);
            ip(&["addr", "add", "fd00::6/64", "dev", "right", "nodad"]);
            ip(&["link", "set", "right", "up"]);
        });
        neighbour
    }

    /// Does something on that machine. Sockets that are opened there stay there.
    fn there<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                action()
            });
            thread.join().unwrap()
        })
    }

    fn listen(&self, address: &str, port: u16) -> TcpListener {
        self.there(|| listen(address, port))
    }
}

fn ip(arguments: &[&str]) {
    done(Command::new("ip").args(arguments));
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
}

fn listen(address: &str, port: u16) -> TcpListener {
    TcpListener::bind(at(address, port)).unwrap()
}

/// Whether a connection comes about at once. To show that one does not.
fn dials(address: &str, port: u16) -> bool {
    TcpStream::connect_timeout(&at(address, port), SOON).is_ok()
}

/// Whether a connection comes about, also on a machine that is busy. To show that one does.
fn reaches(address: &str, port: u16) -> bool {
    TcpStream::connect_timeout(&at(address, port), 10 * SOON).is_ok()
}

/// Waits for a counter to stand at a value: the kernel counts when it gets to the packet.
fn counts(table: &str, name: &str, value: u64) {
    until(&format!("{name} to be {value}"), || (counter(table, name) == value).then_some(()));
}

/// Whether a datagram arrives at a socket. What the firewall says to the sender counts as no.
fn datagram_arrives(
    receiver: &UdpSocket,
    patience: Duration,
    send: impl FnOnce(SocketAddr) -> std::io::Result<usize>,
) -> bool {
    receiver.set_read_timeout(Some(patience)).unwrap();
    match send(receiver.local_addr().unwrap()) {
        Ok(_) => receiver.recv(&mut [0; 16]).is_ok(),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => panic!("{error}"),
    }
}

fn send_from_here(address: &str) -> impl FnOnce(SocketAddr) -> std::io::Result<usize> {
    let socket = UdpSocket::bind(at(address, 0)).unwrap();
    move |to| socket.send_to(b"x", to)
}

/// Loads a file of the repository, with some of its variables set as a site sets them.
pub fn load(file: &str, variables: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(repository(file)).unwrap();
    for (name, value) in variables {
        let line = text.lines().find(|line| line.starts_with(&format!("define {name} ="))).unwrap().to_owned();
        text = text.replace(&line, &format!("define {name} = {{ {value} }}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.nft");
    std::fs::write(&path, text).unwrap();
    // Checked, loaded, and loaded again, as a site does after a change.
    done(Command::new("nft").arg("-c").arg("-f").arg(&path));
    done(Command::new("nft").arg("-f").arg(&path));
    done(Command::new("nft").arg("-f").arg(&path));
}

pub fn counter(table: &str, name: &str) -> u64 {
    let json = done(Command::new("nft").args(["-j", "list", "counter", "inet", table, name]));
    let json: Value = serde_json::from_str(&json).unwrap();
    json["nftables"].as_array().unwrap().iter().find_map(|item| item["counter"]["packets"].as_u64()).unwrap()
}

fn kiosk(name: &str) -> u64 {
    counter("kiosk", name)
}

fn server(name: &str) -> u64 {
    counter("kiosk_server", name)
}

#[test]
fn a_kiosk_dials_its_servers_by_tcp_and_nothing_else_passes() {
    in_own_network("firewall::a_kiosk_dials_its_servers_by_tcp_and_nothing_else_passes", || {
        let neighbour = Neighbour::new();
        let open = [
            (8989, "signalling_out"),
            (443, "signalling_out"),
            (40000, "media_out"),
            (40099, "media_out"),
            (8883, "fleet_out"),
            (53, "dns_out"),
        ];
        let mut doors = Vec::new();
        for address in THERE {
            doors.extend(
                open.iter().map(|(port, _)| *port).chain([40100, 80]).map(|port| neighbour.listen(address, port)),
            );
        }
        let own_doors: Vec<TcpListener> = HERE.into_iter().map(|address| listen(address, 5000)).collect();
        let loopback = listen("127.0.0.1", 5000);
        let receivers_there = THERE.map(|address| neighbour.there(|| UdpSocket::bind(at(address, 0)).unwrap()));
        let receivers_here = HERE.map(|address| UdpSocket::bind(at(address, 0)).unwrap());
        let receiver_loopback = UdpSocket::bind("127.0.0.1:0").unwrap();

        // Without the firewall all of it passes, so that what follows can fail.
        for family in [0, 1] {
            assert!(reaches(THERE[family], 80));
            assert!(neighbour.there(|| reaches(HERE[family], 5000)));
            assert!(datagram_arrives(&receivers_there[family], 10 * SOON, send_from_here(HERE[family])));
            assert!(datagram_arrives(&receivers_here[family], 10 * SOON, |to| neighbour
                .there(|| send_from_here(THERE[family])(to))));
        }
        assert!(datagram_arrives(&receiver_loopback, 10 * SOON, send_from_here("127.0.0.1")));

        load(
            "config/nftables/kiosk.nft",
            &[
                ("server_addresses", THERE[0]),
                ("server_addresses_6", THERE[1]),
                ("resolvers", THERE[0]),
                ("resolvers_6", THERE[1]),
            ],
        );
        for family in [0, 1] {
            for (port, name) in open {
                let before = kiosk(name);
                assert!(reaches(THERE[family], port), "{} {port}", THERE[family]);
                assert!(kiosk(name) > before, "{name}");
            }
        }
        assert!(reaches("127.0.0.1", 5000));
        assert_eq!(["udp_in", "udp_out", "tcp_in", "other_out"].map(kiosk), [0; 4], "before any violation");

        for family in [0, 1] {
            let before = kiosk("other_out");
            for port in [80, 40100] {
                assert!(!dials(THERE[family], port), "{} {port}", THERE[family]);
            }
            assert!(kiosk("other_out") >= before + 2);

            let before = kiosk("udp_out");
            assert!(!datagram_arrives(&receivers_there[family], SOON, send_from_here(HERE[family])));
            counts("kiosk", "udp_out", before + 1);

            let before = kiosk("udp_in");
            let send = |to| neighbour.there(|| send_from_here(THERE[family])(to));
            assert!(!datagram_arrives(&receivers_here[family], SOON, send));
            counts("kiosk", "udp_in", before + 1);

            let before = kiosk("tcp_in");
            assert!(!neighbour.there(|| dials(HERE[family], 5000)));
            assert!(kiosk("tcp_in") > before);
        }
        let before = kiosk("udp_out");
        assert!(!datagram_arrives(&receiver_loopback, SOON, send_from_here("127.0.0.1")));
        counts("kiosk", "udp_out", before + 1);
        drop((doors, own_doors, loopback));
    });
}

#[test]
fn the_server_takes_calls_by_tcp_and_no_udp() {
    in_own_network("firewall::the_server_takes_calls_by_tcp_and_no_udp", || {
        let neighbour = Neighbour::new();
        // The neighbour is one of the admins.
        let open = [
            (443, "signalling_in"),
            (8989, "signalling_in"),
            (40000, "media_in"),
            (40099, "media_in"),
            (8883, "fleet_in"),
            (8884, "fleet_in"),
            (22, "ssh_in"),
        ];
        let mut doors = Vec::new();
        for address in HERE {
            doors.extend(open.iter().map(|(port, _)| *port).chain([8188, 40100]).map(|port| listen(address, port)));
        }
        let receivers_here = HERE.map(|address| UdpSocket::bind(at(address, 40000)).unwrap());
        let receivers_there = THERE.map(|address| neighbour.there(|| UdpSocket::bind(at(address, 0)).unwrap()));
        let resolver = neighbour.there(|| UdpSocket::bind(at(THERE[0], 53)).unwrap());
        for family in [0, 1] {
            assert!(neighbour.there(|| reaches(HERE[family], 8188)));
            assert!(datagram_arrives(&receivers_here[family], 10 * SOON, |to| neighbour
                .there(|| send_from_here(THERE[family])(to))));
            assert!(datagram_arrives(&receivers_there[family], 10 * SOON, send_from_here(HERE[family])));
        }

        load(
            "config/nftables/server.nft",
            &[("admin_addresses", THERE[0]), ("admin_addresses_6", THERE[1]), ("resolvers", THERE[0])],
        );
        for family in [0, 1] {
            for (port, name) in open {
                let before = server(name);
                assert!(neighbour.there(|| reaches(HERE[family], port)), "{} {port}", HERE[family]);
                assert!(server(name) > before, "{name}");
            }
            let before = server("tcp_in");
            for port in [8188, 40100] {
                assert!(!neighbour.there(|| dials(HERE[family], port)), "{} {port}", HERE[family]);
            }
            assert!(server("tcp_in") >= before + 2);

            let before = server("udp_in");
            let send = |to| neighbour.there(|| send_from_here(THERE[family])(to));
            assert!(!datagram_arrives(&receivers_here[family], SOON, send));
            counts("kiosk_server", "udp_in", before + 1);

            let before = server("udp_out");
            assert!(!datagram_arrives(&receivers_there[family], SOON, send_from_here(HERE[family])));
            counts("kiosk_server", "udp_out", before + 1);
        }
        // The server's own questions to its resolver pass, and so do the answers.
        let asking = UdpSocket::bind(at(HERE[0], 0)).unwrap();
        asking.set_read_timeout(Some(SOON)).unwrap();
        asking.send_to(b"?", at(THERE[0], 53)).unwrap();
        let (_, from) = resolver.recv_from(&mut [0; 16]).unwrap();
        resolver.send_to(b"!", from).unwrap();
        assert!(asking.recv(&mut [0; 16]).is_ok());
        drop(doors);
    });
}
