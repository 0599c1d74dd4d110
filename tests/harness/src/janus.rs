//! The real Janus, configured as a site's server is: by `kioskctl server render` from a site file.

use crate::{
    Error, Result,
    place::Place,
    process::{Process, run},
    procfs::is_listening,
    tls::ServerIdentity,
    world::repository,
};
use serde::Deserialize;
use std::{
    env,
    fmt::Write as _,
    fs::{self, Permissions},
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Port of signalling over TLS.
pub const WSS_PORT: u16 = 8989;
/// Port of signalling without TLS, on loopback only.
pub const WS_PORT: u16 = 8188;
/// The room of the first kiosk.
pub const ROOM: u64 = 1001;
/// How long Janus gets to listen.
const START: Duration = Duration::from_secs(45);

/// What a test or the demo sets in the site file.
#[derive(Debug, Clone)]
pub struct JanusOptions {
    /// Where signalling and media are reached: in the certificate, and the only address that Janus gathers on.
    pub address: IpAddr,
    /// Listen for signalling only here, instead of on all addresses.
    pub signalling_address: Option<IpAddr>,
    /// Port of signalling over TLS.
    pub wss_port: u16,
    /// Port of signalling without TLS on 127.0.0.1, if any.
    pub ws_port: Option<u16>,
    /// Range of media ports.
    pub media_ports: String,
    /// Rooms and what agents read about them.
    pub rooms: Vec<(u64, String)>,
    /// ICE lite, if it is to differ from what `kioskctl` chooses.
    pub ice_lite: Option<bool>,
    /// A name that the certificate is for, beside the address.
    pub name: Option<String>,
    /// More lines for the `[media]` table of the site file.
    pub media: String,
}

impl JanusOptions {
    /// One room, the standard ports.
    pub fn new(address: impl Into<IpAddr>) -> Self {
        Self {
            address: address.into(),
            signalling_address: None,
            wss_port: WSS_PORT,
            ws_port: None,
            media_ports: "40000-40099".into(),
            rooms: vec![(ROOM, "Test branch, kiosk 1".into())],
            ice_lite: None,
            name: None,
            media: String::new(),
        }
    }

    fn site(&self, dir: &Path, identity: &ServerIdentity) -> String {
        let dir = dir.display();
        let mut site = format!(
            "[secrets]\ntoken_file = \"{dir}/token-secret\"\nadmin_file = \"{dir}/admin-secret\"\n\n\
             [signalling]\ncertificate = \"{}\"\nkey = \"{}\"\nport = {}\n",
            identity.certificate.display(),
            identity.key.display(),
            self.wss_port
        );
        if let Some(address) = self.signalling_address {
            let _ = writeln!(site, "address = \"{address}\"");
        }
        if let Some(port) = self.ws_port {
            let _ = writeln!(site, "loopback_port = {port}");
        }
        let _ = write!(site, "\n[media]\nports = \"{}\"\naddress = \"{}\"\n", self.media_ports, self.address);
        if let Some(lite) = self.ice_lite {
            let _ = writeln!(site, "ice_lite = {lite}");
        }
        let _ = writeln!(site, "{}", self.media);
        for (id, description) in &self.rooms {
            let _ = write!(site, "\n[[room]]\nid = {id}\ndescription = \"{description}\"\n");
        }
        site
    }
}

/// What somebody needs to enter a room.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    /// For every request to Janus.
    pub token: String,
    /// For joining the room.
    pub room_token: String,
}

/// A running Janus.
#[derive(Debug)]
pub struct Janus {
    place: Place,
    dir: PathBuf,
    options: JanusOptions,
    identity: ServerIdentity,
    process: Process,
}

impl Janus {
    /// Renders the configuration and starts Janus. Returns when it listens.
    pub fn start(place: &Place, options: JanusOptions) -> Result<Self> {
        let dir = place.dir().join("janus");
        let address = options.address.to_string();
        create_dir(&dir.join("etc"))?;
        for name in ["token-secret", "admin-secret"] {
            write_secret(&dir.join(name), &secret()?)?;
        }
        let names = [address.as_str(), "localhost", "127.0.0.1"].into_iter().chain(options.name.as_deref());
        let identity = ServerIdentity::create(&dir, &names.collect::<Vec<_>>())?;
        let site = dir.join("site.toml");
        fs::write(&site, options.site(&dir, &identity)).map_err(Error::io(site.display().to_string()))?;
        run(kioskctl()?.args(["server", "render", "--site"]).arg(&site).arg("--out").arg(dir.join("etc")))?;
        let process = launch(place, &dir, &options)?;
        Ok(Self { place: place.clone(), dir, options, identity, process })
    }

