//! What a technician far away needs to see, as one compressed file without secrets.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiosk_proto::config::{Config, SecretFile};
use kiosk_proto::fleet::{Metrics, Reported};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::secret;

/// The most of the journal that is read, bytes; the newest lines are kept.
const MAX_JOURNAL_BYTES: usize = 8 * 1024 * 1024;
/// The most lines of it.
const MAX_JOURNAL_LINES: &str = "50000";
const JOURNAL: Duration = Duration::from_secs(20);
/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// The file's content, before it is compressed.
#[derive(Debug, Serialize)]
pub struct Diagnostics {
    /// Figures of this moment.
    pub metrics: Metrics,
    /// What became of the desired layers.
    pub reported: Reported,
    /// The configuration in force. Secrets are files that it names.
    pub config: Config,
    /// Code and message of what is wrong now.
    pub faults: Vec<(String, String)>,
    /// Lines of the daemon's journal.
    pub journal: Vec<String>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_missing: Option<String>,
}

impl Diagnostics {
    /// As JSON, compressed by gzip. Of the journal, the oldest lines are left out until it fits into `max_bytes`.
    ///
    /// # Errors
    /// When it does not fit even without the journal.
    pub fn compressed(mut self, max_bytes: usize) -> Result<Vec<u8>, String> {
        let secrets = secrets(&self.config);
        loop {
            let text = serde_json::to_string_pretty(&self).map_err(|error| error.to_string())?;
            let bytes = gzip(redacted(text, &secrets).as_bytes()).map_err(|error| error.to_string())?;
            if bytes.len() <= max_bytes {
                return Ok(bytes);
            }
            if self.journal.is_empty() {
                return Err(format!("{} bytes without the journal; allowed: {max_bytes}", bytes.len()));
            }
            // A line takes about as much as another.
            let keep = self.journal.len() * max_bytes / bytes.len();
            let keep = keep.min(self.journal.len() - 1);
            self.journal.drain(..self.journal.len() - keep);
            self.journal_missing = Some("its older lines were left out for the limit of bytes".to_owned());
        }
    }
}

/// The last minutes of the daemon's journal.
///
/// # Errors
/// Why there is none.
pub async fn journal(minutes: u16) -> Result<Vec<String>, String> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=short-iso-precise", "--unit=kioskd.service"]);
    command.arg(format!("--since=-{minutes}min")).arg(format!("--lines={MAX_JOURNAL_LINES}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let failed = |error: std::io::Error| format!("journalctl: {error}");
    let read = async {
        let mut child = command.spawn().map_err(failed)?;
        let mut bytes = Vec::new();
        if let Some(output) = &mut child.stdout {
            output.take(MAX_JOURNAL_BYTES as u64).read_to_end(&mut bytes).await.map_err(failed)?;
        }
        if bytes.len() < MAX_JOURNAL_BYTES && !child.wait().await.map_err(failed)?.success() {
            return Err("journalctl found no journal, or the daemon's user may not read it".to_owned());
        }
        Ok(String::from_utf8_lossy(&bytes).lines().map(without_names).collect())
    };
    timeout(JOURNAL, read).await.map_err(|_| format!("journalctl did not end within {} s", JOURNAL.as_secs()))?
}

/// A line without the field that names an agent. journalctl shows no fields; a daemon without a journal writes all.
fn without_names(line: &str) -> String {
    line.split("AGENT=").next().unwrap_or_default().to_owned()
}

/// The content of every file that the configuration names as a secret, as it is now.
fn secrets(config: &Config) -> Vec<String> {
    let janus = &config.janus;
    let files: [(&'static str, Option<&SecretFile>); 3] = [
        ("janus.pin_file", janus.pin_file.as_ref()),
        ("janus.token_file", janus.token_file.as_ref()),
        ("janus.room_token_file", janus.room_token_file.as_ref()),
    ];
    let read = files.into_iter().filter_map(|(key, file)| secret(key, file).ok().flatten());
    read.map(|secret| secret.expose().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// No secret gets into the journal. Should one ever do so, it goes no further.
fn redacted(text: String, secrets: &[String]) -> String {
    secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), REDACTED))
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}
