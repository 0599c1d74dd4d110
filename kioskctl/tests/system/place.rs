//! A network of its own for a test, and programs that end with it.

use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

const INSIDE: &str = "KIOSKCTL_TEST_INSIDE";

/// Runs `body` in user, network, mount and process namespaces of its own, with loopback and the address `203.0.113.5`
/// on one end of a pair of interfaces. The test starts itself again in there, by its name.
pub fn in_own_network(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        for arguments in [
            "link set lo up",
            "link add left type veth peer name right",
            "addr add 203.0.113.5/24 dev left",
            "link set left up",
            "link set right up",
            "route add default via 203.0.113.6 dev left",
        ] {
            done(Command::new("ip").args(arguments.split(' ')));
        }
        return body();
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) is needed, and a kernel that allows user namespaces");
    assert!(status.success(), "{test} failed in its namespace, see above");
}

/// Runs a program that must succeed; gives its standard output.
pub fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Runs a program that must fail; gives its standard error.
pub fn refused(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(!status.success(), "{command:?} did not fail:\n{}", String::from_utf8_lossy(&stdout));
    String::from_utf8(stderr).unwrap()
}

/// The program under test.
pub fn kioskctl() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kioskctl"))
}

/// A file of the repository.
pub fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// Tries until it is so; fails after 30 s.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "waited 30 s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program that is killed when the test ends.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