    /// Starts it again after [`Janus::kill`], with the same configuration and certificate.
    pub fn restart(&mut self) -> Result<()> {
        self.process = launch(&self.place, &self.dir, &self.options)?;
        Ok(())
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Certificates and key.
    pub fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    /// Where signalling over TLS is reached.
    pub fn wss_url(&self) -> String {
        let address = self.options.signalling_address.unwrap_or(self.options.address);
        format!("wss://{}/", SocketAddr::new(address, self.options.wss_port))
    }

    /// Where signalling without TLS is reached by programs of Janus's own host.
    pub fn ws_url(&self) -> Option<String> {
        self.options.ws_port.map(|port| format!("ws://127.0.0.1:{port}/"))
    }

    /// The range of media ports, as it stands in the configuration of both sides.
    pub fn media_ports(&self) -> &str {
        &self.options.media_ports
    }

    /// Signs tokens for an agent and the given room.
    pub fn agent_tokens(&self, room: u64) -> Result<Tokens> {
        let text = run(self.token_command("agent", room, "8h")?.arg("--json"))?;
        serde_json::from_str(&text).map_err(Error::json("kioskctl server token"))
    }

    /// Signs tokens for the kiosk of a room, as the files that its configuration names: token, room token.
    pub fn kiosk_token_files(&self, room: u64) -> Result<(PathBuf, PathBuf)> {
        self.kiosk_token_files_for(room, "1d")
    }

    /// The same, over the files that are there, for `valid_for`, such as "1d" or "1s".
    pub fn kiosk_token_files_for(&self, room: u64, valid_for: &str) -> Result<(PathBuf, PathBuf)> {
        let out = self.dir.join(format!("kiosk-{room}"));
        create_dir(&out)?;
        run(self.token_command("kiosk", room, valid_for)?.arg("--out").arg(&out))?;
        Ok((out.join("token"), out.join("room-token")))
    }

    /// Replaces a piece of text in a file of the rendered configuration; it counts from the next start.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.dir.join("etc").join(file);
        let text = fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
        if !text.contains(from) {
            return Err(Error::Other(format!("{} does not contain {from:?}", path.display())));
        }
        fs::write(&path, text.replace(from, to)).map_err(Error::io(path.display().to_string()))
    }

    fn token_command(&self, kind: &str, room: u64, valid_for: &str) -> Result<Command> {
        let mut command = kioskctl()?;
        command.args(["server", "token", "--kind", kind, "--room", &room.to_string(), "--valid-for", valid_for]);
        command.arg("--secret-file").arg(self.dir.join("token-secret"));
        Ok(command)
    }
}

fn launch(place: &Place, dir: &Path, options: &JanusOptions) -> Result<Process> {
    let mut command = place.product_command("janus");
    command.arg("--configs-folder").arg(dir.join("etc")).arg("--disable-colors");
    let mut process = place.spawn("janus", &mut command)?;
    let pid = process.pid();
    let ports = [Some(options.wss_port), options.ws_port];
    process.until(START, "Janus to listen for signalling", || {
        Ok(ports.iter().flatten().all(|port| is_listening(pid, *port)).then_some(()))
    })?;
    Ok(process)
}

/// A random secret, 64 hexadecimal digits.
pub(crate) fn secret() -> Result<String> {
    let mut bytes = [0; 32];
    let source = "/dev/urandom";
    std::io::Read::read_exact(&mut fs::File::open(source).map_err(Error::io(source))?, &mut bytes)
        .map_err(Error::io(source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io(path.display().to_string()))
}

/// Writes a file that only its owner can read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    fs::write(path, format!("{text}\n")).map_err(Error::io(path.display().to_string()))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io(path.display().to_string()))
}

/// The project's command line tool, built beside this program.
pub(crate) fn kioskctl() -> Result<Command> {
    let mut command = Command::new(built("kioskctl")?);
    command.current_dir(repository());
    Ok(command)
}

/// A program of the workspace: beside this one, or one folder up when this one is a test.
pub fn built(name: &str) -> Result<PathBuf> {
    let exe = env::current_exe().map_err(Error::io("the path of this program"))?;
    let mut candidates = exe.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = candidates.find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::Other(format!("{name} is not built beside {}: run `cargo build --workspace --bins`", exe.display()))
    })
}
