//! The link of a branch in a test's world: packets between the branch's router and the server go through two TUN
//! devices, and between these through a model of the path in this program ([`super::path`]).
//!
//! The kernel's own shaper is not used: rate, queue, delay, jitter and loss are one model with one clock and one set of
//! counters, and the kernels that this runs on need no `netem`.

use super::{
    path::{Conditions, Direction, Totals},
    scenario::{Change, Scenario},
};
use crate::{
    Error, Result,
    world::{Host, World},
};
use kiosk_proto::sysctl;
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use serde::Serialize;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Destination port of the competing transfer.
pub const BULK_PORT: u16 = 5201;
/// The TUN devices, one on the router and one on the server.
const DEVICE: &str = "wan0";
/// Largest IP packet.
const MTU: usize = 1500;
/// The emulator looks at least this often, so that a change of conditions is noticed.
const LOOK: Duration = Duration::from_millis(2);
/// A packet that is written this much after its time is late: the machine was too busy.
const LATE: Duration = Duration::from_millis(4);
/// Losses and jitter of every run with the same scenario are drawn from the same seeds: towards the server, and back.
const SEEDS: [u64; 2] = [0x6b69_6f73_6b01, 0x6b69_6f73_6b02];

/// How well the emulator kept its times, since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Punctuality {
    /// Packets delivered.
    pub packets: u64,
    /// Of these, later than four milliseconds after their time.
    pub late: u64,
    /// The worst, milliseconds.
    pub worst_ms: f64,
}

/// Counters of both directions at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Counters {
    /// Towards the server.
    pub up: Totals,
    /// Back.
    pub down: Totals,
    /// Bytes that wait before the bottleneck towards the server.
    pub queued_bytes: usize,
    /// The same of the way back.
    pub down_queued_bytes: usize,
    /// How punctual the emulator was.
    pub punctuality: Punctuality,
}

#[derive(Debug)]
struct State {
    up: Direction<Vec<u8>>,
    down: Direction<Vec<u8>>,
    punctuality: Punctuality,
    failed: Option<String>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    stop: AtomicBool,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running emulator: everything between the branch and the server goes through it. Dropped, the path is gone.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Leads the traffic between the kiosk's host and the server through the scenario's link.
    ///
    /// `sysctls` are settings of both hosts' kernels, as sysctl.d(5) writes them. Programs that start later find them so.
    pub fn start(world: &World, scenario: &Scenario, sysctls: &str) -> Result<Self> {
        let near = tun(world, Host::Router)?;
        let far = tun(world, Host::Server)?;
        lead_through(world, sysctls)?;
        let conditions = scenario.conditions();
        let [up, down] = SEEDS.map(|seed| Direction::new(conditions, seed));
        let state = Mutex::new(State { up, down, punctuality: Punctuality::default(), failed: None });
        let shared = Arc::new(Shared { start: Instant::now(), stop: AtomicBool::new(false), state });
        let carrier = Arc::clone(&shared);
        let thread = thread::Builder::new().name("emulator".into()).spawn(move || {
            prefer_this_thread();
            if let Err(error) = carry(&carrier, &near, &far) {
                carrier.state().failed = Some(error.to_string());
            }
        });
        Ok(Self { shared, thread: Some(thread.map_err(Error::io("start the emulator"))?) })
    }

    /// Something happens to the link, now.
    pub fn change(&self, change: Change) {
        let now = self.shared.start.elapsed();
        let mut state = self.shared.state();
        for direction in [true, false] {
            let direction = if direction { &mut state.up } else { &mut state.down };
            let conditions = change.applied(direction.conditions());
            direction.change(now, conditions);
        }
    }

    /// What the link does towards the server now.
    pub fn conditions(&self) -> Conditions {
        self.shared.state().up.conditions()
    }

