//! Commands of the fleet, carried out. Whether one may be is decided before.

use std::path::PathBuf;
use std::time::Duration;

use kiosk_proto::config::Proxy;
use kiosk_proto::fleet::ledger::LedgerInput;
use kiosk_proto::fleet::{CommandId, Digest, LogLevel, Outcome, Upload};
use rumqttc::mqttbytes::v5::PublishProperties;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use super::diagnostics::{Diagnostics, journal};
use super::link::{Fate, Session};
use super::upload;
use crate::events::{Events, News};
use crate::host::journal::Verbosity;

/// Ending a call takes at most about two seconds.
const END: Duration = Duration::from_secs(5);
/// A part of the diagnostics, bytes: far below what any broker takes.
const CHUNK: usize = 96 * 1024;
/// How long the broker gets for one part.
const CHUNK_ARRIVES: Duration = Duration::from_secs(30);
/// The most that goes to an HTTPS address, bytes.
const MAX_UPLOAD: usize = 16 * 1024 * 1024;

/// How a command went.
pub(super) fn finished(id: CommandId, result: Result<Value, String>) -> LedgerInput {
    let (outcome, message, result) = match result {
        Ok(result) => (Outcome::Done, String::new(), result),
        Err(message) => (Outcome::Failed, message, Value::Null),
    };
    LedgerInput::Finished { id, outcome, message, result }
}

/// Ends the call.
pub(super) async fn end_call(events: Events) -> Result<Value, String> {
    let (reply, ended) = oneshot::channel();
    events.send(News::End(reply)).await;
    match timeout(END, ended).await {
        Ok(_) => Ok(Value::Null),
        Err(_) => Err("the call does not end; see the journal".to_owned()),
    }
}

/// Writes more or less to the journal.
pub(super) fn set_log_level(verbosity: &Verbosity, level: Option<LogLevel>) -> Result<Value, String> {
    verbosity.set(level.map(LogLevel::as_str)).map(|()| Value::Null)
}

/// Where diagnostics go.
#[derive(Debug)]
pub(super) struct Destination {
    /// What the command says.
    pub upload: Upload,
    /// Who may have signed the certificate of an HTTPS address.
    pub ca_file: Option<PathBuf>,
    /// The proxy that leads there.
    pub proxy: Option<Proxy>,
    /// The broker, and the topic for parts.
    pub broker: Option<(Session, String)>,
}

/// Collects diagnostics and brings them away.
pub(super) async fn diagnostics(
    mut facts: Diagnostics,
    journal_minutes: u16,
    to: Destination,
) -> Result<Value, String> {
    match journal(journal_minutes).await {
        Ok(lines) => facts.journal = lines,
        Err(why) => facts.journal_missing = Some(why),
    }
    let limit = match &to.upload {
        Upload::Mqtt { max_bytes } => *max_bytes as usize,
        Upload::Https { .. } => MAX_UPLOAD,
    };
    let file =
        tokio::task::spawn_blocking(move || facts.compressed(limit)).await.map_err(|error| error.to_string())??;
    let described = json!({ "bytes": file.len(), "sha256": Digest::of(&file) });
    match (&to.upload, to.broker) {
        (Upload::Https { url }, _) => upload::put(url, to.ca_file.as_deref(), to.proxy.as_ref(), &file).await?,
        (Upload::Mqtt { .. }, Some((session, topic))) => send(&session, &topic, &file).await?,
        (Upload::Mqtt { .. }, None) => return Err("there is no connection to the broker".to_owned()),
    }
    Ok(described)
}

/// One part after the other, each when the broker has the one before.
async fn send(session: &Session, topic: &str, file: &[u8]) -> Result<(), String> {
    let count = file.len().div_ceil(CHUNK);
    for (index, part) in file.chunks(CHUNK).enumerate() {
        let number = |name: &str, number: usize| (name.to_owned(), number.to_string());
        let properties = PublishProperties {
            content_type: Some("application/gzip".to_owned()),
            user_properties: vec![number("index", index), number("count", count)],
            ..PublishProperties::default()
        };
        let arrives = session.publish(topic, part.to_vec(), false, properties).map_err(|error| error.to_string())?;
        match timeout(CHUNK_ARRIVES, arrives).await {
            Ok(Fate::Taken) => {}
            Ok(Fate::Refused(why)) => {
                return Err(format!("the broker does not take part {} of {count} on {topic}: {why}", index + 1));
            }
            Ok(Fate::Lost) | Err(_) => {
                return Err(format!("part {} of {count} did not reach the broker", index + 1));
            }
        }
    }
    Ok(())
}

/// Runs a command beside the fleet's task, and tells how it went.
pub(super) fn beside(
    id: CommandId,
    work: impl Future<Output = Result<Value, String>> + Send + 'static,
    outcomes: mpsc::Sender<LedgerInput>,
) {
    tokio::spawn(async move {
        let result = work.await;
        if let Err(why) = &result {
            warn!(%id, "a command of the fleet failed: {why}");
        }
        let _ = outcomes.send(finished(id, result)).await;
    });
}
