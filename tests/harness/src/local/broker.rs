//! A broker on this machine, as a trial has it: certificates by `kioskctl ca`, configuration by `kioskctl server render`,
//! and an admin with a key to sign.

use crate::{
    Error, Result,
    janus::built,
    mosquitto::limit_packets,
    place::Place,
    process::{Process, run},
    procfs::is_listening,
    tls::ClientIdentity,
};
use kiosk_proto::fleet::TrustedKey;
use nix::sys::signal::Signal;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Port for kiosks, unless another program has it.
pub const KIOSK_PORT: u16 = 8883;
/// Port for admins, unless another program has it.
pub const ADMIN_PORT: u16 = 8884;
/// How long mosquitto gets to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running mosquitto on 127.0.0.1, and what belongs to it.
#[derive(Debug)]
pub struct LocalBroker {
    place: Place,
    dir: PathBuf,
    /// Port for kiosks.
    pub kiosk_port: u16,
    /// Port for admins.
    pub admin_port: u16,
    process: Process,
}

impl LocalBroker {
    /// Makes certificates for the kiosks of each group and starts the broker.
    pub fn start(place: &Place, ports: [u16; 2], groups: &BTreeMap<String, Vec<String>>) -> Result<Self> {
        let dir = place.dir().join("broker");
        let [kiosk_port, admin_port] = ports;
        for folder in ["etc", "store", "config/kioskctl"] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(Error::io(path.display().to_string()))?;
        }
        let ca = dir.join("ca");
        run(ctl(&dir)?.args(["ca", "new"]).arg(&ca))?;
        let issue = |arguments: &[&str]| -> Result<()> {
            run(ctl(&dir)?.args(["ca", "issue"]).args(arguments).arg("--dir").arg(&ca)).map(drop)
        };
        issue(&["broker", "localhost", "127.0.0.1"])?;
        issue(&["admin", "demo"])?;
        let kiosks: Vec<&str> = groups.values().flatten().map(String::as_str).collect();
        for some in kiosks.chunks(500) {
            issue(&[&["kiosk"], some].concat())?;
        }
        let made = run(ctl(&dir)?.args(["key", "new", "demo", "--json"]))?;
        let here = dir.display();
        let profile = format!(
            "default = \"demo\"\n[profile.demo]\nbroker = \"mqtts://localhost:{admin_port}\"\nca = \"{here}/ca/ca.pem\"\n\
             cert = \"{here}/ca/admin-demo.pem\"\nkey = \"{here}/ca/admin-demo.key\"\nsigning_key = \"keys/demo.key\"\n\
             author = \"demo\"\n"
        );
        write(&dir.join("config/kioskctl/profiles.toml"), &profile)?;
        write(&dir.join("key.json"), &made)?;
        write(&dir.join("site.toml"), &site(&dir, ports, groups)?)?;
        let render = ["server", "render", "--server", "mosquitto", "--site"];
        run(ctl(&dir)?.args(render).arg(dir.join("site.toml")).arg("--out").arg(dir.join("etc")))?;
        let process = launch(place, &dir, ports)?;
        Ok(Self { place: place.clone(), dir, kiosk_port, admin_port, process })
    }

    /// Ends it as an operator would, and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Ends it as an operator would: it stores what it holds.
    pub fn stop(&mut self) -> Result<()> {
        self.process.terminate(PATIENCE).map(drop)
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(PATIENCE).map(drop)
    }

    /// Starts it again with a smaller limit for packets, bytes.
    pub fn limit_packets(&mut self, bytes: u32) -> Result<()> {
        limit_packets(&self.dir.join("etc/mosquitto.conf"), bytes)?;
        self.restart()
    }

    /// Starts it after it ended.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = launch(&self.place, &self.dir, [self.kiosk_port, self.admin_port])?;
        Ok(())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `kioskctl` as the admin of this broker.
    pub fn ctl(&self) -> Result<Command> {
        ctl(&self.dir)
    }

    /// What a person puts before `kioskctl` to be that admin.
    pub fn ctl_words(&self) -> Result<String> {
        Ok(format!("XDG_CONFIG_HOME={} {}", self.dir.join("config").display(), built("kioskctl")?.display()))
    }

    /// Where that admin's profile, keys and rollouts are.
    pub fn config_folder(&self) -> PathBuf {
        self.dir.join("config/kioskctl")
    }

    /// The authority of all certificates.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca/ca.pem")
    }

    /// Certificate and key of a kiosk.
    pub fn kiosk(&self, id: &str) -> ClientIdentity {
        let file = |end: &str| self.dir.join(format!("ca/kiosk-{id}.{end}"));
        ClientIdentity { certificate: file("pem"), key: file("key") }
    }

    /// Certificate and key of the admin.
    pub fn admin(&self) -> ClientIdentity {
        ClientIdentity { certificate: self.dir.join("ca/admin-demo.pem"), key: self.dir.join("ca/admin-demo.key") }
    }

    /// The key that kiosks trust.
    pub fn trusted_key(&self) -> Result<TrustedKey> {
        self.trusted(&self.dir.join("key.json"))
    }

    /// Makes one more signing key; gives its file and what kiosks trust.
    pub fn another_key(&self, name: &str) -> Result<(PathBuf, TrustedKey)> {
        let made = run(self.ctl()?.args(["key", "new", name, "--json"]))?;
        let file = self.dir.join(format!("key-{name}.json"));
        write(&file, &made)?;
        Ok((self.dir.join(format!("config/kioskctl/keys/{name}.key")), self.trusted(&file)?))
    }

    fn trusted(&self, file: &Path) -> Result<TrustedKey> {
        let text = fs::read_to_string(file).map_err(Error::io(file.display().to_string()))?;
        let made: serde_json::Value = serde_json::from_str(&text).map_err(Error::json("kioskctl key new"))?;
        let public = made["public"].as_str().unwrap_or_default().to_owned();
        TrustedKey::try_from(public).map_err(|error| Error::Other(error.to_string()))
    }
}

