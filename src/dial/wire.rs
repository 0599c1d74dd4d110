//! A connection that is read and written without waiting, with TLS on it or not: what the media gate needs, which must know
//! what the kernel holds.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::socket::{MsgFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConnection;

use super::prompt::acknowledge;

/// A connection of the media gate.
#[derive(Debug)]
pub struct Wire {
    tcp: TcpStream,
    tls: Option<Mutex<ClientConnection>>,
    prompt: bool,
}

impl From<TcpStream> for Wire {
    fn from(tcp: TcpStream) -> Self {
        Self { tcp, tls: None, prompt: false }
    }
}

impl From<TlsStream<TcpStream>> for Wire {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        let (tcp, tls) = stream.into_inner();
        Self { tcp, tls: Some(Mutex::new(tls)), prompt: false }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

/// The socket, as rustls reads and writes it; whether it acknowledges at once.
struct Socket<'a>(&'a TcpStream, bool);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.try_read(buffer)?;
        if self.1 {
            acknowledge(self.0);
        }
        Ok(read)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock(tls: &Mutex<ClientConnection>) -> MutexGuard<'_, ClientConnection> {
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    /// The same, acknowledging at once what it reads: for one that leads through a proxy.
    #[must_use]
    pub(super) fn promptly(self) -> Self {
        Self { prompt: true, ..self }
    }

    /// This machine's end.
    ///
    /// # Errors
    /// When the socket has none any more.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Waits until there is something to read from the socket. To be called only after [`Wire::try_read`] has said
    /// `WouldBlock`: what TLS has decrypted already does not show here.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn readable(&self) -> io::Result<()> {
        self.tcp.readable().await
    }

    /// Waits until the socket takes more.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn writable(&self) -> io::Result<()> {
        self.tcp.writable().await
    }

    /// Reads what is there; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; when the connection is broken, or what came is no TLS.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = Socket(&self.tcp, self.prompt);
        let Some(tls) = &self.tls else { return socket.read(buffer) };
        let mut tls = lock(tls);
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut socket)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Writes the first bytes of the two parts. What TLS holds of them afterwards, [`Wire::flush`] writes. Without TLS, and with
    /// `own_segments`, what is written at once shares no segment with what is written later (`MSG_EOR`): so packets arrive
    /// one by one, as the link lets them through.
    ///
    /// # Errors
    /// `WouldBlock` when nothing more is taken; when the connection is broken.
    pub fn try_write(&self, first: &[u8], second: &[u8], own_segments: bool) -> io::Result<usize> {
        let parts = [IoSlice::new(first), IoSlice::new(second)];
        let Some(tls) = &self.tls else {
            let end = if own_segments { MsgFlags::MSG_EOR } else { MsgFlags::empty() };
            let flags = end | MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let send = || Ok(sendmsg::<()>(self.tcp.as_raw_fd(), &parts, &[], flags, None)?);
            return self.tcp.try_io(Interest::WRITABLE, send);
        };
        let mut tls = lock(tls);
        if !flush(&mut tls, &self.tcp)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = tls.writer().write_vectored(&parts)?;
        flush(&mut tls, &self.tcp)?;
        Ok(written)
    }

    /// Writes what TLS still holds of what was written; says whether that was all of it.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&self) -> io::Result<bool> {
        self.tls.as_ref().map_or(Ok(true), |tls| flush(&mut lock(tls), &self.tcp))
    }
}

fn flush(tls: &mut ClientConnection, tcp: &TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(&mut Socket(tcp, false)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::{JANUS, Server, encrypt};
    use kiosk_harness::tls::ServerIdentity;
    use std::sync::{Arc, mpsc};
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};

    const BYTES: usize = 8 << 20;

    /// The byte at a place of what is sent.
    fn byte(at: usize) -> u8 {
        u8::try_from(at % 251).unwrap()
    }

    /// A TLS server that reads nothing until it is told to, then everything; gives what it read.
    fn server(identity: &ServerIdentity) -> (SocketAddr, mpsc::Sender<()>, std::thread::JoinHandle<Vec<u8>>) {
        let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, (go, told)) = (listener.local_addr().unwrap(), mpsc::channel());
        let read = std::thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), tcp);
            stream.write_all(b"greeting").unwrap();
            told.recv().unwrap();
            let mut all = vec![0; BYTES];
            stream.read_exact(&mut all).unwrap();
            all
        });
        (address, go, read)
    }

    #[tokio::test]
    async fn tls_loses_nothing_when_the_socket_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let identity = ServerIdentity::create(folder.path(), &["127.0.0.1"]).unwrap();
        let (address, go, read) = server(&identity);
        let tcp = TcpStream::connect(address).await.unwrap();
        let to = Server {
            host: "127.0.0.1",
            port: address.port(),
            tls: true,
            ca_file: Some(&identity.ca),
            identity: None,
            user_timeout: None,
            proxy: None,
            keys: JANUS,
        };
        let wire = Wire::from(encrypt(tcp, &to, address).await.unwrap());
        let mut greeting = Vec::<u8>::new();
        while greeting.len() < 8 {
            let mut some = [0_u8; 3];
            match wire.try_read(&mut some) {
                Ok(read) => greeting.extend(&some[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wire.readable().await.unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(greeting, b"greeting");

        let all: Vec<u8> = (0..BYTES).map(byte).collect();
        let (mut written, mut full) = (0, 0);
        while written < BYTES {
            let rest = &all[written..BYTES.min(written + 1202)];
            match wire.try_write(&rest[..rest.len() / 2], &rest[rest.len() / 2..], true) {
                Ok(some) => written += some,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if full == 0 {
                        assert!(!wire.flush().unwrap(), "a full socket took more");
                        go.send(()).unwrap();
                    }
                    full += 1;
                    wire.writable().await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        while !wire.flush().unwrap() {
            wire.writable().await.unwrap();
        }
        assert!(full > 0);
        let read = tokio::task::spawn_blocking(|| read.join().unwrap()).await.unwrap();
        assert!(read == all, "what arrived is not what was sent");
    }
}
