//! The kiosk's own media: attach, join, offer, answer.

use std::time::Duration;

use super::link::{At, Purpose};
use super::machine::{Moment, Running};
use super::{Effect, Milestone, Note, PeerId};
use crate::config::PortRange;
use crate::fault::{Fault, FaultCode};
use crate::ice::{Direction, Rejection, TcpOnlyCandidate, TcpOnlySdp};
use crate::janus::{HandleId, Participant, Request, RoomEvent};

/// From offer to `webrtcup`; beyond it the media connection is taken as blocked.
pub(super) const SETUP_TIMEOUT: Duration = Duration::from_secs(12);
/// libnice gathers two per address; a machine with more than this many addresses limits them with `ice.local_address`.
const MAX_BUFFERED_CANDIDATES: usize = 32;

/// Candidates of ours that wait until Janus knows the description they belong to.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    waiting: Vec<Option<TcpOnlyCandidate>>,
}

impl Candidates {
    pub(super) fn push(&mut self, candidate: Option<TcpOnlyCandidate>) {
        if self.waiting.len() < MAX_BUFFERED_CANDIDATES {
            self.waiting.push(candidate);
        }
    }

    /// What is to be sent now.
    pub(super) fn drain(&mut self, at: At) -> Vec<Request> {
        let request = |candidate| match candidate {
            Some(candidate) => Request::Trickle(at, candidate),
            None => Request::TrickleCompleted(at),
        };
        self.waiting.drain(..).map(request).collect()
    }
}

/// How far the publisher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Attaching and joining.
    Joining,
    /// In the room, nothing published.
    Joined,
    /// The offer was sent; the answer or the connection is not there yet.
    Offered { deadline: Duration },
    /// `webrtcup`.
    Up,
}

/// The kiosk's publication.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) peer: PeerId,
    pub(super) handle: Option<HandleId>,
    pub(super) stage: Stage,
    offer: Option<TcpOnlySdp>,
    candidates: Candidates,
    /// What Janus offered to be dialled at, for the fault when nothing could be.
    remote: Vec<String>,
    /// A port that Janus listens on and that may not be dialled.
    refused: Option<u16>,
    /// Why what stands between does not lead there.
    no_way: Option<String>,
}

impl Publisher {
    pub(super) fn new(peer: PeerId) -> Self {
        Self {
            peer,
            handle: None,
            stage: Stage::Joining,
            offer: None,
            candidates: Candidates::default(),
            remote: Vec::new(),
            refused: None,
            no_way: None,
        }
    }

    pub(super) fn note_remote(&mut self, candidate: &TcpOnlyCandidate) {
        if self.remote.len() < MAX_BUFFERED_CANDIDATES {
            let c = candidate.candidate();
            self.remote.push(format!("{}:{}", c.address, c.port));
        }
    }

    pub(super) fn note_refused(&mut self, rejection: &Rejection) {
        if let Rejection::PortOutsideRange(port) = rejection {
            self.refused = Some(*port);
        }
    }

    pub(super) fn no_way(&mut self, why: String) {
        self.no_way = Some(why);
    }

    fn unreachable(&self, media_ports: PortRange) -> Fault {
        if self.remote.is_empty() {
            let text = match self.refused {
                Some(port) => format!(
                    "Janus listens for media on TCP port {port}, which is not in janus.media_ports = \"{media_ports}\": set this key \
                     and media.rtp_port_range in janus.jcfg to the same range"
                ),
                None => "Janus offered no TCP candidate: set ice_tcp = true in janus.jcfg".to_owned(),
            };
            return Fault::new(FaultCode::NoTcpCandidate, text);
        }
        let remote = self.remote.join(", ");
        let text = match &self.no_way {
            Some(why) => format!("no media connection to {remote}: {why}"),
            None => format!(
                "no media connection to {remote}: open these TCP ports from the kiosk to the server, and set \
                 nat_1_1_mapping if the server is behind NAT"
            ),
        };
        Fault::new(FaultCode::MediaUnreachable, text)
    }

    /// What a failed connection means: one that never came up is blocked on its way.
    pub(super) fn connection_failed(&self, media_ports: PortRange) -> Fault {
        match self.stage {
            Stage::Up => Fault::new(FaultCode::MediaLost, "the media connection was lost; the kiosk connects again"),
            _ => self.unreachable(media_ports),
        }
    }
}

impl Running {
    pub(super) fn offer_ready(&mut self, m: Moment, offer: TcpOnlySdp) {
        self.publisher.offer = Some(offer);
        self.publish(m);
    }

    pub(super) fn publisher_candidate(&mut self, m: Moment, candidate: Option<TcpOnlyCandidate>) {
        self.publisher.candidates.push(candidate);
        self.send_publisher_candidates(m);
    }

    fn send_publisher_candidates(&mut self, m: Moment) {
        if !matches!(self.publisher.stage, Stage::Offered { .. } | Stage::Up) {
            return;
        }
        if let Some(at) = self.at(self.publisher.handle) {
            for request in self.publisher.candidates.drain(at) {
                self.send(m, &request, Purpose::Other);
            }
        }
    }

