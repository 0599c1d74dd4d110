//! The calls over D-Bus, and what their errors mean to whoever sits before the screen.

use super::page::page;
use super::{CallCommand, Options};
use kiosk_proto::figures::CallFigures;
use serde::Serialize;
use std::time::Duration;
use zbus::fdo;

/// The daemon answers from memory; starting a call only sets it off.
const PATIENCE: Duration = Duration::from_secs(10);
const CALL_RUNNING: &str = "org.branchkiosk.Kiosk1.Error.CallRunning";

#[zbus::proxy(
    interface = "org.branchkiosk.Kiosk1",
    default_service = "org.branchkiosk.Kiosk1",
    default_path = "/org/branchkiosk/Kiosk1"
)]
trait Kiosk {
    fn start_call(&self) -> zbus::Result<String>;
    fn end_call(&self) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn call_id(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn faults(&self) -> zbus::Result<Vec<(String, String)>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn figures(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> zbus::Result<String>;
}

/// What the daemon says about itself and its call.
#[derive(Debug, Serialize)]
pub struct Status {
    /// `idle`, `connecting`, `waiting`, `active`, `recovering` or `ending`.
    pub state: String,
    /// Empty when there is no call.
    pub call_id: String,
    /// What does not work at the moment.
    pub faults: Vec<Fault>,
    /// The call in numbers.
    pub figures: CallFigures,
    /// Of the daemon.
    pub version: String,
}

/// Something that does not work.
#[derive(Debug, Serialize)]
pub struct Fault {
    /// For programs, such as `camera-unavailable`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Why the daemon was not reached or did not do it. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("cannot connect to the {bus} bus: {source}\nIs dbus running? `--bus` must be the daemon's control.bus.")]
    NoBus { bus: String, source: zbus::Error },
    #[error(
        "kioskd is not on the {0} bus.\nStart it: systemctl start kioskd. If it runs, see why it is not there: \
         journalctl -u kioskd. `--bus` must be its control.bus."
    )]
    NotRunning(String),
    #[error(
        "the bus does not let this user talk to kioskd: {0}\nIts policy allows root and the group kiosk-screen: use \
         sudo, or log in again after `usermod -aG kiosk-screen USER`."
    )]
    Denied(String),
    #[error("a call is running already: {0}\nEnd it first: kioskctl call end.")]
    Running(String),
    #[error("kioskd did not answer within {} s.\nIt may hang: systemctl restart kioskd.", PATIENCE.as_secs())]
    Silent,
    #[error("kioskd said: {name}: {message}")]
    Refused { name: String, message: String },
    #[error("D-Bus: {0}")]
    Bus(zbus::Error),
    #[error("kioskd sent figures that this kioskctl cannot read ({0}).\nInstall the kioskctl of the daemon's version.")]
    Figures(#[from] serde_json::Error),
    #[error("cannot start the asynchronous runtime: {0}")]
    Runtime(std::io::Error),
}

/// Runs one command and prints its result.
pub fn run(command: CallCommand) -> Result<(), CallError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CallError::Runtime)?;
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, carry_out(command)).await.unwrap_or(Err(CallError::Silent)) })
}

async fn carry_out(command: CallCommand) -> Result<(), CallError> {
    let options = match &command {
        CallCommand::Start(options) | CallCommand::End(options) | CallCommand::Status(options) => options,
    };
    let bus = options.bus.as_str();
    let connection = connect(bus).await.map_err(|source| CallError::NoBus { bus: bus.to_owned(), source })?;
    let kiosk = KioskProxy::builder(&connection)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .map_err(CallError::Bus)?;
    let result = match &command {
        CallCommand::Start(_) => kiosk.start_call().await.map(|id| print_start(&id, options)),
        CallCommand::End(_) => kiosk.end_call().await.map(|()| print_end(options)),
        CallCommand::Status(_) => match status(&kiosk).await {
            Ok(status) => return print_status(status, options),
            Err(error) => Err(error),
        },
    };
    result.map_err(|error| explain(bus, error))
}

async fn connect(bus: &str) -> zbus::Result<zbus::Connection> {
    match bus {
        "system" => zbus::Connection::system().await,
        "session" => zbus::Connection::session().await,
        address => zbus::connection::Builder::address(address).build().await,
    }
}

/// The properties as they come, figures not yet parsed.
type Properties = (String, String, Vec<(String, String)>, String, String);

async fn status(kiosk: &KioskProxy<'_>) -> zbus::Result<Properties> {
    Ok((
        kiosk.state().await?,
        kiosk.call_id().await?,
        kiosk.faults().await?,
        kiosk.figures().await?,
        kiosk.version().await?,
    ))
}

fn print_start(id: &str, options: &Options) {
    if options.json {
        outln!("{}", serde_json::json!({ "call_id": id }));
    } else {
        outln!("{id}");
    }
}

fn print_end(options: &Options) {
    if options.json {
        outln!("{}", serde_json::json!({ "ended": true }));
    }
}

fn print_status((state, call_id, faults, figures, version): Properties, options: &Options) -> Result<(), CallError> {
    let faults = faults.into_iter().map(|(code, message)| Fault { code, message }).collect();
    let status = Status { state, call_id, faults, figures: serde_json::from_str(&figures)?, version };
    if options.json {
        outln!("{}", serde_json::to_string(&status)?);
    } else {
        out!("{}", page(&status));
    }
    Ok(())
}

/// Turns the bus's error names into what an operator can do.
fn explain(bus: &str, error: zbus::Error) -> CallError {
    let error = match error {
        zbus::Error::FDO(error) => match *error {
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => {
                return CallError::NotRunning(bus.to_owned());
            }
            fdo::Error::AccessDenied(message) => return CallError::Denied(message),
            fdo::Error::NoReply(_) | fdo::Error::Timeout(_) => return CallError::Silent,
            fdo::Error::ZBus(error) => error,
            other => return CallError::Bus(other.into()),
        },
        other => other,
    };
    let zbus::Error::MethodError(name, message, _) = &error else {
        return CallError::Bus(error);
    };
    let message = message.clone().unwrap_or_default();
    match name.as_str() {
        "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
            CallError::NotRunning(bus.to_owned())
        }
        "org.freedesktop.DBus.Error.AccessDenied" => CallError::Denied(message),
        "org.freedesktop.DBus.Error.NoReply" | "org.freedesktop.DBus.Error.Timeout" => CallError::Silent,
        CALL_RUNNING => CallError::Running(message),
        name => CallError::Refused { name: name.to_owned(), message },
    }
}