fn ctl(dir: &Path) -> Result<Command> {
    let mut command = Command::new(built("kioskctl")?);
    command.env("XDG_CONFIG_HOME", dir.join("config")).env_remove("KIOSKCTL_PROFILE");
    Ok(command)
}

fn site(dir: &Path, ports: [u16; 2], groups: &BTreeMap<String, Vec<String>>) -> Result<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .map_err(|errno| Error::io("who runs this")(errno.into()))?
        .map_or_else(|| "root".to_owned(), |user| user.name);
    let here = dir.display();
    let mut text = format!(
        "admins = [\"demo\"]\n[tls]\nca = \"{here}/ca/ca.pem\"\ncertificate = \"{here}/ca/broker.pem\"\n\
         key = \"{here}/ca/broker.key\"\n[listen]\nkiosks = {}\nadmins = {}\naddress = \"127.0.0.1\"\n\
         [storage]\nfolder = \"{here}/store\"\nuser = \"{user}\"\n[limits]\nconnections = 20000\n[groups]\n",
        ports[0], ports[1]
    );
    for (group, kiosks) in groups {
        let kiosks: Vec<String> = kiosks.iter().map(|kiosk| format!("{kiosk:?}")).collect();
        text += &format!("{group} = [{}]\n", kiosks.join(", "));
    }
    Ok(text)
}

fn launch(place: &Place, dir: &Path, ports: [u16; 2]) -> Result<Process> {
    let mut command = place.command("mosquitto");
    command.arg("-c").arg(dir.join("etc/mosquitto.conf"));
    let mut process = place.spawn("mosquitto", &mut command)?;
    let pid = process.pid();
    process.until(PATIENCE, "mosquitto to listen", || {
        Ok(ports.iter().all(|port| is_listening(pid, *port)).then_some(()))
    })?;
    Ok(process)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(path.display().to_string()))
}
