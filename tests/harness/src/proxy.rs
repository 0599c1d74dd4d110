//! A branch's HTTP proxy that asks for a user name and a password: the real tinyproxy, or the real squid.

use crate::{
    Error, Result,
    kiosk::KioskConfig,
    place::Place,
    process::{Process, run},
    procfs::is_listening,
};
use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Port of the proxy.
pub const PORT: u16 = 3128;
/// Who may use it.
const USER: &str = "kiosk";
/// With which password.
const PASSWORD: &str = "correct-horse_battery.staple";
/// How long it gets to listen.
const START: Duration = Duration::from_secs(45);

/// A running proxy.
#[derive(Debug)]
pub struct HttpProxy {
    address: IpAddr,
    password_file: PathBuf,
    process: Process,
}

impl HttpProxy {
    /// Starts tinyproxy. `ports` are those that it connects to; `names` are known to it and to nobody else.
    pub fn start(
        place: &Place,
        address: impl Into<IpAddr>,
        ports: impl IntoIterator<Item = u16>,
        names: &[(&str, IpAddr)],
    ) -> Result<Self> {
        let (dir, address) = (folder(place)?, address.into());
        let mut config = format!(
            "Port {PORT}\nListen {address}\nTimeout 600\nMaxClients 50\nLogLevel Connect\n\
             BasicAuth {USER} {PASSWORD}\n"
        );
        for port in ports {
            let _ = writeln!(config, "ConnectPort {port}");
        }
        let (config, hosts) = (write(&dir, "tinyproxy.conf", &config)?, write(&dir, "hosts", &known(names))?);
        // Where it may be started by hand, its program is in a folder for administrators.
        let mut command = place.command("unshare");
        command.args([
            "--mount",
            "sh",
            "-euc",
            "mount --bind \"$1\" /etc/hosts; PATH=$PATH:/usr/sbin exec tinyproxy -d -c \"$2\"",
            "sh",
        ]);
        Self::listening(&dir, address, place.spawn("tinyproxy", command.args([hosts, config]))?)
    }

    /// The same with squid. It says 407 to who has no password, and logs a tunnel when it ends.
    pub fn start_squid(
        place: &Place,
        address: impl Into<IpAddr>,
        ports: impl IntoIterator<Item = u16>,
        names: &[(&str, IpAddr)],
    ) -> Result<Self> {
        let (dir, address) = (folder(place)?, address.into());
        let hash = run(Command::new("openssl").args(["passwd", "-apr1", PASSWORD]))?;
        let users = write(&dir, "users", &format!("{USER}:{}\n", hash.trim()))?;
        let hosts = write(&dir, "hosts", &known(names))?;
        let ports: Vec<String> = ports.into_iter().map(|port| port.to_string()).collect();
        let config = format!(
            "http_port {}\npid_filename none\nvisible_hostname proxy.branch.test\nhosts_file {}\ncache deny all\n\
             max_filedescriptors 1024\naccess_log stdio:/dev/stdout\ncache_log /dev/stderr\n\
             auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\nauth_param basic children 1\n\
             auth_param basic realm branch\nacl known proxy_auth REQUIRED\nacl open port {}\n\
             http_access deny !CONNECT\nhttp_access allow known open\nhttp_access deny all\n",
            SocketAddr::new(address, PORT),
            hosts.display(),
            users.display(),
            ports.join(" ")
        );
        let config = write(&dir, "squid.conf", &config)?;
        // It must not be root, and where only root exists it can't become somebody else.
        let mut command = place.command("unshare");
        command.args(["--user", "--map-user=1000", "--map-group=1000", "sh", "-euc"]);
        command.args(["PATH=$PATH:/usr/sbin exec squid -N -f \"$1\"", "sh"]).arg(config);
        Self::listening(&dir, address, place.spawn("squid", &mut command)?)
    }

    fn listening(dir: &Path, address: IpAddr, mut process: Process) -> Result<Self> {
        let pid = process.pid();
        process.until(START, "the proxy to listen", || Ok(is_listening(pid, PORT).then_some(())))?;
        let proxy = Self { address, password_file: dir.join("password"), process };
        proxy.write_password(PASSWORD).map(|()| proxy)
    }

    /// The configuration of a kiosk that goes by way of it.
    pub fn used_by(&self, kiosk: KioskConfig) -> KioskConfig {
        kiosk.with("proxy", "address", self.address()).with("proxy", "username", USER).with(
            "proxy",
            "password_file",
            self.password_file.display().to_string(),
        )
    }

    /// What the kiosk takes for the password from now on.
    pub fn write_password(&self, password: &str) -> Result<()> {
        let file = &self.password_file;
        fs::write(file, format!("{password}\n")).map_err(Error::io(file.display().to_string()))
    }

    /// The right one again.
    pub fn mend_password(&self) -> Result<()> {
        self.write_password(PASSWORD)
    }

    /// What a kiosk's `proxy.address` says.
    pub fn address(&self) -> String {
        SocketAddr::new(self.address, PORT).to_string()
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

fn folder(place: &Place) -> Result<PathBuf> {
    let dir = place.dir().join("proxy");
    fs::create_dir_all(&dir).map_err(Error::io(dir.display().to_string())).map(|()| dir)
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(Error::io(path.display().to_string())).map(|()| path)
}

/// What the proxy reads in the place of /etc/hosts.
fn known(names: &[(&str, IpAddr)]) -> String {
    names.iter().map(|(name, address)| format!("{address} {name}\n")).collect()
}
