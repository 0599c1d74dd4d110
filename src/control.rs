//! Local control over D-Bus: start and end a call, its state and figures.

use std::sync::Arc;
use std::time::Duration;

use kiosk_proto::call::CallState;
use kiosk_proto::config::Bus;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::{Connection, DBusError, interface};

use crate::call::View;
use crate::doctor::service::SelfCheck;
use crate::events::{Events, News};
use crate::fleet::{FleetView, Handle};

/// The daemon on the bus, and its interface.
pub const NAME: &str = "org.branchkiosk.Kiosk1";
/// Its object.
pub const PATH: &str = "/org/branchkiosk/Kiosk1";
/// Ending a call takes at most about two seconds.
const END: Duration = Duration::from_secs(5);

/// Errors that a caller sees.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.branchkiosk.Kiosk1.Error")]
pub enum ControlError {
    /// Of the bus itself.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// A call is running already.
    CallRunning(String),
    /// The daemon is stopping, or hangs.
    Unavailable(String),
}

struct Control {
    events: Events,
    view: watch::Receiver<Arc<View>>,
    fleet: Fleet,
    check: SelfCheck,
}

/// What D-Bus knows of the fleet's part.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// What is shown of it.
    pub view: watch::Receiver<FleetView>,
    /// The way to it, as soon as it runs.
    pub handle: watch::Receiver<Option<Handle>>,
}

impl Control {
    fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }
}

#[interface(name = "org.branchkiosk.Kiosk1")]
impl Control {
    /// Starts a call; returns its identifier.
    async fn start_call(&self) -> Result<String, ControlError> {
        let fleet = self.fleet.handle.borrow().clone();
        if let Some(fleet) = fleet {
            fleet.call_starts().await;
        }
        // A customer comes first.
        self.check.cancel().await;
        let (reply, answer) = oneshot::channel();
        self.events.send(News::Start(reply)).await;
        match answer.await {
            Ok(Ok(call_id)) => Ok(call_id),
            Ok(Err(running)) => Err(ControlError::CallRunning(running.to_string())),
            Err(_) => Err(ControlError::Unavailable("the daemon is stopping".to_owned())),
        }
    }

    /// Ends the call; returns when nothing of it is left. Without a call nothing happens.
    async fn end_call(&self) -> Result<(), ControlError> {
        let (reply, answer) = oneshot::channel();
        self.events.send(News::End(reply)).await;
        match timeout(END, answer).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ControlError::Unavailable("the call does not end; see the journal".to_owned())),
        }
    }

    /// `idle`, `connecting`, `waiting`, `active`, `recovering` or `ending`.
    #[zbus(property)]
    fn state(&self) -> String {
        self.view().state.as_str().to_owned()
    }

    /// Identifier of the call; empty without one.
    #[zbus(property)]
    fn call_id(&self) -> String {
        self.view().call_id.clone()
    }

    /// What is wrong: code and message of each fault.
    #[zbus(property)]
    fn faults(&self) -> Vec<(String, String)> {
        self.view().faults.clone()
    }

    /// The call's figures as JSON.
    #[zbus(property(emits_changed_signal = "false"))]
    fn figures(&self) -> String {
        serde_json::to_string(&self.view().figures).unwrap_or_default()
    }

    /// Begins the self-check of this kiosk, a minute at most; `SelfCheck` says how it goes. Refused during a call, and
    /// ended by a call that starts.
    async fn start_self_check(&self) -> Result<(), ControlError> {
        if self.view().state != CallState::Idle {
            return Err(ControlError::CallRunning("the self-check would disturb the call".to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        self.events.send(News::Configuration(reply)).await;
        let config = answer.await.map_err(|_| ControlError::Unavailable("the daemon is stopping".to_owned()))?;
        let check = self.check.clone();
        tokio::spawn(async move { check.run(&config).await });
        Ok(())
    }

    /// The self-check as JSON: `state` is `never`, `running`, `done` (with `checks`, one finding each) or `failed` (with
    /// `message`).
    #[zbus(property)]
    fn self_check(&self) -> String {
        self.check.state().borrow().clone()
    }

    /// How the kiosk stands to its fleet: `none`, `offline`, `online`, or `trial` while a pushed configuration proves
    /// itself.
    #[zbus(property)]
    fn fleet_state(&self) -> String {
        self.fleet.view.borrow().state.as_str().to_owned()
    }

    /// Whether somebody far away wants to know which machine this is: the screen then shows it.
    #[zbus(property)]
    fn identify(&self) -> bool {
        self.fleet.view.borrow().identify
    }

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }
}

/// Offers the interface; the connection must be kept.
///
/// # Errors
/// When the bus is not there, or does not let the daemon have its name.
pub async fn serve(
    bus: &Bus,
    events: Events,
    view: watch::Receiver<Arc<View>>,
    fleet: Fleet,
    check: SelfCheck,
) -> zbus::Result<Connection> {
    let builder = match bus {
        Bus::System => Builder::system(),
        Bus::Session => Builder::session(),
        Bus::Address(address) => Builder::address(address.as_str()),
    };
    let shown = fleet.view.clone();
    let control = Control { events, view: view.clone(), fleet, check: check.clone() };
    let connection = builder.serve_at(PATH, control).name(NAME).build().await?;
    tokio::spawn(announce(connection.clone(), view));
    tokio::spawn(announce_fleet(connection.clone(), shown));
    tokio::spawn(announce_check(connection.clone(), check.state()));
    Ok(connection)
}

/// Sends a signal for each property that changed.
async fn announce(connection: Connection, mut view: watch::Receiver<Arc<View>>) -> zbus::Result<()> {
    let control = connection.object_server().interface::<_, Control>(PATH).await?;
    let mut shown = Arc::new(View::default());
    while view.changed().await.is_ok() {
        let now = view.borrow_and_update().clone();
        let (object, emitter) = (control.get().await, control.signal_emitter());
        if now.call_id != shown.call_id {
            object.call_id_changed(emitter).await?;
        }
        if now.state != shown.state {
            object.state_changed(emitter).await?;
        }
        if now.faults != shown.faults {
            object.faults_changed(emitter).await?;
        }
        drop(object);
        shown = now;
    }
    Ok(())
}

/// The same for the fleet's part.
async fn announce_fleet(connection: Connection, mut view: watch::Receiver<FleetView>) -> zbus::Result<()> {
    let control = connection.object_server().interface::<_, Control>(PATH).await?;
    let mut shown = FleetView::default();
    while view.changed().await.is_ok() {
        let now = *view.borrow_and_update();
        let (object, emitter) = (control.get().await, control.signal_emitter());
        if now.state != shown.state {
            object.fleet_state_changed(emitter).await?;
        }
        if now.identify != shown.identify {
            object.identify_changed(emitter).await?;
        }
        drop(object);
        shown = now;
    }
    Ok(())
}

/// The same for the self-check.
async fn announce_check(connection: Connection, mut state: watch::Receiver<String>) -> zbus::Result<()> {
    let control = connection.object_server().interface::<_, Control>(PATH).await?;
    while state.changed().await.is_ok() {
        control.get().await.self_check_changed(control.signal_emitter()).await?;
    }
    Ok(())
}
