//! The real mosquitto with the product's configuration, `config/mosquitto`, as `kioskctl server render` makes it.

use crate::{
    Error, Result,
    janus::built,
    place::Place,
    process::{Process, run},
    procfs::is_listening,
    tls::{Authority, ClientIdentity},
};
use nix::sys::signal::Signal;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Port of kiosks.
pub const PORT: u16 = 8883;
/// Name of the files of the admin's certificate.
pub const ADMIN: &str = "admin-test";
/// How long mosquitto gets to listen.
const START: Duration = Duration::from_secs(45);
/// How long one message gets to be published.
const PUBLISH: Duration = Duration::from_secs(45);

/// A running mosquitto.
#[derive(Debug)]
pub struct Mosquitto {
    place: Place,
    dir: PathBuf,
    address: IpAddr,
    port: u16,
    authority: Authority,
    groups: BTreeMap<String, Vec<String>>,
    admin: ClientIdentity,
    process: Process,
}

/// A message as a client received it.
#[derive(Debug, Clone, Deserialize)]
pub struct Received {
    /// Topic.
    pub topic: String,
    /// 1 when it is the topic's retained message, as a new subscriber gets it.
    pub retain: u8,
    /// Correlation data, which has to be text.
    pub correlation: String,
    hex: String,
}

impl Received {
    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        let digits = self.hex.as_bytes().chunks(2);
        digits.filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload()).into_owned()
    }

    /// The payload as JSON; `null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload()).unwrap_or_default()
    }
}

/// How `mosquitto_sub` writes a message down.
const FORMAT: &str = r#"{"topic":"%t","retain":%r,"correlation":"%D","hex":"%x"}"#;

/// A client that wrote down all that it received.
#[derive(Debug)]
pub struct Subscriber {
    process: Process,
}

