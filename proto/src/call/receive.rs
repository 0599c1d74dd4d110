//! The agent's media: who to receive, subscribe, answer, and try again.

use std::time::Duration;

use super::link::{Purpose, Socket};
use super::machine::{Moment, Running};
use super::publish::{Candidates, SETUP_TIMEOUT};
use super::{Effect, Milestone, Note, PeerId};
use crate::fault::{Fault, FaultCode};
use crate::ice::{Direction, TcpOnlyCandidate, TcpOnlySdp};
use crate::janus::{FeedId, HandleId, JanusError, Participant, Request, RoomEvent};

/// A room has two publishers, so one agent; more are a server that misbehaves.
const MAX_AGENTS: usize = 8;
/// Between two tries to receive the same agent.
const RETRY: Duration = Duration::from_secs(1);

/// The subscription to one agent.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) feed: FeedId,
    pub(super) handle: Option<HandleId>,
    pub(super) peer: Option<PeerId>,
    candidates: Candidates,
    answered: bool,
    /// The agent's media arrives.
    pub(super) up: bool,
    deadline: Duration,
}

impl Running {
    /// Somebody publishes: if it is an agent and we receive none, receive it.
    pub(super) fn see(&mut self, m: Moment, present: &[Participant]) {
        for participant in present.iter().filter(|p| p.publishing && p.display.starts_with("agent/")) {
            if self.agents.len() >= MAX_AGENTS && !self.agents.contains_key(&participant.feed) {
                continue;
            }
            if self.agents.insert(participant.feed, participant.display.clone()).is_none() {
                self.out.push(Effect::Note(Note::AgentCame(participant.feed, participant.display.clone())));
            }
        }
        self.subscribe(m);
    }

    /// After a lost socket: what was missed is who came and who left.
    pub(super) fn resync(&mut self, m: Moment, present: &[Participant]) {
        let gone = |feed: &FeedId| !present.iter().any(|p| p.feed == *feed && p.publishing);
        for feed in self.agents.keys().copied().filter(gone).collect::<Vec<_>>() {
            self.agent_gone(m, feed);
        }
        self.see(m, present);
    }

    pub(super) fn agent_gone(&mut self, m: Moment, feed: FeedId) {
        if self.agents.remove(&feed).is_some() {
            self.out.push(Effect::Note(Note::AgentLeft(feed)));
        }
        if self.receiver.as_ref().is_some_and(|receiver| receiver.feed == feed) {
            self.drop_receiver(m);
            self.subscribe(m);
        }
    }

    fn subscribe(&mut self, m: Moment) {
        let (Some(session), Some(feed)) = (self.session, self.agents.keys().next().copied()) else {
            return;
        };
        if self.receiver.is_some() || self.socket != Socket::Ready || self.receive_again.is_some_and(|at| at > m.now) {
            return;
        }
        self.receive_again = None;
        self.receiver = Some(Receiver {
            feed,
            handle: None,
            peer: None,
            candidates: Candidates::default(),
            answered: false,
            up: false,
            deadline: m.now + SETUP_TIMEOUT,
        });
        self.send(m, &Request::Attach(session), Purpose::AttachReceiver);
    }

    pub(super) fn receiver_attached(&mut self, m: Moment, handle: HandleId) {
        let Some(session) = self.session else { return };
        // The agent left while we attached: give the handle back.
        let Some(receiver) = self.receiver.as_mut().filter(|receiver| receiver.handle.is_none()) else {
            return self.send(m, &Request::Detach(session, handle), Purpose::Other);
        };
        receiver.handle = Some(handle);
        let request = Request::Subscribe {
            at: (session, handle),
            room: self.settings.room,
            feed: receiver.feed,
            pin: self.settings.pin.clone(),
            token: self.settings.room_token.clone(),
        };
        self.send(m, &request, Purpose::Other);
    }

    pub(super) fn receiver_event(&mut self, m: Moment, event: RoomEvent, jsep: Option<(String, String)>) {
        match (event, jsep) {
            (RoomEvent::Error(error), _) => self.receiver_refused(m, &error),
            (_, Some((kind, sdp))) if kind == "offer" => self.offered(m, &sdp),
            _ => {}
        }
    }

