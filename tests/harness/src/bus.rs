//! A D-Bus of a test's own, and services on it in the place of the machine's.

use crate::{Error, Result, place::Place, process::Process};
use std::{fs, os::unix::net::UnixStream, path::PathBuf, time::Duration};
use tokio::{runtime::Runtime, time::timeout};
use zbus::{Connection, connection, object_server::Interface};

/// How long dbus-daemon gets to make its socket.
const START: Duration = Duration::from_secs(45);

/// How long the bus gets to give a name.
const NAMED: Duration = Duration::from_secs(45);

/// A service on a bus, until it is dropped.
#[derive(Debug)]
pub struct Service {
    _connection: Connection,
    _runtime: Runtime,
}

impl Service {
    /// Serves an interface from now on.
    pub fn start(bus: &str, name: &'static str, path: &'static str, interface: impl Interface) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Error::io("runtime of a D-Bus service"))?;
        let serve =
            async { connection::Builder::address(bus).user_id(0).name(name).serve_at(path, interface).build().await };
        let connection = runtime.block_on(async { timeout(NAMED, serve).await });
        let connection = connection.map_err(|_| Error::Other("the bus does not answer".into()))??;
        Ok(Self { _connection: connection, _runtime: runtime })
    }
}

/// A running dbus-daemon on which everybody may do everything.
#[derive(Debug)]
pub struct Bus {
    process: Process,
    socket: PathBuf,
}

impl Bus {
    /// Starts it. Its socket is a file, so all hosts of a world reach it.
    pub fn start(place: &Place, name: &str) -> Result<Self> {
        let socket = place.dir().join(format!("{name}.bus"));
        let file = place.dir().join(format!("{name}.bus.conf"));
        let text = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#,
            socket.display()
        );
        fs::write(&file, text).map_err(Error::io(file.display().to_string()))?;
        let mut command = place.command("dbus-daemon");
        command.arg("--nofork").arg("--config-file").arg(&file);
        let mut process = place.spawn(&format!("dbus-{name}"), &mut command)?;
        // The file is there before anybody listens on it.
        process.until(START, "dbus-daemon's socket", || Ok(UnixStream::connect(&socket).is_ok().then_some(())))?;
        Ok(Self { process, socket })
    }

    /// Its address, as `control.bus` of the kiosk's configuration takes it.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket.display())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
