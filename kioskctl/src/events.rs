//! `kioskctl events`: what happens on the kiosks, as it happens.

use crate::fleet::link::Arrival;
use crate::fleet::select::Which;
use crate::output;
use crate::profile::ProfileOptions;
use crate::session::{Session, block_on, moment};
use kiosk_proto::fleet::{Event, Topic};
use serde_json::{Value, json};

/// `kioskctl events ...`
#[derive(clap::Subcommand)]
pub enum EventsCommand {
    /// Print every event that comes, until Ctrl-C.
    Follow {
        #[command(flatten)]
        which: Which,
        /// Print JSON, one line for each event.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        profile: ProfileOptions,
    },
}

/// Carries a command out.
pub fn run(command: EventsCommand) -> anyhow::Result<()> {
    let EventsCommand::Follow { which, json, profile } = command;
    block_on(async {
        let mut session = Session::open(&profile, &["bk/v1/device/+/event"]).await?;
        while !output::is_closed() {
            let arrival = tokio::select! {
                arrival = session.link.next() => arrival,
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            let message = match arrival {
                Arrival::Message(message) => message,
                Arrival::Down(reason) => {
                    errln!("the broker is lost: {reason}; trying again");
                    continue;
                }
                Arrival::Up => continue,
            };
            session.view.take(&message);
            let Ok(Topic::Event(id)) = message.topic.parse() else { continue };
            if which.is_given() && !which.kiosks(&session.view).contains(&id) {
                continue;
            }
            let Ok(event) = serde_json::from_slice::<Event>(&message.payload) else { continue };
            if json {
                outln!("{}", json!({ "kiosk": id, "event": event }));
            } else {
                let at = event.at.map_or_else(|| "(clock not set)".to_owned(), moment);
                outln!("{at}  {id}  #{}  {}", event.sequence, words(&event));
            }
        }
        Ok(())
    })
}

/// The kind, and what belongs to it.
fn words(event: &Event) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(&event.kind) else { return String::new() };
    let kind = fields.remove("kind").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields: String = fields.iter().map(|(name, value)| format!("  {name}={}", plain(value))).collect();
    output::one_line(&format!("{kind}{fields}")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_the_kiosk_says() {
        let event = json!({ "sequence": 7, "kind": "fault-raised", "code": "a\x1b[2J\n2026-01-01 00:00 UTC  k-9" });
        let event: Event = serde_json::from_value(event).unwrap();
        assert_eq!(words(&event), r"fault-raised  code=a\u001b[2J\u000a2026-01-01 00:00 UTC  k-9");
    }
}