impl Subscriber {
    /// All messages so far.
    pub fn messages(&self) -> Vec<Received> {
        // Its log has the warnings of the program too; a line that is being written is none yet.
        self.process.log_text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a message.
    pub fn wait(&mut self, timeout: Duration, what: &str, wanted: impl Fn(&Received) -> bool) -> Result<Received> {
        let log = self.process.log().to_owned();
        self.process.until(timeout, what, || {
            let text = fs::read(&log).map_err(Error::io(log.display().to_string()))?;
            let text = String::from_utf8_lossy(&text).into_owned();
            Ok(text.lines().filter_map(|line| serde_json::from_str::<Received>(line).ok()).rfind(|m| wanted(m)))
        })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Mosquitto {
    /// Starts it. `kiosks` are the names of kiosks and the groups that each may read.
    pub fn start(place: &Place, address: impl Into<IpAddr>, kiosks: &[(&str, &[&str])]) -> Result<Self> {
        Self::start_on(place, address, PORT, kiosks)
    }

    /// The same on another port.
    pub fn start_on(place: &Place, address: impl Into<IpAddr>, port: u16, kiosks: &[(&str, &[&str])]) -> Result<Self> {
        let (dir, address) = (place.dir().join("mosquitto"), address.into());
        fs::create_dir_all(dir.join("etc")).map_err(Error::io(dir.display().to_string()))?;
        let authority = Authority::create(&dir)?;
        authority.server(&[&address.to_string(), "localhost", "127.0.0.1"])?;
        let admin = authority.client_as(ADMIN, "admin/test")?;
        let own = |list: &[&str]| list.iter().map(|group| (*group).to_owned()).collect();
        let groups: BTreeMap<String, Vec<String>> =
            kiosks.iter().map(|(kiosk, groups)| ((*kiosk).to_owned(), own(groups))).collect();
        for kiosk in groups.keys() {
            authority.client(kiosk)?;
        }
        render(&dir, address, port, &groups)?;
        let process = launch(place, &dir, port)?;
        Ok(Self { place: place.clone(), dir, address, port, authority, groups, admin, process })
    }

    /// Starts it again with a smaller limit for packets, bytes.
    pub fn limit_packets(&mut self, bytes: u32) -> Result<()> {
        self.stop()?;
        limit_packets(&self.dir.join("etc/mosquitto.conf"), bytes)?;
        self.restart()
    }

    /// Starts it again after it ended, with the same configuration and what it has stored.
    pub fn restart(&mut self) -> Result<()> {
        self.process = launch(&self.place, &self.dir, self.port)?;
        Ok(())
    }

    /// Ends it as an operator would: it stores what it holds.
    pub fn stop(&mut self) -> Result<()> {
        self.process.terminate(START).map(drop)
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Ends it at once, and takes away all that it has stored.
    pub fn lose_everything(&mut self) -> Result<()> {
        self.kill()?;
        let store = self.dir.join("mosquitto.db");
        fs::remove_file(&store).map_err(Error::io(store.display().to_string()))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What a kiosk's `fleet.broker` says.
    pub fn url(&self) -> String {
        format!("mqtts://{}:{}", self.address, self.port)
    }

    /// The same for an admin's profile.
    pub fn admin_url(&self) -> String {
        format!("mqtts://{}:{}", self.address, admin_port(self.port))
    }

    /// The authority of all its certificates.
    pub fn ca(&self) -> PathBuf {
        self.authority.ca()
    }

    /// The authority itself, for more certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Certificate and key of a kiosk that was named at the start.
    pub fn kiosk(&self, name: &str) -> ClientIdentity {
        ClientIdentity { certificate: self.dir.join(format!("{name}.pem")), key: self.dir.join(format!("{name}.key")) }
    }

    /// Certificate and key of an admin.
    pub fn admin(&self) -> &ClientIdentity {
        &self.admin
    }

    /// Lets a kiosk read other groups from now on.
    pub fn set_groups(&mut self, kiosk: &str, groups: &[&str]) -> Result<()> {
        self.groups.insert(kiosk.to_owned(), groups.iter().map(|group| (*group).to_owned()).collect());
        render(&self.dir, self.address, self.port, &self.groups)?;
        self.process.signal(Signal::SIGHUP)
    }

    /// Lets kiosks write a topic of theirs, or not, from now on.
    pub fn set_writable(&self, word: &str, writable: bool) -> Result<()> {
        let file = self.dir.join("etc/acl");
        let text = fs::read_to_string(&file).map_err(Error::io(file.display().to_string()))?;
        let line = format!("pattern write bk/v1/device/%u/{word}\n");
        let (from, to) = if writable { (format!("#{line}"), line) } else { (line.clone(), format!("#{line}")) };
        if !text.contains(&from) {
            return Err(Error::Other(format!("{} has no line {from:?}", file.display())));
        }
        write(&file, &text.replacen(&from, &to, 1))?;
        self.process.signal(Signal::SIGHUP)
    }

    /// Publishes as an admin; an empty payload takes a retained message away.
    pub fn publish(&self, place: &Place, topic: &str, payload: &[u8], retain: bool) -> Result<()> {
        let more: &[&str] = if retain { &["--retain"] } else { &[] };
        self.publish_as(place, ADMIN, topic, payload, more)
    }

    /// Publishes with a client's certificate and more arguments of `mosquitto_pub`, QoS 1.
    pub fn publish_as(&self, place: &Place, client: &str, topic: &str, payload: &[u8], more: &[&str]) -> Result<()> {
        let file = tempfile::NamedTempFile::new_in(&self.dir).map_err(Error::io("a file for the payload"))?;
        fs::write(file.path(), payload).map_err(Error::io("a file for the payload"))?;
        let mut command = place.command("timeout");
        command.arg(PUBLISH.as_secs().to_string()).arg("mosquitto_pub").args(self.arguments(client));
        // The broker wants a name of every client; each message has its own connection.
        let name = file.path().file_name().unwrap_or_default();
        command.arg("-i").arg(name).args(["-q", "1", "-t", topic]).args(more);
        if payload.is_empty() {
            command.arg("-n");
        } else {
            command.arg("-f").arg(file.path());
        }
        run(&mut command).map(drop)
    }

    /// Subscribes as an admin.
    pub fn subscribe(&self, place: &Place, name: &str, topics: &[&str]) -> Result<Subscriber> {
        self.subscribe_as(place, ADMIN, name, topics)
    }

    /// Subscribes with a client's certificate, and writes down every message. Returns when the broker has agreed. The
    /// session outlives the broker and the client's absence; `name` is for the log, and for the session of an admin: a
    /// kiosk has one session, which ends when it connects a second time.
    pub fn subscribe_as(&self, place: &Place, client: &str, name: &str, topics: &[&str]) -> Result<Subscriber> {
        // It ends with some of the ways in which a broker goes.
        let again = "while :; do stdbuf -oL mosquitto_sub \"$@\"; sleep 0.2; done";
        let mut command = place.command("sh");
        command.args(["-c", again, "mosquitto_sub"]).args(self.arguments(client));
        command.args(["-i", name, "-c", "-x", "3600", "-d", "-q", "1", "-F", FORMAT]);
        for topic in topics {
            command.args(["-t", topic]);
        }
        let mut process = place.spawn(&format!("sub-{name}"), &mut command)?;
        process.wait_log("received SUBACK", START)?;
        Ok(Subscriber { process })
    }

    fn arguments(&self, client: &str) -> Vec<String> {
        let file = |end: &str| self.dir.join(format!("{client}{end}")).display().to_string();
        let ca = self.ca().display().to_string();
        let port = if client == ADMIN { admin_port(self.port) } else { self.port };
        let (host, port) = (self.address.to_string(), port.to_string());
        let words = ["-h", &host, "-p", &port, "--cafile", &ca, "--cert", &file(".pem"), "--key", &file(".key")];
        words.into_iter().map(str::to_owned).chain(["-V".to_owned(), "mqttv5".to_owned()]).collect()
    }
}

/// The port of admins, next to that of kiosks.
fn admin_port(port: u16) -> u16 {
    port + 1
}

/// Puts the product's configuration into `etc`.
fn render(dir: &Path, address: IpAddr, port: u16, groups: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let (here, admins) = (dir.display(), admin_port(port));
    // As root of a user namespace there is no other user to become.
    let mut site = format!(
        "admins = [\"test\"]\n\
         [tls]\nca = \"{here}/ca.pem\"\ncertificate = \"{here}/server.pem\"\nkey = \"{here}/server.key\"\n\
         [listen]\nkiosks = {port}\nadmins = {admins}\naddress = \"{address}\"\n\
         [storage]\nfolder = \"{here}\"\nuser = \"root\"\n[groups]\n"
    );
    let mut members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kiosk, groups) in groups {
        groups.iter().for_each(|group| members.entry(group).or_default().push(kiosk));
    }
    for (group, kiosks) in members {
        let _ = writeln!(site, "{group} = {kiosks:?}");
    }
    write(&dir.join("site.toml"), &site)?;
    let mut command = Command::new(built("kioskctl")?);
    command.args(["server", "render", "--server", "mosquitto", "--site"]).arg(dir.join("site.toml"));
    run(command.arg("--out").arg(dir.join("etc")))?;
    // A broker that is killed has all that it acknowledged: what is tested is the kiosk.
    let file = dir.join("etc/mosquitto.conf");
    let text = fs::read_to_string(&file).map_err(Error::io(file.display().to_string()))?;
    let often = "autosave_interval 1\nautosave_on_changes true";
    write(&file, &text.replace("autosave_interval 30", often))
}

/// Changes the limit for packets in a mosquitto.conf.
pub(crate) fn limit_packets(file: &Path, bytes: u32) -> Result<()> {
    let text = fs::read_to_string(file).map_err(Error::io(file.display().to_string()))?;
    let line = format!("max_packet_size {}", kiosk_proto::fleet::MAX_PACKET_BYTES);
    if !text.contains(&line) {
        return Err(Error::Other(format!("{} has no line {line:?}", file.display())));
    }
    write(file, &text.replace(&line, &format!("max_packet_size {bytes}")))
}

fn launch(place: &Place, dir: &Path, port: u16) -> Result<Process> {
    let mut command = place.command("mosquitto");
    command.arg("-c").arg(dir.join("etc/mosquitto.conf"));
    let mut process = place.spawn("mosquitto", &mut command)?;
    let pid = process.pid();
    process.until(START, "mosquitto to listen", || {
        let listening = [port, admin_port(port)].into_iter().all(|port| is_listening(pid, port));
        Ok(listening.then_some(()))
    })?;
    Ok(process)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(path.display().to_string()))
}
