//! All internet sockets of this process, asked of the kernel one by one.
//!
//! Not `/proc/net/udp`: a UDP socket that is not bound yet is missing there.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};

use kiosk_proto::audit::{Protocol, Socket};
use nix::libc;
use nix::sys::socket::{GetSockOpt, SockaddrLike, SockaddrStorage, getpeername, getsockname, sockopt};

/// Looks at every descriptor. Returns the internet sockets and the number of all descriptors.
///
/// # Errors
/// When `/proc/self/fd` can't be read.
pub fn look() -> io::Result<(Vec<Socket>, u64)> {
    let mut sockets = Vec::new();
    let mut descriptors = 0;
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        descriptors += 1;
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A descriptor can be closed meanwhile; then there is nothing to see.
        if fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:")) {
            sockets.extend(describe(fd));
        }
    }
    // The directory's own descriptor is one of them.
    Ok((sockets, descriptors - 1))
}

fn describe(fd: RawFd) -> Option<Socket> {
    let local = getsockname::<SockaddrStorage>(fd).ok()?;
    let family = i32::from(local.as_sockaddr_family());
    if family != libc::AF_INET && family != libc::AF_INET6 && family != libc::AF_PACKET {
        return None;
    }
    // SAFETY: the descriptor is used for questions only, within this function. Should another thread have closed it
    // since, the kernel answers EBADF, or describes the descriptor that took its number.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let kind = sockopt::SockType.get(&borrowed).ok()?;
    let protocol = match kind {
        nix::sys::socket::SockType::Stream if family != libc::AF_PACKET => Protocol::Tcp,
        nix::sys::socket::SockType::Datagram if family != libc::AF_PACKET => Protocol::Udp,
        _ => Protocol::Other,
    };
    Some(Socket {
        fd,
        protocol,
        local: address(&local),
        remote: getpeername::<SockaddrStorage>(fd).ok().as_ref().and_then(address),
        listening: sockopt::AcceptConn.get(&borrowed).unwrap_or(false),
    })
}

/// The internet address in what the kernel answered; IPv4 in IPv6 clothes is IPv4.
pub fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    storage.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip().to_canonical(), v6.port())))
}

trait Family {
    fn as_sockaddr_family(&self) -> u16;
}

impl Family for SockaddrStorage {
    fn as_sockaddr_family(&self) -> u16 {
        // SAFETY: every address begins with its family, and the storage is large enough for any.
        unsafe { (*self.as_ptr()).sa_family }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;

    fn seen(fd: RawFd) -> Option<Socket> {
        look().unwrap().0.into_iter().find(|socket| socket.fd == fd)
    }

    #[test]
    fn sees_tcp_as_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let listening = seen(listener.as_raw_fd()).unwrap();
        assert!(listening.listening && listening.protocol == Protocol::Tcp && listening.remote.is_none());
        let connected = seen(dialled.as_raw_fd()).unwrap();
        assert_eq!(connected.remote, listener.local_addr().ok());
        assert!(!connected.listening);
    }

    #[test]
    fn sees_udp_even_when_it_is_not_bound() {
        let bound = UdpSocket::bind("[::1]:0").unwrap();
        assert_eq!(seen(bound.as_raw_fd()).unwrap().protocol, Protocol::Udp);
        let unbound = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Inet,
            nix::sys::socket::SockType::Datagram,
            nix::sys::socket::SockFlag::empty(),
            None,
        )
        .unwrap();
        assert_eq!(seen(unbound.as_raw_fd()).unwrap().protocol, Protocol::Udp);
    }

    #[test]
    fn other_descriptors_are_none_of_its_business() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(seen(one.as_raw_fd()), None);
    }
}
