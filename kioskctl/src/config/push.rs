//! `kioskctl config push` and `sign`.

use super::bundle::{Bundle, new_file, signed};
use super::change::{Change, flat};
use super::difference::{Difference, cutting_off, differences, name, show_differences};
use super::draft::{Draft, Terms, ahead, layers};
use super::drive::drive;
use super::dry_run::dry_run;
use super::progress::{Screen, exit_code, summary, summary_json};
use crate::fleet::link::Link;
use crate::fleet::select::Which;
use crate::fleet::view::{View, filters};
use crate::output::one_line;
use crate::profile::ProfileOptions;
use crate::session::{Session, block_on, confirm, moment, now};
use crate::token::parse_duration;
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::{Apply, MAX_AUTHOR, MAX_REASON, Target};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What a shell is told by `push` and `rollback`.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    all kiosks confirmed; with --save, it is signed; with --dry-run, all kiosks would take it
  1    nothing was done, or it stands still; the message says why, and how to go on
  2    the command line can't be understood
  3    some kiosks did not confirm, or there is none
  4    stopped by failures, or somebody else pushed to the same target meanwhile
  130  interrupted; --resume goes on";

/// `kioskctl config push`
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Push {
    #[command(flatten)]
    pub(super) change: Change,
    #[command(flatten)]
    pub(super) which: Which,
    #[command(flatten)]
    pub(super) how: How,
    /// Ask the kiosks what it would change and what is wrong with it; nothing is pushed.
    #[arg(long)]
    dry_run: bool,
    /// Sign it and write it to this file, for a second admin to sign and for --resume; nothing is pushed.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    save: Option<PathBuf>,
    /// Begin or go on with what is in this file. How it is pushed stands there too; only --timeout may differ.
    #[arg(long, value_name = "FILE", conflicts_with_all = PLANNED)]
    resume: Option<PathBuf>,
    /// Give up what is in this file: canaries of a group get back what they had.
    #[arg(long, value_name = "FILE", conflicts_with_all = PLANNED, conflicts_with_all = ["timeout", "resume"])]
    abandon: Option<PathBuf>,
}

/// What stands in a rollout's file already.
const PLANNED: [&str; 14] = [
    "which",
    "file",
    "set",
    "unset",
    "empty",
    "save",
    "dry_run",
    "reason",
    "canary",
    "then",
    "max_failures",
    "now",
    "force",
    "expires",
];

/// How long each step waits, when nothing else is said.
const STAGE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How something is pushed.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct How {
    /// Why; kiosks note it. Needed for everything new.
    #[arg(long)]
    pub(super) reason: Option<String>,
    /// Let this share of the kiosks go first, such as 5%.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    canary: Option<u8>,
    /// Then this share, and so on; the last step is always 100%.
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "canary")]
    then: Vec<u8>,
    /// Go on although so many kiosks did not confirm.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    max_failures: u32,
    /// How long each step waits for its kiosks, 15m unless it is set.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Apply at once what is harmless to a call, instead of after it.
    #[arg(long)]
    now: bool,
    /// Try it also where the same configuration failed before.
    #[arg(long)]
    force: bool,
    /// Kiosks that come back later than this don't try it any more.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print JSON, and no progress.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) profile: ProfileOptions,
}

fn percent(text: &str) -> Result<u8, String> {
    match text.trim_end_matches('%').parse() {
        Ok(number @ 1..=100) => Ok(number),
        _ => Err(format!("{text:?} is no share: write 1% to 100%")),
    }
}

