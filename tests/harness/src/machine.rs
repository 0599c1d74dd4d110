//! The kiosk's own machine as its programs see it: files of the test lie over those of kernel and system.

use crate::{
    Error, Result,
    process::Process,
    world::{Host, World},
};
use kiosk_proto::sysctl::{KIOSK, settings};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A machine that is well, until a file is written anew.
#[derive(Debug)]
pub struct Machine {
    dir: PathBuf,
}

impl Machine {
    /// Covers sensors, watchdogs, memory, kernel settings and `/var`.
    pub fn new(world: &World) -> Result<Self> {
        let machine = Self { dir: world.dir().join("machine") };
        machine.write("class/thermal/thermal_zone0/temp", "41500\n")?;
        machine.write("class/thermal/thermal_zone1/temp", "39000\n")?;
        machine.write("class/watchdog/watchdog0/state", "active\n")?;
        machine.write("meminfo", "MemTotal:        3884360 kB\nMemAvailable:    2884360 kB\n")?;
        world.cover("/sys/class", &machine.dir.join("class"))?;
        world.cover("/proc/meminfo", &machine.dir.join("meminfo"))?;
        for (key, value) in settings(KIOSK) {
            machine.write(key, &format!("{value}\n"))?;
            world.cover(&format!("/proc/sys/{}", key.replace('.', "/")), &machine.dir.join(key))?;
        }
        world.run_product(Host::Kiosk, "mount", &["-t", "tmpfs", "-o", "size=1g", "tmpfs", "/var"])?;
        Ok(machine)
    }

    /// Writes one of its files: `class/...`, `meminfo` or the key of a kernel setting.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        write(&self.dir.join(file), text)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let failed = || Error::io(path.display().to_string());
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed())?;
    fs::write(path, text).map_err(failed())
}

/// RAUC's service with two slots, of which A is booted, and a boot loader that says what the test wants.
#[derive(Debug)]
pub struct Rauc {
    dir: PathBuf,
    _process: Process,
}

impl Rauc {
    /// Starts it on a bus. Both slots are good, and A is next.
    pub fn start(world: &World, bus: &str) -> Result<Self> {
        let dir = world.dir().join("rauc");
        let shown = dir.display();
        write(
            &dir.join("system.conf"),
            &format!(
                "[system]\ncompatible=kiosk\nbootloader=custom\nstatusfile={shown}/status\n\
                 [keyring]\npath={shown}/ca.pem\n[handlers]\nbootloader-custom-backend={shown}/loader\n\
                 [slot.rootfs.0]\ndevice={shown}/a\ntype=raw\nbootname=A\n\
                 [slot.rootfs.1]\ndevice={shown}/b\ntype=raw\nbootname=B\n"
            ),
        )?;
        let loader = dir.join("loader");
        write(&loader, &format!("#!/bin/sh\ncat \"{shown}/$1${{2:+-$2}}\"\n"))?;
        fs::set_permissions(&loader, fs::Permissions::from_mode(0o755)).map_err(Error::io("the boot loader"))?;
        let rauc = |process| Self { dir: dir.clone(), _process: process };
        let place = world.at(Host::Kiosk)?;
        let mut command = place.product_command("rauc");
        command.arg("--conf").arg(dir.join("system.conf")).args(["--override-boot-slot=A", "service"]);
        let rauc = rauc(place.spawn("rauc", command.env("DBUS_SYSTEM_BUS_ADDRESS", bus))?);
        rauc.says("get-primary", "A")?;
        rauc.says("get-state-A", "good")?;
        rauc.says("get-state-B", "good")?;
        Ok(rauc)
    }

    /// What the boot loader answers to `get-primary`, `get-state-A` or `get-state-B` from now on.
    pub fn says(&self, question: &str, answer: &str) -> Result<()> {
        write(&self.dir.join(question), &format!("{answer}\n"))
    }
}
