//! The running audit: looks at the process's sockets ten times a second, and says what it sees.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiosk_proto::audit::{self, SelectedPair};
use kiosk_proto::call::Event;
use kiosk_proto::config::PortRange;
use kiosk_proto::fault::FaultCode;
use kiosk_proto::figures::SocketFigures;
use kiosk_proto::watchdog::Part;
use tracing::error;

use crate::events::{Events, News};
use crate::host::systemd::Pulse;
use crate::tcp_only::gate::Gates;
use crate::tcp_only::sockets;

const INTERVAL: Duration = Duration::from_millis(100);

/// What the audit and the call's task tell each other.
#[derive(Debug, Clone)]
pub struct Audit {
    shared: Arc<Mutex<Shared>>,
    gates: Gates,
}

#[derive(Debug)]
struct Shared {
    pairs: Vec<SelectedPair>,
    media_ports: PortRange,
    figures: SocketFigures,
    descriptors: u64,
    /// The evidence that was told last.
    reported: String,
}

impl Audit {
    /// Of these gates' sockets it knows that they are theirs. The ports are those that media may use.
    pub fn new(gates: Gates, media_ports: PortRange) -> Self {
        let shared = Shared {
            pairs: Vec::new(),
            media_ports,
            figures: SocketFigures::default(),
            descriptors: 0,
            reported: String::new(),
        };
        Self { shared: Arc::new(Mutex::new(shared)), gates }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins, with its media on these ports: its figures start from nothing, and what was wrong before is told
    /// again.
    pub fn begin(&self, media_ports: PortRange) {
        let mut shared = self.shared();
        shared.media_ports = media_ports;
        shared.figures = SocketFigures::default();
        shared.reported.clear();
    }

    /// The pairs that carry media now.
    pub fn pairs(&self, pairs: Vec<SelectedPair>) {
        self.shared().pairs = pairs;
    }

    /// What was seen since the call began.
    pub fn figures(&self) -> SocketFigures {
        self.shared().figures.clone()
    }

    /// Open descriptors of the process.
    pub fn descriptors(&self) -> u64 {
        self.shared().descriptors
    }

    /// Looks until the daemon ends. The same violation is reported once in a call, until it is gone.
    pub async fn run(self, events: Events, pulse: Pulse) {
        let mut every = tokio::time::interval(INTERVAL);
        loop {
            every.tick().await;
            pulse.beat(Part::Audit);
            let before = self.gates.sockets();
            let (sockets, descriptors) = match sockets::look() {
                Ok(seen) => seen,
                Err(error) => {
                    error!(%error, "the audit can't see the process's sockets");
                    continue;
                }
            };
            let gates = before.or(self.gates.sockets());
            let evidence = {
                let mut shared = self.shared();
                shared.descriptors = descriptors;
                audit::count(&sockets, &mut shared.figures);
                let violations = audit::judge(&sockets, &gates, &shared.pairs, shared.media_ports);
                let evidence = violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                let before = std::mem::replace(&mut shared.reported, evidence.clone());
                (evidence != before && !evidence.is_empty()).then_some(evidence)
            };
            if let Some(evidence) = evidence {
                error!(FAULT = FaultCode::TcpOnlyViolation.as_str(), "{evidence}");
                events.send(News::Happened(Event::Violation(evidence))).await;
            }
        }
    }
}
