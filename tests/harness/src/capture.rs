//! What really passes a host's cable, recorded by a packet socket that is opened inside the host.
//!
//! tcpdump itself cannot record here: as root of a user namespace it may not change its groups, and it insists on it.
//! It reads the file afterwards, so that the filters are the well-known ones.

use crate::{
    Error, Result,
    process::run,
    world::{Host, World},
};
use nix::{libc, net::if_::if_nametoindex};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    mem::{size_of, zeroed},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes kept of each packet: all headers.
const SNAP: u32 = 128;
/// Bytes that the kernel may hold for us.
const BUFFER: libc::c_int = 32 << 20;
/// Seconds after which the recording thread looks whether it is to end.
const LOOK: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 50_000 };

/// A running packet capture on the `eth0` of a host.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<u32>>>,
}

/// A finished capture.
#[derive(Debug)]
pub struct Packets {
    file: PathBuf,
}

impl Capture {
    /// Starts to record all packets, both ways. Returns when the recording runs.
    pub fn start(world: &World, host: Host) -> Result<Self> {
        let socket = world.at(host)?.open_socket(packet_socket)?;
        // The name must end in .pcap: where AppArmor is on, tcpdump may read no other files.
        let file = world.dir().join(format!("{}.pcap", host.name()));
        let writer = BufWriter::new(File::create(&file).map_err(Error::io(file.display().to_string()))?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || record(&socket, writer, &stopped));
        Ok(Self { file, stop, thread: Some(thread) })
    }

    /// Ends the recording. A capture that missed packets proves nothing and is an error.
    pub fn stop(mut self) -> Result<Packets> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        let Some(Ok(result)) = ended else {
            return Err(Error::Other("the recording thread panicked".into()));
        };
        match result.map_err(Error::io("packet capture"))? {
            0 => Ok(Packets { file: self.file.clone() }),
            missed => Err(Error::Other(format!("the packet capture missed {missed} packets"))),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Packets {
    /// One line for each packet that fits a pcap filter such as `udp` or `tcp portrange 40000-40099`.
    pub fn matching(&self, filter: &str) -> Result<Vec<String>> {
        let text = run(Command::new("tcpdump").args(["-n", "-t", "-r"]).arg(&self.file).arg(filter))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// All UDP packets, of IPv4 and IPv6.
    pub fn udp(&self) -> Result<Vec<String>> {
        self.matching("udp")
    }

    /// All TCP connections that somebody asked for: packets with SYN and without ACK.
    pub fn connections(&self) -> Result<Vec<String>> {
        self.matching("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn")
    }

    /// The recording, for a person who wants to look.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// A socket that sees every packet of the interface of the host that it is opened on.
fn packet_socket() -> io::Result<OwnedFd> {
    let protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(3).to_be();
    // SAFETY: plain system calls; `address` is a valid sockaddr_ll for all its length, and the descriptor is ours alone.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol.into());
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut address: libc::sockaddr_ll = zeroed();
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = protocol;
        address.sll_ifindex = if_nametoindex("eth0")?.cast_signed();
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        if libc::bind(socket, (&raw const address).cast(), length) < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    let raw = socket.as_raw_fd();
    set_option(raw, libc::SO_RCVBUFFORCE, &BUFFER).or_else(|_| set_option(raw, libc::SO_RCVBUF, &BUFFER))?;
    set_option(raw, libc::SO_RCVTIMEO, &LOOK)?;
    Ok(socket)
}

fn set_option<T>(socket: RawFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is valid for `length` bytes.
    match unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const *value).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes a pcap file until told to stop and nothing is left to read. Returns how many packets the kernel dropped.
fn record(socket: &OwnedFd, mut file: impl Write, stop: &AtomicBool) -> io::Result<u32> {
    const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    for word in [MAGIC_MICROSECONDS, 0x0004_0002, 0, 0, SNAP, ETHERNET] {
        file.write_all(&word.to_ne_bytes())?;
    }
    let mut packet = [0u8; SNAP as usize];
    loop {
        // SAFETY: `packet` is valid for its length. MSG_TRUNC makes the kernel tell the whole length of the packet.
        let length =
            unsafe { libc::recv(socket.as_raw_fd(), packet.as_mut_ptr().cast(), packet.len(), libc::MSG_TRUNC) };
        let Ok(length) = u32::try_from(length) else {
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock if stop.load(Ordering::Relaxed) => break,
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => continue,
                // The interface went down: pulled cables are part of a test.
                _ if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
                _ => return Err(error),
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let kept = length.min(SNAP);
        for word in [now.as_secs() as u32, now.subsec_micros(), kept, length] {
            file.write_all(&word.to_ne_bytes())?;
        }
        file.write_all(&packet[..kept as usize])?;
    }
    file.flush()?;
    dropped(socket)
}

fn dropped(socket: &OwnedFd) -> io::Result<u32> {
    const PACKET_STATISTICS: libc::c_int = 6;
    let mut statistics = [0u32; 2];
    let mut length = size_of::<[u32; 2]>() as libc::socklen_t;
    // SAFETY: `statistics` is the kernel's struct tpacket_stats (packets, drops), valid for `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(statistics[1]) } else { Err(io::Error::last_os_error()) }
}