impl How {
    pub(super) fn terms(&self, author: &str) -> anyhow::Result<Terms> {
        let reason = self.reason.clone().unwrap_or_default();
        anyhow::ensure!(!reason.trim().is_empty(), "say why with --reason: kiosks and colleagues will read it");
        anyhow::ensure!(reason.chars().count() <= MAX_REASON, "--reason has more than {MAX_REASON} characters");
        anyhow::ensure!(author.chars().count() <= MAX_AUTHOR, "--author has more than {MAX_AUTHOR} characters");
        let canaries: Vec<u8> = self.canary.iter().chain(&self.then).copied().collect();
        anyhow::ensure!(
            canaries.is_sorted_by(|a, b| a < b),
            "--canary and each --then must be more than the one before"
        );
        let created = now();
        Ok(Terms {
            author: author.to_owned(),
            reason,
            created,
            expires: self.expires.map(|expires| created + expires.as_secs()),
            apply: if self.now { Apply::Now } else { Apply::Idle },
            force: self.force,
            canaries,
            max_failures: self.max_failures,
            stage_timeout_ms: milliseconds(self.timeout.unwrap_or(STAGE_TIMEOUT)),
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `kioskctl config push`
pub fn push(push: &Push) -> anyhow::Result<ExitCode> {
    if let Some(file) = push.resume.as_deref().or(push.abandon.as_deref()) {
        return resume(file, push.abandon.is_some(), &push.how);
    }
    anyhow::ensure!(push.which.is_given(), "say for whom: --group, --device or --selector");
    block_on(async {
        let mut session = Session::open(&push.how.profile, &[]).await?;
        if let Some(nobody) = push.which.nobody(&session.view) {
            errln!("{nobody}");
        }
        if push.dry_run {
            return dry_run(&mut session, push).await;
        }
        let terms = push.how.terms(session.profile.author()?)?;
        let draft = draft(&session, &push.change, &push.which, &terms)?;
        let title = title(&push.which, &session.view, &draft);
        begin(session, draft, title, &terms, &push.how, push.save.as_deref()).await
    })
}

/// The messages for what is to be changed.
fn draft(session: &Session, change: &Change, which: &Which, terms: &Terms) -> anyhow::Result<Draft> {
    let view = &session.view;
    let base = |target: &Target| -> anyhow::Result<Map<String, Value>> {
        let Some(pushed) = view.pushed(target) else { return Ok(Map::new()) };
        if change.needs_base() {
            session.must_trust(pushed)?;
        }
        Ok(pushed.payload.config.0.clone())
    };
    if let Some(group) = &which.group {
        let layer = change.applied_to(&base(&Target::Group(group.clone()))?)?;
        return group_draft(session, &layer, which, terms);
    }
    let kiosks = which.kiosks(view);
    let mut of = BTreeMap::new();
    for id in &kiosks {
        of.insert(id.clone(), change.applied_to(&base(&Target::Device(id.clone()))?)?);
    }
    Ok(Draft::for_kiosks(view, &kiosks, &|id| of.get(id).cloned().unwrap_or_default(), terms)?)
}

/// The messages for a group.
pub(super) fn group_draft(
    session: &Session,
    layer: &Map<String, Value>,
    which: &Which,
    terms: &Terms,
) -> anyhow::Result<Draft> {
    let Some(group) = &which.group else { anyhow::bail!("a group is needed") };
    if !terms.canaries.is_empty() {
        // A canary's own layer is made of what is there.
        let targets = session.view.members(group).into_iter().map(Target::Device);
        for pushed in targets.filter_map(|target| session.view.pushed(&target).cloned()) {
            session.must_trust(&pushed)?;
        }
    }
    Ok(Draft::for_group(&session.view, group, layer, terms)?)
}

/// What a rollout is called.
pub(super) fn title(which: &Which, view: &View, draft: &Draft) -> String {
    match which.target() {
        Some(target) => {
            let last = draft.payloads.iter().find(|payload| payload.target == target);
            let revision = last.map_or(0, |payload| payload.revision);
            format!("{} revision {revision}, {} kiosks", name(&target), which.kiosks(view).len())
        }
        None => format!("{} kiosks, each for itself", which.kiosks(view).len()),
    }
}

/// Shows, asks, signs, writes down, and carries out.
pub(super) async fn begin(
    mut session: Session,
    draft: Draft,
    title: String,
    terms: &Terms,
    how: &How,
    save: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let key = session.key()?;
    let kiosks: Vec<KioskId> = {
        let mut all: Vec<KioskId> = draft.stages.iter().flat_map(|stage| stage.expect.keys().cloned()).collect();
        all.sort();
        all.dedup();
        all
    };
    // What it comes to in the end: the first message for each target is the one that changes something.
    let mut first = BTreeMap::new();
    for payload in draft.payloads.iter().rev() {
        first.insert(name(&payload.target), payload.clone());
    }
    let (messages, revisions) = signed(&draft.payloads, &key)?;
    let all: Vec<_> = first.into_values().collect();
    let found = differences(&session.view, &kiosks, &layers(&all));
    let concerned = |target: &Target| match target {
        Target::Device(id) => vec![id.clone()],
        Target::Group(_) => kiosks.clone(),
    };
    let cutting: BTreeSet<String> =
        all.iter().flat_map(|p| cutting_off(&session.view, &concerned(&p.target), &p.target, &p.config.0)).collect();
    let mut bundle = Bundle::new(title, messages, draft.plan(&revisions, terms));
    if !how.json {
        err!("{}", preview(&bundle, &session.view, &found, &cutting));
    }
    if let Some(file) = save {
        bundle.store(file)?;
        outln!("{}", file.display());
        errln!(
            "Signed and not sent. A second admin: kioskctl config sign {0}\nThen: kioskctl config push --resume {0}",
            file.display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    confirm("Push it?", how.yes)?;
    let file = new_file(terms.created)?;
    run(&mut session.link, &mut bundle, &file, false, how.json).await
}

async fn run(link: &mut Link, bundle: &mut Bundle, file: &Path, abandon: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::new(&bundle.rollout, json);
    let outcome = drive(link, bundle, file, abandon, &mut screen).await;
    screen.end();
    let resume = format!("kioskctl config push --resume {}", file.display());
    match outcome {
        Ok(Some(outcome)) => {
            if json {
                outln!("{}", summary_json(&bundle.rollout, &outcome));
            } else {
                out!("{}", summary(&bundle.rollout, &outcome));
            }
            Ok(ExitCode::from(exit_code(&outcome)))
        }
        Ok(None) => {
            errln!("Interrupted. What was sent stays; to go on: {resume}");
            Ok(ExitCode::from(130))
        }
        Err(error) => anyhow::bail!("{error}\nNothing more is sent. To go on: {resume}"),
    }
}

/// What is about to be sent.
fn preview(bundle: &Bundle, view: &View, found: &[Difference], cutting: &BTreeSet<String>) -> String {
    let mut text = format!("{}\n", bundle.title);
    text += &show_differences(found);
    if bundle.rollout.plan.stages.len() > 1 {
        let steps =
            bundle.rollout.plan.stages.iter().map(|stage| format!("{} ({} kiosks)", stage.title, stage.expect.len()));
        text += &format!("steps: {}\n", steps.collect::<Vec<_>>().join(", "));
    }
    let kiosks = found.iter().flat_map(|difference| &difference.kiosks);
    let away = kiosks.filter(|id| !view.is_online(id)).count();
    if away > 0 {
        text += &format!("{away} of them are not connected: they get it when they are back\n");
    }
    let mut first = BTreeMap::new();
    for message in &bundle.rollout.plan.messages {
        first.entry(name(&message.target)).or_insert(message);
    }
    for message in first.into_values() {
        for id in ahead(view, &message.target, message.revision) {
            text += &format!(
                "NOTE: {id} says it has a newer layer of {} than the broker and will refuse this one. If the broker \
                 lost a push, push again; otherwise look at that kiosk\n",
                name(&message.target)
            );
        }
    }
    if !cutting.is_empty() {
        text += &format!(
            "NOTE: {} can cut a kiosk off; kiosks with two_signatures want a second admin's: use --save\n",
            cutting.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        );
    }
    text
}

fn resume(file: &Path, abandon: bool, how: &How) -> anyhow::Result<ExitCode> {
    let mut bundle = Bundle::load(file)?;
    if let Some(timeout) = how.timeout {
        bundle.rollout.plan.stage_timeout_ms = milliseconds(timeout);
    }
    block_on(async {
        let profile = how.profile.load()?;
        if !how.json {
            errln!("{}", one_line(&bundle.title));
        }
        confirm(if abandon { "Give it up?" } else { "Go on with it?" }, how.yes)?;
        let mut link = Link::open(&profile, filters()).await?;
        run(&mut link, &mut bundle, file, abandon, how.json).await
    })
}

/// `kioskctl config sign`
pub fn sign(file: &Path, yes: bool, json: bool, options: &ProfileOptions) -> anyhow::Result<ExitCode> {
    let mut bundle = Bundle::load(file)?;
    let profile = options.load()?;
    let key = crate::key::load(profile.signing_key()?)?;
    errln!("{}", one_line(&bundle.title));
    let payloads = bundle.payloads()?;
    for (payload, digest) in &payloads {
        errln!(
            "  {} revision {}.{} ({}) by {}, {}: {}",
            name(&payload.target),
            payload.epoch,
            payload.revision,
            digest.short(),
            one_line(&payload.author),
            moment(payload.created),
            one_line(&payload.reason)
        );
        for (key, value) in flat(&payload.config.0) {
            errln!("    {} = {value}", one_line(&key));
        }
    }
    confirm("Sign it?", yes)?;
    bundle.sign(&key)?;
    bundle.store(file)?;
    if json {
        let message = |(payload, digest): &_| json!({ "digest": digest, "payload": payload });
        let messages: Vec<Value> = payloads.iter().map(message).collect();
        outln!("{}", json!({ "file": file, "signed_by": bundle.signers(), "messages": messages }));
    } else {
        outln!("{}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}
