//! What the trial call and Janus say to each other: who is in the room, offers, answers and candidates.

use std::time::Instant;

use gstreamer_webrtc::WebRTCSDPType;
use kiosk_proto::ice::{Direction, TcpOnlyCandidate, TcpOnlySdp};
use kiosk_proto::janus::{HandleId, Message, Participant, Request, RoomEvent};
use kiosk_proto::secret::Secret;
use tokio::time::sleep;

use super::{RECEIVE, SETUP, Stop, Trial};
use crate::doctor::client::Client;
use crate::doctor::server::{AGAIN, NO_PORTS, TRIES};
use crate::media::receive::Receiver;

/// What a kiosk needs to enter its room.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// PIN of the room.
    pub pin: Option<Secret>,
    /// Signed token of the room.
    pub token: Option<Secret>,
}

/// One of the two connections.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) handle: HandleId,
    /// Whether Janus knows the description that our candidates belong to.
    described: bool,
    pub(super) waiting: Vec<Option<TcpOnlyCandidate>>,
    pub(super) up: Option<Instant>,
}

impl Leg {
    pub(super) fn new(handle: HandleId) -> Self {
        Self { handle, described: false, waiting: Vec::new(), up: None }
    }
}

/// Who else is in the room, by what Janus says.
///
/// # Errors
/// When Janus does not tell.
pub async fn others(client: &mut Client, handle: HandleId, room: u64) -> Result<Vec<Participant>, String> {
    match client.request(&Request::Participants(client.at(handle), room)).await? {
        (RoomEvent::Participants(list), _) => Ok(list),
        other => Err(format!("Janus does not say who is in the room: {other:?}")),
    }
}

