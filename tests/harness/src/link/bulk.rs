//! A plain TCP transfer from the branch to the server, as fast as the link lets it: what else uses a branch's link.

use super::emulator::BULK_PORT;
use crate::{
    Error, Result,
    world::{Host, World},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A running transfer; it ends when it is dropped.
#[derive(Debug)]
pub struct Bulk {
    sender: TcpStream,
    receiver: TcpStream,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Bulk {
    /// Connects from the kiosk's host to the server, and begins to send.
    pub fn start(world: &World) -> Result<Self> {
        let address = SocketAddr::from((Host::Server.address(), BULK_PORT));
        let failed = |what: &str| Error::io(format!("{what} of the plain TCP transfer"));
        let listener = world.at(Host::Server)?.listen(address)?;
        let sender = world.at(Host::Kiosk)?.dial(address)?;
        let (receiver, _) = listener.accept().map_err(failed("accept"))?;
        let received = Arc::<AtomicU64>::default();
        let mut from = receiver.try_clone().map_err(failed("socket"))?;
        let mut to = sender.try_clone().map_err(failed("socket"))?;
        let count = Arc::clone(&received);
        let threads = vec![
            thread::spawn(move || {
                let chunk = vec![0x55; 16 * 1024];
                while to.write_all(&chunk).is_ok() {}
            }),
            thread::spawn(move || {
                let mut chunk = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = from.read(&mut chunk) {
                    count.fetch_add(length as u64, Ordering::Relaxed);
                }
            }),
        ];
        Ok(Self { sender, receiver, received, threads })
    }

    /// Bytes that have come through, without headers.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        // Both ends at once: what is still unsent goes nowhere, and the link is free.
        for end in [&self.receiver, &self.sender] {
            let _ = end.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
