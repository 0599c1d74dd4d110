//! `kioskctl config push`, `sign` and `rollback`.

use super::bundle::{Bundle, new_file, signed};
use super::change::{Change, flat};
use super::difference::{Difference, cutting_off, differences, name};
use super::draft::{Draft, Terms, layers};
use super::drive::drive;
use super::progress::{Screen, exit_code, summary, summary_json};
use crate::fleet::ask::{Question, ask};
use crate::fleet::link::Link;
use crate::fleet::select::Which;
use crate::fleet::view::{Pushed, View, filters};
use crate::output::Table;
use crate::profile::ProfileOptions;
use crate::session::{Session, block_on, confirm, moment, now};
use crate::token::parse_duration;
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::machine::DryRun;
use kiosk_proto::fleet::{Apply, Command, LayerName, MAX_AUTHOR, MAX_REASON, Outcome, Phase, Target, WhenBusy};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// `kioskctl config push`
#[derive(Debug, clap::Args)]
pub struct Push {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    how: How,
    /// Ask the kiosks what it would change and what is wrong with it; nothing is pushed.
    #[arg(long)]
    dry_run: bool,
    /// Sign it and write it to this file, for a second admin to sign and for --resume; nothing is pushed.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    save: Option<PathBuf>,
    /// Begin or go on with what is in this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["which", "file", "set", "unset", "empty", "save", "dry_run"])]
    resume: Option<PathBuf>,
    /// Give up what is in this file: canaries of a group get back what they had.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["which", "file", "set", "unset", "empty", "save", "dry_run", "resume"])]
    abandon: Option<PathBuf>,
}

/// `kioskctl config rollback`
#[derive(Debug, clap::Args)]
pub struct Rollback {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    how: How,
    /// Go back to this revision, instead of to the newest one before the present that a kiosk has confirmed.
    #[arg(long)]
    to: Option<u64>,
}

/// How something is pushed.
#[derive(Debug, Clone, clap::Args)]
struct How {
    /// Why; kiosks note it. Needed for everything new.
    #[arg(long)]
    reason: Option<String>,
    /// Let this share of the kiosks go first, such as 5%.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    canary: Option<u8>,
    /// Then this share, and so on; the last step is always 100%.
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "canary")]
    then: Vec<u8>,
    /// Go on although so many kiosks did not confirm.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    max_failures: u32,
    /// How long each step waits for its kiosks.
    #[arg(long, value_parser = parse_duration, default_value = "15m")]
    timeout: Duration,
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
    json: bool,
    #[command(flatten)]
    profile: ProfileOptions,
}

fn percent(text: &str) -> Result<u8, String> {
    match text.trim_end_matches('%').parse() {
        Ok(number @ 1..=100) => Ok(number),
        _ => Err(format!("{text:?} is no share: write 1% to 100%")),
    }
}

