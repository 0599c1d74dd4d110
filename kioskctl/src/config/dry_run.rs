//! `kioskctl config push --dry-run`: the kiosks say themselves what would change.

use super::change::object;
use super::push::Push;
use crate::fleet::ask::{Question, ask};
use crate::output::Table;
use crate::session::{Session, now};
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::machine::DryRun;
use kiosk_proto::fleet::{Command, LayerName, Outcome, Target, WhenBusy};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// `kioskctl config push --dry-run`: each kiosk says for itself.
pub(super) async fn dry_run(session: &mut Session, push: &Push) -> anyhow::Result<ExitCode> {
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
            command: Command::DryRun { config: object(layer), layer: layer_name.clone() },
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
    let mut fine = !kiosks.is_empty();
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
        outln!("{}", json!({ "fine": fine, "kiosks": result, "asked": online.len(), "known": kiosks.len() }));
    } else if !table.is_empty() {
        out!("{table}");
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
