//! What comes through a proxy is acknowledged at once.
//!
//! A proxy without TCP_NODELAY (tinyproxy is one) holds a small packet back until the one before it is acknowledged, and
//! the kernel waits up to 40 ms with that, in the hope of something to send.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Acknowledges what was read. To be called after each read: the kernel forgets that it was told. Without it things are
/// late, and a broken connection shows at the next read.
pub(super) fn acknowledge(socket: &TcpStream) {
    let _ = socket.set_quickack(true);
}

/// A connection that acknowledges at once.
#[derive(Debug)]
pub(super) struct Prompt(pub(super) TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if read.is_ready() {
            acknowledge(&self.0);
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc;
    use std::os::fd::AsRawFd;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_was_read_is_acknowledged_though_nothing_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let kiosk = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut proxy, _) = listener.accept().await.unwrap();
        // As the kernel does by itself once both have talked for a while: it waits for something to send.
        kiosk.set_quickack(false).unwrap();
        let mut kiosk = Prompt(kiosk);
        proxy.write_all(b"!").await.unwrap();
        assert_eq!(kiosk.read_u8().await.unwrap(), b'!');
        let mut waiting: libc::c_int = -1;
        // SAFETY: the kernel writes one int to where the pointer leads.
        assert_eq!(unsafe { libc::ioctl(proxy.as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) }, 0);
        assert_eq!(waiting, 0, "bytes that are not acknowledged");
    }
}
