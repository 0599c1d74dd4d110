//! The figures of the running call, taken once a second.

use std::time::{Duration, Instant};

use kiosk_proto::audit::SelectedPair;
use kiosk_proto::call::{CallState, Event, PeerId};
use kiosk_proto::fault::{Fault, FaultCode};
use kiosk_proto::figures::{AudioFigures, GateFigures, LegFigures, PairFigures, VideoFigures};
use kiosk_proto::sound::{self, PacketWatch};
use tokio::time::timeout;

use super::Engine;
use crate::host::process;
use crate::media::link::LinkWatch;
use crate::media::meter::Rate;
use crate::media::peer::Peer;

const INTERVAL: Duration = Duration::from_secs(1);
/// `webrtcbin` answers within a few milliseconds; the call's task waits no longer than this.
const STATS: Duration = Duration::from_millis(300);

/// Remembers the last sample, so that totals become rates.
#[derive(Debug)]
pub(super) struct Sampler {
    begin: Instant,
    last: Instant,
    encoded: Rate,
    sent_video: Rate,
    sent_audio: Rate,
    decoded: Rate,
    received_video: Rate,
    received_audio: Rate,
    /// RTP packets that the publisher of this number had made when they were counted last.
    made: (PeerId, u64),
    sound: PacketWatch,
    agent: PacketWatch,
}

impl Default for Sampler {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            begin: now,
            last: now,
            encoded: Rate::default(),
            sent_video: Rate::default(),
            sent_audio: Rate::default(),
            decoded: Rate::default(),
            received_video: Rate::default(),
            received_audio: Rate::default(),
            made: (PeerId(0), 0),
            sound: PacketWatch::new(sound::PATIENCE),
            agent: PacketWatch::new(sound::AGENT_PATIENCE),
        }
    }
}

impl Sampler {
    /// Since the call was asked for.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Engine {
    /// Takes the figures, when it is time.
    pub(super) async fn sample(&mut self) {
        let elapsed = self.sampler.last.elapsed();
        if self.call.state() == CallState::Idle || elapsed < INTERVAL {
            return;
        }
        self.sampler.last = Instant::now();
        let mut pairs = Vec::new();
        let publish = self.publish_figures(elapsed, &mut pairs).await;
        let receive = self.receive_figures(elapsed, &mut pairs).await;
        self.audit.pairs(pairs);
        let figures = &mut self.figures;
        figures.elapsed_ms = self.sampler.elapsed_ms();
        figures.link = self.link.as_ref().map(LinkWatch::figures).unwrap_or_default();
        figures.publish = publish;
        figures.receive = receive;
        figures.sockets = self.audit.figures();
        figures.process = process::figures(self.audit.descriptors());
        self.listen().await;
        self.miss_the_agent().await;
    }

    /// Receives the agent anew when nothing has come for long over a link that carries: what comes over this connection can't
    /// be understood any more, and nothing else would say so.
    async fn miss_the_agent(&mut self) {
        let received = self.receiver.as_ref().map(|receiver| {
            let packets = receiver.video_packets.buffers() + receiver.audio_packets.buffers();
            (receiver.peer.id(), packets)
        });
        // Before the first one, the call's own patience counts.
        let packets = received.map(|(_, packets)| packets).filter(|packets| *packets > 0 && !self.figures.link.dead);
        let change = self.sampler.agent.observe(self.sampler.begin.elapsed(), packets);
        if let (Some(sound::Change::Missing), Some((peer, _))) = (change, received) {
            let seconds = sound::AGENT_PATIENCE.as_secs();
            let text = format!("nothing of the agent has arrived for {seconds} s; the kiosk connects again");
            self.happened(Event::PeerFailed(peer, Fault::new(FaultCode::AgentMediaLost, text))).await;
        }
    }

