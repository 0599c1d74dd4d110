//! The machine itself: start, end, the link, and the sorting of events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::link::{At, Pending, Purpose, REQUEST_TIMEOUT, Socket};
use super::publish::{Publisher, Stage};
use super::receive::Receiver;
use super::{CallState, Effect, Event, Milestone, Note, PeerId, Settings};
use crate::backoff::Backoff;
use crate::fault::{Fault, FaultCode, Part};
use crate::ice::Direction;
use crate::janus::{FeedId, HandleId, Message, Request, RoomEvent, SessionId};

const BACKOFF_BASE: Duration = Duration::from_millis(500);
const BACKOFF_CAP: Duration = Duration::from_secs(15);
/// Time and chance, as inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Since any fixed moment.
    pub(super) now: Duration,
    /// Uniform over all of `u32`.
    pub(super) random: u32,
}

/// The call, or the absence of one.
#[derive(Debug, Default)]
pub struct Call {
    running: Option<Running>,
    ending: bool,
    /// What ended the last call, when that was a violation; shown until the next call.
    faults: BTreeMap<FaultCode, String>,
    peers: u32,
}

/// A call that has been started and not ended.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) settings: Settings,
    pub(super) call_id: String,
    pub(super) socket: Socket,
    pub(super) session: Option<SessionId>,
    /// A session that the server may still keep: its farewell went out on a connection that may have been dead.
    left_behind: Option<SessionId>,
    pub(super) publisher: Publisher,
    publisher_started: bool,
    pub(super) receiver: Option<Receiver>,
    /// Agents that publish, whether received or not.
    pub(super) agents: BTreeMap<FeedId, String>,
    pub(super) receive_again: Option<Duration>,
    pub(super) ever_up: bool,
    pub(super) backoff: Backoff,
    pending: Pending,
    keepalive_due: Duration,
    peers: u32,
    faults: BTreeMap<FaultCode, String>,
    pub(super) out: Vec<Effect>,
}

impl Call {
    /// Takes one event and says what to do, in order.
    ///
    /// `now` counts from any fixed moment; `random` is uniform over all of `u32`; `settings` are taken over by the next session.
    pub fn handle(&mut self, now: Duration, random: u32, settings: &Settings, event: Event) -> Vec<Effect> {
        let m = Moment { now, random };
        match (event, self.running.as_mut()) {
            (Event::Start { call_id }, None) if !self.ending => {
                self.faults.clear();
                self.running = Some(Running::new(settings.clone(), call_id, now, &mut self.peers));
                vec![Effect::OpenSocket]
            }
            (Event::End(reason), Some(_)) => self.end(m, reason),
            (Event::Violation(evidence), Some(_)) => {
                self.faults.insert(FaultCode::TcpOnlyViolation, evidence.clone());
                let mut effects = vec![Effect::Note(Note::Violation(evidence))];
                effects.extend(self.end(m, "TCP-only violation"));
                effects
            }
            (Event::Stopped, _) => {
                self.ending = false;
                Vec::new()
            }
            (event, Some(running)) => {
                // A token that was renewed, or a changed setting, counts for the next session.
                if running.session.is_none() && event == Event::SocketOpen {
                    running.settings = settings.clone();
                }
                running.handle(m, event);
                self.peers = running.peers;
                std::mem::take(&mut running.out)
            }
            (_, None) => Vec::new(),
        }
    }

    fn end(&mut self, m: Moment, reason: &'static str) -> Vec<Effect> {
        let Some(mut running) = self.running.take() else {
            return Vec::new();
        };
        self.ending = true;
        running.tear_down(m);
        running.out.push(Effect::Ended(reason));
        running.out
    }

    /// What the call is doing.
    #[must_use]
    pub fn state(&self) -> CallState {
        match &self.running {
            None if self.ending => CallState::Ending,
            None => CallState::Idle,
            Some(running) => running.state(),
        }
    }

    /// Identifier of the running call.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.running.as_ref().map_or("", |running| &running.call_id)
    }

    /// What is wrong now, by code.
    #[must_use]
    pub fn faults(&self) -> &BTreeMap<FaultCode, String> {
        self.running.as_ref().map_or(&self.faults, |running| &running.faults)
    }

    /// When [`Event::Tick`] is due at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.running.as_ref().map(Running::deadline)
    }
}

