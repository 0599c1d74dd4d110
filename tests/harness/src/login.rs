//! In the place of systemd's logind: it notes who asks for a reboot, and this machine goes on.

use crate::{Result, bus::Service, kiosk::Kiosk};
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use zbus::fdo;

/// A call of `Reboot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reboot {
    /// Whether somebody could be asked for a password.
    pub interactive: bool,
    /// What stood in the watched file at that time.
    pub file: String,
}

/// It serves `org.freedesktop.login1` on a kiosk's bus.
#[derive(Debug)]
pub struct Logind {
    _service: Service,
    reboots: Arc<Mutex<Vec<Reboot>>>,
}

struct Manager {
    allows: bool,
    file: PathBuf,
    reboots: Arc<Mutex<Vec<Reboot>>>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn reboot(&self, interactive: bool) -> fdo::Result<()> {
        let file = fs::read(&self.file).unwrap_or_default();
        let reboot = Reboot { interactive, file: String::from_utf8_lossy(&file).into_owned() };
        self.reboots.lock().unwrap_or_else(PoisonError::into_inner).push(reboot);
        match self.allows {
            true => Ok(()),
            // As polkit has it when no rule allows it.
            false => Err(fdo::Error::InteractiveAuthorizationRequired("Interactive authentication required.".into())),
        }
    }
}

impl Logind {
    /// From now on. `file` is looked at when somebody asks for a reboot.
    pub fn on(kiosk: &Kiosk, allows: bool, file: PathBuf) -> Result<Self> {
        let reboots = Arc::<Mutex<Vec<Reboot>>>::default();
        let manager = Manager { allows, file, reboots: reboots.clone() };
        let service =
            Service::start(&kiosk.bus_address(), "org.freedesktop.login1", "/org/freedesktop/login1", manager)?;
        Ok(Self { _service: service, reboots })
    }

    /// Who has asked so far.
    pub fn reboots(&self) -> Vec<Reboot> {
        self.reboots.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
