//! What the commands that speak to the fleet have in common: a runtime, a profile, the link, the time, a question.

use crate::fleet::link::{Link, LinkError};
use crate::fleet::view::{Pushed, View, filters};
use crate::key::{KeyError, load};
use crate::profile::{Profile, ProfileError, ProfileOptions};
use ed25519_dalek::SigningKey;
use kiosk_proto::fleet::TrustedKey;
use std::future::Future;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The broker.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A layer that somebody unknown signed.
    #[error(
        "the layer of {target} at the broker is signed with key {keys}, which is neither yours nor one of trusted_keys \
         in your profile: nothing is built upon it. Push a whole FILE instead, or add the key"
    )]
    Untrusted {
        /// Whose layer.
        target: String,
        /// Who signed it.
        keys: String,
    },
    /// No answer can be given.
    #[error("this is no terminal to ask on: say --yes")]
    NoTerminal,
    /// No.
    #[error("nothing was sent")]
    Declined,
}

/// Runs what waits for the network.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A connection, and who uses it.
pub struct Session {
    /// The profile.
    pub profile: Profile,
    /// The connection.
    pub link: Link,
    /// What the broker held when it came up.
    pub view: View,
}

impl Session {
    /// Connects and takes in what the broker holds of the fleet. `more` is subscribed to as well.
    pub async fn open(options: &ProfileOptions, more: &[&str]) -> Result<Self, SessionError> {
        let profile = options.load()?;
        let all = filters().into_iter().chain(more.iter().map(|filter| (*filter).to_owned())).collect();
        let mut link = Link::open(&profile, all).await?;
        let mut view = View::default();
        link.retained(|message| view.take(&message)).await?;
        Ok(Self { profile, link, view })
    }

    /// The key to sign with.
    pub fn key(&self) -> Result<SigningKey, SessionError> {
        Ok(load(self.profile.signing_key()?)?)
    }

    /// Refuses to build upon what nobody known has signed: the broker could have made it up.
    pub fn must_trust(&self, pushed: &Pushed) -> Result<(), SessionError> {
        let mut trusted = self.profile.trusted_keys().to_vec();
        trusted.extend(TrustedKey::new(self.key()?.verifying_key(), None).ok());
        pushed.signed_by(&trusted).map_err(|keys| SessionError::Untrusted {
            target: crate::config::name(&pushed.payload.target),
            keys: keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
    }
}

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Unix seconds as people read them, in UTC.
pub fn moment(unix: u64) -> String {
    let at = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    at.map_or_else(
        || unix.to_string(),
        |at| {
            let (date, hour, minute) = (at.date(), at.hour(), at.minute());
            let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
            format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
        },
    )
}

/// Asks on the terminal. A person may think for longer than the broker waits for a sign of life: the link comes back.
pub fn confirm(question: &str, yes: bool) -> Result<(), SessionError> {
    if yes {
        return Ok(());
    }
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(SessionError::NoTerminal);
    }
    let mut error = io::stderr().lock();
    let _ = write!(error, "{question} [y/N] ").and_then(|()| error.flush());
    let mut answer = String::new();
    let read = input.lock().read_line(&mut answer);
    match (read, answer.trim().to_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(SessionError::Declined),
    }
}
