//! `kioskctl config`: what kiosks are configured with, layer by layer.

mod bundle;
mod change;
mod difference;
mod draft;
mod drive;
mod dry_run;
mod look;
mod progress;
mod push;
mod rollback;

pub use difference::name;

use crate::fleet::select::Which;
use crate::profile::ProfileOptions;
use change::{Change, Key};
use kiosk_proto::config::{Layer, LayerError};
use std::path::PathBuf;
use std::process::ExitCode;

/// `kioskctl config ...`
#[derive(clap::Subcommand)]
pub enum ConfigCommand {
    /// Check a layer's file, without a broker.
    Check {
        /// The file, in the form of kiosk.toml; with keys that only the site sets, it is checked as a whole kiosk.toml.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what a push would change on each kiosk.
    Diff {
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        which: Which,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        profile: ProfileOptions,
    },
    /// Add a signature to what `push --save` wrote.
    Sign {
        /// The file.
        file: PathBuf,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        profile: ProfileOptions,
    },
    /// Push a layer to a group, a kiosk or the kiosks of a selector, and wait until they have confirmed it.
    Push(Box<push::Push>),
    /// Show what became of what was pushed.
    Status {
        #[command(flatten)]
        which: Which,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        profile: ProfileOptions,
    },
    /// Push what was confirmed before the present layer, as a new revision.
    Rollback(Box<rollback::Rollback>),
    /// Show which layer sets a key on a kiosk, who pushed that, when and why.
    Explain {
        /// The key, such as video.bitrate_kbps.
        #[arg(id = "config_key", value_name = "KEY")]
        key: Key,
        /// The kiosk.
        #[arg(long)]
        device: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        profile: ProfileOptions,
    },
}

/// Carries a command out.
pub fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check { file, json } => check(&file, json),
        ConfigCommand::Diff { change, which, json, profile } => look::diff(&change, &which, json, &profile),
        ConfigCommand::Sign { file, yes, profile } => push::sign(&file, yes, &profile),
        ConfigCommand::Push(push) => push::push(&push),
        ConfigCommand::Status { which, json, profile } => look::status(&which, json, &profile),
        ConfigCommand::Rollback(rollback) => rollback::rollback(&rollback),
        ConfigCommand::Explain { key, device, json, profile } => look::explain(&key, &device, json, &profile),
    }
}

fn check(file: &std::path::Path, json: bool) -> anyhow::Result<ExitCode> {
    let text = crate::files::read(file)?;
    let table: Option<toml::Table> = text.parse().ok();
    let is_site = table.as_ref().is_none_or(|table| table.contains_key("kiosk"));
    let (kind, errors): (_, Vec<String>) = if is_site {
        let errors = kiosk_proto::config::parse(&text).err().map(|errors| errors.in_file(file.display().to_string()));
        ("kiosk.toml", errors.iter().map(ToString::to_string).collect())
    } else {
        let object = serde_json::to_value(table)?.as_object().cloned().unwrap_or_default();
        let line = |error: &LayerError| format!("{}: {}: {}", file.display(), error.key, error.problem);
        let errors = Layer::read(&object).err().unwrap_or_default();
        ("a layer", errors.iter().map(line).collect())
    };
    if json {
        outln!("{}", serde_json::json!({ "file": file, "kind": kind, "errors": errors }));
    } else if errors.is_empty() {
        outln!("{}: no errors, as {kind}", file.display());
    } else {
        errln!("{}", errors.join("\n"));
    }
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