impl Trial<'_> {
    pub(super) async fn publish(&mut self, keys: &Keys) -> Result<(), Stop> {
        let (room, display) = (self.config.janus.room, format!("doctor/{}", self.config.kiosk.id));
        let offer = self.publisher.offer().await.map_err(|error| Stop::Failed(error.to_string()))?;
        self.shown.signalled.sent.push(offer.as_str().to_owned());
        let mut tries = 1;
        let jsep = loop {
            let at = self.client.at(self.legs[0].handle);
            let (pin, token) = (keys.pin.clone(), keys.token.clone());
            let join = Request::Join { at, room, display: display.clone(), pin, token };
            if let (RoomEvent::Joined(present), _) = self.client.request(&join).await?
                && let Some(other) = present.first()
            {
                return Err(Stop::Disturbs(other.display.clone()));
            }
            match self.client.request(&Request::Publish(at, offer.clone())).await {
                Ok((_, jsep)) => break jsep,
                // As for the negotiation before.
                Err(reason) if reason.contains(NO_PORTS) && tries < TRIES => {
                    self.again(0).await?;
                    tries += 1;
                }
                Err(reason) => return Err(reason.into()),
            }
        };
        let answer = self.description(jsep, "answer")?;
        self.publisher
            .peer
            .set_remote(WebRTCSDPType::Answer, &answer)
            .await
            .map_err(|error| Stop::Failed(error.to_string()))?;
        self.legs[0].described = true;
        self.send_candidates(0).await?;
        if !self.until(SETUP, |trial| trial.legs[0].up.is_some()).await? {
            let late = format!("no media connection within {} s", SETUP.as_secs());
            return Err(Stop::Failed(self.no_way.take().unwrap_or(late)));
        }
        let name = format!("doctor/{}", self.config.kiosk.id);
        let present = others(self.client, self.legs[0].handle, room).await?;
        self.own = present.iter().find(|participant| participant.display == name).map(|own| own.feed);
        Ok(())
    }

    /// A new handle in the place of one that Janus had no port for.
    async fn again(&mut self, leg: usize) -> Result<(), Stop> {
        let (session, handle) = self.client.at(self.legs[leg].handle);
        self.client.tell(&Request::Detach(session, handle)).await?;
        sleep(AGAIN).await;
        self.legs[leg].handle = self.client.attach().await?;
        Ok(())
    }

    pub(super) async fn subscribe(&mut self, keys: &Keys) -> Result<(), Stop> {
        let Some(feed) = self.own else {
            return Err(Stop::Failed("Janus does not list what the kiosk publishes".to_owned()));
        };
        let mut tries = 1;
        let (at, jsep) = loop {
            let at = self.client.at(self.legs[1].handle);
            let (room, pin, token) = (self.config.janus.room, keys.pin.clone(), keys.token.clone());
            match self.client.request(&Request::Subscribe { at, room, feed, pin, token }).await {
                Ok((_, jsep)) => break (at, jsep),
                // A subscription for which Janus has no port gets no answer at all.
                Err(_) if tries < 2 => {
                    self.again(1).await?;
                    tries += 1;
                }
                Err(reason) => return Err(reason.into()),
            }
        };
        let offer = self.description(jsep, "offer")?;
        let (policy, events, gates) = (self.policy.clone(), self.events.clone(), self.gates.clone());
        let receiver = Receiver::new(RECEIVE, &self.config, policy, events, gates, &self.playback)
            .map_err(|error| Stop::Failed(error.to_string()))?;
        self.receiver = Some(receiver.clone());
        let answer = receiver.answer(&offer).await.map_err(|error| Stop::Failed(error.to_string()))?;
        self.shown.signalled.sent.push(answer.as_str().to_owned());
        self.client.tell(&Request::Start(at, answer)).await?;
        self.legs[1].described = true;
        self.send_candidates(1).await
    }

    /// Takes a description of Janus: noted as it came, and as it is used.
    fn description(&mut self, jsep: Option<(String, String)>, kind: &str) -> Result<TcpOnlySdp, Stop> {
        let Some((_, text)) = jsep.filter(|(found, _)| found == kind) else {
            return Err(Stop::Failed(format!("Janus sent no {kind}")));
        };
        let filtered = TcpOnlySdp::filter(&self.policy, Direction::Incoming, &text)
            .map_err(|error| Stop::Failed(format!("Janus' {kind}: {error}")))?;
        self.shown.signalled.received.push(text);
        self.shown.signalled.taken.push(filtered.as_str().to_owned());
        Ok(filtered)
    }

    pub(super) async fn send_candidates(&mut self, leg: usize) -> Result<(), Stop> {
        let Some(leg) = self.legs.get_mut(leg).filter(|leg| leg.described) else { return Ok(()) };
        let at = self.client.at(leg.handle);
        for candidate in leg.waiting.drain(..) {
            let request = match candidate {
                Some(candidate) => {
                    self.shown.signalled.trickled.push(candidate.line());
                    Request::Trickle(at, candidate)
                }
                None => Request::TrickleCompleted(at),
            };
            self.client.tell(&request).await?;
        }
        Ok(())
    }

    pub(super) fn message(&mut self, message: Message) -> Result<(), Stop> {
        match message {
            Message::WebRtcUp(handle) => {
                if let Some(leg) = self.legs.iter_mut().find(|leg| leg.handle == handle) {
                    leg.up.get_or_insert_with(Instant::now);
                }
            }
            Message::Trickle(handle, Some((mline, line))) => {
                self.shown.signalled.received.push(line.clone());
                let Ok(candidate) = self.policy.judge(Direction::Incoming, mline, &line) else { return Ok(()) };
                self.shown.signalled.taken.push(candidate.line());
                let peers = [Some(&self.publisher.peer), self.receiver.as_ref().map(|receiver| &receiver.peer)];
                let at = self.legs.iter().position(|leg| leg.handle == handle);
                if let Some(peer) = at.and_then(|at| peers[at]) {
                    peer.add_candidate(&candidate);
                }
            }
            Message::Hangup(handle, reason) if self.legs.iter().any(|leg| leg.handle == handle) => {
                return Err(Stop::Failed(format!("Janus hung up: {reason}")));
            }
            Message::Event { event: RoomEvent::Joined(present) | RoomEvent::Publishers(present), .. } => {
                if let Some(other) = present.iter().find(|other| Some(other.feed) != self.own) {
                    return Err(Stop::Disturbs(other.display.clone()));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
