//! `kioskctl config diff`, `status` and `explain`: nothing is changed by them.

use super::change::{Change, Key};
use super::difference::{differences, name, show_differences};

use crate::fleet::ask::{Question, ask};
use crate::fleet::select::Which;
use crate::fleet::view::{Pushed, View};
use crate::output::{Table, one_line};
use crate::profile::ProfileOptions;
use crate::session::{Session, block_on, moment, now};
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::machine::Explained;
use kiosk_proto::fleet::{Command, LayerName, Outcome, Target, WhenBusy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// `kioskctl config diff`
pub fn diff(change: &Change, which: &Which, json: bool, options: &ProfileOptions) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(which.is_given(), "say for whom: --group, --device or --selector");
    block_on(async {
        let session = Session::open(options, &[]).await?;
        let kiosks = which.kiosks(&session.view);
        let targets: Vec<Target> = match which.target() {
            Some(target) => vec![target],
            None => kiosks.iter().cloned().map(Target::Device).collect(),
        };
        let mut layers = BTreeMap::new();
        for target in targets {
            let held = session.view.pushed(&target).map(|pushed| pushed.payload.config.0.clone()).unwrap_or_default();
            layers.insert(name(&target), change.applied_to(&held)?);
        }
        let found = differences(&session.view, &kiosks, &layers);
        if json {
            outln!("{}", serde_json::to_string(&found)?);
        } else if found.is_empty() {
            outln!("no kiosk of that kind is known to the broker");
        } else {
            out!("{}", show_differences(&found));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The state of a layer that a kiosk says nothing about.
const NOT_HEARD_OF: &str = "not heard of";

/// One layer of one kiosk.
#[derive(serde::Serialize)]
struct Line {
    /// Without one, nobody listens to the layer.
    kiosk: Option<KioskId>,
    layer: LayerName,
    /// The revision at the broker.
    pushed: Option<u64>,
    /// The revision in force.
    confirmed: Option<u64>,
    /// What became of what is at the broker.
    phase: String,
    author: Option<String>,
    reason: Option<String>,
    why: String,
}

/// `kioskctl config status`
pub fn status(which: &Which, json: bool, options: &ProfileOptions) -> anyhow::Result<ExitCode> {
    block_on(async {
        let session = Session::open(options, &[]).await?;
        let only = which.group.clone().map(LayerName::Group);
        let kiosks = which.kiosks(&session.view);
        let lines: Vec<Line> = kiosks
            .iter()
            .flat_map(|id| lines(id, &session.view))
            .chain(unheard(which, &session.view))
            .filter(|line| only.as_ref().is_none_or(|only| *only == line.layer))
            .collect();
        if json {
            outln!("{}", serde_json::to_string(&lines)?);
        } else {
            out!("{}", status_table(&lines));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Layers that nobody listens to: of groups without a kiosk, and of kiosks that never said anything.
fn unheard(which: &Which, view: &View) -> Vec<Line> {
    let line = |kiosk: Option<&KioskId>, layer: LayerName, pushed: &Pushed| Line {
        kiosk: kiosk.cloned(),
        layer,
        pushed: Some(pushed.revision.revision),
        confirmed: None,
        phase: "no kiosk".to_owned(),
        author: Some(pushed.payload.author.clone()),
        reason: Some(pushed.payload.reason.clone()),
        why: String::new(),
    };
    let groups = view.groups.iter().filter(|(group, _)| {
        let meant = which.group.as_ref().map_or(!which.is_given(), |meant| meant == *group);
        meant && view.members(group).is_empty()
    });
    let groups = groups.map(|(group, pushed)| line(None, LayerName::Group(group.clone()), pushed));
    let devices = view.devices.iter().filter(|(id, _)| {
        let chosen = which.selector.as_ref().is_none_or(|selector| selector.holds(id, view));
        let meant = which.device.as_ref().map_or(which.group.is_none() && chosen, |meant| meant == *id);
        meant && !view.kiosks.contains_key(id)
    });
    let devices = devices.map(|(id, pushed)| line(Some(id), LayerName::Device, pushed));
    groups.chain(devices).collect()
}

fn lines(id: &KioskId, view: &View) -> Vec<Line> {
    if !view.kiosks.contains_key(id) {
        return Vec::new();
    }
    let groups = view.groups_of(id).into_iter().map(Target::Group);
    let targets = groups.chain([Target::Device(id.clone())]);
    let line = |target: Target| {
        let (pushed, layer) = (view.pushed(&target), view.layer(id, &target));
        if pushed.is_none() && layer.is_none_or(|layer| layer.confirmed.is_none() && layer.refused.is_none()) {
            return None;
        }
        let digest = pushed.map(|pushed| pushed.revision.digest);
        let attempt = layer.and_then(|layer| layer.attempts.iter().find(|a| Some(a.revision.digest) == digest));
        let refused = layer.and_then(|layer| layer.refused.as_ref());
        let confirmed = layer.and_then(|layer| layer.confirmed);
        let phase = match (attempt, refused) {
            (Some(attempt), _) => attempt.phase.as_str(),
            (None, _) if digest.is_some() && confirmed.map(|revision| revision.digest) == digest => "confirmed",
            (None, Some(refused)) if Some(refused.digest) == digest => "refused",
            (None, _) if pushed.is_none() => "gone from the broker",
            (None, _) => NOT_HEARD_OF,
        };
        let errors = attempt.map(|attempt| {
            attempt.errors.iter().map(|error| match error.path.as_str() {
                "" => error.message.clone(),
                path => format!("{path}: {}", error.message),
            })
        });
        let mut why: Vec<String> = errors.into_iter().flatten().collect();
        why.extend(refused.map(|refused| format!("refused {}: {}", refused.digest.short(), refused.message)));
        if phase == NOT_HEARD_OF && view.is_online(id) && matches!(target, Target::Group(_)) {
            why.push("it is connected and did not get it: is it in this group in the broker's site file?".to_owned());
        }
        let left_out = layer.map(|layer| layer.left_out.as_slice()).unwrap_or_default();
        why.extend(left_out.iter().map(|error| format!("left out: {}: {}", error.path, error.message)));
        why.extend(view.kiosks.get(id).and_then(|kiosk| kiosk.reported.as_ref()?.omission()));
        Some(Line {
            kiosk: Some(id.clone()),
            layer: LayerName::of(&target),
            pushed: pushed.map(|pushed| pushed.revision.revision),
            confirmed: confirmed.map(|revision| revision.revision),
            phase: phase.to_owned(),
            author: pushed.map(|pushed| pushed.payload.author.clone()),
            reason: pushed.map(|pushed| pushed.payload.reason.clone()),
            why: why.join("; "),
        })
    };
    targets.filter_map(line).collect()
}

fn status_table(lines: &[Line]) -> String {
    let mut table = Table::new(["KIOSK", "LAYER", "PUSHED", "CONFIRMED", "STATE", "BY", "REASON", "WHAT IS WRONG"]);
    let number = |revision: Option<u64>| revision.map_or("-".into(), |revision| revision.to_string());
    for line in lines {
        table.row([
            line.kiosk.as_ref().map_or("-".into(), ToString::to_string),
            line.layer.to_string(),
            number(line.pushed),
            number(line.confirmed),
            line.phase.clone(),
            line.author.clone().unwrap_or_default(),
            line.reason.clone().unwrap_or_default(),
            line.why.clone(),
        ]);
    }
    if table.is_empty() { "nothing was pushed to these kiosks\n".into() } else { table.to_string() }
}

/// `kioskctl config explain`
pub fn explain(key: &Key, device: &str, json: bool, options: &ProfileOptions) -> anyhow::Result<ExitCode> {
    let id = KioskId::try_from(device.to_owned()).map_err(|error| anyhow::anyhow!("{device:?} is not {}", error.0))?;
    key.must_exist()?;
    block_on(async {
        let mut session = Session::open(options, &[]).await?;
        anyhow::ensure!(
            session.view.is_online(&id),
            "{id} is not connected: only the kiosk itself knows all its layers"
        );
        let signing = session.key()?;
        let question = Question {
            command: Command::ExplainConfig { keys: vec![key.to_string()] },
            author: session.profile.author()?.to_owned(),
            reason: "explain".into(),
            created: now(),
            valid_for: Duration::from_secs(30),
            force: false,
            when_busy: WhenBusy::Wait,
        };
        let patience = Duration::from_secs(15);
        let answers =
            ask(&mut session.link, &signing, std::slice::from_ref(&id), &question, patience, |_, _| {}).await?;
        let Some(response) = answers.get(&id).cloned().flatten() else { anyhow::bail!("{id} did not answer") };
        anyhow::ensure!(response.outcome == Outcome::Done, "{id}: {}", one_line(&response.message));
        let found: Vec<Explained> = serde_json::from_value(response.result)?;
        let Some(found) = found.first() else { anyhow::bail!("{id} has no value for {key}: it is not set") };
        if json {
            outln!("{}", json!(found));
        } else {
            out!("{}", explained(found));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn explained(found: &Explained) -> String {
    let by = match found.set_by.as_str() {
        "default" => "the built-in default".to_owned(),
        "site" => "the site file, kiosk.toml".to_owned(),
        layer => format!("the layer of {}", one_line(layer)),
    };
    let mut text = format!("{} = {}\nset by   {by}\n", one_line(&found.key), Value::to_string(&found.value));
    let line = |name: &str, value: Option<String>| {
        value.map_or(String::new(), |value| format!("{name:<9}{}\n", one_line(&value)))
    };
    text += &line("revision", found.revision.map(|revision| revision.to_string()));
    text += &line("author", found.author.clone());
    text += &line("signed", found.created.map(moment));
    text += &line("reason", found.reason.clone());
    text
}
