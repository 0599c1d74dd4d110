//! Sends a signed command to kiosks and gathers their answers.

use super::link::{Arrival, Link, LinkError};
use ed25519_dalek::SigningKey;
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::{
    Command, CommandId, CommandPayload, EnvelopeError, Outcome, PayloadType, Response, Target, Topic, WhenBusy, sign,
};
use rumqttc::mqttbytes::v5::PublishProperties;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What every command of one question says.
#[derive(Debug, Clone)]
pub struct Question {
    /// What to do.
    pub command: Command,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Unix seconds, now.
    pub created: u64,
    /// How long it may be begun.
    pub valid_for: Duration,
    /// Also when it ends a call.
    pub force: bool,
    /// What to do while there is a call.
    pub when_busy: WhenBusy,
}

/// What became of a question.
pub type Answers = BTreeMap<KioskId, Option<Response>>;

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The command could not be signed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The broker.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Asks each kiosk and waits until all have given their last answer, or the time is up. `heard` is told of everything
/// that comes for the command.
pub async fn ask(
    link: &mut Link,
    key: &SigningKey,
    kiosks: &[KioskId],
    question: &Question,
    patience: Duration,
    mut heard: impl FnMut(&KioskId, &Heard),
) -> Result<Answers, AskError> {
    let mut ids = BTreeMap::new();
    for kiosk in kiosks {
        let id = CommandId::from_random(rand::random());
        send(link, key, kiosk, &id, question).await?;
        ids.insert(id, kiosk.clone());
    }
    let mut answers: Answers = kiosks.iter().map(|kiosk| (kiosk.clone(), None)).collect();
    let end = Instant::now() + patience;
    let open = |answers: &Answers| answers.values().any(|answer| answer.as_ref().is_none_or(is_waiting));
    while open(&answers) {
        let Ok(arrival) = timeout_at(end, link.next()).await else { break };
        let Arrival::Message(message) = arrival else { continue };
        match message.topic.parse::<Topic>() {
            Ok(Topic::Response(kiosk, _)) => {
                let Ok(response) = serde_json::from_slice::<Response>(&message.payload) else { continue };
                let correlated = message.correlation.and_then(|data| String::from_utf8(data).ok());
                let asked = correlated.and_then(|text| CommandId::try_from(text).ok()).or_else(|| response.id.clone());
                if asked.is_some_and(|id| ids.get(&id) == Some(&kiosk)) {
                    heard(&kiosk, &Heard::Answer(response.clone()));
                    answers.insert(kiosk, Some(response));
                }
            }
            Ok(Topic::Chunk(kiosk, id)) if ids.get(&id) == Some(&kiosk) => {
                let index = message.properties.iter().find(|(name, _)| name == "index");
                let index = index.and_then(|(_, index)| index.parse().ok()).unwrap_or_default();
                heard(&kiosk, &Heard::Chunk { index, bytes: message.payload });
            }
            _ => {}
        }
    }
    Ok(answers)
}

/// What comes for a command.
pub enum Heard {
    /// An answer; not always the last.
    Answer(Response),
    /// A part of a file.
    Chunk {
        /// Its place, from 0; it may come twice.
        index: u64,
        /// What it holds.
        bytes: Vec<u8>,
    },
}

fn is_waiting(response: &Response) -> bool {
    response.outcome == Outcome::Waiting
}

async fn send(
    link: &mut Link,
    key: &SigningKey,
    kiosk: &KioskId,
    id: &CommandId,
    question: &Question,
) -> Result<(), AskError> {
    let payload = CommandPayload {
        target: Target::Device(kiosk.clone()),
        id: id.clone(),
        created: question.created,
        expires: question.created + question.valid_for.as_secs(),
        author: question.author.clone(),
        reason: question.reason.clone(),
        force: question.force,
        when_busy: question.when_busy,
        command: question.command.clone(),
    };
    let bytes = serde_json::to_vec(&payload).map_err(|error| EnvelopeError::Malformed(error.to_string()))?;
    let envelope = sign(PayloadType::Command, &bytes, &[key])?.to_bytes()?;
    let properties = PublishProperties {
        message_expiry_interval: u32::try_from(question.valid_for.as_secs()).ok(),
        response_topic: Some(Topic::Response(kiosk.clone(), Some(link.own().to_owned())).to_string()),
        correlation_data: Some(id.to_string().into_bytes().into()),
        ..PublishProperties::default()
    };
    let topic = Topic::Command(kiosk.clone()).to_string();
    Ok(link.publish(&topic, envelope, false, Some(properties)).await?)
}
