//! A small network of its own for each test, without root where the kernel allows user namespaces.
//!
//! One router, and hosts that each hang on it by one cable (a veth pair; `eth0` inside the host). All of it lives in
//! namespaces that a single process holds open; they vanish with it. Ports and addresses are the same in every test.

use crate::{
    Error, Result,
    place::{Namespaces, Place},
    process::{run, tail},
};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};
use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicUsize},
};
use tempfile::TempDir;

/// The machines of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Between all the others; forwards everything.
    Router,
    /// Janus.
    Server,
    /// The kiosk of a branch.
    Kiosk,
    /// A bank agent's workplace.
    Agent,
    /// A kiosk of another branch.
    Kiosk2,
    /// Another agent.
    Agent2,
}

impl Host {
    /// The hosts at the router's cables.
    pub const CABLED: [Self; 5] = [Self::Server, Self::Kiosk, Self::Agent, Self::Kiosk2, Self::Agent2];

    /// Name of the namespace, and of the router's end of the cable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Server => "server",
            Self::Kiosk => "kiosk",
            Self::Agent => "agent",
            Self::Kiosk2 => "kiosk2",
            Self::Agent2 => "agent2",
        }
    }

    /// Its address; for the router, the one on the server's cable.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::Router => Ipv4Addr::new(10, 77, 1, 1),
            Self::Server => Ipv4Addr::new(10, 77, 1, 2),
            Self::Kiosk => Ipv4Addr::new(10, 77, 2, 2),
            Self::Agent => Ipv4Addr::new(10, 77, 3, 2),
            Self::Kiosk2 => Ipv4Addr::new(10, 77, 4, 2),
            Self::Agent2 => Ipv4Addr::new(10, 77, 5, 2),
        }
    }

    fn gateway(self) -> Ipv4Addr {
        let [a, b, c, _] = self.address().octets();
        Ipv4Addr::new(a, b, c, 1)
    }
}

/// A running world.
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    holder: Child,
    root: Option<PathBuf>,
    started: Arc<AtomicUsize>,
}

/// Runs one scenario in a fresh world. When it fails or panics, the logs of all that it started are printed.
///
/// # Panics
/// When the world cannot be made or the scenario returns an error.
pub fn scenario(body: impl FnOnce(&World) -> Result<()>) {
    let world = match World::new() {
        Ok(world) => world,
        Err(error) => panic!("the test's network could not be made: {error}"),
    };
    match catch_unwind(AssertUnwindSafe(|| body(&world))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            world.print_logs();
            panic!("{error}");
        }
        Err(panic) => {
            world.print_logs();
            resume_unwind(panic);
        }
    }
}

