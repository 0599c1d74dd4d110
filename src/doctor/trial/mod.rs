//! The trial call: the kiosk publishes as it always does, and subscribes to itself in its own room. Janus needs no other
//! plugin for it, and everything takes the way that a customer's call takes.

mod ends;
mod load;
mod signalling;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kiosk_proto::audit::{self, SelectedPair};
use kiosk_proto::call::{Event, PeerId};
use kiosk_proto::check::proof::{Signalled, Sockets, Wire};
use kiosk_proto::check::trial::{Capacity, Spread, Steady};
use kiosk_proto::config::{AudioSource, CameraSource, Config};
use kiosk_proto::ice::TcpOnlyPolicy;
use kiosk_proto::janus::FeedId;
use kiosk_proto::via::Via;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{interval, sleep, timeout};

use super::client::Client;
use super::wire::Watch;
use crate::events::{Events, News};
use crate::media::last_rate::LastRate;
use crate::media::link::{self, LinkWatch};
use crate::media::meter::Meter;
use crate::media::peer::Peer;
use crate::media::playback::Playback;
use crate::media::port::Inlet;
use crate::media::publish::Publisher;
use crate::media::receive::Receiver;
use crate::tcp_only::gate::Gates;
use crate::tcp_only::sockets;

use ends::Ends;
use signalling::Leg;
pub use signalling::{Keys, others};

const PUBLISH: PeerId = PeerId(1);
const RECEIVE: PeerId = PeerId(2);
/// As in a call: beyond it the media connection is taken as blocked.
const SETUP: Duration = Duration::from_secs(12);
/// Until rate and decoder have settled.
const SETTLE: Duration = Duration::from_secs(2);
/// How long picture and sound are measured.
const STEADY: Duration = Duration::from_secs(4);
/// Between two looks at sockets and messages.
const LOOK: Duration = Duration::from_millis(100);
/// A peer connection that is still closing after this is left behind.
const CLOSE: Duration = Duration::from_millis(1500);

/// Why there was no trial call, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It does not work.
    Failed(String),
    /// Somebody needs the room.
    Disturbs(String),
    /// The self-check was told to end.
    Asked,
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// What the trial call showed; of one that failed, what there was until then.
#[derive(Debug, Default)]
pub struct Shown {
    /// Picture and sound.
    pub steady: Option<Steady>,
    /// What the way carries.
    pub capacity: Option<Capacity>,
    /// Candidates and descriptions.
    pub signalled: Signalled,
    /// Sockets of this process.
    pub sockets: Sockets,
    /// What stands between here and the server, for each connection; none when it was dialled itself.
    pub ways: Vec<Option<Via>>,
    /// What the peer connections say of themselves.
    pub pairs: Vec<SelectedPair>,
    /// What was on the wire.
    pub wire: Option<Wire>,
}

struct Trial<'a> {
    config: Config,
    policy: TcpOnlyPolicy,
    client: &'a mut Client,
    stop: watch::Receiver<bool>,
    events: Events,
    inbox: mpsc::Receiver<News>,
    gates: Gates,
    watched: Option<i32>,
    own: Option<FeedId>,
    legs: [Leg; 2],
    publisher: Publisher,
    receiver: Option<Receiver>,
    pictures: Inlet,
    playback: Playback,
    begin: Instant,
    /// Why what stands between does not lead to the server.
    no_way: Option<String>,
    shown: &'a mut Shown,
}

/// The configuration of the trial: everything as in a call, but for what is before and behind it.
fn trial_config(config: &Config) -> Config {
    let mut config = config.clone();
    config.camera.source = CameraSource::Test;
    if config.audio.source != AudioSource::None {
        config.audio.source = AudioSource::ToneCode;
    }
    config
}

/// Makes the call. What was seen is in `shown`, however it ends.
///
/// # Errors
/// Why it was not made, or not to its end.
pub async fn call(
    config: &Config,
    client: &mut Client,
    keys: &Keys,
    stop: watch::Receiver<bool>,
    shown: &mut Shown,
) -> Result<(), Stop> {
    let config = trial_config(config);
    let policy = TcpOnlyPolicy { media_ports: config.janus.media_ports };
    let watch = Watch::start();
    let handles = [client.attach().await?, client.attach().await?];
    let (events, inbox) = Events::channel();
    let (gates, last) = (Gates::default(), LastRate::default());
    let rate = link::settings(&config, &last);
    let publisher = Publisher::new(PUBLISH, &config, policy.clone(), events.clone(), gates.clone(), rate)
        .map_err(|error| Stop::Failed(error.to_string()))?;
    let (pictures, sound, playback) = (Inlet::default(), Inlet::default(), Playback::default());
    pictures.lead_to(Some(publisher.pictures.clone()));
    sound.lead_to(publisher.sound.clone());
    let ends =
        Ends::open(&config, &events, &pictures, &sound, &playback).map_err(|error| Stop::Failed(error.to_string()))?;
    let mut trial = Trial {
        policy,
        client,
        stop,
        events,
        inbox,
        gates,
        watched: watch.descriptor(),
        own: None,
        legs: handles.map(Leg::new),
        publisher,
        receiver: None,
        pictures,
        playback,
        begin: Instant::now(),
        no_way: None,
        shown,
        config,
    };
    let outcome = trial.run(&ends, keys, &last).await;
    trial.close(ends).await;
    shown.wire = spawn_blocking(move || watch.end()).await.ok();
    outcome
}