    /// Sends the offer as soon as the room is joined and the offer is made, whichever comes last.
    fn publish(&mut self, m: Moment) {
        if self.publisher.stage != Stage::Joined {
            return;
        }
        let (Some(at), Some(offer)) = (self.at(self.publisher.handle), self.publisher.offer.clone()) else {
            return;
        };
        self.send(m, &Request::Publish(at, offer), Purpose::Other);
        self.publisher.stage = Stage::Offered { deadline: m.now + SETUP_TIMEOUT };
        self.send_publisher_candidates(m);
    }

    pub(super) fn publisher_attached(&mut self, m: Moment, handle: HandleId) {
        self.publisher.handle = Some(handle);
        if let Some(at) = self.at(Some(handle)) {
            let settings = &self.settings;
            let join = Request::Join {
                at,
                room: settings.room,
                display: settings.display.clone(),
                pin: settings.pin.clone(),
                token: settings.room_token.clone(),
            };
            self.send(m, &join, Purpose::Other);
        }
    }

    pub(super) fn publisher_event(&mut self, m: Moment, event: RoomEvent, jsep: Option<(String, String)>) {
        match event {
            RoomEvent::Joined(present) => {
                if let Some(other) = self.other_kiosk(&present) {
                    return self.restart(m, other);
                }
                self.out.push(Effect::Reached(Milestone::Joined));
                self.publisher.stage = Stage::Joined;
                self.publish(m);
                self.see(m, &present);
            }
            RoomEvent::Publishers(present) => self.see(m, &present),
            RoomEvent::Participants(present) => self.resync(m, &present),
            RoomEvent::Gone(feed) => self.agent_gone(m, feed),
            RoomEvent::Configured => {
                if let Some((_, sdp)) = jsep {
                    self.answered(m, &sdp);
                }
            }
            RoomEvent::SelfGone => {
                self.restart(
                    m,
                    Fault::new(
                        FaultCode::RemovedFromRoom,
                        "the server removed the kiosk from its room; it joins again",
                    ),
                );
            }
            RoomEvent::Destroyed => {
                let fault = Fault::new(
                    FaultCode::RoomClosed,
                    "the room was closed on the server; the kiosk waits until it exists again",
                );
                self.restart(m, fault);
            }
            RoomEvent::Error(error) => self.restart(m, Fault::new(error.fault_code(), error.to_string())),
            RoomEvent::Attached | RoomEvent::Other => {}
        }
    }

    /// Another kiosk in this kiosk's room. Janus lets in two who publish: it would be the kiosk and its double, and no
    /// agent. Our own name is what a session of ours has left that Janus has not dropped yet.
    fn other_kiosk(&self, present: &[Participant]) -> Option<Fault> {
        let own = &self.settings.display;
        let other = present.iter().find(|p| p.display.starts_with("kiosk/") && p.display != *own)?;
        let text = format!(
            "{} is in room {} already, and a room is for one kiosk: compare janus.room of both with the rooms in site.toml; \
             this kiosk tries again",
            other.display, self.settings.room
        );
        Some(Fault::new(FaultCode::RoomOfAnother, text))
    }

    fn answered(&mut self, m: Moment, sdp: &str) {
        let answer = match TcpOnlySdp::filter(&self.settings.policy, Direction::Incoming, sdp) {
            Ok(answer) => answer,
            Err(error) => {
                return self.restart(m, Fault::new(FaultCode::ServerRefused, format!("Janus' answer: {error}")));
            }
        };
        let missing = match (answer.accepts_h264(), answer.rejects_sound()) {
            (false, _) => Some(("H.264", "videocodec = \"h264\"")),
            (true, true) => Some(("Opus", "audiocodec = \"opus\"")),
            (true, false) => None,
        };
        if let Some((codec, setting)) = missing {
            let room = self.settings.room;
            let text =
                format!("room {room} does not take {codec}: set {setting} for it in janus.plugin.videoroom.jcfg");
            return self.restart(m, Fault::new(FaultCode::RoomCodec, text));
        }
        self.out.push(Effect::Note(Note::Filtered(answer.rejected().len())));
        answer.rejected().iter().for_each(|rejection| self.publisher.note_refused(rejection));
        for line in answer.as_str().lines().filter(|line| line.starts_with("a=candidate:")) {
            if let Ok(candidate) = self.settings.policy.judge(Direction::Incoming, 0, line) {
                self.publisher.note_remote(&candidate);
            }
        }
        self.out.push(Effect::SetAnswer(self.publisher.peer, answer));
    }

    pub(super) fn publisher_up(&mut self) {
        if self.publisher.stage != Stage::Up {
            self.publisher.stage = Stage::Up;
            self.ever_up = true;
            self.backoff.reset();
            self.link_faults_cleared();
            self.out.push(Effect::Reached(Milestone::WebRtcUp));
        }
    }

    pub(super) fn publisher_deadline(&self) -> Option<Duration> {
        match self.publisher.stage {
            Stage::Offered { deadline } => Some(deadline),
            _ => None,
        }
    }

    pub(super) fn publisher_overdue(&mut self, m: Moment) {
        if self.publisher_deadline().is_some_and(|deadline| deadline <= m.now) {
            let fault = self.publisher.unreachable(self.settings.policy.media_ports);
            self.restart(m, fault);
        }
    }
}
