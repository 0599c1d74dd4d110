//! A process seen from outside, through /proc: what the daemon says about itself is checked against this.

use crate::{Error, Result};
use std::{
    collections::HashSet,
    fs,
    net::Ipv4Addr,
    ops::RangeInclusive,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The kernel's tables of what can carry datagrams. The TCP tables are left out: they take long to read.
const TABLES: [&str; 6] = ["udp", "udp6", "udplite", "udplite6", "raw", "raw6"];
/// State of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";
/// State of a connection that this side closed first: for a minute, nobody can listen on its port.
const TIME_WAIT: &str = "06";
/// Kernel's clock ticks per second in /proc (USER_HZ), 100 on every Linux architecture in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processor time so far, user and system, seconds, all threads.
    pub cpu_seconds: f64,
    /// Resident set now, KiB.
    pub rss_kib: u64,
    /// Most resident ever, KiB.
    pub rss_peak_kib: u64,
    /// Open file descriptors.
    pub fds: u64,
    /// Threads.
    pub threads: u64,
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(Error::io(path))
}

fn descriptors(pid: u32) -> Result<Vec<PathBuf>> {
    let path = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&path).map_err(Error::io(path))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Inodes of the sockets that a process holds.
fn held_sockets(pid: u32) -> Result<HashSet<String>> {
    Ok(descriptors(pid)?
        .iter()
        .filter_map(|path| fs::read_link(path).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect())
}

/// Counts the sockets of a process that can carry datagrams: UDP, UDP-Lite and raw, of both families.
pub fn datagram_sockets(pid: u32) -> Result<u32> {
    let held = held_sockets(pid)?;
    let mut count = 0;
    for table in TABLES {
        // A kernel without UDP-Lite has no such table.
        let Ok(text) = read(pid, &format!("net/{table}")) else { continue };
        count += inodes(&text).filter(|inode| held.contains(*inode)).count();
    }
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The inode column of a /proc/net table.
fn inodes(table: &str) -> impl Iterator<Item = &str> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9))
}

/// Whether something in the network namespace of a process listens on a TCP port.
pub fn is_listening(pid: u32, port: u16) -> bool {
    let suffix = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().filter_map(|table| read(pid, &format!("net/{table}")).ok()).any(|text| {
        text.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&suffix)) && fields.nth(1) == Some(LISTEN)
        })
    })
}

/// The ports on which a process itself listens at an IPv4 address.
pub fn listening_ports(pid: u32, address: Ipv4Addr) -> Result<Vec<u16>> {
    let held = held_sockets(pid)?;
    let start = format!("{:08X}:", u32::from_ne_bytes(address.octets()));
    Ok(read(pid, "net/tcp")?
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = fields.get(1)?.strip_prefix(&start)?;
            let listens = fields.get(3) == Some(&LISTEN) && held.contains(*fields.get(9)?);
            if listens { u16::from_str_radix(port, 16).ok() } else { None }
        })
        .collect())
}

/// How many connections in the network namespace of a process have been closed from this side, and keep a port of the
/// range for a minute. IPv4 only.
pub fn kept_ports(pid: u32, range: RangeInclusive<u16>) -> Result<usize> {
    let table = read(pid, "net/tcp")?;
    let kept = table.lines().skip(1).filter(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let port = fields.next().and_then(|local| u16::from_str_radix(local.rsplit(':').next()?, 16).ok());
        port.is_some_and(|port| range.contains(&port)) && fields.nth(1) == Some(TIME_WAIT)
    });
    Ok(kept.count())
}

/// What a process uses now.
pub fn usage(pid: u32) -> Result<Usage> {
    let status = read(pid, "status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(Usage {
        cpu_seconds: cpu_seconds(&read(pid, "stat")?),
        rss_kib: field("VmRSS"),
        rss_peak_kib: field("VmHWM"),
        fds: descriptors(pid)?.len() as u64,
        threads: field("Threads"),
    })
}

/// utime and stime of /proc/PID/stat; the name in parentheses may hold anything.
fn cpu_seconds(stat: &str) -> f64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    fields.iter().sum::<f64>() / TICKS_PER_SECOND
}

/// A process and all its descendants now.
pub fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// The worst that was seen of a process's sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Looks that succeeded.
    pub samples: u64,
    /// Looks that failed; a watch with failures proves less.
    pub failures: u64,
    /// The most sockets that can carry datagrams in one look.
    pub datagram_peak: u32,
}

/// Looks at a process's sockets all the time, until it is dropped or asked.
#[derive(Debug)]
pub struct SocketWatch {
    seen: Arc<Mutex<Watched>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SocketWatch {
    /// Looks every `interval`.
    pub fn start(pid: u32, interval: Duration) -> Self {
        let seen = Arc::new(Mutex::new(Watched::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (writer, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let look = datagram_sockets(pid);
                let mut seen = writer.lock().unwrap_or_else(PoisonError::into_inner);
                match look {
                    Ok(count) => {
                        seen.samples += 1;
                        seen.datagram_peak = seen.datagram_peak.max(count);
                    }
                    Err(_) => seen.failures += 1,
                }
                drop(seen);
                thread::sleep(interval);
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Watched {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SocketWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::until;
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        process,
    };

    // The only test that opens one: those of one program may run at the same time.
    #[test]
    fn a_udp_socket_is_seen_while_it_is_open_and_a_watch_remembers_it() {
        let watch = SocketWatch::start(process::id(), Duration::from_millis(1));
        let looks_on = |count: u64| {
            let wanted = watch.seen().samples + count;
            until(Duration::from_secs(20), "looks", || Ok((watch.seen().samples >= wanted).then_some(()))).unwrap();
        };
        looks_on(1);
        assert_eq!(watch.seen().datagram_peak, 0);
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        looks_on(2);
        assert_eq!(datagram_sockets(process::id()).unwrap(), 1);
        drop(socket);
        looks_on(2);
        assert_eq!(datagram_sockets(process::id()).unwrap(), 0);
        assert_eq!(watch.seen().datagram_peak, 1);
    }

    #[test]
    fn a_listening_port_is_found_at_its_address_only() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening_ports(process::id(), Ipv4Addr::LOCALHOST).unwrap().contains(&port));
        assert!(!listening_ports(process::id(), Ipv4Addr::UNSPECIFIED).unwrap().contains(&port));
    }

    #[test]
    fn the_side_that_closes_first_keeps_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = || kept_ports(process::id(), port..=port).unwrap();
        for (first, expected) in [("client", 0), ("server", 1)] {
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            let (one, other) = if first == "client" { (client, server) } else { (server, client) };
            drop(one);
            drop(other);
            until(Duration::from_secs(5), first, || Ok((kept() == expected).then_some(()))).unwrap();
        }
    }

    #[test]
    fn processor_time_is_read_past_a_hostile_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert!((cpu_seconds(stat) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn usage_of_this_process_is_plausible() {
        let usage = usage(process::id()).unwrap();
        assert!(usage.rss_kib > 100 && usage.rss_peak_kib >= usage.rss_kib && usage.fds > 2 && usage.threads > 0);
    }
}
