//! `kioskctl run`: asks kiosks to do something, once.

use crate::fleet::ask::{Answers, Heard, Question, ask};
use crate::fleet::select::Which;
use crate::output::Table;
use crate::profile::ProfileOptions;
use crate::session::{Session, block_on, confirm, now};
use crate::token::parse_duration;
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::{Command, LogLevel, Outcome, Response, Upload, WhenBusy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// `kioskctl run ...`
#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(subcommand)]
    what: What,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Ask for an answer.
    Ping(Options),
    /// Start the daemon again.
    RestartDaemon(EndsCall),
    /// Start the machine again.
    Reboot(EndsCall),
    /// End the customer's call; needs --force.
    EndCall {
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        options: Options,
    },
    /// Write more or less to the journal for a while.
    SetLogLevel {
        /// How much.
        #[arg(value_enum)]
        level: Level,
        /// For how many minutes.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1440))]
        minutes: u16,
        #[command(flatten)]
        options: Options,
    },
    /// Run the self-check.
    SelfCheck {
        #[command(flatten)]
        refuse: Refuse,
        #[command(flatten)]
        options: Options,
    },
    /// Collect the journal, the configuration without secrets, and figures.
    Diagnostics {
        /// How many minutes of the journal.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=1440))]
        journal_minutes: u16,
        /// The kiosk sends it to this https:// address by PUT, instead of over the broker.
        #[arg(long)]
        url: Option<String>,
        /// The most that is sent over the broker, KiB.
        #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=16384))]
        max_kib: u32,
        /// The folder for what comes over the broker: a file for each kiosk.
        #[arg(long, default_value = ".")]
        out: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Let the machine show which one it is.
    Identify {
        /// For how many seconds.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=600))]
        seconds: u16,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// For whom and how.
#[derive(Debug, Clone, clap::Args)]
struct Options {
    #[command(flatten)]
    which: Which,
    /// Why; the kiosk notes it.
    #[arg(long, default_value = "by hand")]
    reason: String,
    /// How long it may be begun; a kiosk that is back later does not do it.
    #[arg(long, value_parser = parse_duration, default_value = "2m")]
    valid_for: Duration,
    /// Do not ask, when it is for more than one kiosk.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileOptions,
}

/// The same, where it would end a call.
#[derive(Debug, Clone, clap::Args)]
struct EndsCall {
    #[command(flatten)]
    force: Force,
    #[command(flatten)]
    refuse: Refuse,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Force {
    /// Do it although it ends a customer's call.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Refuse {
    /// Be refused when there is a call, instead of waiting for its end.
    #[arg(long)]
    refuse_when_busy: bool,
}

/// What is done where there is a call.
#[derive(Debug, Clone, Copy, Default)]
struct Busy {
    force: bool,
    refuse: bool,
}

/// Carries a command out.
pub fn run(run: Run) -> anyhow::Result<ExitCode> {
    let mut busy = Busy::default();
    let mut ends_call = |EndsCall { force, refuse, options }: EndsCall| {
        busy = Busy { force: force.force, refuse: refuse.refuse_when_busy };
        options
    };
    let (command, options, out) = match run.what {
        What::Ping(options) => (Command::Ping {}, options, None),
        What::RestartDaemon(which) => (Command::RestartDaemon {}, ends_call(which), None),
        What::Reboot(which) => (Command::Reboot {}, ends_call(which), None),
        What::EndCall { force, options } => {
            busy.force = force.force;
            (Command::EndCall {}, options, None)
        }
        What::SetLogLevel { level, minutes, options } => {
            let level = match level {
                Level::Error => LogLevel::Error,
                Level::Warn => LogLevel::Warn,
                Level::Info => LogLevel::Info,
                Level::Debug => LogLevel::Debug,
                Level::Trace => LogLevel::Trace,
            };
            (Command::SetLogLevel { level, minutes }, options, None)
        }
        What::SelfCheck { refuse, options } => {
            busy.refuse = refuse.refuse_when_busy;
            (Command::SelfCheck {}, options, None)
        }
        What::Diagnostics { journal_minutes, url, max_kib, out, options } => {
            let upload = match url {
                Some(url) => Upload::Https { url },
                None => Upload::Mqtt { max_bytes: max_kib * 1024 },
            };
            (Command::CollectDiagnostics { journal_minutes, upload }, options, Some(out))
        }
        What::Identify { seconds, options } => (Command::Identify { seconds }, options, None),
    };
    anyhow::ensure!(options.which.is_given(), "say for whom: --device, --group or --selector");
    block_on(carry_out(command, busy, &options, out))
}

async fn carry_out(command: Command, busy: Busy, options: &Options, out: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let more: &[&str] = if out.is_some() { &["bk/v1/device/+/chunk/+"] } else { &[] };
    let mut session = Session::open(&options.profile, more).await?;
    let key = session.key()?;
    let all = options.which.kiosks(&session.view);
    let kiosks: Vec<KioskId> = all.iter().filter(|id| session.view.is_online(id)).cloned().collect();
    if kiosks.len() > 1 {
        confirm(&format!("{} on {} kiosks?", command.kind(), kiosks.len()), options.yes)?;
    }
    let question = Question {
        command,
        author: session.profile.author()?.to_owned(),
        reason: options.reason.clone(),
        created: now(),
        valid_for: options.valid_for,
        force: busy.force,
        when_busy: if busy.refuse { WhenBusy::Refuse } else { WhenBusy::Wait },
    };
    let mut files: BTreeMap<KioskId, Parts> = BTreeMap::new();
    let mut failed: Option<std::io::Error> = None;
    let heard = |id: &KioskId, heard: &Heard| match heard {
        Heard::Answer(response) if response.outcome == Outcome::Waiting => {
            errln!("{id}: a customer is in a call; it waits for the end of it");
        }
        Heard::Answer(_) => {}
        Heard::Chunk { index, bytes } => {
            if let Err(error) = keep(&mut files, out.as_deref(), id, *index, bytes) {
                failed.get_or_insert(error);
            }
        }
    };
    // A little longer than the kiosks, so that their last word is heard.
    let patience = options.valid_for + Duration::from_secs(5);
    let answers = ask(&mut session.link, &key, &kiosks, &question, patience, heard).await?;
    if let Some(error) = failed {
        anyhow::bail!("cannot write what came: {error}");
    }
    let done = answers.values().flatten().filter(|response| response.outcome == Outcome::Done).count();
    if options.json {
        let files: BTreeMap<&KioskId, &PathBuf> = files.iter().map(|(id, parts)| (id, &parts.path)).collect();
        outln!("{}", json!({ "kiosks": all, "answers": answers, "files": files }));
    } else {
        out!("{}", table(&all, &answers, &files));
    }
    Ok(if done == all.len() && done > 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// A file that comes in parts.
struct Parts {
    path: PathBuf,
    file: File,
    next: u64,
}

/// Writes a part to its kiosk's file. They come in their order; one that comes again is left out.
fn keep(
    files: &mut BTreeMap<KioskId, Parts>,
    out: Option<&Path>,
    id: &KioskId,
    index: u64,
    bytes: &[u8],
) -> std::io::Result<()> {
    if !files.contains_key(id) {
        let path = out.unwrap_or(Path::new(".")).join(format!("{id}-{}.json.gz", now()));
        let file = File::create_new(&path)?;
        files.insert(id.clone(), Parts { path, file, next: 0 });
    }
    let Some(parts) = files.get_mut(id) else { return Ok(()) };
    if index > parts.next {
        return Err(std::io::Error::other(format!("part {} of {id} is missing", parts.next)));
    }
    if index == parts.next {
        parts.file.write_all(bytes)?;
        parts.next += 1;
    }
    Ok(())
}

fn table(all: &[KioskId], answers: &Answers, files: &BTreeMap<KioskId, Parts>) -> String {
    let mut table = Table::new(["KIOSK", "OUTCOME", "ANSWER"]);
    for id in all {
        let (outcome, mut text) = match answers.get(id) {
            None => ("not connected".to_owned(), String::new()),
            Some(None) => ("no answer".to_owned(), String::new()),
            Some(Some(response)) => (format!("{:?}", response.outcome).to_lowercase(), answer(response)),
        };
        if let Some(parts) = files.get(id) {
            text = parts.path.display().to_string();
        }
        table.row([id.to_string(), outcome, text]);
    }
    if table.is_empty() { "no kiosk of that kind is known to the broker\n".into() } else { table.to_string() }
}

fn answer(response: &Response) -> String {
    match &response.result {
        Value::Null => response.message.clone(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            });
            [vec![response.message.clone()], fields.collect()].concat().join(" ").trim().to_owned()
        }
        other => format!("{} {other}", response.message).trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Subcommand;

    /// What a command can be told of calls is what its kiosk asks when there is one.
    #[test]
    fn only_what_ends_a_call_has_options_for_that() {
        let mut seen = Vec::new();
        for command in What::augment_subcommands(clap::Command::new("run")).get_subcommands() {
            let has = |name: &str| command.get_arguments().any(|argument| argument.get_long() == Some(name));
            if has("force") || has("refuse-when-busy") {
                seen.push((command.get_name().to_owned(), has("force"), has("refuse-when-busy")));
            }
        }
        let seen: Vec<_> = seen.iter().map(|(name, force, refuse)| (name.as_str(), *force, *refuse)).collect();
        let both = |name| (name, true, true);
        assert_eq!(
            seen,
            [both("restart-daemon"), both("reboot"), ("end-call", true, false), ("self-check", false, true)]
        );
    }
}
