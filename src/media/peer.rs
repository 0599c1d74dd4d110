//! One `webrtcbin`, TCP only: what comes from outside and what goes out has passed the policy, by type.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_sdp as sdp;
use gstreamer_webrtc as webrtc;
use kiosk_proto::audit::SelectedPair;
use kiosk_proto::call::{Event, PeerId};
use kiosk_proto::fault::{Fault, FaultCode};
use kiosk_proto::figures::{EndpointFigures, PairFigures};
use kiosk_proto::gate::{GatedCandidate, GatedSdp};
use kiosk_proto::ice::{Direction, TcpOnlyCandidate, TcpOnlyPolicy, TcpOnlySdp};
use kiosk_proto::janus::{ask_by_pli, declare_reporter, wait_for_dtls};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{MediaError, decoder, explain, named};
use crate::dial::Route;
use crate::events::Events;
use crate::tcp_only::agent;
use crate::tcp_only::gate::{Gate, Gates, Link};

/// An answer of `webrtcbin` that takes longer will not come.
const PROMISE: Duration = Duration::from_secs(5);
/// What `webrtcbin` was asked before it is stopped gets this long.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A peer connection in its pipeline.
#[derive(Debug, Clone)]
pub struct Peer {
    id: PeerId,
    leg: &'static str,
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    events: Events,
    policy: TcpOnlyPolicy,
    gate: Gate,
    stopped: Arc<Mutex<bool>>,
    asked: Arc<Asked>,
}

/// Questions to `webrtcbin` that have no answer yet. GStreamer 1.22 can stand still for good when it is stopped while it
/// takes in a description.
#[derive(Debug, Default)]
struct Asked {
    open: Mutex<u32>,
    answered: Condvar,
}

impl Asked {
    fn one(self: &Arc<Self>) -> Question {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Question(self.clone())
    }

    fn wait(&self, at_most: Duration) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether the time was up does not matter: the pipeline is stopped in any case.
        drop(self.answered.wait_timeout_while(open, at_most, |open| *open > 0));
    }
}

/// One question; answered or given up when it is dropped.
struct Question(Arc<Asked>);

impl Drop for Question {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.answered.notify_all();
    }
}

impl Peer {
    /// Takes a pipeline with a `webrtcbin` named `webrtc`, in state NULL, and makes it TCP only.
    ///
    /// # Errors
    /// When UDP can't be turned off.
    pub fn new(
        id: PeerId,
        leg: &'static str,
        pipeline: gst::Pipeline,
        policy: TcpOnlyPolicy,
        route: Route,
        events: Events,
        gates: Gates,
    ) -> Result<Self, MediaError> {
        let webrtc: gst::Element = named(&pipeline, "webrtc")?;
        webrtc.set_property_from_str("bundle-policy", "max-bundle");
        agent::make_tcp_only(&webrtc, route.from)?;
        let gate = Gate::new(gates, leg, policy.media_ports, route, (id, events.clone()));
        let peer =
            Self { id, leg, pipeline, webrtc, events, policy, gate, stopped: Arc::default(), asked: Arc::default() };
        peer.watch();
        Ok(peer)
    }

    /// The `webrtcbin`.
    pub fn webrtc(&self) -> &gst::Element {
        &self.webrtc
    }