    /// Counters; an error when the emulator has failed.
    pub fn counters(&self) -> Result<Counters> {
        let state = self.shared.state();
        match &state.failed {
            Some(why) => Err(Error::Other(format!("the path emulator failed: {why}"))),
            None => Ok(Counters {
                up: state.up.totals(),
                down: state.down.totals(),
                queued_bytes: state.up.queued_bytes(),
                down_queued_bytes: state.down.queued_bytes(),
                punctuality: state.punctuality,
            }),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes a TUN device on a host, and gives its other end.
fn tun(world: &World, host: Host) -> Result<File> {
    let device = world.at(host)?.open_socket(|| {
        let device = File::options().read(true).write(true).open("/dev/net/tun")?;
        // SAFETY: all zero is a valid value of this plain structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: the request is a valid ifreq that lives over the call.
        Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
        // SAFETY: a plain call on a descriptor that is ours.
        Errno::result(unsafe { libc::fcntl(device.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
        io::Result::Ok(OwnedFd::from(device))
    });
    Ok(File::from(device?))
}

/// Routes between the kiosk's host and the server through the devices; TCP there remembers no earlier connection.
fn lead_through(world: &World, sysctls: &str) -> Result<()> {
    for (key, value) in sysctl::settings(sysctls) {
        let file = format!("/proc/sys/{}", key.replace('.', "/"));
        for host in [Host::Kiosk, Host::Server] {
            // Namespaces may only use what the machine's own setting allows to everybody.
            let remedy = match key {
                "net.ipv4.tcp_congestion_control" => {
                    "as root: sysctl -w net.ipv4.tcp_allowed_congestion_control='reno cubic bbr'"
                }
                _ => "the kernel has no such setting in a network namespace, or does not take this value",
            };
            let script = r#"echo "$2" > "$1" || { echo "$3" >&2; exit 1; }"#;
            world.run(host, "sh", &["-euc", script, "sh", &file, value, remedy])?;
        }
    }
    let tcp = "echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save\n";
    // Without an address of its own, which ICE would try to use.
    let up = format!(
        "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/{DEVICE}/rp_filter\n\
         ip link set {DEVICE} addrgenmode none; ip link set {DEVICE} mtu {MTU} txqueuelen 1000 up\n"
    );
    let router = format!("{up}ip route add default dev {DEVICE} table 77; ip rule add iif kiosk lookup 77\n");
    let server = format!("{tcp}{up}ip route add {}/32 dev {DEVICE}\n", Host::Kiosk.address());
    for (host, script) in [(Host::Kiosk, tcp), (Host::Router, &router), (Host::Server, &server)] {
        world.run(host, "sh", &["-euc", script])?;
    }
    Ok(())
}

/// Where it is allowed: packets must not wait for this thread.
fn prefer_this_thread() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: a plain call on a structure that lives over it; zero means this thread, which runs as it is when refused.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const priority) };
}

/// Carries packets until told to stop.
fn carry(shared: &Shared, near: &File, far: &File) -> io::Result<()> {
    let mut buffer = vec![0; 65536];
    let mut wait = LOOK;
    while !shared.stop.load(Ordering::Relaxed) {
        let mut ends = [PollFd::new(near.as_fd(), PollFlags::POLLIN), PollFd::new(far.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut ends, Some(TimeSpec::from_duration(wait)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut state = shared.state();
        let State { up, down, punctuality, .. } = &mut *state;
        take(near, up, shared.start, &mut buffer)?;
        take(far, down, shared.start, &mut buffer)?;
        deliver(far, up, shared.start, punctuality)?;
        deliver(near, down, shared.start, punctuality)?;
        let now = shared.start.elapsed();
        let next = [up.next(), down.next()].into_iter().flatten().min();
        wait = next.map_or(LOOK, |next| next.saturating_sub(now).min(LOOK));
    }
    Ok(())
}

/// Takes what the kernel sends into one end.
fn take(mut from: &File, to: &mut Direction<Vec<u8>>, start: Instant, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match from.read(buffer) {
            Ok(length) => {
                let packet = &buffer[..length];
                // The kernel's own IPv6 chatter on a new device is none of the link's traffic.
                if packet.first().is_some_and(|first| first >> 4 == 4) {
                    to.offer(start.elapsed(), length, is_bulk(packet), packet.to_vec());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Hands over what has arrived at the other end.
fn deliver(
    mut to: &File,
    from: &mut Direction<Vec<u8>>,
    start: Instant,
    punctuality: &mut Punctuality,
) -> io::Result<()> {
    while let Some((due, packet)) = from.arrived(start.elapsed()) {
        let late = start.elapsed().saturating_sub(due);
        punctuality.packets += 1;
        punctuality.late += u64::from(late > LATE);
        punctuality.worst_ms = punctuality.worst_ms.max(late.as_secs_f64() * 1e3);
        to.write_all(&packet)?;
    }
    Ok(())
}

/// Whether an IPv4 packet is TCP to the port of the competing transfer.
fn is_bulk(packet: &[u8]) -> bool {
    let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    let port = packet.get(header + 2..header + 4).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
    packet.get(9) == Some(&6) && port == Some(BULK_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcp_to_the_transfers_port_is_competing() {
        let mut packet = vec![0; 40];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[22..24].copy_from_slice(&BULK_PORT.to_be_bytes());
        assert!(is_bulk(&packet));
        packet[9] = 17;
        assert!(!is_bulk(&packet));
        packet[9] = 6;
        packet[22] = 0;
        assert!(!is_bulk(&packet));
        assert!(!is_bulk(&[]));
    }
}