impl How {
    fn terms(&self, author: &str) -> anyhow::Result<Terms> {
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
            stage_timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// `kioskctl config push`
pub fn push(push: &Push) -> anyhow::Result<ExitCode> {
    if let Some(file) = push.resume.as_deref().or(push.abandon.as_deref()) {
        return resume(file, push.abandon.is_some(), &push.how);
    }
    anyhow::ensure!(push.which.is_given(), "say for whom: --group, --device or --selector");
    block_on(async {
        let mut session = Session::open(&push.how.profile, &[]).await?;
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

fn group_draft(session: &Session, layer: &Map<String, Value>, which: &Which, terms: &Terms) -> anyhow::Result<Draft> {
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

fn title(which: &Which, view: &View, draft: &Draft) -> String {
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
async fn begin(
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
        eprint!("{}", preview(&bundle, &session.view, &found, &cutting));
    }
    if let Some(file) = save {
        bundle.store(file)?;
        println!("{}", file.display());
        eprintln!(
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
                println!("{}", summary_json(&bundle.rollout, &outcome));
            } else {
                print!("{}", summary(&bundle.rollout, &outcome));
            }
            Ok(ExitCode::from(exit_code(&outcome)))
        }
        Ok(None) => {
            eprintln!("Interrupted. What was sent stays; to go on: {resume}");
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
    if !cutting.is_empty() {
        text += &format!(
            "NOTE: {} can cut a kiosk off; kiosks with two_signatures want a second admin's: use --save\n",
            cutting.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        );
    }
    text
}

/// What changes, kiosks with the same change together.
pub fn show_differences(found: &[Difference]) -> String {
    let mut text = String::new();
    for difference in found {
        let who = match difference.kiosks.as_slice() {
            [only] => only.to_string(),
            many => format!("{} kiosks", many.len()),
        };
        if difference.changes.is_empty() {
            text += &format!("  {who}: nothing changes\n");
        } else {
            text += &format!("  {who}:\n");
            for change in &difference.changes {
                text += &format!("    {}\n", change.line());
            }
        }
        if !difference.uncertain.is_empty() {
            let number = difference.uncertain.len();
            text += &format!(
                "    ({number} of them have a layer in force that the broker does not know any more: --dry-run asks the kiosks)\n"
            );
        }
    }
    text
}

fn resume(file: &Path, abandon: bool, how: &How) -> anyhow::Result<ExitCode> {
    let mut bundle = Bundle::load(file)?;
    block_on(async {
        let profile = how.profile.load()?;
        if !how.json {
            eprintln!("{}", bundle.title);
        }
        confirm(if abandon { "Give it up?" } else { "Go on with it?" }, how.yes)?;
        let mut link = Link::open(&profile, filters()).await?;
        run(&mut link, &mut bundle, file, abandon, how.json).await
    })
}

/// `kioskctl config sign`
pub fn sign(file: &Path, yes: bool, options: &ProfileOptions) -> anyhow::Result<ExitCode> {
    let mut bundle = Bundle::load(file)?;
    let profile = options.load()?;
    let key = crate::key::load(profile.signing_key()?)?;
    eprintln!("{}", bundle.title);
    for (payload, digest) in bundle.payloads()? {
        eprintln!(
            "  {} revision {}.{} ({}) by {}, {}: {}",
            name(&payload.target),
            payload.epoch,
            payload.revision,
            digest.short(),
            payload.author,
            moment(payload.created),
            payload.reason
        );
        for (key, value) in flat(&payload.config.0) {
            eprintln!("    {key} = {value}");
        }
    }
    confirm("Sign it?", yes)?;
    bundle.sign(&key)?;
    bundle.store(file)?;
    println!("{}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// `kioskctl config push --dry-run`: each kiosk says for itself.
async fn dry_run(session: &mut Session, push: &Push) -> anyhow::Result<ExitCode> {
    let key = session.key()?;
    let kiosks = push.which.kiosks(&session.view);
    let online: Vec<KioskId> = kiosks.iter().filter(|id| session.view.is_online(id)).cloned().collect();
    let mut answers = BTreeMap::new();
    // Kiosks with the same layer get the same question.
    let mut questions: Vec<(Map<String, Value>, Vec<KioskId>)> = Vec::new();
    for id in &online {
        let target = push.which.target().unwrap_or_else(|| Target::Device(id.clone()));
        let held = session.view.pushed(&target).map(|pushed| pushed.payload.config.0.clone()).unwrap_or_default();
        let layer = push.change.applied_to(&held)?;
        match questions.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, ids)) => ids.push(id.clone()),
            None => questions.push((layer, vec![id.clone()])),
        }
    }
    let layer_name = push.which.group.clone().map_or(LayerName::Device, LayerName::Group);
    for (layer, ids) in questions {
        let question = Question {
            command: Command::DryRun { config: super::change::object(layer), layer: layer_name.clone() },
            author: session.profile.author()?.to_owned(),
            reason: push.how.reason.clone().unwrap_or_else(|| "dry run".into()),
            created: now(),
            valid_for: Duration::from_secs(60),
            force: false,
            when_busy: WhenBusy::Wait,
        };
        answers.extend(ask(&mut session.link, &key, &ids, &question, Duration::from_secs(20), |_, _| {}).await?);
    }
    let mut table = Table::new(["KIOSK", "WHAT IT SAYS"]);
    let mut fine = true;
    let mut result = BTreeMap::new();
    for id in &kiosks {
        let lines = match answers.get(id) {
            None => vec!["is not connected".to_owned()],
            Some(None) => vec!["did not answer".to_owned()],
            Some(Some(response)) if response.outcome != Outcome::Done => {
                vec![format!("{:?}: {}", response.outcome, response.message).to_lowercase()]
            }
            Some(Some(response)) => {
                let said: DryRun = serde_json::from_value(response.result.clone())?;
                fine &= said.errors.is_empty();
                result.insert(id, json!(said));
                said_lines(&said)
            }
        };
        fine &= result.contains_key(id);
        for (number, line) in lines.into_iter().enumerate() {
            table.row([if number == 0 { id.to_string() } else { String::new() }, line]);
        }
    }
    if push.how.json {
        println!("{}", json!({ "fine": fine, "kiosks": result, "asked": online.len(), "known": kiosks.len() }));
    } else {
        print!("{table}");
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn said_lines(said: &DryRun) -> Vec<String> {
    let value = |value: &Option<Value>| value.as_ref().map_or("(none)".into(), Value::to_string);
    let change = |change: &kiosk_proto::fleet::machine::Change| {
        format!("{}  {} -> {}", change.key, value(&change.from), value(&change.to))
    };
    let error = |error: &kiosk_proto::fleet::PathError| match error.path.as_str() {
        "" => format!("ERROR {}", error.message),
        path => format!("ERROR {path}: {}", error.message),
    };
    let mut lines: Vec<String> = said.changes.iter().map(change).chain(said.errors.iter().map(error)).collect();
    for (holds, note) in [
        (said.two_signatures, "wants two signatures"),
        (said.waits_for_idle, "waits for the end of a call"),
        (said.restarts, "the daemon restarts for it"),
    ] {
        if holds {
            lines.push(format!("({note})"));
        }
    }
    if lines.is_empty() {
        lines.push("nothing would change".into());
    }
    lines
}

/// `kioskctl config rollback`
pub fn rollback(rollback: &Rollback) -> anyhow::Result<ExitCode> {
    let which = &rollback.which;
    anyhow::ensure!(which.is_given(), "say for whom: --group, --device or --selector");
    block_on(async {
        let session = Session::open(&rollback.how.profile, &[]).await?;
        let mut how = rollback.how.clone();
        let targets = match which.target() {
            Some(target) => vec![target],
            None => which.kiosks(&session.view).into_iter().map(Target::Device).collect(),
        };
        let mut of = BTreeMap::new();
        let mut revisions = Vec::new();
        for target in &targets {
            let earlier = earlier(&session.view, target, rollback.to)?;
            session.must_trust(earlier)?;
            revisions.push(earlier.revision.revision);
            of.insert(name(target), earlier.payload.config.0.clone());
        }
        revisions.dedup();
        let revisions = revisions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        how.reason = how.reason.or(Some(format!("back to revision {revisions}")));
        let terms = how.terms(session.profile.author()?)?;
        let layer = |target: Target| of.get(&name(&target)).cloned().unwrap_or_default();
        let draft = match &which.group {
            Some(group) => group_draft(&session, &layer(Target::Group(group.clone())), which, &terms)?,
            None => {
                let kiosks = which.kiosks(&session.view);
                Draft::for_kiosks(&session.view, &kiosks, &|id| layer(Target::Device(id.clone())), &terms)?
            }
        };
        let title = format!("{}: back to revision {revisions}", title(which, &session.view, &draft));
        begin(session, draft, title, &terms, &how, None).await
    })
}

/// What was in force before what is pushed now: the newest that some kiosk has confirmed.
fn earlier<'a>(view: &'a View, target: &Target, to: Option<u64>) -> anyhow::Result<&'a Pushed> {
    let earlier = view.earlier(target);
    if let Some(to) = to {
        let found = earlier.iter().find(|pushed| pushed.revision.revision == to).copied();
        return found.ok_or_else(|| {
            let known: Vec<String> = earlier.iter().map(|pushed| pushed.revision.revision.to_string()).collect();
            anyhow::anyhow!("{} has no revision {to} at the broker; there are: {}", name(target), known.join(", "))
        });
    }
    let layers: Vec<_> = view.kiosks.keys().filter_map(|id| view.layer(id, target)).collect();
    let present = view.pushed(target).map(|pushed| &pushed.payload.config);
    let confirmed = |pushed: &&&Pushed| {
        let digest = pushed.revision.digest;
        layers.iter().any(|layer| {
            layer.confirmed.is_some_and(|revision| revision.digest == digest)
                || layer
                    .attempts
                    .iter()
                    .any(|a| a.revision.digest == digest && a.phases.iter().any(|p| p.phase == Phase::Confirmed))
        })
    };
    let found = earlier.iter().filter(confirmed).find(|pushed| Some(&pushed.payload.config) != present);
    found.copied().ok_or_else(|| {
        anyhow::anyhow!(
            "{} has no earlier revision at the broker that a kiosk has confirmed; take the layer away with \
             `kioskctl config push --empty`, or name a revision with --to",
            name(target)
        )
    })
}
