//! Moves what arrives: from the ICE agent into the queues and on to the server as there is room, and the server's
//! answers back.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use kiosk_proto::gate::{Class, Frames, GateQueue, LENGTH_BYTES, MAX_FRAME_BYTES, Room};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Link;
use super::tcp::{self, Queued};
use crate::dial::Wire;

/// One read: some frames of the largest kind.
pub(super) const UPWARDS: usize = 2 * MAX_FRAME_BYTES;
pub(super) const DOWNWARDS: usize = 64 * 1024;
/// Nothing tells when bytes are acknowledged; so the kernel is asked again after this while something waits for it. A
/// packet takes 10 ms at 1 Mb/s.
const ROOM_AGAIN: Duration = Duration::from_millis(2);
/// What the ICE agent said last, such as DTLS' farewell, gets this long.
const FAREWELL: Duration = Duration::from_millis(200);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The ICE agent closed its connection, or that broke.
    #[error("the ICE agent closed its connection")]
    ByAgent,
    /// The server closed its connection.
    #[error("the server closed its connection")]
    ByServer,
    /// The connection to the server broke.
    #[error("the connection to the server broke: {0}")]
    Broken(io::Error),
}

/// What keeps the queues from being written.
enum Blocked {
    /// They are empty.
    Not,
    /// The kernel takes no more.
    BySocket,
    /// The limit of what may be on its way.
    ByLimit,
}

/// Runs a link until it ends. `media` is called at the first packet that is not a connectivity check.
pub(super) async fn run(link: &Link, agent: &TcpStream, media: impl FnOnce()) -> Ended {
    let Some(server) = link.server() else { return Ended::ByServer };
    let server = &server.wire;
    let ended = tokio::select! {
        ended = upwards(link, agent, server, media) => ended,
        ended = downwards(server, agent) => ended,
    };
    let ended = ended.unwrap_or_else(Ended::Broken);
    if matches!(ended, Ended::ByAgent) {
        let _ = timeout(FAREWELL, farewell(link, server)).await;
    }
    forget(server);
    ended
}

/// What is on its way in vain must not meet the next connection on a link that has just come back.
pub(super) fn forget(server: &Wire) {
    if tcp::queued(server.as_fd()).is_ok_and(|queued| queued.outstanding > 0) {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        let _ = setsockopt(&server.as_fd(), sockopt::Linger, &at_once);
    }
}

async fn upwards(link: &Link, agent: &TcpStream, server: &Wire, media: impl FnOnce()) -> io::Result<Ended> {
    let mut buffer = vec![0; UPWARDS];
    let mut filled = 0;
    let mut media = Some(media);
    loop {
        match agent.try_read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Ok(Ended::ByAgent),
            Ok(read) => {
                filled += read;
                let rest = take(link, buffer.get(..filled).unwrap_or_default(), &mut media);
                buffer.copy_within(filled - rest..filled, 0);
                filled = rest;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Ok(Ended::ByAgent),
        }
        let blocked = write(link, server)?;
        tokio::select! {
            ready = agent.readable() => ready?,
            ready = server.writable(), if matches!(blocked, Blocked::BySocket) => ready?,
            () = sleep(ROOM_AGAIN), if matches!(blocked, Blocked::ByLimit) => {}
            () = link.changed.notified() => {}
        }
    }
}

/// Queues the whole frames of what was read, and returns how many bytes are left over.
fn take(link: &Link, bytes: &[u8], media: &mut Option<impl FnOnce()>) -> usize {
    let mut frames = Frames::new(bytes);
    let (now, mut queue) = (link.now(), link.queue());
    for frame in &mut frames {
        queue.push(now, frame);
        // STUN begins with 0 to 3 (RFC 7983); it goes to every candidate, all else to the chosen one.
        if frame.get(LENGTH_BYTES).is_some_and(|first| *first > 3)
            && let Some(media) = media.take()
        {
            drop(queue);
            media();
            queue = link.queue();
        }
    }
    frames.rest()
}

/// Writes what there is room for.
fn write(link: &Link, server: &Wire) -> io::Result<Blocked> {
    if !server.flush()? {
        return Ok(Blocked::BySocket);
    }
    let mut queue = link.queue();
    if queue.is_empty() {
        return Ok(Blocked::Not);
    }
    loop {
        let Queued { outstanding, unsent } = tcp::queued(server.as_fd())?;
        let Some(chunk) = queue.next(link.now(), Room::new(link.limit(), outstanding, unsent)) else { break };
        let class = chunk.class;
        match server.try_write(chunk.first, chunk.second, link.own_segments()) {
            Ok(written) => queue.written(class, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Blocked::BySocket),
            Err(error) => return Err(error),
        }
    }
    Ok(if !server.flush()? {
        Blocked::BySocket
    } else if queue.is_empty() {
        Blocked::Not
    } else {
        Blocked::ByLimit
    })
}

/// Sends what the connection hangs on, and nothing else.
async fn farewell(link: &Link, server: &Wire) -> io::Result<()> {
    let forget = |queue: &mut GateQueue| [Class::Audio, Class::Video].map(|class| queue.discard(class));
    forget(&mut link.queue());
    loop {
        match write(link, server)? {
            Blocked::Not => break,
            Blocked::BySocket => server.writable().await?,
            Blocked::ByLimit => sleep(ROOM_AGAIN).await,
        }
    }
    while tcp::queued(server.as_fd())?.outstanding > 0 {
        sleep(ROOM_AGAIN).await;
    }
    Ok(())
}

async fn downwards(server: &Wire, agent: &TcpStream) -> io::Result<Ended> {
    let mut buffer = vec![0; DOWNWARDS];
    loop {
        let mut rest = match server.try_read(&mut buffer) {
            Ok(0) => return Ok(Ended::ByServer),
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                server.readable().await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        while !rest.is_empty() {
            agent.writable().await?;
            match agent.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Ok(Ended::ByAgent),
            }
        }
    }
}
