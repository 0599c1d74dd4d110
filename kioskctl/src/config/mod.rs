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
use kiosk_proto::config::{ConfigError, ConfigErrors, Layer};
use serde_json::{Value, json};
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
    let Judgement { kind, errors, note } = judge(&text, layer);
    let errors = errors.map(|errors| errors.in_file(file.display().to_string()));
    let fine = errors.is_none() && note.is_none();
    if json {
        let told: Vec<Value> = errors.iter().flat_map(ConfigErrors::iter).map(as_json).collect();
        outln!("{}", json!({ "file": file, "kind": kind, "errors": told, "note": note }));
    } else if fine {
        outln!("{}: no errors, as {kind}", file.display());
    } else {
        errors.iter().for_each(|errors| errln!("{errors}"));
        note.iter().for_each(|note| errln!("{}: {note}", file.display()));
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(ConfigError { line, column, key, problem, .. }: &ConfigError) -> Value {
    json!({ "line": line, "column": column, "key": key, "message": problem.to_string() })
}

/// What a file is taken for, and what is wrong with it.
struct Judgement {
    kind: &'static str,
    errors: Option<ConfigErrors>,
    note: Option<&'static str>,
}

fn judge(text: &str, layer: bool) -> Judgement {
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let has_kiosk = table.contains_key("kiosk");
    let has_url = table.get("janus").is_some_and(|janus| janus.get("url").is_some());
    if has_kiosk && has_url && !layer {
        return Judgement { kind: "kiosk.toml", errors: kiosk_proto::config::parse(text).err(), note: None };
    }
    let note = (has_kiosk && !layer).then_some("checked as a layer: a whole kiosk.toml would have janus.url");
    Judgement { kind: "a layer", errors: Layer::parse(text).err(), note }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_for_what_it_is() {
        let told = |text: &str, layer: bool| {
            let Judgement { kind, errors, note } = judge(text, layer);
            let errors = errors.map(|errors| errors.to_string()).unwrap_or_default();
            format!("{kind}\n{errors}\n{}", note.unwrap_or_default())
        };
        let site = "[kiosk]\nid = \"a-1\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1001\n";
        assert_eq!(told(site, false), "kiosk.toml\n\n");
        assert_eq!(told("[video]\nbitrate_kbps = 800\n", false), "a layer\n\n");
        insta::assert_snapshot!(told("[kiosk]\nid = \"a-1\"\n[video]\nbitrate_kbps = 800\n", false), @r#"
        a layer
        kiosk.toml:2:1: kiosk.id: only the kiosk's own kiosk.toml sets this; take it out of what is pushed
            2 | id = "a-1"
              | ^^
        checked as a layer: a whole kiosk.toml would have janus.url
        "#);
        assert!(told(site, true).starts_with("a layer\nkiosk.toml:2:1: kiosk.id: "));
    }
}
