//! How a link begins where a relay stands by: what the ICE agent says first is sent on, and stays with the agent until the
//! server has answered. A connection over which nothing comes is replaced by one that the relay makes, and the agent does
//! not notice.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kiosk_proto::gate::Frames;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::info;

use super::Shared;
use super::pump::{DOWNWARDS, UPWARDS, forget};
use super::registry::{Entry, GateSocket};
use crate::dial::{self, DialError, Media, Wire};

/// For an answer by way of the relay: as long as its own answers get.
const BY_RELAY: Duration = Duration::from_secs(4);
/// Before it is looked again for the rest of a frame.
const REST: Duration = Duration::from_millis(5);

/// A connection to the server, over which something has come from there if the relay is spare. None when the agent has
/// ended its own before.
pub(super) async fn open(
    gate: &Shared,
    server: SocketAddr,
    agent: &TcpStream,
) -> Result<Option<Media<Entry>>, DialError> {
    let known = |hop| gate.gates.enter(GateSocket::Dialled { hop, server });
    let learnt = gate.gates.learnt();
    let mut dialled = dial::media(server, &gate.route, learnt, known).await?;
    let Some(mut patience) = gate.route.patience() else { return Ok(Some(dialled)) };
    loop {
        let relayed = dialled.is_relayed();
        patience = if relayed { BY_RELAY } else { patience };
        let answer = answers(&dialled.wire, agent, patience).await;
        if matches!(answer, Answer::AgentEnded) {
            return Ok(None);
        }
        let answered = matches!(answer, Answer::Given);
        dial::learn(server, &gate.route, learnt, &dialled, answered);
        if answered {
            return Ok(Some(dialled));
        }
        forget(&dialled.wire);
        drop(dialled);
        if relayed {
            return Err(dial::silent(server));
        }
        info!(leg = gate.leg, %server, "asking the relay, because nothing comes over the connection to the server");
        dialled = dial::relayed(server, &gate.route, known).await?;
    }
}

/// What came of the agent's first words.
enum Answer {
    /// The server has said something, and the agent has it.
    Given,
    /// It has not, in time, or the connection was broken off.
    Missing,
    /// The agent does not want to know any more.
    AgentEnded,
}

async fn answers(server: &Wire, agent: &TcpStream, patience: Duration) -> Answer {
    let mut words = vec![0; UPWARDS];
    let Ok(Some(length)) = first_words(agent, &mut words).await else { return Answer::AgentEnded };
    let words = words.get(..length).unwrap_or_default();
    let mut answer = vec![0; DOWNWARDS];
    let exchange = async {
        send(server, words).await?;
        receive(server, &mut answer).await
    };
    match timeout(patience, exchange).await {
        Ok(Ok(came)) if came > 0 => match hand_over(agent, length, answer.get(..came).unwrap_or_default()).await {
            Ok(()) => Answer::Given,
            Err(_) => Answer::AgentEnded,
        },
        _ => Answer::Missing,
    }
}

/// Waits for whole frames of the agent, and leaves them with it. None when it has ended.
async fn first_words(agent: &TcpStream, words: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        let there = agent.peek(words).await?;
        if there == 0 {
            return Ok(None);
        }
        let mut frames = Frames::new(words.get(..there).unwrap_or_default());
        frames.by_ref().for_each(drop);
        let whole = there - frames.rest();
        if whole > 0 {
            return Ok(Some(whole));
        }
        sleep(REST).await;
    }
}

async fn send(server: &Wire, mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        match server.try_write(words, &[], true) {
            Ok(written) => words = words.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => server.writable().await?,
            Err(error) => return Err(error),
        }
    }
    while !server.flush()? {
        server.writable().await?;
    }
    Ok(())
}

/// The server's first bytes; 0 when it has closed the connection.
async fn receive(server: &Wire, answer: &mut [u8]) -> io::Result<usize> {
    loop {
        match server.try_read(answer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => server.readable().await?,
            read => return read,
        }
    }
}

/// Takes from the agent what the server has of it, and gives it the answer.
async fn hand_over(agent: &TcpStream, mut length: usize, mut answer: &[u8]) -> io::Result<()> {
    let mut taken = vec![0; length];
    while length > 0 {
        match agent.try_read(taken.get_mut(..length).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => length -= read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => agent.readable().await?,
            Err(error) => return Err(error),
        }
    }
    while !answer.is_empty() {
        match agent.try_write(answer) {
            Ok(written) => answer = answer.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => agent.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
