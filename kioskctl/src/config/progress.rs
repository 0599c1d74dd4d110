//! How a rollout looks while it runs and when it is over.

use crate::output::{Table, one_line};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::rollout::{Outcome, Progress, Rollout};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// More kiosks than this are not listed when they confirmed.
const LISTED: usize = 20;
/// The least time between two looks.
const REDRAW: Duration = Duration::from_millis(100);

/// Bars on a terminal, lines elsewhere; on standard error.
pub struct Screen {
    bars: Vec<ProgressBar>,
    all: MultiProgress,
    terminal: bool,
    quiet: bool,
    said: String,
    drawn: Option<Instant>,
}

/// Numbers of kiosks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    confirmed: u64,
    trying: u64,
    failed: u64,
    silent: u64,
}

fn count<'a>(kiosks: impl Iterator<Item = &'a Progress>) -> Counts {
    let mut counts = Counts::default();
    for progress in kiosks {
        match progress {
            Progress::Waiting => {}
            Progress::Trying { .. } => counts.trying += 1,
            Progress::Confirmed => counts.confirmed += 1,
            Progress::Failed { .. } => counts.failed += 1,
            Progress::Silent => counts.silent += 1,
        }
    }
    counts
}

impl Screen {
    /// For a rollout that begins or goes on.
    pub fn new(rollout: &Rollout, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template("{prefix:>8} [{bar:32}] {pos}/{len}  {msg}");
        let style = style.map(|style| style.progress_chars("=> ")).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |stage: &kiosk_proto::fleet::rollout::Stage| {
            let bar = all.add(ProgressBar::new(stage.expect.len() as u64));
            bar.set_style(style.clone());
            bar.set_prefix(one_line(&stage.title).into_owned());
            bar
        };
        let bars = rollout.plan.stages.iter().map(bar).collect();
        Self { bars, all, terminal, quiet, said: String::new(), drawn: None }
    }

    /// Shows how far it is.
    pub fn show(&mut self, rollout: &Rollout, connected: bool) {
        let fresh = self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW);
        // A look costs time with thousands of kiosks: not one for each message.
        if self.quiet || (fresh && rollout.outcome.is_none()) {
            return;
        }
        self.drawn = Some(Instant::now());
        for (index, (bar, stage)) in self.bars.iter().zip(&rollout.plan.stages).enumerate() {
            let known =
                |id: &KioskId| if index == rollout.stage { rollout.current.get(id) } else { rollout.kiosks.get(id) };
            let counts = match index <= rollout.stage {
                true => count(stage.expect.keys().filter_map(known)),
                false => Counts::default(),
            };
            bar.set_position(counts.confirmed);
            bar.set_message(words(counts, connected || index != rollout.stage));
        }
        if self.terminal {
            return;
        }
        let Some(stage) = rollout.current_stage() else { return };
        let counts = count(rollout.current.values());
        let line = format!("{}: {}/{} {}", stage.title, counts.confirmed, stage.expect.len(), words(counts, connected));
        if line != self.said {
            errln!("{}", line.trim_end());
            self.said = line;
        }
    }

    /// Leaves the bars as they stand.
    pub fn end(&self) {
        for bar in &self.bars {
            bar.abandon();
        }
        let _ = self.all.println("");
    }
}

fn words(counts: Counts, connected: bool) -> String {
    let part = |number: u64, what: &str| (number > 0).then(|| format!("{number} {what}"));
    let parts = [
        part(counts.trying, "trying"),
        part(counts.failed, "failed"),
        part(counts.silent, "silent"),
        (!connected).then(|| "broker lost, trying again".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Every kiosk and what became of it.
fn results(rollout: &Rollout) -> BTreeMap<&KioskId, &Progress> {
    rollout.current.iter().chain(&rollout.kiosks).collect()
}

fn state(progress: &Progress) -> (&'static str, String) {
    match progress {
        Progress::Waiting => ("waiting", String::new()),
        Progress::Trying { phase } => (phase.as_str(), String::new()),
        Progress::Confirmed => ("confirmed", String::new()),
        Progress::Failed { errors } => {
            let line = |error: &kiosk_proto::fleet::PathError| match error.path.as_str() {
                "" => error.message.clone(),
                path => format!("{path}: {}", error.message),
            };
            ("failed", errors.iter().map(line).collect::<Vec<_>>().join("; "))
        }
        Progress::Silent => ("silent", "it did not come to an end in time; it goes on when it is back".into()),
    }
}

/// The end of a rollout for people.
pub fn summary(rollout: &Rollout, outcome: &Outcome) -> String {
    let results = results(rollout);
    let mut table = Table::new(["KIOSK", "STATE", "WHY"]);
    for (id, progress) in &results {
        if results.len() <= LISTED || **progress != Progress::Confirmed {
            let (state, why) = state(progress);
            table.row([id.to_string(), state.to_owned(), why]);
        }
    }
    let confirmed = results.values().filter(|progress| ***progress == Progress::Confirmed).count();
    let mut text = if table.is_empty() { String::new() } else { format!("{table}\n") };
    let total = results.len();
    text += &match outcome {
        Outcome::Partly if total == 0 => "sent; no kiosk listens to it yet\n".to_owned(),
        Outcome::Confirmed => format!("confirmed by all {total} kiosks\n"),
        Outcome::Partly => format!("confirmed by {confirmed} of {total} kiosks\n"),
        Outcome::Stopped { why } => {
            format!(
                "STOPPED: {why}. Confirmed by {confirmed} of {total} kiosks that it reached; the rest did not get it\n"
            )
        }
        Outcome::Overtaken { target } => {
            let target = super::difference::name(target);
            format!(
                "OVERTAKEN: somebody else pushed to {target} meanwhile; see `kioskctl config status`, and push again\n"
            )
        }
    };
    text
}

/// The same for programs.
pub fn summary_json(rollout: &Rollout, outcome: &Outcome) -> Value {
    json!({ "result": outcome, "kiosks": results(rollout) })
}

/// What a shell is told.
pub fn exit_code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Confirmed => 0,
        Outcome::Partly => 3,
        Outcome::Stopped { .. } | Outcome::Overtaken { .. } => 4,
    }
}
