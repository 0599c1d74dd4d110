//! The task that owns the call: takes events, lets `kiosk_proto::call` decide, carries the decisions out.

mod figures;
mod media;
mod view;

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer_webrtc::WebRTCSDPType;
use kiosk_proto::call::{Call, CallState, Effect, Event, Milestone, Note, Settings};
use kiosk_proto::config::Config;
use kiosk_proto::fault::{Fault, FaultCode};
use kiosk_proto::figures::CallFigures;
use kiosk_proto::ice::TcpOnlyPolicy;
use kiosk_proto::watchdog::Part;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tracing::{Instrument, Span, error, info, info_span, warn};

use crate::audit::Audit;
use crate::config::{LoadError, secret};
use crate::events::{CallRunning, Events, News, Started};
use crate::host::systemd::Pulse;
use crate::janus::Socket;
use crate::media::last_rate::LastRate;
use crate::media::link::LinkWatch;
use crate::media::playback::Playback;
use crate::media::port::Inlet;
use crate::media::publish::Publisher;
use crate::media::receive::Receiver;
use crate::tcp_only::gate::Gates;

use figures::Sampler;
use media::{Devices, all_closed, media_fault};
pub use view::View;

/// The longest time between two turns, so that the watchdog sees a living task.
const TURN: Duration = Duration::from_secs(1);
/// A peer connection that is still closing after this is left behind.
const CLOSE: Duration = Duration::from_millis(1500);
/// Between two looks whether its sockets are closed.
const SOON: Duration = Duration::from_millis(2);
/// How long Janus is not told of it.
const HANG_UP: Duration = Duration::from_millis(700);

/// Owner of the call.
pub struct Engine {
    config: Config,
    settings: Settings,
    call: Call,
    events: Events,
    audit: Audit,
    gates: Gates,
    pulse: Pulse,
    start: Instant,
    span: Span,
    socket: Option<Socket>,
    sockets: u64,
    pictures: Inlet,
    sound: Inlet,
    playback: Playback,
    devices: Option<Devices>,
    publisher: Option<Publisher>,
    link: Option<LinkWatch>,
    last_rate: LastRate,
    receiver: Option<Receiver>,
    closing: Vec<JoinHandle<()>>,
    figures: CallFigures,
    sampler: Sampler,
    ended: Vec<oneshot::Sender<()>>,
    ended_for: Option<&'static str>,
    view: watch::Sender<Arc<View>>,
}

fn settings(config: &Config) -> Settings {
    Settings {
        room: config.janus.room,
        display: format!("kiosk/{}", config.kiosk.id),
        pin: None,
        token: None,
        room_token: None,
        keepalive: Duration::from_secs(u64::from(config.janus.keepalive_s)),
        policy: TcpOnlyPolicy { media_ports: config.janus.media_ports },
    }
}

fn with_secrets(config: &Config) -> Result<Settings, LoadError> {
    let janus = &config.janus;
    Ok(Settings {
        pin: secret("janus.pin_file", janus.pin_file.as_ref())?,
        token: secret("janus.token_file", janus.token_file.as_ref())?,
        room_token: secret("janus.room_token_file", janus.room_token_file.as_ref())?,
        ..settings(config)
    })
}

impl Engine {
    /// An engine without a call, and what others see of it.
    pub fn new(
        config: Config,
        events: Events,
        audit: Audit,
        gates: Gates,
        pulse: Pulse,
    ) -> (Self, watch::Receiver<Arc<View>>) {
        let (view, seen) = watch::channel(Arc::default());
        let engine = Self {
            settings: settings(&config),
            config,
            call: Call::default(),
            events,
            audit,
            gates,
            pulse,
            start: Instant::now(),
            span: Span::none(),
            socket: None,
            sockets: 0,
            pictures: Inlet::default(),
            sound: Inlet::default(),
            playback: Playback::default(),
            devices: None,
            publisher: None,
            link: None,
            last_rate: LastRate::of_this_kiosk(),
            receiver: None,
            closing: Vec::new(),
            figures: CallFigures::default(),
            sampler: Sampler::default(),
            ended: Vec::new(),
            ended_for: None,
            view,
        };
        (engine, seen)
    }

