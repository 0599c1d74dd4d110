//! The clock of a kiosk's machine: years off, and synchronised as systemd would tell.

use crate::{Error, Result, kiosk::Kiosk};
use std::{fs, path::Path, time::Duration};
use tokio::{runtime::Runtime, time::timeout};
use zbus::{Connection, connection};

/// How long the bus gets to give the name.
const PATIENCE: Duration = Duration::from_secs(10);

/// Variables that put the clock of a program off, such as by `+3650d`. The library is copied to `dir`, which programs
/// of another root see too.
pub fn off_by(offset: &str, dir: &Path) -> Result<Vec<(&'static str, String)>> {
    const NAME: &str = "libfaketimeMT.so.1";
    let folders = fs::read_dir("/usr/lib").map_err(Error::io("/usr/lib"))?.flatten().map(|entry| entry.path());
    let library = folders.map(|folder| folder.join("faketime").join(NAME)).find(|file| file.exists());
    let library = library.ok_or_else(|| Error::Other(format!("there is no {NAME}: install faketime")))?;
    let copy = dir.join(NAME);
    fs::copy(&library, &copy).map_err(Error::io(library.display().to_string()))?;
    Ok(vec![
        ("LD_PRELOAD", copy.display().to_string()),
        ("FAKETIME", offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

/// Says on a kiosk's bus that the clock is synchronised, as `systemd-timedated` does.
#[derive(Debug)]
pub struct Synchronised {
    _connection: Connection,
    _runtime: Runtime,
}

struct Timedate;

#[zbus::interface(name = "org.freedesktop.timedate1")]
impl Timedate {
    #[zbus(property, name = "NTPSynchronized")]
    fn ntp_synchronized(&self) -> bool {
        true
    }
}

impl Synchronised {
    /// From now on; the daemon asks when it starts.
    pub fn on(kiosk: &Kiosk) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Error::io("runtime of a D-Bus service"))?;
        let address = kiosk.bus_address();
        let serve = async {
            let builder = connection::Builder::address(address.as_str()).user_id(0);
            builder.name("org.freedesktop.timedate1").serve_at("/org/freedesktop/timedate1", Timedate).build().await
        };
        let connection = runtime.block_on(async { timeout(PATIENCE, serve).await });
        let connection = connection.map_err(|_| Error::Other("the bus does not answer".into()))??;
        Ok(Self { _connection: connection, _runtime: runtime })
    }
}