    /// The pipeline around it.
    pub fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// Its number.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Where its news go.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Candidates, connection state and errors become events.
    fn watch(&self) {
        let (id, leg, events, policy) = (self.id, self.leg, self.events.clone(), self.policy.clone());
        self.webrtc.connect("on-ice-candidate", false, move |values| {
            let mline = values.get(1)?.get::<u32>().ok()?;
            let line = values.get(2)?.get::<String>().ok()?;
            match policy.judge(Direction::Outgoing, mline, &line) {
                Ok(candidate) => events.happened(Event::LocalCandidate(id, Some(candidate))),
                Err(rejection) => debug!(leg, %rejection, line, "own candidate not signalled"),
            }
            None
        });
        let events = self.events.clone();
        self.webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
            let state = webrtc.property::<webrtc::WebRTCICEGatheringState>("ice-gathering-state");
            if state == webrtc::WebRTCICEGatheringState::Complete {
                events.happened(Event::LocalCandidate(id, None));
            }
        });
        let events = self.events.clone();
        self.webrtc.connect_notify(Some("connection-state"), move |webrtc, _| {
            let state = webrtc.property::<webrtc::WebRTCPeerConnectionState>("connection-state");
            debug!(leg, ?state, "peer connection");
            if state == webrtc::WebRTCPeerConnectionState::Failed {
                events.happened(Event::ConnectionFailed(id));
            }
        });
        let events = self.events.clone();
        if let Some(bus) = self.pipeline.bus() {
            bus.set_sync_handler(move |_, message| {
                if let gst::MessageView::Error(error) = message.view() {
                    decoder::blame(error);
                    let text = format!("the {leg} pipeline stopped: {}", explain(error));
                    events.happened(Event::PeerFailed(id, Fault::new(FaultCode::MediaLost, text)));
                }
                gst::BusSyncReply::Drop
            });
        }
    }

    /// Emits an action of `webrtcbin` that answers by a promise, and waits for the answer.
    async fn ask(&self, action: &str, argument: glib::SendValue) -> Result<Option<gst::Structure>, MediaError> {
        let (promise, reply) = gst::Promise::new_future();
        let _question = self.unless_stopped(|| {
            let question = self.asked.one();
            self.webrtc.emit_by_name_with_values(action, &[argument.into(), promise.to_value()]);
            question
        })?;
        let reply = match timeout(PROMISE, reply).await {
            Ok(Ok(reply)) => reply.map(|reply| reply.to_owned()),
            Ok(Err(error)) => return Err(MediaError::Refused(format!("webrtcbin did not {action}: {error:?}"))),
            Err(_) => {
                return Err(MediaError::Refused(format!("webrtcbin did not {action} within {} s", PROMISE.as_secs())));
            }
        };
        // `webrtcbin` answers errors in the structure.
        if let Some(error) = reply.as_ref().and_then(|reply| reply.get::<glib::Error>("error").ok()) {
            return Err(MediaError::Refused(format!("webrtcbin could not {action}: {}", error.message())));
        }
        Ok(reply)
    }

    /// What `webrtcbin` would say.
    async fn create(&self, action: &str, field: &str) -> Result<String, MediaError> {
        let reply = self.ask(action, None::<gst::Structure>.to_send_value()).await?;
        let description = reply
            .and_then(|reply| reply.get::<webrtc::WebRTCSessionDescription>(field).ok())
            .ok_or_else(|| MediaError::Refused(format!("webrtcbin made no {field}")))?;
        Ok(description.sdp().as_text()?)
    }

    /// Makes it so, and begins gathering.
    async fn set_local(&self, kind: webrtc::WebRTCSDPType, text: &str) -> Result<(), MediaError> {
        let description = webrtc::WebRTCSessionDescription::new(kind, sdp::SDPMessage::parse_buffer(text.as_bytes())?);
        self.ask("set-local-description", description.to_send_value()).await.map(drop)
    }

    /// What Janus may see of it.
    fn outgoing(&self, text: &str) -> Result<TcpOnlySdp, MediaError> {
        let filtered = TcpOnlySdp::filter(&self.policy, Direction::Outgoing, text)
            .map_err(|error| MediaError::Refused(format!("webrtcbin's description: {error}")))?;
        debug!(leg = self.leg, "{}", filtered.as_str());
        Ok(filtered)
    }

    /// Makes an offer and begins gathering.
    ///
    /// # Errors
    /// When `webrtcbin` refuses.
    pub async fn offer(&self) -> Result<TcpOnlySdp, MediaError> {
        let offer = self.create("create-offer", "offer").await?;
        let filtered = self.outgoing(&offer)?;
        self.set_local(webrtc::WebRTCSDPType::Offer, &offer).await?;
        Ok(filtered)
    }

    /// Makes an answer and begins gathering. It leaves the beginning of DTLS to Janus, and says who asks for key frames.
    ///
    /// # Errors
    /// When `webrtcbin` refuses.
    pub async fn answer(&self) -> Result<TcpOnlySdp, MediaError> {
        let answer = wait_for_dtls(&self.create("create-answer", "answer").await?);
        self.set_local(webrtc::WebRTCSDPType::Answer, &answer).await?;
        // With `max-bundle` all media are in session 0.
        let session = self
            .pipeline
            .by_name("rtpbin")
            .and_then(|bin| bin.emit_by_name::<Option<glib::Object>>("get-internal-session", &[&0_u32]));
        let Some(session) = session else {
            warn!(leg = self.leg, "webrtcbin shows no RTP session: Janus may not hear requests for a key frame");
            return self.outgoing(&answer);
        };
        self.outgoing(&declare_reporter(&answer, session.property("internal-ssrc")))
    }

    /// Sets Janus' description.
    ///
    /// # Errors
    /// When `webrtcbin` refuses it.
    pub async fn set_remote(&self, kind: webrtc::WebRTCSDPType, remote: &TcpOnlySdp) -> Result<(), MediaError> {
        let gated = GatedSdp::new(remote, &self.policy, &mut |server| self.gate.way_to(server));
        let offered = kind == webrtc::WebRTCSDPType::Offer;
        let text = if offered { ask_by_pli(gated.as_str()) } else { gated.as_str().to_owned() };
        debug!(leg = self.leg, "{text}");
        let parsed = sdp::SDPMessage::parse_buffer(text.as_bytes())?;
        let description = webrtc::WebRTCSessionDescription::new(kind, parsed);
        self.ask("set-remote-description", description.to_send_value()).await.map(|_| ())
    }

    /// Adds a candidate of Janus.
    pub fn add_candidate(&self, candidate: &TcpOnlyCandidate) {
        if let Some(gated) = GatedCandidate::new(candidate, &mut |server| self.gate.way_to(server)) {
            self.webrtc.emit_by_name::<()>("add-ice-candidate", &[&gated.mline(), &gated.line()]);
        }
    }

    /// Acts on a pipeline that has not been stopped. The task that makes an offer or an answer may come too late, and
    /// what it began then nobody would end.
    fn unless_stopped<T>(&self, act: impl FnOnce() -> T) -> Result<T, MediaError> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return Err(MediaError::Refused(format!("the {} connection was closed before it was made", self.leg)));
        }
        Ok(act())
    }

    /// Starts the pipeline.
    ///
    /// # Errors
    /// When it does not start, or has been stopped.
    pub fn play(&self) -> Result<(), MediaError> {
        self.unless_stopped(|| self.pipeline.set_state(gst::State::Playing))??;
        Ok(())
    }

    /// Stops the pipeline and closes its sockets; blocks until that is done.
    pub fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.asked.wait(LAST_ANSWERS);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        if self.pipeline.set_state(gst::State::Null).is_err() {
            warn!(leg = self.leg, "the pipeline does not stop");
        }
        // After the farewells of DTLS.
        self.gate.close();
    }

    /// Says whether a socket of the connection may still be open: after [`Peer::stop`] and the last clone's end, those of
    /// the gate are closed within a second.
    pub fn is_left(&self) -> impl Fn() -> bool + Send + use<> {
        self.gate.is_left()
    }

    /// State of the connection, as the W3C names it.
    pub fn state(&self) -> String {
        format!("{:?}", self.webrtc.property::<webrtc::WebRTCPeerConnectionState>("connection-state")).to_lowercase()
    }

    /// The selected candidate pair, for the figures and for the audit: as `webrtcbin` reports it, with the server in
    /// place of the gate. None before there is one.
    pub async fn pair(&self) -> Option<(PairFigures, SelectedPair)> {
        let stats = self.ask("get-stats", None::<gst::Pad>.to_send_value()).await.ok()??;
        let entry = |wanted: &dyn Fn(&gst::StructureRef) -> bool| {
            stats.iter().filter_map(|(_, value)| value.get::<gst::Structure>().ok()).find(|entry| wanted(entry))
        };
        let of_type =
            |kind| move |entry: &gst::StructureRef| entry.get::<webrtc::WebRTCStatsType>("type").ok() == Some(kind);
        let text = |entry: &gst::Structure, field: &str| entry.get::<String>(field).unwrap_or_default();
        let selected = text(&entry(&of_type(webrtc::WebRTCStatsType::Transport))?, "selected-candidate-pair-id");
        let pair = entry(&|entry| entry.get::<String>("id").is_ok_and(|id| id == selected))?;
        // By identifier, not by type: GStreamer 1.22 swaps the types of the two candidates.
        let endpoint = |field: &str| {
            let id = text(&pair, field);
            let candidate = entry(&|entry| entry.get::<String>("id").is_ok_and(|other| other == id))?;
            Some(EndpointFigures {
                transport: text(&candidate, "protocol").to_lowercase(),
                address: text(&candidate, "address"),
                port: candidate.get::<u32>("port").ok().and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
            })
        };
        let (mut local, mut remote) = (endpoint("local-candidate-id")?, endpoint("remote-candidate-id")?);
        // The ICE agent knows the gate; what matters is who is behind it, and the socket that leads there.
        let server = address(&remote).and_then(|way| self.gate.server_behind(way));
        let mut via = None;
        if let Some(server) = server {
            (remote.address, remote.port) = (server.ip().to_string(), server.port());
            if let Some(link) = self.gate.media() {
                (local.address, local.port) = (link.local().ip().to_string(), link.local().port());
                via = link.via().cloned();
            }
        }
        let selected = SelectedPair {
            leg: self.leg,
            local_transport: local.transport.clone(),
            remote_transport: remote.transport.clone(),
            remote: address(&remote)?,
            through_gate: server.is_some(),
        };
        Some((PairFigures { local, remote, via }, selected))
    }

    /// The connection that carries this leg's media, with its queues. None until the ICE agent has chosen one.
    pub fn media_link(&self) -> Option<Arc<Link>> {
        self.gate.media()
    }
}

fn address(endpoint: &EndpointFigures) -> Option<SocketAddr> {
    Some(SocketAddr::new(endpoint.address.parse().ok()?, endpoint.port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::pipeline;

    #[test]
    fn a_connection_that_was_stopped_does_not_begin() {
        gst::init().unwrap();
        let peer = || {
            let policy = TcpOnlyPolicy { media_ports: kiosk_proto::config::PortRange::default() };
            let pipeline = pipeline("webrtcbin name=webrtc").unwrap();
            Peer::new(PeerId(1), "receive", pipeline, policy, Route::default(), Events::channel().0, Gates::default())
                .unwrap()
        };
        let (played, stopped) = (peer(), peer());
        played.play().unwrap();
        played.stop();
        stopped.stop();
        assert!(stopped.play().is_err());
        assert_eq!(stopped.pipeline().current_state(), gst::State::Null);
    }
}
