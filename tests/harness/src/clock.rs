//! The clock of a kiosk's machine: years off, and synchronised as systemd would tell.

use crate::{Error, Result, bus::Service, kiosk::Kiosk};
use std::{fs, path::Path};

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

/// Says on a bus whether the clock is synchronised, as `systemd-timedated` does.
#[derive(Debug)]
pub struct Synchronised {
    _service: Service,
}

struct Timedate {
    synchronised: bool,
}

#[zbus::interface(name = "org.freedesktop.timedate1")]
impl Timedate {
    #[zbus(property, name = "NTPSynchronized")]
    fn ntp_synchronized(&self) -> bool {
        self.synchronised
    }
}

impl Synchronised {
    /// It is, from now on; the daemon asks when it starts.
    pub fn on(kiosk: &Kiosk) -> Result<Self> {
        Self::on_bus(&kiosk.bus_address(), true)
    }

    /// Whether it is, from now on.
    pub fn on_bus(bus: &str, synchronised: bool) -> Result<Self> {
        let (name, path) = ("org.freedesktop.timedate1", "/org/freedesktop/timedate1");
        Ok(Self { _service: Service::start(bus, name, path, Timedate { synchronised })? })
    }
}
