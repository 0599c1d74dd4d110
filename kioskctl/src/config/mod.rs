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
        /// The file, in the form of kiosk.toml; with [kiosk] and janus.url it is checked as a whole kiosk.toml.
        file: PathBuf,
        /// It is a layer, whatever is in it.
        #[arg(long)]
        layer: bool,
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
        /// Print JSON: the file, its messages, and the keys that have signed it.
        #[arg(long)]
        json: bool,
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
        ConfigCommand::Check { file, layer, json } => check(&file, layer, json),
        ConfigCommand::Diff { change, which, json, profile } => look::diff(&change, &which, json, &profile),
        ConfigCommand::Sign { file, yes, json, profile } => push::sign(&file, yes, json, &profile),
        ConfigCommand::Push(push) => push::push(&push),
        ConfigCommand::Status { which, json, profile } => look::status(&which, json, &profile),
        ConfigCommand::Rollback(rollback) => rollback::rollback(&rollback),
        ConfigCommand::Explain { key, device, json, profile } => look::explain(&key, &device, json, &profile),
    }
}

fn check(file: &std::path::Path, layer: bool, json: bool) -> anyhow::Result<ExitCode> {
    let text = crate::files::read(file)?;
    let (kind, errors) = judge(&text, &file.display().to_string(), layer);
    if json {
        outln!("{}", serde_json::json!({ "file": file, "kind": kind, "errors": errors }));
    } else if errors.is_empty() {
        outln!("{}: no errors, as {kind}", file.display());
    } else {
        errln!("{}", errors.join("\n"));
    }
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a file is taken for, and what is wrong with it.
fn judge(text: &str, file: &str, layer: bool) -> (&'static str, Vec<String>) {
    let Ok(table) = text.parse::<toml::Table>() else { return judge_site(text, file) };
    let has_kiosk = table.contains_key("kiosk");
    let has_url = table.get("janus").is_some_and(|janus| janus.get("url").is_some());
    if has_kiosk && has_url && !layer {
        return judge_site(text, file);
    }
    let object = serde_json::to_value(table).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default();
    let line = |error: LayerError| format!("{file}: {}: {}", error.key, error.problem);
    let mut errors: Vec<String> = Layer::read(&object).err().unwrap_or_default().into_iter().map(line).collect();
    if has_kiosk && !layer {
        errors.push(format!("{file}: checked as a layer: a whole kiosk.toml would have janus.url"));
    }
    ("a layer", errors)
}

fn judge_site(text: &str, file: &str) -> (&'static str, Vec<String>) {
    let errors = kiosk_proto::config::parse(text).err().map(|errors| errors.in_file(file));
    ("kiosk.toml", errors.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_for_what_it_is() {
        let site = "[kiosk]\nid = \"a-1\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1001\n";
        assert_eq!(judge(site, "f", false), ("kiosk.toml", vec![]));
        assert_eq!(judge("[video]\nbitrate_kbps = 800\n", "f", false), ("a layer", vec![]));
        let (kind, errors) = judge("[kiosk]\nid = \"a-1\"\n[video]\nbitrate_kbps = 800\n", "f", false);
        assert_eq!(kind, "a layer");
        insta::assert_snapshot!(errors.join("\n"), @r"
        f: kiosk.id: only the kiosk's own kiosk.toml sets this; take it out of what is pushed
        f: checked as a layer: a whole kiosk.toml would have janus.url
        ");
        let (kind, errors) = judge(site, "f", true);
        assert!(kind == "a layer" && errors.len() == 1 && errors[0].starts_with("f: kiosk.id: "), "{errors:?}");
        assert_eq!(judge("[video", "f", false).0, "kiosk.toml");
    }
}