    /// Runs until every sender of events is gone.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<News>) {
        loop {
            self.pulse.beat(Part::Call);
            let due = self.call.deadline().map_or(TURN, |at| at.saturating_sub(self.start.elapsed()).min(TURN));
            tokio::select! {
                news = inbox.recv() => match news {
                    Some(news) => self.take(news).await,
                    None => return,
                },
                () = sleep_until((Instant::now() + due).into()) => self.happened(Event::Tick).await,
            }
            self.sample().await;
            self.show();
        }
    }

    async fn take(&mut self, news: News) {
        match news {
            News::Start(reply) => {
                let started = self.start_call().await;
                let _ = reply.send(started);
            }
            News::End(reply) => {
                self.ended.push(reply);
                self.happened(Event::End("asked to end")).await;
                self.answer_ended();
            }
            News::Configuration(reply) => {
                let _ = reply.send(Box::new(self.config.clone()));
            }
            News::Reconfigured(config) => self.reconfigure(*config),
            News::Socket(number, event) => {
                if self.socket.as_ref().is_some_and(|socket| socket.number() == number) {
                    self.happened(event).await;
                }
            }
            News::Happened(event) => self.happened(event).await,
        }
    }

    /// The bitrates change at once, everything else with the next call.
    fn reconfigure(&mut self, config: Config) {
        let changed = config.video != self.config.video;
        self.config = config;
        if let Some(publisher) = self.publisher.as_ref().filter(|_| changed) {
            let bitrate = self.config.video.bitrate_kbps;
            match publisher.set_bitrate(u64::from(bitrate.bits_per_second())) {
                Ok(()) => info!(%bitrate, "the encoder has a new bitrate"),
                Err(error) => warn!("the encoder keeps its bitrate: {error}"),
            }
            if self.link.is_some() {
                self.watch_link();
            }
        }
        info!("the new configuration takes effect with the next call");
    }

    fn answer_ended(&mut self) {
        if self.call.state() == CallState::Idle {
            for reply in self.ended.drain(..) {
                let _ = reply.send(());
            }
        }
    }

    async fn start_call(&mut self) -> Started {
        if self.call.state() != CallState::Idle {
            return Err(CallRunning);
        }
        let call_id = format!("{:016x}", rand::random::<u64>());
        self.span = info_span!("call", CALL_ID = %call_id);
        self.audit.begin(self.settings.policy.media_ports);
        self.sampler = Sampler::default();
        self.playback = Playback::default();
        self.figures = CallFigures { call_id: call_id.clone(), ..CallFigures::default() };
        self.span.in_scope(|| info!("the call starts"));
        self.happened(Event::Start { call_id: call_id.clone() }).await;
        Ok(call_id)
    }

    async fn happened(&mut self, event: Event) {
        let span = self.span.clone();
        self.decide(event).instrument(span).await;
    }

    async fn decide(&mut self, event: Event) {
        let before = self.call.state();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let effects = self.call.handle(self.start.elapsed(), rand::random(), &self.settings, event);
            for effect in effects {
                if let Some(follow_up) = self.carry_out(effect).await {
                    events.push(follow_up);
                }
            }
        }
        let after = self.call.state();
        if before != after {
            info!(state = after.as_str(), "the call is {}", after.as_str());
        }
    }

    /// Carries one effect out; what follows from it at once is returned.
    async fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::OpenSocket => return self.open_socket(),
            Effect::CloseSocket => {
                if let Some(socket) = self.socket.take() {
                    self.after_closing(socket.close());
                }
            }
            Effect::Goodbye(text) => {
                if let Some(sender) = self.socket.as_ref().map(Socket::sender) {
                    self.after_closing(async move { sender.send(text) });
                }
            }
            Effect::Send(text) => {
                if let Some(socket) = &self.socket {
                    socket.send(text);
                }
            }
            Effect::StartPublisher(id) => {
                if let Err(error) = self.start_publisher(id) {
                    return Some(Event::PeerFailed(id, media_fault(&error)));
                }
            }
            Effect::StartReceiver(id, offer) => {
                if let Err(error) = self.start_receiver(id, offer) {
                    return Some(Event::PeerFailed(id, media_fault(&error)));
                }
            }
            Effect::SetAnswer(id, answer) => {
                if let Some(peer) = self.peer(id) {
                    let events = self.events.clone();
                    tokio::spawn(async move {
                        if let Err(error) = peer.set_remote(WebRTCSDPType::Answer, &answer).await {
                            events.happened(Event::PeerFailed(id, media_fault(&error)));
                        }
                    });
                }
            }
            Effect::AddCandidate(id, candidate) => {
                if let Some(peer) = self.peer(id) {
                    peer.add_candidate(&candidate);
                }
            }
            Effect::StopPeer(id) => self.stop_peer(id),
            Effect::Reached(milestone) => self.reached(milestone),
            Effect::Note(note) => log(&note),
            Effect::Ended(reason) => {
                // What the audit saw last may be why it ends.
                self.figures.sockets = self.audit.figures();
                self.show();
                self.close_all().await;
                self.ended_for = Some(reason);
                info!(reason, "the call has ended");
                return Some(Event::Stopped);
            }
        }
        None
    }

    fn open_socket(&mut self) -> Option<Event> {
        match with_secrets(&self.config) {
            Ok(settings) => self.settings = settings,
            Err(error) => return Some(Event::SocketClosed(Fault::new(FaultCode::SecretUnreadable, error.to_string()))),
        }
        self.sockets += 1;
        // The session before has to be gone when the next one enters the room.
        let before = all_closed(mem::take(&mut self.closing), CLOSE);
        self.socket = Some(Socket::open(self.config.clone(), self.sockets, self.events.clone(), before));
        None
    }

    /// Does something once everything that is being closed now has closed.
    fn after_closing(&mut self, next: impl Future<Output = ()> + Send + 'static) {
        let before = all_closed(mem::take(&mut self.closing), HANG_UP);
        self.closing.push(tokio::spawn(async move {
            before.await;
            next.await;
        }));
    }

    fn reached(&mut self, milestone: Milestone) {
        if milestone == Milestone::WebRtcUp {
            self.watch_link();
        }
        let setup = &mut self.figures.setup;
        let slot = match milestone {
            Milestone::Signalling => &mut setup.signalling_ms,
            Milestone::Joined => &mut setup.joined_ms,
            Milestone::WebRtcUp => &mut setup.webrtcup_ms,
            Milestone::AgentMedia => &mut setup.agent_media_ms,
        };
        // What is restored later is no set-up.
        if slot.is_none() {
            let elapsed = self.sampler.elapsed_ms();
            *slot = Some(elapsed);
            info!(elapsed_ms = elapsed, "reached {milestone:?}");
        }
    }
}

fn log(note: &Note) {
    match note {
        Note::Fault(fault) => warn!(FAULT = fault.code.as_str(), "{}", fault.message),
        Note::Violation(evidence) => {
            error!(FAULT = FaultCode::TcpOnlyViolation.as_str(), "{evidence}; the call is ended")
        }
        Note::Claimed => info!("signalling is back; the media went on"),
        Note::Restart(delay) => info!(delay_ms = delay.as_millis(), "starting over"),
        // The name is a field of its own: an excerpt of the journal that leaves the kiosk has no names in it.
        Note::AgentCame(feed, name) => info!(feed = feed.0, AGENT = %name, "an agent publishes"),
        Note::AgentLeft(feed) => info!(feed = feed.0, "the agent left"),
        Note::Filtered(count) => {
            info!(count, "candidates of the server that are not passive TCP in the range were left out")
        }
    }
}