impl World {
    /// Makes the namespaces, the cables and the routes.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("kiosk-").tempdir().map_err(Error::io("temporary directory"))?;
        let root = env::var_os("KIOSK_ROOTFS").filter(|root| !root.is_empty()).map(PathBuf::from);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "--mount", "--propagation", "private", "sh", "-euc"]);
        command.arg(setup_script(root.as_deref())).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: one system call between fork and exec.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let holder = command.spawn().map_err(Error::io("start unshare (package util-linux)"))?;
        let mut world = Self { dir, holder, root, started: Arc::default() };
        world.wait_ready()?;
        Ok(world)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let mut line = String::new();
        if let Some(stdout) = self.holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(Error::io("the world's holder"))?;
        }
        if line.trim() == "ready" {
            return Ok(());
        }
        let status = self.holder.wait().map_err(Error::io("the world's holder"))?;
        let mut output = String::new();
        if let Some(mut stderr) = self.holder.stderr.take() {
            let _ = stderr.read_to_string(&mut output);
        }
        Err(Error::Command { what: "making namespaces (are user namespaces allowed here?)".into(), status, output })
    }

    /// Where the test's files and logs are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A host as a place to start programs.
    pub fn at(&self, host: Host) -> Result<Place> {
        let pid = self.holder.id();
        let open = |path: String| File::open(&path).map_err(Error::io(path));
        let net = match host {
            Host::Router => open(format!("/proc/{pid}/ns/net"))?,
            host => open(format!("/proc/{pid}/root/run/netns/{}", host.name()))?,
        };
        let user = open(format!("/proc/{pid}/ns/user"))?;
        let mount = open(format!("/proc/{pid}/ns/mnt"))?;
        let namespaces = Namespaces { user, mount, net };
        Ok(Place::on_host(self.dir(), namespaces, self.root.clone(), Arc::clone(&self.started)))
    }

    /// Runs a tool on a host to its end.
    pub fn run(&self, host: Host, program: &str, args: &[&str]) -> Result<String> {
        run(self.at(host)?.command(program).args(args))
    }

    /// Runs a program of the product's system on a host to its end: what it mounts is seen by the daemon, also with
    /// `KIOSK_ROOTFS`.
    pub fn run_product(&self, host: Host, program: &str, args: &[&str]) -> Result<String> {
        run(self.at(host)?.product_command(program).args(args))
    }

    /// Lays a file or folder of the test over one of the product's system, on all hosts.
    pub fn cover(&self, path: &str, with: &Path) -> Result<()> {
        let with = with.display().to_string();
        self.run_product(Host::Kiosk, "mount", &["--bind", &with, path]).map(drop)
    }

    /// Pulls a host's cable.
    pub fn cut(&self, host: Host) -> Result<()> {
        self.run(Host::Router, "ip", &["link", "set", host.name(), "down"]).map(drop)
    }

    /// Puts it back.
    pub fn restore(&self, host: Host) -> Result<()> {
        self.run(Host::Router, "ip", &["link", "set", host.name(), "up"]).map(drop)
    }

    /// Prints the end of every log, for a test that failed.
    pub fn print_logs(&self) {
        const LINES: usize = 120;
        let Ok(entries) = fs::read_dir(self.dir()) else { return };
        let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        for log in logs {
            let text = fs::read(&log).unwrap_or_default();
            let text = tail(&String::from_utf8_lossy(&text), LINES);
            eprintln!("---- {} ----\n{text}", log.file_name().unwrap_or_default().display());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The shell script that the holder of the namespaces runs; it prints `ready` and then waits for its end.
fn setup_script(root: Option<&Path>) -> String {
    let mut script = String::from(
        "mount -t tmpfs tmpfs /run; mkdir /run/netns\n\
         ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward\n",
    );
    for host in Host::CABLED {
        let (name, address, gateway) = (host.name(), host.address(), host.gateway());
        // No duplicate address detection, which the larger of the two settings decides: a link-local IPv6 address is
        // usable at once, as on a host that is long up. No connection has a media port as its own by chance: a scenario
        // that counts or refuses packets of these ports means the server's.
        let _ = write!(
            script,
            "ip netns add {name}\n\
             ip link add name {name} type veth peer name eth0 netns {name}\n\
             ip address add {gateway}/24 dev {name}; ip link set {name} up\n\
             ip -netns {name} link set lo up\n\
             nsenter --net=/run/netns/{name} sh -c \
             'cd /proc/sys/net/ipv6/conf; echo 0 > all/accept_dad; echo 0 > eth0/accept_dad; \
              echo 40000-41099 > /proc/sys/net/ipv4/ip_local_reserved_ports'\n\
             ip -netns {name} address add {address}/24 dev eth0; ip -netns {name} link set eth0 up\n\
             ip -netns {name} route add default via {gateway}\n"
        );
    }
    // The kernel may say up to a second later that a cable carries, when another network was made or ended just before.
    // Until then who looks for addresses finds none on it: Janus would offer another interface's, or nothing.
    for host in Host::CABLED.map(Host::name) {
        let _ = writeln!(
            script,
            "until ip -netns {host} -oneline link show dev eth0 | grep -q 'state UP'; do sleep 0.01; done"
        );
    }
    if let Some(root) = root {
        for path in ["/proc", "/sys", "/dev", "/run"] {
            let _ = writeln!(script, "mount --rbind {path} '{}{path}'", root.display());
        }
        for path in outside_paths() {
            let inside = format!("{}{}", root.display(), path.display());
            let _ = writeln!(script, "mkdir -p '{inside}'; mount --rbind '{}' '{inside}'", path.display());
        }
    }
    script.push_str("echo ready; exec cat\n");
    script
}

/// What a program in `KIOSK_ROOTFS` sees of this machine, at the same path: the sources, what was built, and the logs.
fn outside_paths() -> Vec<PathBuf> {
    let mut paths = vec![repository(), env::temp_dir()];
    if let Some(built) = env::current_exe().ok().and_then(|exe| exe.ancestors().nth(3).map(Path::to_owned)) {
        paths.push(built);
    }
    let all = paths.clone();
    paths.retain(|path| !all.iter().any(|other| path != other && path.starts_with(other)));
    paths
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}
