//! Where log lines go: to the journal with fields when systemd runs the daemon, else readable to stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Begins logging. `RUST_LOG` sets levels; without it, `info`. Every journal entry carries `KIOSK_ID`.
///
/// # Errors
/// When systemd says that stderr is the journal, but the journal can't be reached.
pub fn begin(kiosk_id: &str) -> io::Result<()> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let registry = tracing_subscriber::registry().with(filter);
    // Set by systemd when stderr is connected to the journal.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
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
    Ok(())
}
