//! A capture of every packet of this machine while the trial call runs, by a packet socket; where that is not permitted,
//! the firewall's counters.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kiosk_proto::check::proof::Wire;
use kiosk_proto::packet::{self, Flows};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_json::Value;

/// How often the thread looks whether it is to stop.
const POLL: Duration = Duration::from_millis(100);
/// Room for what comes while the thread is not scheduled.
const BUFFER: usize = 8 * 1024 * 1024;

/// What watches the wire.
#[derive(Debug)]
pub enum Watch {
    /// A packet socket, read by a thread.
    Capture {
        /// Its descriptor: the audit has to know that it is ours.
        fd: RawFd,
        /// Told to end.
        stop: Arc<AtomicBool>,
        /// Reads until then.
        thread: JoinHandle<Flows>,
    },
    /// The firewall's counters before the call, and why there is no capture.
    Counters {
        /// UDP that left, and that came.
        before: (u64, u64),
        /// Why.
        why: String,
    },
    /// Neither.
    Nothing(String),
}

impl Watch {
    /// Begins.
    pub fn start() -> Self {
        let why = match capture() {
            Ok(watch) => return watch,
            Err(error) => error.to_string(),
        };
        match counters() {
            Some(before) => Self::Counters { before, why },
            None => Self::Nothing(why),
        }
    }

    /// The descriptor of the packet socket.
    pub fn descriptor(&self) -> Option<RawFd> {
        match self {
            Self::Capture { fd, .. } => Some(*fd),
            _ => None,
        }
    }

    /// Ends; blocks for a tenth of a second.
    pub fn end(self) -> Wire {
        match self {
            Self::Capture { stop, thread, .. } => {
                stop.store(true, Relaxed);
                thread.join().map_or_else(|_| Wire::Hidden("the capture stopped".to_owned()), Wire::Captured)
            }
            Self::Counters { before, why } => match counters() {
                Some(now) => {
                    Wire::Counted { out: now.0.saturating_sub(before.0), r#in: now.1.saturating_sub(before.1), why }
                }
                None => Wire::Hidden(why),
            },
            Self::Nothing(why) => Wire::Hidden(why),
        }
    }
}

fn capture() -> io::Result<Watch> {
    // "Cooked": the kernel takes the link's header off, so that packets begin with that of IP on every kind of link.
    // SAFETY: a system call with plain numbers; the descriptor is new and nobody else's.
    let socket = unsafe {
        let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // As much as is allowed; what is missed is counted.
    let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(POLL.as_millis() as i64))?;
    let (fd, stop) = (socket.as_raw_fd(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let thread = thread::Builder::new().name("capture".to_owned()).spawn(move || read(&socket, &stopped))?;
    Ok(Watch::Capture { fd, stop, thread })
}

fn read(socket: &OwnedFd, stopped: &AtomicBool) -> Flows {
    let mut flows = Flows::default();
    let mut bytes = [0; packet::SNAP];
    while !stopped.load(Relaxed) {
        // SAFETY: the kernel writes at most `len` bytes to where the pointer leads, and the rest of the packet is dropped.
        let length = unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        let read = usize::try_from(length).ok().and_then(|length| bytes.get(..length));
        if let Some(packet) = read.and_then(packet::parse) {
            flows.take(packet);
        }
    }
    flows.missed = missed(socket);
    flows
}

fn missed(socket: &OwnedFd) -> u64 {
    let mut statistics = MaybeUninit::<libc::tpacket_stats>::zeroed();
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes; the structure is two numbers, valid when zeroed.
    unsafe {
        let (fd, out) = (socket.as_raw_fd(), statistics.as_mut_ptr().cast());
        if libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, out, &raw mut length) != 0 {
            return 0;
        }
        u64::from(statistics.assume_init().tp_drops)
    }
}

/// UDP packets that the kiosk's firewall has dropped, out and in.
fn counters() -> Option<(u64, u64)> {
    let output = Command::new("nft").args(["--json", "list", "counters", "table", "inet", "kiosk"]).output().ok()?;
    let file: Value = serde_json::from_slice(&output.stdout).ok()?;
    let counted = |name: &str| {
        let counters = file["nftables"].as_array()?.iter().map(|entry| &entry["counter"]);
        counters.into_iter().find(|counter| counter["name"] == name)?["packets"].as_u64()
    };
    Some((counted("udp_out")?, counted("udp_in")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_capture_sees_udp_where_it_is_permitted_and_else_says_why_not() {
        let watch = Watch::start();
        let captures = watch.descriptor().is_some();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"here", to).unwrap();
        receiver.recv(&mut [0; 8]).unwrap();
        thread::sleep(POLL);
        match watch.end() {
            Wire::Captured(flows) => assert!(flows.iter().any(|(packet, _)| packet.to == to), "{flows:?}"),
            Wire::Counted { why, .. } | Wire::Hidden(why) => assert!(!captures && !why.is_empty(), "{why}"),
        }
    }
}
