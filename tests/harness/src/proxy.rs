//! The real tinyproxy: a branch's HTTP proxy that asks for a user name and a password.

use crate::{Error, Result, place::Place, process::Process, procfs::is_listening};
use std::{fmt::Write as _, fs, net::IpAddr, path::PathBuf, time::Duration};

/// Port of the proxy.
pub const PORT: u16 = 3128;
/// Who may use it.
pub const USER: &str = "kiosk";
/// With which password.
pub const PASSWORD: &str = "correct-horse_battery.staple";
/// How long it gets to listen.
const START: Duration = Duration::from_secs(10);

/// A running proxy.
#[derive(Debug)]
pub struct HttpProxy {
    address: IpAddr,
    process: Process,
}

impl HttpProxy {
    /// Starts it. `ports` are those that it connects to; `names` are known to it and to nobody else.
    pub fn start(
        place: &Place,
        address: impl Into<IpAddr>,
        ports: impl IntoIterator<Item = u16>,
        names: &[(&str, IpAddr)],
    ) -> Result<Self> {
        let (dir, address) = (place.dir().join("tinyproxy"), address.into());
        fs::create_dir_all(&dir).map_err(Error::io(dir.display().to_string()))?;
        let mut config = format!(
            "Port {PORT}\nListen {address}\nTimeout 600\nMaxClients 50\nLogLevel Connect\n\
             BasicAuth {USER} {PASSWORD}\n"
        );
        for port in ports {
            let _ = writeln!(config, "ConnectPort {port}");
        }
        let hosts: String = names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        let files = [("tinyproxy.conf", config), ("hosts", hosts)];
        let [config, hosts] = files.map(|(name, text)| {
            let path = dir.join(name);
            fs::write(&path, text).map(|()| path.clone()).map_err(Error::io(path.display().to_string()))
        });
        let (config, hosts): (PathBuf, PathBuf) = (config?, hosts?);
        // Where it may be started by hand, its program is in a folder for administrators.
        let mut command = place.command("unshare");
        command.args([
            "--mount",
            "sh",
            "-euc",
            "mount --bind \"$1\" /etc/hosts; PATH=$PATH:/usr/sbin exec tinyproxy -d -c \"$2\"",
            "sh",
        ]);
        let mut process = place.spawn("tinyproxy", command.args([hosts, config]))?;
        let pid = process.pid();
        process.until(START, "tinyproxy to listen", || Ok(is_listening(pid, PORT).then_some(())))?;
        Ok(Self { address, process })
    }

    /// What a kiosk's `proxy.address` says.
    pub fn address(&self) -> String {
        format!("{}:{PORT}", self.address)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it logged: each request, and what became of it.
    pub fn log(&mut self) -> String {
        self.process.log_text()
    }
}
