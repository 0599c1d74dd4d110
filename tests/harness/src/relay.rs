//! The real coturn, configured as a site's relay is: by `kioskctl server render` from a site file.

use crate::{
    Error, Result,
    janus::{create_dir, kioskctl, secret, write_secret},
    kiosk::KioskConfig,
    place::Place,
    process::{Process, run},
    procfs::is_listening,
    tls::ServerIdentity,
};
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Port of TURN in TLS.
pub const TLS_PORT: u16 = 443;
/// Port of TURN without TLS, where a test asks for it.
pub const PLAIN_PORT: u16 = 3478;
/// How long coturn gets to listen.
const START: Duration = Duration::from_secs(45);

/// A running coturn.
#[derive(Debug)]
pub struct Relay {
    dir: PathBuf,
    address: IpAddr,
    identity: ServerIdentity,
    process: Process,
}

impl Relay {
    /// Renders the configuration and starts coturn. `peers` are those that it connects to.
    pub fn start(place: &Place, address: impl Into<IpAddr>, peers: &[IpAddr]) -> Result<Self> {
        Self::start_with(place, address, peers, "")
    }

    /// The same without TLS too.
    pub fn start_plain(place: &Place, address: impl Into<IpAddr>, peers: &[IpAddr]) -> Result<Self> {
        Self::start_with(place, address, peers, &format!("plain_port = {PLAIN_PORT}\n"))
    }

    fn start_with(place: &Place, address: impl Into<IpAddr>, peers: &[IpAddr], listen: &str) -> Result<Self> {
        let (dir, address) = (place.dir().join("coturn"), address.into());
        create_dir(&dir)?;
        write_secret(&dir.join("secret"), &secret()?)?;
        let identity = ServerIdentity::create(&dir, &[&address.to_string()])?;
        let here = dir.display();
        let site = format!(
            "peers = {peers:?}\nrealm = \"bank.test\"\nsecret_file = \"{here}/secret\"\n\
             [tls]\ncertificate = \"{}\"\nkey = \"{}\"\nport = {TLS_PORT}\n[listen]\naddress = \"{address}\"\n{listen}",
            identity.certificate.display(),
            identity.key.display(),
            peers = peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        );
        let file = dir.join("site.toml");
        fs::write(&file, site).map_err(Error::io(file.display().to_string()))?;
        let render = ["server", "render", "--server", "coturn", "--site"];
        run(kioskctl()?.args(render).arg(&file).arg("--out").arg(&dir))?;
        let mut command = place.command("turnserver");
        command.arg("-c").arg(dir.join("turnserver.conf"));
        // What a service manager gives it: no syslog, a folder for its files.
        command.args(["--log-file", "stdout", "--pidfile"]).arg(dir.join("pid")).arg("--userdb").arg(dir.join("db"));
        let mut process = place.spawn("coturn", &mut command)?;
        let pid = process.pid();
        process.until(START, "coturn to listen", || Ok(is_listening(pid, TLS_PORT).then_some(())))?;
        Ok(Self { dir, address, identity, process })
    }

    /// The configuration of a kiosk that uses it, by this policy.
    pub fn used_by(&self, kiosk: KioskConfig, policy: &str) -> KioskConfig {
        kiosk
            .with("relay", "url", self.url())
            .with("relay", "ca_file", self.ca())
            .with("relay", "secret_file", self.secret_file())
            .with("relay", "policy", policy)
    }

    /// What a kiosk's `relay.url` says.
    pub fn url(&self) -> String {
        format!("turns:{}", SocketAddr::new(self.address, TLS_PORT))
    }

    /// The same without TLS.
    pub fn plain_url(&self) -> String {
        format!("turn:{}", SocketAddr::new(self.address, PLAIN_PORT))
    }

    /// Who signed its certificate.
    pub fn ca(&self) -> String {
        self.identity.ca.display().to_string()
    }

    /// The secret that kiosks share with it.
    pub fn secret_file(&self) -> String {
        self.dir.join("secret").display().to_string()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