    /// Says when the customer's sound does not leave though nothing is known to be wrong with it.
    async fn listen(&mut self) {
        let watched = self.publisher.as_ref().filter(|publisher| publisher.sound.is_some());
        let gate = watched.and_then(|publisher| publisher.peer.media_link()?.state());
        let excused = self.figures.link.dead || self.call.faults().contains_key(&FaultCode::MicrophoneUnavailable);
        let packets = gate.filter(|_| !excused).map(|gate| gate.classes.audio.packets_in);
        let change = self.sampler.sound.observe(self.sampler.begin.elapsed(), packets);
        self.happened(match change {
            None => return,
            Some(sound::Change::Back) => Event::FaultCleared(FaultCode::SoundMissing),
            Some(sound::Change::Missing) => {
                let text = format!(
                    "no sound has left for {} s, though the microphone was opened: the agent hears nothing; plug the \
                     microphone in again, and end the call if that does not help",
                    sound::PATIENCE.as_secs()
                );
                Event::FaultRaised(Fault::new(FaultCode::SoundMissing, text))
            }
        })
        .await;
    }

    async fn publish_figures(&mut self, elapsed: Duration, pairs: &mut Vec<SelectedPair>) -> LegFigures {
        let Some(publisher) = &self.publisher else { return LegFigures::default() };
        let (frames_per_second, _) = self.sampler.encoded.since(&publisher.encoded, elapsed);
        let (_, video_bits) = self.sampler.sent_video.since(&publisher.video_packets, elapsed);
        let (_, audio_bits) = self.sampler.sent_audio.since(&publisher.audio_packets, elapsed);
        let gate = gate(&publisher.peer);
        // What was made a second ago has arrived since, or never will.
        let made = publisher.video_packets.buffers() + publisher.audio_packets.buffers();
        let (peer, made_before) = std::mem::replace(&mut self.sampler.made, (publisher.peer.id(), made));
        let arrived = gate.video.packets_in + gate.audio.packets_in;
        let packets_lost = if peer == publisher.peer.id() { made_before.saturating_sub(arrived) } else { 0 };
        let (width, height) = self.link.as_ref().map_or((0, 0), |link| {
            let link = link.figures();
            (link.width, link.height)
        });
        LegFigures {
            state: publisher.peer.state(),
            pair: pair(&publisher.peer, pairs).await,
            video: VideoFigures {
                width,
                height,
                frames: publisher.encoded.buffers(),
                frames_per_second,
                bits_per_second: video_bits,
                codec: publisher.spec.element.to_owned(),
            },
            audio: AudioFigures {
                packets: publisher.audio_packets.buffers(),
                bits_per_second: audio_bits,
                peak_dbfs: None,
            },
            gate: GateFigures { packets_lost, ..gate },
        }
    }

    async fn receive_figures(&mut self, elapsed: Duration, pairs: &mut Vec<SelectedPair>) -> LegFigures {
        let Some(receiver) = &self.receiver else { return LegFigures::default() };
        let (frames_per_second, _) = self.sampler.decoded.since(&self.playback.frames, elapsed);
        let (_, video_bits) = self.sampler.received_video.since(&receiver.video_packets, elapsed);
        let (_, audio_bits) = self.sampler.received_audio.since(&receiver.audio_packets, elapsed);
        let (width, height, codec) = self.playback.picture();
        LegFigures {
            state: receiver.peer.state(),
            pair: pair(&receiver.peer, pairs).await,
            video: VideoFigures {
                width,
                height,
                frames: self.playback.frames.buffers(),
                frames_per_second,
                bits_per_second: video_bits,
                codec,
            },
            audio: AudioFigures {
                packets: receiver.audio_packets.buffers(),
                bits_per_second: audio_bits,
                peak_dbfs: self.playback.peak_dbfs(),
            },
            gate: gate(&receiver.peer),
        }
    }
}

/// What went through the gate; nothing while there is no connection.
fn gate(peer: &Peer) -> GateFigures {
    let state = peer.media_link().and_then(|link| link.state());
    state.as_ref().map(GateFigures::from).unwrap_or_default()
}

/// The selected pair.
async fn pair(peer: &Peer, pairs: &mut Vec<SelectedPair>) -> Option<PairFigures> {
    let (pair, selected) = timeout(STATS, peer.pair()).await.ok()??;
    pairs.push(selected);
    Some(pair)
}
