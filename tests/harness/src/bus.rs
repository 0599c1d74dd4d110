//! A D-Bus of a test's own.

use crate::{Error, Result, place::Place, process::Process};
use std::{fs, os::unix::net::UnixStream, path::PathBuf, time::Duration};

/// How long dbus-daemon gets to make its socket.
const START: Duration = Duration::from_secs(10);

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
