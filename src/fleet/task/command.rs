//! Commands: what the ledger decides is carried out.

use std::time::Duration;

use kiosk_proto::fleet::ledger::{LedgerEffect, LedgerInput};
use kiosk_proto::fleet::{Command, CommandId, Topic, Upload};
use serde_json::{Value, json};
use tracing::info;

use super::{LEDGER, Order, Task};
use crate::fleet::commands::{self, Destination, beside, finished};
use crate::fleet::diagnostics::Diagnostics;
use crate::fleet::telemetry::Surroundings;
use crate::host::machine;

impl Task {
    /// Lets the ledger decide, and carries out what it says.
    pub(super) async fn command(&mut self, input: LedgerInput) {
        let effects = self.ledger.handle(self.now(), input);
        self.carry_out_commands(effects).await;
    }

    /// Carries effects out in their order. A ledger that can't be stored ends the list.
    pub(super) async fn carry_out_commands(&mut self, effects: Vec<LedgerEffect>) {
        let mut waiting = effects;
        while !waiting.is_empty() {
            let mut next = Vec::new();
            let mut results = Vec::new();
            for effect in waiting {
                match effect {
                    LedgerEffect::Persist(file) => {
                        if let Err(why) = self.save(LEDGER, &file.to_json()) {
                            next = self.ledger.handle(self.now(), LedgerInput::PersistFailed(why));
                            break;
                        }
                    }
                    LedgerEffect::Ack(delivery) => self.ack(delivery),
                    LedgerEffect::Execute(id, command) => {
                        info!(%id, command = command.kind(), "a command of the fleet is carried out");
                        results.extend(self.execute(id, command).await);
                    }
                    LedgerEffect::Respond(reply, response) => self.respond(reply, &response),
                    LedgerEffect::Emit(kind) => self.emit(kind),
                }
            }
            for result in results {
                next.extend(self.ledger.handle(self.now(), result));
            }
            waiting = next;
        }
    }

    /// Carries a command out; one that takes its time says how it went later.
    async fn execute(&mut self, id: CommandId, command: Command) -> Option<LedgerInput> {
        let result = match command {
            Command::Ping {} => {
                Ok(json!({ "version": env!("CARGO_PKG_VERSION"), "uptime_s": self.telemetry.uptime_s() }))
            }
            // Answered by the ledger after the start.
            Command::RestartDaemon {} => {
                let _ = self.daemon.orders.send(Order::Restart).await;
                return None;
            }
            Command::Reboot {} => match machine::reboot(&self.daemon.bus).await {
                Ok(()) => return None,
                Err(error) => Err(format!(
                    "logind does not start the machine again: {error}; the daemon's user needs a rule of polkit for it"
                )),
            },
            Command::EndCall {} => {
                beside(id, commands::end_call(self.daemon.events.clone()), self.outcomes.0.clone());
                return None;
            }
            Command::SetLogLevel { level, minutes } => {
                self.log_level.begin(self.now(), Duration::from_secs(60 * u64::from(minutes)));
                commands::set_log_level(&self.daemon.verbosity, Some(level))
            }
            Command::SelfCheck {} => {
                let (check, config) = (self.daemon.check.clone(), self.config().clone());
                beside(id, async move { check.run(&config).await }, self.outcomes.0.clone());
                return None;
            }
            Command::CollectDiagnostics { journal_minutes, upload } => {
                let facts = self.diagnostics();
                let to = self.destination(&id, upload);
                beside(id, commands::diagnostics(facts, journal_minutes, to), self.outcomes.0.clone());
                return None;
            }
            Command::Identify { seconds } => {
                self.identify.begin(self.now(), Duration::from_secs(seconds.into()));
                Ok(Value::Null)
            }
            Command::ExplainConfig { keys } => {
                serde_json::to_value(self.state.explain(&keys)).map_err(|error| error.to_string())
            }
            Command::DryRun { config, layer } => {
                serde_json::to_value(self.state.dry_run(&layer, config)).map_err(|error| error.to_string())
            }
        };
        Some(finished(id, result))
    }

    fn destination(&self, id: &CommandId, upload: Upload) -> Destination {
        let topic = Topic::Chunk(self.config().kiosk.id.clone(), id.clone()).to_string();
        Destination {
            upload,
            ca_file: self.config().fleet.as_ref().and_then(|fleet| fleet.ca_file.clone()),
            proxy: self.config().proxy.clone(),
            broker: self.session.clone().map(|session| (session, topic)),
        }
    }

    fn diagnostics(&mut self) -> Diagnostics {
        let view = self.daemon.view.borrow().clone();
        let reported = self.state.reported();
        let around = Surroundings {
            config: self.state.config(),
            digest: reported.effective,
            state: &self.state_dir,
            clock_synchronised: self.synchronised,
            outbox_events: self.post.len() as u64,
        };
        Diagnostics {
            metrics: self.telemetry.metrics(&view, &around),
            reported,
            config: self.state.config().clone(),
            faults: view.faults.clone(),
            journal: Vec::new(),
            journal_missing: None,
        }
    }
}
