//! Where log lines go: to the journal with fields when systemd runs the daemon, else readable to stderr.

use std::io::{self, IsTerminal};

use nix::sys::stat::fstat;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Whether systemd connected stderr to the journal: it says so with device and inode of the stream, since the variable
/// itself is inherited by programs whose stderr leads elsewhere (systemd.exec(5), `$JOURNAL_STREAM`).
fn stderr_is_journal() -> bool {
    let (Ok(stream), Ok(stat)) = (std::env::var("JOURNAL_STREAM"), fstat(io::stderr())) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Changes how much is written while the daemon runs.
#[derive(Debug, Clone)]
pub struct Verbosity(reload::Handle<EnvFilter, Registry>);

impl Verbosity {
    /// The daemon's own lines from this level on; with `None`, as at the start. What libraries write does not change:
    /// at their finest levels some of them write down whole messages, with the secrets in them.
    ///
    /// # Errors
    /// When the level is no word of a filter, or logging has ended.
    pub fn set(&self, level: Option<&str>) -> Result<(), String> {
        let mut filter = usual();
        if let Some(level) = level {
            let directive = format!("kioskd={level}").parse().map_err(|error| format!("{level}: {error}"))?;
            filter = filter.add_directive(directive);
        }
        self.0.reload(filter).map_err(|error| error.to_string())
    }
}

fn usual() -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy()
}

/// Begins logging. `RUST_LOG` sets levels; without it, `info`. Every journal entry carries `KIOSK_ID`.
///
/// # Errors
/// When systemd says that stderr is the journal, but the journal can't be reached.
pub fn begin(kiosk_id: &str) -> io::Result<Verbosity> {
    let (filter, handle) = reload::Layer::new(usual());
    let registry = tracing_subscriber::registry().with(filter);
    if stderr_is_journal() {
        let journal = tracing_journald::layer()?
            .with_field_prefix(None)
            .with_syslog_identifier("kioskd".to_owned())
            .with_custom_fields([("KIOSK_ID", kiosk_id)]);
        registry.with(journal).init();
    } else {
        registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(io::stderr)
                    .with_ansi(io::stderr().is_terminal())
                    .with_target(false),
            )
            .init();
    }
    Ok(Verbosity(handle))
}
