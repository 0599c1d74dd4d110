//! `kioskctl fleet`: which kiosks there are, and how they are.

pub mod ask;
pub mod link;
pub mod select;
pub mod view;

use crate::output::{self, Table};
use crate::profile::ProfileOptions;
use crate::session::{Session, block_on, now};
use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::Phase;
use link::Arrival;
use select::Which;
use serde_json::{Value, json};
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use view::View;

/// `kioskctl fleet ...`
#[derive(clap::Subcommand)]
pub enum FleetCommand {
    /// List kiosks: whether they are there, their groups, and where their configuration is.
    List(Options),
    /// The same, again with every change, until Ctrl-C.
    Watch(Options),
}

/// Which kiosks, and how they are shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    which: Which,
    /// Print JSON; `watch` prints one line for each change.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileOptions,
}

/// Changes that come together are shown together.
const SETTLE: Duration = Duration::from_millis(200);

/// Carries a command out.
pub fn run(command: FleetCommand) -> anyhow::Result<()> {
    block_on(async {
        match command {
            FleetCommand::List(options) => {
                let session = Session::open(&options.profile, &[]).await?;
                let kiosks = options.which.kiosks(&session.view);
                if options.json {
                    let all: Vec<Value> = kiosks.iter().map(|id| as_json(id, &session.view)).collect();
                    outln!("{}", serde_json::to_string(&all)?);
                } else {
                    out!("{}", table(&kiosks, &session.view));
                }
                Ok(())
            }
            FleetCommand::Watch(options) => watch(&options).await,
        }
    })
}

async fn watch(options: &Options) -> anyhow::Result<()> {
    let mut session = Session::open(&options.profile, &["bk/v1/device/+/metrics"]).await?;
    let screen = io::stdout().is_terminal() && !options.json;
    let mut shown = String::new();
    while !output::is_closed() {
        let kiosks = options.which.kiosks(&session.view);
        let text = if options.json {
            kiosks.iter().map(|id| format!("{}\n", as_json(id, &session.view))).collect()
        } else {
            table(&kiosks, &session.view)
        };
        if text != shown {
            if screen {
                output::clear_screen();
                out!("{text}");
            } else {
                // Only what is new: a line for a kiosk is a line for a change.
                text.lines().filter(|line| !shown.lines().any(|old| old == *line)).for_each(|line| outln!("{line}"));
            }
            shown = text;
        }
        let until = Instant::now() + SETTLE;
        if !take(&mut session, None).await {
            return Ok(());
        }
        while take(&mut session, Some(until)).await && Instant::now() < until {}
    }
    Ok(())
}

/// Takes what comes next; false: Ctrl-C, or the time is over.
async fn take(session: &mut Session, until: Option<Instant>) -> bool {
    let over = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        arrival = session.link.next() => {
            match arrival {
                Arrival::Message(message) => session.view.take(&message),
                Arrival::Down(reason) => errln!("the broker is lost: {reason}; trying again"),
                Arrival::Up => {}
            }
            true
        }
        () = over => false,
        _ = tokio::signal::ctrl_c() => false,
    }
}

/// The newest thing that a kiosk says of any layer: `video.. rolled-back` matters more than an old `confirmed`.
fn phase(id: &KioskId, view: &View) -> (String, String) {
    let Some(reported) = view.kiosks.get(id).and_then(|kiosk| kiosk.reported.as_ref()) else {
        return ("-".into(), String::new());
    };
    let newest = reported.layers.iter().filter_map(|layer| Some((layer, layer.attempts.first()?)));
    let worst = newest.max_by_key(|(_, attempt)| match attempt.phase {
        Phase::Rejected | Phase::RolledBack => 2,
        Phase::Confirmed => 0,
        _ => 1,
    });
    let storage = reported.storage.clone().map(|problem| format!("storage: {problem}"));
    let storage = storage.or_else(|| reported.omission());
    let Some((layer, attempt)) = worst else { return ("-".into(), storage.unwrap_or_default()) };
    let why = attempt.errors.first().map(|error| error.message.clone()).or(storage);
    let refused = layer.refused.as_ref().map(|refused| format!("refused: {}", refused.message));
    (format!("{} ({})", attempt.phase.as_str(), layer.layer), refused.or(why).unwrap_or_default())
}

fn table(kiosks: &[KioskId], view: &View) -> String {
    let now = now();
    let mut table = Table::new(["KIOSK", "ONLINE", "VERSION", "GROUPS", "CONFIGURATION", "CALL", "WHAT IS WRONG"]);
    for id in kiosks {
        let kiosk = view.kiosks.get(id);
        let presence = kiosk.and_then(|kiosk| kiosk.presence.as_ref());
        let metrics = kiosk.and_then(|kiosk| kiosk.metrics.as_ref());
        let (phase, mut why) = phase(id, view);
        if let Some(metrics) = metrics.filter(|metrics| !metrics.faults.is_empty()) {
            why = metrics.faults.join(", ");
        }
        if let Some(trouble) = presence.and_then(|presence| presence.trouble(now)) {
            why = trouble;
        }
        table.row([
            id.to_string(),
            if view.is_online(id) { "yes" } else { "no" }.into(),
            presence.map_or_else(|| "-".into(), |presence| presence.version.clone()),
            view.groups_of(id).iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            phase,
            metrics.map_or_else(|| "-".into(), |metrics| metrics.call_state.clone()),
            why,
        ]);
    }
    let online = kiosks.iter().filter(|id| view.is_online(id)).count();
    format!("{table}\n{} kiosks, {online} online\n", kiosks.len())
}

fn as_json(id: &KioskId, view: &View) -> Value {
    let kiosk = view.kiosks.get(id);
    json!({
        "id": id,
        "online": view.is_online(id),
        "presence": kiosk.and_then(|kiosk| kiosk.presence.as_ref()),
        "reported": kiosk.and_then(|kiosk| kiosk.reported.as_ref()),
        "metrics": kiosk.and_then(|kiosk| kiosk.metrics.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use link::Message;

    #[test]
    fn what_was_left_out_of_a_report_is_shown_when_nothing_worse_is() {
        let digest = "0".repeat(64);
        let shown = |storage: Value| {
            let mut report =
                json!({ "version": "1", "effective": digest, "confirmed": digest, "layers": [], "omitted": 3 });
            report["storage"] = storage;
            let (topic, payload) = ("bk/v1/device/k-1/reported".to_owned(), report.to_string().into_bytes());
            let mut view = View::default();
            view.take(&Message { topic, payload, correlation: None, properties: Vec::new() });
            let kiosks: Vec<KioskId> = view.kiosks.keys().cloned().collect();
            table(&kiosks, &view)
        };
        assert!(shown(Value::Null).contains("3 parts of its report were left out"));
        let full = shown(json!("no space left"));
        assert!(full.contains("storage: no space left") && !full.contains("3 parts"), "{full}");
    }
}
