//! One TCP connection of this process, found by where it leads: its queue and its timing, as the kernel knows them.
//!
//! libnice owns the socket and gives no access to it (`nice_agent_get_selected_socket` returns nothing for TCP).

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use linux_raw_sys::net::tcp_info;
use nix::libc;
use nix::sys::socket::{SockaddrStorage, getpeername, setsockopt, sockopt};

use super::sockets;

/// Send buffer: a key frame of 1280x720 has up to 120 KB. The kernel doubles it for its own bookkeeping and caps it at
/// `net.core.wmem_max`.
const SEND_BUFFER: usize = 256 * 1024;

/// A connection that was found. It may be closed at any time by its owner; then it answers no more.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    fd: RawFd,
    remote: SocketAddr,
}

/// What the kernel says of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    /// Written, not sent.
    pub unsent_bytes: u64,
    /// Sent, not acknowledged.
    pub in_flight_bytes: u64,
    /// Acknowledged since the connection began.
    pub acked_bytes: u64,
    /// Smoothed round-trip time.
    pub smoothed_rtt: Duration,
    /// The least round-trip time of the last minutes.
    pub min_rtt: Duration,
    /// As the kernel measures it, bit/s.
    pub delivery_bits_per_second: u64,
    /// Segments sent again.
    pub retransmits: u64,
}

impl Connection {
    /// The connection to `remote`.
    pub fn find(remote: SocketAddr) -> Option<Self> {
        let (sockets, _) = sockets::look().ok()?;
        let fd = sockets.iter().find(|socket| socket.remote == Some(remote))?.fd;
        Some(Self { fd, remote })
    }

    /// Gives it room for a whole key frame: what does not fit is lost inside libnice without a word.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn widen(&self) -> io::Result<()> {
        // SAFETY: borrowed for this one call; a descriptor that was closed since makes the kernel answer EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER).map_err(io::Error::from)
    }

    /// Its state; none when it is closed.
    pub fn state(&self) -> Option<State> {
        let peer = getpeername::<SockaddrStorage>(self.fd).ok()?;
        if sockets::address(&peer) != Some(self.remote) {
            return None;
        }
        let info = self.info()?;
        let mut queued: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (the same as TIOCOUTQ) writes one int to where the pointer leads.
        let asked = unsafe { libc::ioctl(self.fd, libc::TIOCOUTQ, &raw mut queued) };
        let (queued, unsent) = (u64::try_from(queued).unwrap_or(0), u64::from(info.tcpi_notsent_bytes));
        let micros = |value: u32| Duration::from_micros(u64::from(value));
        (asked == 0).then(|| State {
            unsent_bytes: unsent,
            in_flight_bytes: queued.saturating_sub(unsent),
            acked_bytes: info.tcpi_bytes_acked,
            smoothed_rtt: micros(info.tcpi_rtt),
            min_rtt: micros(info.tcpi_min_rtt),
            delivery_bits_per_second: info.tcpi_delivery_rate.saturating_mul(8),
            retransmits: u64::from(info.tcpi_total_retrans),
        })
    }

    fn info(&self) -> Option<tcp_info> {
        let mut info = MaybeUninit::<tcp_info>::zeroed();
        let mut length = size_of::<tcp_info>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes; the structure is plain numbers, valid when zeroed, and an older
        // kernel that knows fewer fields leaves the others zero.
        unsafe {
            let asked =
                libc::getsockopt(self.fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length);
            (asked == 0).then(|| info.assume_init())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_the_other_side_does_not_read_is_seen_as_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let connection = Connection::find(listener.local_addr().unwrap()).unwrap();
        connection.widen().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 65536]).is_ok() {}
        let full = connection.state().unwrap();
        assert!(full.unsent_bytes > 100_000, "{full:?}");
        let mut read = 0;
        while read < 500_000 {
            read += receiver.read(&mut [0; 65536]).unwrap();
        }
        let drained = connection.state().unwrap();
        assert!(drained.acked_bytes > full.acked_bytes, "{full:?} {drained:?}");
        drop(sender);
        assert!(connection.state().is_none(), "a closed connection answers no more");
    }
}
