//! What the kernel says of a TCP connection, and what it is told.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use kiosk_proto::gate::TcpState;
use linux_raw_sys::net::{TCP_NOTSENT_LOWAT, tcp_info};
use nix::libc;

/// Unsent bytes above which the kernel takes no more: two packets. What it has not, more urgent packets can overtake.
static NOT_SENT: libc::c_int = 2400;

/// Keeps the kernel's own queue short.
///
/// # Errors
/// When the kernel refuses.
pub fn keep_short(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the kernel reads one int from where the pointer leads.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_NOTSENT_LOWAT as libc::c_int,
            (&raw const NOT_SENT).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes in flight and unsent together.
///
/// # Errors
/// When the kernel refuses.
pub fn outstanding(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut queued: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the same as TIOCOUTQ) writes one int to where the pointer leads.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    if asked == 0 { Ok(u64::try_from(queued).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

/// Its state.
///
/// # Errors
/// When the kernel refuses.
pub fn state(socket: BorrowedFd<'_>) -> io::Result<TcpState> {
    let queued = outstanding(socket)?;
    let mut info = MaybeUninit::<tcp_info>::zeroed();
    let mut length = size_of::<tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes; the structure is plain numbers, valid when zeroed, and an older
    // kernel that knows fewer fields leaves the others zero.
    let info = unsafe {
        let (fd, out) = (socket.as_raw_fd(), info.as_mut_ptr().cast());
        if libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, out, &raw mut length) != 0 {
            return Err(io::Error::last_os_error());
        }
        info.assume_init()
    };
    let unsent = u64::from(info.tcpi_notsent_bytes);
    let micros = |value: u32| Duration::from_micros(u64::from(value));
    Ok(TcpState {
        unsent_bytes: unsent,
        in_flight_bytes: queued.saturating_sub(unsent),
        acked_bytes: info.tcpi_bytes_acked,
        smoothed_rtt: micros(info.tcpi_rtt),
        min_rtt: micros(info.tcpi_min_rtt),
        delivery_bits_per_second: info.tcpi_delivery_rate.saturating_mul(8),
        delivery_app_limited: info.tcpi_delivery_rate_app_limited() != 0,
        retransmits: u64::from(info.tcpi_total_retrans),
        congestion_window_bytes: u64::from(info.tcpi_snd_cwnd) * u64::from(info.tcpi_snd_mss),
        since_ack: Duration::from_millis(u64::from(info.tcpi_last_ack_recv)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn what_the_other_side_does_not_read_is_seen_as_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 65536]).is_ok() {}
        let full = state(sender.as_fd()).unwrap();
        assert!(full.unsent_bytes > 50_000, "{full:?}");
        assert_eq!(outstanding(sender.as_fd()).unwrap(), full.unsent_bytes + full.in_flight_bytes);
        let mut read = 0;
        while read < 200_000 {
            read += receiver.read(&mut [0; 65536]).unwrap();
        }
        let drained = state(sender.as_fd()).unwrap();
        assert!(drained.acked_bytes > full.acked_bytes, "{full:?} {drained:?}");
    }

    #[test]
    fn a_short_queue_takes_little() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _receiver = listener.accept().unwrap();
        keep_short(sender.as_fd()).unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 1200]).is_ok() {}
        let unsent = state(sender.as_fd()).unwrap().unsent_bytes;
        assert!((1200..=3600).contains(&unsent), "{unsent} bytes");
    }
}
