//! What the kernel says of a TCP connection, and what it is told.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use kiosk_proto::gate::{TcpState, UNSENT};
use linux_raw_sys::net::{TCP_NOTSENT_LOWAT, tcp_info};
use nix::libc;

/// Unsent bytes below which the kernel says that it can take more.
static NOT_SENT: libc::c_int = UNSENT as libc::c_int;
/// `linux/sockios.h`; not in libc.
const SIOCOUTQNSD: libc::Ioctl = 0x894B;

/// Makes the kernel say at once when its queue has become short. It is no limit: the kernel adds to a segment that it
/// has not sent yet as much as it likes, up to 64 KiB. The limit is [`queued`].
///
/// # Errors
/// When the kernel refuses.
pub fn tell_when_short(socket: BorrowedFd<'_>) -> io::Result<()> {
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

/// Has the kernel spread what it sends at so many bytes a second; 0: without a limit, but from the first call on by the rate
/// that TCP itself takes from its window. A rate beyond 34 Gb/s is none.
///
/// # Errors
/// When the kernel refuses.
pub fn pace(socket: BorrowedFd<'_>, bytes_per_second: u64) -> io::Result<()> {
    // All ones is "no limit" (socket(7)).
    let rate = if bytes_per_second == 0 { u32::MAX } else { u32::try_from(bytes_per_second).unwrap_or(u32::MAX) };
    // SAFETY: the kernel reads one unsigned int from where the pointer leads.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            (&raw const rate).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel has of a connection, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// In flight and unsent together.
    pub outstanding: u64,
    /// Never sent yet.
    pub unsent: u64,
}

/// How much the kernel has.
///
/// # Errors
/// When the kernel refuses.
pub fn queued(socket: BorrowedFd<'_>) -> io::Result<Queued> {
    let ask = |request| {
        let mut bytes: libc::c_int = 0;
        // SAFETY: both requests write one int to where the pointer leads.
        let asked = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
        if asked == 0 { Ok(u64::try_from(bytes).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
    };
    // SIOCOUTQ has the number of TIOCOUTQ.
    Ok(Queued { outstanding: ask(libc::TIOCOUTQ)?, unsent: ask(SIOCOUTQNSD)? })
}

/// Its state.
///
/// # Errors
/// When the kernel refuses.
pub fn state(socket: BorrowedFd<'_>) -> io::Result<TcpState> {
    let queued = queued(socket)?.outstanding;
    let info = info(socket)?;
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

fn info(socket: BorrowedFd<'_>) -> io::Result<tcp_info> {
    let mut info = MaybeUninit::<tcp_info>::zeroed();
    let mut length = size_of::<tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes; the structure is plain numbers, valid when zeroed, and an older
    // kernel that knows fewer fields leaves the others zero.
    unsafe {
        let (fd, out) = (socket.as_raw_fd(), info.as_mut_ptr().cast());
        if libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, out, &raw mut length) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(info.assume_init())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::Wire;
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
        let outstanding = full.unsent_bytes + full.in_flight_bytes;
        assert_eq!(queued(sender.as_fd()).unwrap(), Queued { outstanding, unsent: full.unsent_bytes });
        let mut read = 0;
        while read < 200_000 {
            read += receiver.read(&mut [0; 65536]).unwrap();
        }
        let drained = state(sender.as_fd()).unwrap();
        assert!(drained.acked_bytes > full.acked_bytes, "{full:?} {drained:?}");
    }

    #[test]
    fn the_rate_of_pacing_is_the_kernels() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for (rate, kernel) in [(200_000, 200_000), (0, u32::MAX)] {
            pace(sender.as_fd(), rate).unwrap();
            let (mut known, mut length) = (0u32, size_of::<u32>() as libc::socklen_t);
            // SAFETY: the kernel writes one unsigned int to where the pointer leads.
            let asked = unsafe {
                let (fd, out) = (sender.as_raw_fd(), (&raw mut known).cast());
                libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, out, &raw mut length)
            };
            assert_eq!((asked, known), (0, kernel));
        }
    }

    /// While the first write is not acknowledged the others wait (Nagle's algorithm), and would become one segment.
    #[tokio::test]
    async fn what_is_written_at_once_shares_no_segment() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sender = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut receiver, _) = listener.accept().await.unwrap();
        let wire = Wire::from(sender);
        for _ in 0..20 {
            wire.writable().await.unwrap();
            assert_eq!(wire.try_write(&[0; 60], &[1; 40], true).unwrap(), 100);
        }
        tokio::io::AsyncReadExt::read_exact(&mut receiver, &mut [0; 2000]).await.unwrap();
        assert!(info(wire.as_fd()).unwrap().tcpi_data_segs_out >= 20);
    }
}