    fn receiver_refused(&mut self, m: Moment, error: &JanusError) {
        self.receiver_failed(m, Fault::new(error.fault_code(), error.to_string()));
    }

    fn offered(&mut self, m: Moment, sdp: &str) {
        let offer = match TcpOnlySdp::filter(&self.settings.policy, Direction::Incoming, sdp) {
            Ok(offer) => offer,
            Err(error) => {
                return self.receiver_failed(m, Fault::new(FaultCode::ServerRefused, format!("Janus' offer: {error}")));
            }
        };
        // The agent is leaving; that it left is said next. A connection made for this would be closed while it begins.
        if offer.is_inactive() {
            return;
        }
        // A second offer on the same handle replaces the first connection: webrtcbin knows no ICE restart.
        let old = self.receiver.as_ref().and_then(|receiver| receiver.peer);
        self.out.extend(old.map(Effect::StopPeer));
        let peer = self.new_peer();
        if let Some(receiver) = &mut self.receiver {
            receiver.peer = Some(peer);
            receiver.answered = false;
            self.out.push(Effect::Note(Note::Filtered(offer.rejected().len())));
            self.out.push(Effect::StartReceiver(peer, offer));
        }
    }

    pub(super) fn answer_ready(&mut self, m: Moment, answer: TcpOnlySdp) {
        let Some(at) = self.at(self.receiver.as_ref().and_then(|receiver| receiver.handle)) else {
            return;
        };
        self.send(m, &Request::Start(at, answer), Purpose::Other);
        if let Some(receiver) = &mut self.receiver {
            receiver.answered = true;
        }
        self.send_receiver_candidates(m);
    }

    pub(super) fn receiver_candidate(&mut self, m: Moment, candidate: Option<TcpOnlyCandidate>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.candidates.push(candidate);
        }
        self.send_receiver_candidates(m);
    }

    fn send_receiver_candidates(&mut self, m: Moment) {
        let Some(session) = self.session else { return };
        let Some(receiver) = self.receiver.as_mut().filter(|receiver| receiver.answered) else {
            return;
        };
        let Some(handle) = receiver.handle else { return };
        for request in receiver.candidates.drain((session, handle)) {
            self.send(m, &request, Purpose::Other);
        }
    }

    pub(super) fn agent_media(&mut self) {
        if let Some(receiver) = self.receiver.as_mut().filter(|receiver| !receiver.up) {
            receiver.up = true;
            self.out.push(Effect::Reached(Milestone::AgentMedia));
        }
    }

    /// Closes the subscription.
    pub(super) fn drop_receiver(&mut self, m: Moment) {
        let Some(receiver) = self.receiver.take() else { return };
        self.out.extend(receiver.peer.map(Effect::StopPeer));
        if let (Some((session, handle)), Socket::Ready) = (self.at(receiver.handle), self.socket) {
            self.goodbye(m, &Request::Detach(session, handle));
        }
    }

    /// The subscription is of no use; the agent is still there: try again a little later.
    pub(super) fn receiver_failed(&mut self, m: Moment, fault: Fault) {
        self.out.push(Effect::Note(Note::Fault(fault)));
        self.drop_receiver(m);
        self.receive_again = Some(m.now + RETRY);
    }

    pub(super) fn receiver_deadline(&self) -> Option<Duration> {
        let setup = self.receiver.as_ref().filter(|receiver| !receiver.up).map(|receiver| receiver.deadline);
        [setup, self.receive_again].into_iter().flatten().min()
    }

    pub(super) fn receiver_overdue(&mut self, m: Moment) {
        if self.receiver.as_ref().is_some_and(|receiver| !receiver.up && receiver.deadline <= m.now) {
            let fault = Fault::new(
                FaultCode::AgentMediaMissing,
                format!(
                    "the agent publishes, but nothing of it arrived within {} s; trying again",
                    SETUP_TIMEOUT.as_secs()
                ),
            );
            self.receiver_failed(m, fault);
        }
        if self.receive_again.is_some_and(|at| at <= m.now) {
            self.receive_again = None;
            self.subscribe(m);
        }
    }
}