impl Running {
    fn new(settings: Settings, call_id: String, now: Duration, peers: &mut u32) -> Self {
        *peers += 1;
        Self {
            publisher: Publisher::new(PeerId(*peers)),
            peers: *peers,
            settings,
            call_id,
            socket: Socket::Opening,
            session: None,
            left_behind: None,
            publisher_started: false,
            receiver: None,
            agents: BTreeMap::new(),
            receive_again: None,
            ever_up: false,
            backoff: Backoff::new(BACKOFF_BASE, BACKOFF_CAP),
            pending: Pending::default(),
            keepalive_due: now,
            faults: BTreeMap::new(),
            out: Vec::new(),
        }
    }

    fn state(&self) -> CallState {
        let received = self.receiver.as_ref().is_some_and(|receiver| receiver.up);
        match (self.publisher.stage, self.socket) {
            (Stage::Up, Socket::Ready) if received => CallState::Active,
            (Stage::Up, Socket::Ready) => CallState::Waiting,
            _ if self.ever_up => CallState::Recovering,
            _ => CallState::Connecting,
        }
    }

    pub(super) fn new_peer(&mut self) -> PeerId {
        self.peers += 1;
        PeerId(self.peers)
    }

    pub(super) fn at(&self, handle: Option<HandleId>) -> Option<At> {
        self.session.zip(handle)
    }

    pub(super) fn send(&mut self, m: Moment, request: &Request, purpose: Purpose) {
        let text = self.pending.add(request, purpose, self.settings.token.as_ref(), m.now);
        self.out.push(Effect::Send(text));
    }

    pub(super) fn goodbye(&mut self, m: Moment, request: &Request) {
        let text = self.pending.add(request, Purpose::Other, self.settings.token.as_ref(), m.now);
        self.out.push(Effect::Goodbye(text));
    }

    pub(super) fn link_faults_cleared(&mut self) {
        self.faults.retain(|code, _| matches!(code.part(), Part::Device | Part::Violation));
    }

    fn handle(&mut self, m: Moment, event: Event) {
        let receiver_peer = self.receiver.as_ref().and_then(|receiver| receiver.peer);
        match event {
            Event::SocketOpen => self.socket_open(m),
            Event::SocketClosed(fault) => self.socket_closed(m, fault),
            Event::Message(message) => self.message(m, message),
            Event::OfferReady(peer, offer) if peer == self.publisher.peer => self.offer_ready(m, offer),
            Event::AnswerReady(peer, answer) if Some(peer) == receiver_peer => self.answer_ready(m, answer),
            Event::LocalCandidate(peer, candidate) if peer == self.publisher.peer => {
                self.publisher_candidate(m, candidate)
            }
            Event::LocalCandidate(peer, candidate) if Some(peer) == receiver_peer => {
                self.receiver_candidate(m, candidate)
            }
            Event::PeerFailed(peer, fault) if peer == self.publisher.peer => self.restart(m, fault),
            Event::PeerFailed(peer, fault) if Some(peer) == receiver_peer => self.receiver_failed(m, fault),
            Event::AgentMedia(peer) if Some(peer) == receiver_peer => self.agent_media(),
            Event::NoWay(peer, why) if peer == self.publisher.peer => self.publisher.no_way(why),
            Event::ConnectionFailed(peer) if peer == self.publisher.peer => {
                let fault = self.publisher.connection_failed(self.settings.policy.media_ports);
                self.restart(m, fault);
            }
            Event::ConnectionFailed(peer) if Some(peer) == receiver_peer => {
                let text = "the connection for the agent's media failed; the kiosk connects again";
                self.receiver_failed(m, Fault::new(FaultCode::AgentMediaLost, text));
            }
            Event::FaultRaised(fault) => {
                self.out.push(Effect::Note(Note::Fault(fault.clone())));
                self.faults.insert(fault.code, fault.message);
            }
            Event::FaultCleared(code) => {
                self.faults.remove(&code);
            }
            Event::Tick => self.tick(m),
            // News from a peer connection that was replaced, and what `Call` itself handles.
            _ => {}
        }
    }