impl Trial<'_> {
    async fn run(&mut self, ends: &Ends, keys: &Keys, last: &LastRate) -> Result<(), Stop> {
        self.begin = Instant::now();
        self.publish(keys).await?;
        self.subscribe(keys).await?;
        let up = self.legs[0].up.unwrap_or(self.begin) - self.begin;
        let rate = link::settings(&self.config, last);
        let watch = LinkWatch::start(self.publisher.clone(), self.pictures.clone(), rate, last.clone());
        let frames = self.playback.frames.clone();
        let first = self.until(SETUP, |_| frames.buffers() > 0).await?.then(|| self.begin.elapsed());
        if first.is_some() {
            self.until(SETTLE, |_| false).await?;
        }
        self.steady(ends, up, first).await?;
        self.look_at_pairs().await;
        drop(watch);
        if first.is_some() {
            self.load(ends, last.get()).await?;
        }
        Ok(())
    }

    /// Lets the call go on until something is so. Returns whether it was, in time.
    async fn until(&mut self, at_most: Duration, so: impl Fn(&Self) -> bool) -> Result<bool, Stop> {
        let end = Instant::now() + at_most;
        let mut look = interval(LOOK);
        while !so(self) {
            if *self.stop.borrow() {
                return Err(Stop::Asked);
            }
            tokio::select! {
                news = self.inbox.recv() => if let Some(News::Happened(event)) = news {
                    self.happened(event).await?;
                },
                message = self.client.next() => self.message(message?)?,
                _ = look.tick() => self.look_at_sockets(),
                () = sleep(end.saturating_duration_since(Instant::now())) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn happened(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::LocalCandidate(id, candidate) => {
                let leg = usize::from(id == RECEIVE);
                self.legs[leg].waiting.push(candidate);
                self.send_candidates(leg).await
            }
            Event::PeerFailed(_, fault) => Err(Stop::Failed(fault.message)),
            // Another of Janus's addresses may lead there.
            Event::NoWay(_, reason) => {
                self.no_way = Some(reason);
                Ok(())
            }
            Event::ConnectionFailed(_) => {
                let failed = || "the media connection failed: is each media port open that Janus offers?".to_owned();
                Err(Stop::Failed(self.no_way.take().unwrap_or_else(failed)))
            }
            _ => Ok(()),
        }
    }

    /// As the running audit of a call does.
    fn look_at_sockets(&mut self) {
        let before = self.gates.sockets();
        let Ok((mut all, _)) = sockets::look() else { return };
        all.retain(|socket| Some(socket.fd) != self.watched);
        let gates = before.or(self.gates.sockets());
        let (ports, seen) = (self.policy.media_ports, &mut self.shown.sockets);
        audit::count(&all, &mut seen.figures);
        seen.violations.extend(audit::judge(&all, &gates, &[], ports).iter().map(ToString::to_string));
        let connected = |way: &SocketAddr| all.iter().any(|socket| socket.remote == Some(*way));
        // On loopback there is no site's server.
        let ways = gates.ways().filter(|(hop, _)| connected(hop) && !hop.ip().is_loopback());
        seen.media.extend(ways);
    }

    async fn steady(&mut self, ends: &Ends, up: Duration, first: Option<Duration>) -> Result<(), Stop> {
        let counts = |trial: &Self| {
            let back =
                |of: fn(&Receiver) -> &Meter| trial.receiver.as_ref().map_or(0, |receiver| of(receiver).buffers());
            let (publisher, frames) = (&trial.publisher, trial.playback.frames.buffers());
            let picture = [publisher.encoded.buffers(), back(|receiver| &receiver.video_packets), frames];
            (picture, [publisher.audio_packets.buffers(), back(|receiver| &receiver.audio_packets)])
        };
        ends.seen();
        let before = counts(self);
        self.until(STEADY, |_| false).await?;
        let (after, (pictures, tones)) = (counts(self), ends.seen());
        self.shown.steady = Some(Steady {
            up,
            first_picture: first,
            frames_sent: after.0[0] - before.0[0],
            packets_back: after.0[1] - before.0[1],
            frames_back: after.0[2] - before.0[2],
            decoder: self.playback.picture().2,
            sound_sent: after.1[0] - before.1[0],
            sound_back: after.1[1] - before.1[1],
            picture: Spread::of(pictures),
            sound: Spread::of(tones),
        });
        Ok(())
    }

    async fn look_at_pairs(&mut self) {
        let peers = [Some(self.publisher.peer.clone()), self.receiver.as_ref().map(|receiver| receiver.peer.clone())];
        for peer in peers.into_iter().flatten() {
            if let Some((figures, pair)) = peer.pair().await {
                self.shown.ways.push(figures.via);
                self.shown.pairs.push(pair);
            }
        }
    }

    /// Who dials hangs up: the connections first, then what Janus knows of them.
    async fn close(self, ends: Ends) {
        ends.close().await;
        self.pictures.lead_to(None);
        let peers = [Some(self.publisher.peer), self.receiver.map(|receiver| receiver.peer)];
        let closed = peers.into_iter().flatten().map(close);
        let _ = timeout(CLOSE, futures_util::future::join_all(closed)).await;
    }
}

async fn close(peer: Peer) {
    let is_left = peer.is_left();
    let _ = spawn_blocking(move || peer.stop()).await;
    while is_left() {
        sleep(Duration::from_millis(2)).await;
    }
}
