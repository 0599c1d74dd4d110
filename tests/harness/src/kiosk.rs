//! The daemon as it is installed: its program, a configuration file, and D-Bus to control it.

use crate::{
    Error, Result,
    bus::Bus,
    janus::{Janus, built},
    place::Place,
    process::Process,
    wait::until,
};
use kiosk_proto::figures::CallFigures;
use nix::sys::signal::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{runtime::Runtime, time::timeout};
use zbus::{Connection, connection, proxy::CacheProperties};

/// How long the daemon gets to appear on the bus.
const START: Duration = Duration::from_secs(45);
/// How long a method of the daemon may take.
const METHOD: Duration = Duration::from_secs(10);
/// What it says of a configuration that it has read again.
const READ: &str = "the new configuration takes effect with the next call";

#[zbus::proxy(
    interface = "org.branchkiosk.Kiosk1",
    default_service = "org.branchkiosk.Kiosk1",
    default_path = "/org/branchkiosk/Kiosk1"
)]
trait Control {
    fn start_call(&self) -> zbus::Result<String>;
    fn end_call(&self) -> zbus::Result<()>;
    fn start_self_check(&self) -> zbus::Result<()>;
    #[zbus(property)]
    fn self_check(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn call_id(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn faults(&self) -> zbus::Result<Vec<(String, String)>>;
    #[zbus(property)]
    fn figures(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn identify(&self) -> zbus::Result<bool>;
}

/// The configuration of a kiosk, as sections of keys; a later value replaces an earlier one.
#[derive(Debug, Clone, Default)]
pub struct KioskConfig {
    sections: toml::Table,
}

impl KioskConfig {
    /// A kiosk without camera, microphone, speaker and display, that calls the given Janus and room.
    pub fn new(id: &str, janus: &Janus, room: u64) -> Result<Self> {
        let (token, room_token) = janus.kiosk_token_files(room)?;
        let room = i64::try_from(room).map_err(|_| Error::Other(format!("room {room} is no TOML integer")))?;
        Ok(Self::default()
            .with("kiosk", "id", id)
            .with("janus", "url", janus.wss_url())
            .with("janus", "ca_file", janus.identity().ca.display().to_string())
            .with("janus", "room", room)
            .with("janus", "token_file", token.display().to_string())
            .with("janus", "room_token_file", room_token.display().to_string())
            .with("janus", "media_ports", janus.media_ports())
            .with("camera", "source", "test")
            .with("audio", "source", "test")
            .with("audio", "sink", "none")
            .with("display", "sink", "none"))
    }

    /// Sets a key.
    #[must_use]
    pub fn with(mut self, section: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        let table = self.sections.entry(section).or_insert_with(|| toml::Table::new().into());
        if let Some(table) = table.as_table_mut() {
            table.insert(key.to_owned(), value.into());
        }
        self
    }

    /// The text of the file, for a program that is not the running daemon.
    #[must_use]
    pub fn text(&self) -> String {
        self.sections.to_string()
    }

    /// Leaves a key out.
    #[must_use]
    pub fn without(mut self, section: &str, key: &str) -> Self {
        if let Some(table) = self.sections.get_mut(section).and_then(toml::Value::as_table_mut) {
            table.remove(key);
        }
        self
    }
}

/// A running daemon, and its bus.
#[derive(Debug)]
pub struct Kiosk {
    name: String,
    place: Place,
    program: PathBuf,
    file: PathBuf,
    environment: Vec<(String, String)>,
    runtime: Runtime,
    control: Option<ControlProxy<'static>>,
    process: Process,
    bus: Bus,
}

impl Kiosk {
    /// Starts a bus and the daemon. Returns when the daemon answers on the bus. `name` is for files and logs.
    pub fn start(place: &Place, name: &str, config: &KioskConfig) -> Result<Self> {
        Self::start_in(place, name, config, &[])
    }

    /// The same, with variables in the daemon's environment.
    pub fn start_in(place: &Place, name: &str, config: &KioskConfig, environment: &[(&str, String)]) -> Result<Self> {
        Self::start_program(built("kioskd")?, place, name, config, environment)
    }

    /// The same with a daemon that was built elsewhere.
    pub fn start_program(
        program: PathBuf,
        place: &Place,
        name: &str,
        config: &KioskConfig,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let bus = Bus::start(place, name)?;
        let file = place.dir().join(format!("{name}.toml"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("runtime of the D-Bus client"))?;
        write_config(&file, config, &bus)?;
        let environment: Vec<_> =
            environment.iter().map(|(variable, value)| ((*variable).to_owned(), value.clone())).collect();
        let process = launch(&program, place, name, &file, &environment)?;
        let mut kiosk = Self {
            name: name.to_owned(),
            place: place.clone(),
            program,
            file,
            environment,
            runtime,
            control: None,
            process,
            bus,
        };
        kiosk.connect()?;
        Ok(kiosk)
    }

    /// Starts the daemon again after it ended, and waits until it is there.
    pub fn restart(&mut self) -> Result<()> {
        self.launch_again()?;
        self.connect()
    }

    /// The same for one that may end at once: nobody waits for it, and nothing can be asked of it.
    pub fn launch_again(&mut self) -> Result<()> {
        self.control = None;
        self.process = launch(&self.program, &self.place, &self.name, &self.file, &self.environment)?;
        Ok(())
    }

    /// Writes the configuration file anew; the daemon reads it at SIGHUP or its next start.
    pub fn write_config(&self, config: &KioskConfig) -> Result<()> {
        write_config(&self.file, config, &self.bus)
    }

    /// Makes a new configuration count between two calls: returns when the daemon has read it.
    pub fn reload(&mut self, config: &KioskConfig) -> Result<()> {
        let read = self.process.log_text().matches(READ).count();
        self.write_config(config)?;
        self.process.signal(Signal::SIGHUP)?;
        let log = self.process.log().to_owned();
        self.process.until(START, "the new configuration", || {
            let bytes = fs::read(&log).map_err(Error::io(log.display().to_string()))?;
            Ok((String::from_utf8_lossy(&bytes).matches(READ).count() > read).then_some(()))
        })
    }

    /// Where its D-Bus is.
    pub fn bus_address(&self) -> String {
        self.bus.address()
    }

    /// The process of the daemon.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks for a call; the answer is the call's identifier.
    pub fn start_call(&self) -> Result<String> {
        Ok(self.runtime.block_on(self.control()?.start_call())?)
    }

    /// Ends the call, if there is one.
    pub fn end_call(&self) -> Result<()> {
        Ok(self.runtime.block_on(self.control()?.end_call())?)
    }

    /// Begins the self-check.
    pub fn start_self_check(&self) -> Result<()> {
        Ok(self.runtime.block_on(self.control()?.start_self_check())?)
    }

    /// What is known of the self-check, as JSON.
    pub fn self_check(&self) -> Result<serde_json::Value> {
        let text = self.runtime.block_on(self.control()?.self_check())?;
        serde_json::from_str(&text).map_err(Error::json("the self-check"))
    }

    /// `idle`, `connecting`, `waiting`, `active`, `recovering` or `ending`.
    pub fn state(&self) -> Result<String> {
        Ok(self.runtime.block_on(self.control()?.state())?)
    }

    /// Identifier of the running call, or empty.
    pub fn call_id(&self) -> Result<String> {
        Ok(self.runtime.block_on(self.control()?.call_id())?)
    }

    /// What is wrong now: code and message.
    pub fn faults(&self) -> Result<Vec<(String, String)>> {
        Ok(self.runtime.block_on(self.control()?.faults())?)
    }

    /// Figures of the call.
    pub fn figures(&self) -> Result<CallFigures> {
        serde_json::from_str(&self.figures_text()?).map_err(Error::json("figures of the daemon"))
    }

    /// The same as the daemon says them, in JSON: one that was built elsewhere may know more.
    pub fn figures_text(&self) -> Result<String> {
        Ok(self.runtime.block_on(self.control()?.figures())?)
    }

    /// Version of the daemon.
    pub fn version(&self) -> Result<String> {
        Ok(self.runtime.block_on(self.control()?.version())?)
    }

    /// Whether somebody wants to know which machine this is.
    pub fn identify(&self) -> Result<bool> {
        Ok(self.runtime.block_on(self.control()?.identify())?)
    }

    /// Waits for a state; the error shows faults and the end of the log.
    pub fn wait_state(&mut self, wanted: &str, timeout: Duration) -> Result<()> {
        self.wait(timeout, &format!("the state \"{wanted}\""), |kiosk| Ok((kiosk.state()? == wanted).then_some(())))
    }

    /// Waits for a fault and gives its message.
    pub fn wait_fault(&mut self, code: &str, timeout: Duration) -> Result<String> {
        self.wait(timeout, &format!("the fault \"{code}\""), |kiosk| {
            Ok(kiosk.faults()?.into_iter().find_map(|(found, message)| (found == code).then_some(message)))
        })
    }

    /// Waits until nothing is wrong any more.
    pub fn wait_no_fault(&mut self, timeout: Duration) -> Result<()> {
        self.wait(timeout, "no fault", |kiosk| Ok(kiosk.faults()?.is_empty().then_some(())))
    }

    /// Waits until the figures are as wanted.
    pub fn wait_figures(
        &mut self,
        timeout: Duration,
        what: &str,
        wanted: impl Fn(&CallFigures) -> bool,
    ) -> Result<CallFigures> {
        self.wait(timeout, what, |kiosk| Ok(Some(kiosk.figures()?).filter(|figures| wanted(figures))))
    }

    fn wait<T>(&mut self, timeout: Duration, what: &str, probe: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        let result = until(timeout, &format!("{what} of {}", self.name), || {
            self.process.must_run()?;
            probe(self)
        });
        result.map_err(|error| self.explain(self.process.explain(error)))
    }

    /// Adds state and faults, in one line, to a timeout.
    pub fn explain(&self, error: Error) -> Error {
        match error {
            Error::Timeout { what, after, log } => {
                let standing = match self.state().and_then(|state| Ok((state, self.faults()?))) {
                    Ok((state, faults)) => standing(&self.name, &state, &faults),
                    Err(error) => format!("{} does not say how it is: {error}", self.name),
                };
                Error::Timeout { what, after, log: format!("{standing}\n{log}") }
            }
            other => other,
        }
    }

    fn control(&self) -> Result<&ControlProxy<'static>> {
        self.control.as_ref().ok_or_else(|| Error::Other(format!("{} is not on the bus", self.name)))
    }

    /// Waits until the daemon answers on the bus.
    fn connect(&mut self) -> Result<()> {
        let address = self.bus.address();
        let mut builder = connection::Builder::address(address.as_str()).method_timeout(METHOD);
        if self.place.is_world() {
            // The bus lives in the world's user namespace and sees whoever runs the test as root.
            builder = builder.user_id(0);
        }
        let runtime = &self.runtime;
        let connect = async {
            let connection: Connection = builder.build().await?;
            ControlProxy::builder(&connection).cache_properties(CacheProperties::No).build().await
        };
        let proxy = runtime.block_on(async { timeout(METHOD, connect).await });
        let proxy = proxy.map_err(|_| {
            self.bus.process().explain(Error::Timeout {
                what: format!("an answer of the bus at {address}"),
                after: METHOD,
                log: String::new(),
            })
        })??;
        self.process.until(START, "the daemon on the bus", || Ok(runtime.block_on(proxy.state()).ok()))?;
        self.control = Some(proxy);
        Ok(())
    }
}

fn standing(name: &str, state: &str, faults: &[(String, String)]) -> String {
    let faults = faults.iter().map(|(code, message)| format!("{code}: {message}")).collect::<Vec<_>>();
    let faults = if faults.is_empty() { "no fault".into() } else { faults.join("; ") };
    format!("{name} is in the state \"{state}\", {faults}")
}

fn write_config(file: &PathBuf, config: &KioskConfig, bus: &Bus) -> Result<()> {
    let config = config.clone().with("control", "bus", bus.address());
    fs::write(file, config.sections.to_string()).map_err(Error::io(file.display().to_string()))
}

fn launch(
    program: &Path,
    place: &Place,
    name: &str,
    file: &PathBuf,
    environment: &[(String, String)],
) -> Result<Process> {
    let mut command = place.product_command(program);
    command.args(["run", "--config"]).arg(file);
    // No display of the person who runs the tests, no bus of theirs.
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "NOTIFY_SOCKET", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(variable, value)| (variable, value)));
    place.spawn(name, &mut command)
}

#[cfg(test)]
mod tests {
    use super::standing;

    #[test]
    fn state_and_faults_are_one_line() {
        let fault = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        assert_eq!(standing("kioskd", "waiting", &[]), "kioskd is in the state \"waiting\", no fault");
        assert_eq!(
            standing("kioskd", "idle", &[fault("no-encoder", "no H.264 encoder works")]),
            "kioskd is in the state \"idle\", no-encoder: no H.264 encoder works"
        );
        let two = [fault("camera-unavailable", "no camera"), fault("speaker-unavailable", "no sound card")];
        assert_eq!(standing("kioskd", "active", &two).lines().count(), 1);
    }
}