    fn socket_open(&mut self, m: Moment) {
        self.socket = Socket::Open;
        match self.session {
            Some(session) => self.send(m, &Request::Claim(session), Purpose::Claim),
            None => {
                self.start_publisher();
                // Only who has claimed a session may end it; as long as it lasts, the kiosk's place in the room is taken.
                if let Some(session) = self.left_behind.take() {
                    self.send(m, &Request::Claim(session), Purpose::Farewell);
                    self.send(m, &Request::Destroy(session), Purpose::Other);
                }
                self.send(m, &Request::Create, Purpose::Create);
            }
        }
    }

    fn start_publisher(&mut self) {
        if !self.publisher_started {
            self.publisher_started = true;
            self.out.push(Effect::StartPublisher(self.publisher.peer));
        }
    }

    /// The media may well flow on: only what was not up yet starts over.
    fn socket_closed(&mut self, m: Moment, fault: Fault) {
        self.pending.forget();
        if self.publisher.stage != Stage::Up {
            return self.restart(m, fault);
        }
        self.out.push(Effect::Note(Note::Fault(fault.clone())));
        self.faults.insert(fault.code, fault.message);
        // A subscription that was not there yet can't be finished on another socket.
        if self.receiver.as_ref().is_some_and(|receiver| !receiver.up) {
            self.socket = Socket::Opening;
            self.drop_receiver(m);
        }
        self.socket = Socket::Down(m.now + self.backoff.next(m.random));
    }

    /// Everything starts over, a little later.
    pub(super) fn restart(&mut self, m: Moment, fault: Fault) {
        self.out.push(Effect::Note(Note::Fault(fault.clone())));
        self.tear_down(m);
        self.faults.insert(fault.code, fault.message);
        let delay = self.backoff.next(m.random);
        self.socket = Socket::Down(m.now + delay);
        self.publisher = Publisher::new(self.new_peer());
        self.out.push(Effect::Note(Note::Restart(delay)));
    }

    fn tear_down(&mut self, m: Moment) {
        let open = matches!(self.socket, Socket::Open | Socket::Ready);
        if let Some(peer) = self.receiver.take().and_then(|receiver| receiver.peer) {
            self.out.push(Effect::StopPeer(peer));
        }
        if std::mem::take(&mut self.publisher_started) {
            self.out.push(Effect::StopPeer(self.publisher.peer));
        }
        if let Some(session) = self.session.take() {
            if open {
                self.goodbye(m, &Request::Destroy(session));
            }
            self.left_behind = Some(session);
        }
        self.out.push(Effect::CloseSocket);
        self.pending.forget();
        self.agents.clear();
        self.receive_again = None;
    }

    fn message(&mut self, m: Moment, message: Message) {
        match message {
            Message::Success { transaction, id, event } => self.success(m, &transaction, id, event),
            Message::Error { transaction, error } => {
                let purpose = transaction.and_then(|transaction| self.pending.take(&transaction));
                match purpose {
                    Some(Purpose::AttachReceiver) => {
                        self.receiver_failed(m, Fault::new(error.fault_code(), error.to_string()));
                    }
                    Some(Purpose::Farewell) => {}
                    // A trickle that came too late for its handle, or a farewell: nothing hangs on it.
                    None => self.out.push(Effect::Note(Note::Fault(Fault::new(error.fault_code(), error.to_string())))),
                    Some(_) => self.restart(m, Fault::new(error.fault_code(), error.to_string())),
                }
            }
            Message::Event { transaction, sender, event, jsep } => {
                if let Some(transaction) = transaction {
                    self.pending.take(&transaction);
                }
                if Some(sender) == self.publisher.handle {
                    self.publisher_event(m, event, jsep);
                } else if self.receives_on(sender) {
                    self.receiver_event(m, event, jsep);
                }
            }
            Message::WebRtcUp(handle) if Some(handle) == self.publisher.handle => self.publisher_up(),
            Message::Hangup(handle, reason) => {
                self.closed(m, handle, &format!("Janus closed the connection: {reason}"))
            }
            Message::Detached(handle) => self.closed(m, handle, "Janus closed the handle"),
            Message::Timeout(session) if Some(session) == self.session => {
                self.session = None;
                self.left_behind = None;
                let text = "Janus ended the session; the kiosk opens a new one";
                self.restart(m, Fault::new(FaultCode::SessionExpired, text));
            }
            Message::Trickle(handle, Some((mline, line))) => self.remote_candidate(handle, mline, &line),
            Message::Ack { transaction }
                // The acknowledgement ends only what has no other answer.
                if self.pending.is_keepalive(&transaction) => {
                    self.pending.take(&transaction);
                }
            _ => {}
        }
    }

