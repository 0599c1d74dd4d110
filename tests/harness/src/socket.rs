//! Sockets of a world's hosts in the hands of the test itself.

use crate::{Error, Result, place::Place, process::run};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, recvmsg, sendmsg};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixDatagram, process::CommandExt},
    },
};

impl Place {
    /// Opens a socket here, on whatever host this is: a short-lived child goes there, opens it and sends it back. `open` runs between
    /// fork and exec: it may make system calls and must not allocate.
    pub fn open_socket(&self, open: impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static) -> Result<OwnedFd> {
        let failed = |what: &str| Error::io(format!("{what} for a socket on another host"));
        let (ours, theirs) = UnixDatagram::pair().map_err(failed("socket pair"))?;
        let mut child = self.command("true");
        // SAFETY: between fork and exec only system calls are made; what nix allocates for them is small and on this thread.
        unsafe { child.pre_exec(move || send(&theirs, &open()?)) };
        run(&mut child)?;
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let mut space = nix::cmsg_space!(RawFd);
        let message: RecvMsg<'_, '_, ()> =
            recvmsg(ours.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
                .map_err(|errno| failed("receive")(errno.into()))?;
        for part in message.cmsgs().map_err(|errno| failed("receive")(errno.into()))? {
            if let ControlMessageOwned::ScmRights(descriptors) = part
                && let [descriptor] = descriptors[..]
            {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
                return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
        Err(Error::Other("the child sent no socket".into()))
    }

    /// Listens on an address of this host.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        self.open_socket(move || TcpListener::bind(address).map(OwnedFd::from)).map(TcpListener::from)
    }

    /// Connects from this host to an address.
    pub fn dial(&self, address: SocketAddr) -> Result<TcpStream> {
        self.open_socket(move || TcpStream::connect(address).map(OwnedFd::from)).map(TcpStream::from)
    }
}

fn send(to: &UnixDatagram, socket: &OwnedFd) -> io::Result<()> {
    let descriptors = [socket.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(b"s")], &rights, MsgFlags::empty(), None)?;
    Ok(())
}
