//! `kioskctl config rollback`: what was confirmed before is pushed again.

use super::difference::name;
use super::draft::Draft;
use super::push::{EXIT_CODES, How, begin, group_draft, title};
use crate::fleet::select::Which;
use crate::fleet::view::{Pushed, View};
use crate::session::{Session, block_on};
use kiosk_proto::fleet::{Phase, Target};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// `kioskctl config rollback`
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Rollback {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    how: How,
    /// Go back to this revision, instead of to the newest one before the present that a kiosk has confirmed.
    #[arg(long)]
    to: Option<u64>,
}

/// `kioskctl config rollback`
pub fn rollback(rollback: &Rollback) -> anyhow::Result<ExitCode> {
    let which = &rollback.which;
    anyhow::ensure!(which.is_given(), "say for whom: --group, --device or --selector");
    block_on(async {
        let session = Session::open(&rollback.how.profile, &[]).await?;
        if let Some(nobody) = which.nobody(&session.view) {
            errln!("{nobody}");
        }
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