    fn success(&mut self, m: Moment, transaction: &str, id: Option<u64>, event: Option<RoomEvent>) {
        match (self.pending.take(transaction), id) {
            (Some(Purpose::Create), Some(id)) => {
                let session = SessionId(id);
                self.session = Some(session);
                self.ready(m);
                self.out.push(Effect::Reached(Milestone::Signalling));
                self.send(m, &Request::Attach(session), Purpose::AttachPublisher);
            }
            (Some(Purpose::Claim), _) => {
                self.ready(m);
                self.link_faults_cleared();
                self.backoff.reset();
                self.out.push(Effect::Note(Note::Claimed));
                if let Some(at) = self.at(self.publisher.handle) {
                    self.send(m, &Request::Participants(at, self.settings.room), Purpose::Participants);
                }
            }
            (Some(Purpose::AttachPublisher), Some(id)) => self.publisher_attached(m, HandleId(id)),
            (Some(Purpose::AttachReceiver), Some(id)) => self.receiver_attached(m, HandleId(id)),
            (Some(Purpose::Participants), _) => {
                if let Some(event) = event {
                    self.publisher_event(m, event, None);
                }
            }
            _ => {}
        }
    }

    fn ready(&mut self, m: Moment) {
        self.socket = Socket::Ready;
        self.keepalive_due = m.now + self.settings.keepalive;
    }

    fn receives_on(&self, handle: HandleId) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.handle == Some(handle))
    }

    fn closed(&mut self, m: Moment, handle: HandleId, reason: &str) {
        if Some(handle) == self.publisher.handle {
            self.restart(m, Fault::new(FaultCode::MediaLost, format!("{reason}; the kiosk connects again")));
        } else if self.receives_on(handle) {
            self.receiver_failed(m, Fault::new(FaultCode::AgentMediaLost, reason));
        }
    }

    fn remote_candidate(&mut self, handle: HandleId, mline: u32, line: &str) {
        let candidate = match self.settings.policy.judge(Direction::Incoming, mline, line) {
            Ok(candidate) => candidate,
            Err(rejection) => {
                if Some(handle) == self.publisher.handle {
                    self.publisher.note_refused(&rejection);
                }
                return self.out.push(Effect::Note(Note::Filtered(1)));
            }
        };
        if Some(handle) == self.publisher.handle {
            self.publisher.note_remote(&candidate);
            self.out.push(Effect::AddCandidate(self.publisher.peer, candidate));
        } else if self.receives_on(handle)
            && let Some(peer) = self.receiver.as_ref().and_then(|receiver| receiver.peer)
        {
            self.out.push(Effect::AddCandidate(peer, candidate));
        }
    }

    fn deadline(&self) -> Duration {
        let link = match self.socket {
            Socket::Down(at) => Some(at),
            Socket::Ready => Some(self.keepalive_due),
            Socket::Opening | Socket::Open => None,
        };
        let ready = (self.socket == Socket::Ready).then_some(());
        let all =
            [link, self.pending.deadline(), ready.and(self.publisher_deadline()), ready.and(self.receiver_deadline())];
        all.into_iter().flatten().min().unwrap_or(Duration::MAX)
    }

    fn tick(&mut self, m: Moment) {
        match self.socket {
            Socket::Down(at) if at <= m.now => {
                self.socket = Socket::Opening;
                self.out.push(Effect::OpenSocket);
            }
            Socket::Ready if self.keepalive_due <= m.now => {
                self.keepalive_due = m.now + self.settings.keepalive;
                if let Some(session) = self.session {
                    self.send(m, &Request::KeepAlive(session), Purpose::KeepAlive);
                }
            }
            _ => {}
        }
        if self.pending.deadline().is_some_and(|deadline| deadline <= m.now) {
            let fault = Fault::new(
                FaultCode::ServerSilent,
                format!("Janus has not answered for {} s; the kiosk connects again", REQUEST_TIMEOUT.as_secs()),
            );
            self.out.push(Effect::CloseSocket);
            return self.socket_closed(m, fault);
        }
        if self.socket == Socket::Ready {
            self.publisher_overdue(m);
            self.receiver_overdue(m);
        }
    }
}
