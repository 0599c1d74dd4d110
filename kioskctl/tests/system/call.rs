//! `kioskctl call` over a bus of its own, under the policy that is installed.

use super::place::{Running, done, kioskctl, refused, repository, until};
use kiosk_proto::figures::CallFigures;
use serde_json::Value;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The rules that Debian's system bus has for names that no policy speaks of.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>POLICY</include>
</busconfig>"#;

/// A bus with the installed policy, in which the users and groups are those of this machine.
struct Bus {
    _daemon: Running,
    folder: tempfile::TempDir,
}

impl Bus {
    fn start(people: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = std::fs::read_to_string(repository("config/dbus/org.branchkiosk.Kiosk1.conf")).unwrap();
        for (from, to) in people {
            assert!(policy.contains(from), "{from}");
            policy = policy.replace(from, to);
        }
        let policy_path = folder.path().join("policy.conf");
        std::fs::write(&policy_path, policy).unwrap();
        let config = folder.path().join("bus.conf");
        let text = BUS
            .replace("SOCKET", &folder.path().join("socket").display().to_string())
            .replace("POLICY", &policy_path.display().to_string());
        std::fs::write(&config, text).unwrap();
        let daemon = Command::new("dbus-daemon")
            .arg("--nofork")
            .arg(format!("--config-file={}", config.display()))
            .stdin(Stdio::null())
            // It complains of users that this machine does not have, and of every call that it refuses.
            .stderr(Stdio::null())
            .spawn()
            .expect("the Debian package dbus is needed");
        let bus = Self { _daemon: Running(daemon), folder };
        until("the bus", || UnixStream::connect(bus.socket()).ok());
        bus
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    fn call(&self, arguments: &[&str]) -> Command {
        let mut command = kioskctl();
        command.arg("call").args(arguments).arg("--bus").arg(self.address());
        command
    }
}

/// The interface of the daemon, with the same answers that the daemon gives.
#[derive(Clone, Default)]
struct Daemon(Arc<Mutex<String>>);

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.branchkiosk.Kiosk1.Error")]
enum Error {
    CallRunning(String),
}

#[zbus::interface(name = "org.branchkiosk.Kiosk1")]
impl Daemon {
    fn start_call(&self) -> Result<String, Error> {
        let mut call = self.0.lock().unwrap();
        if !call.is_empty() {
            return Err(Error::CallRunning(call.clone()));
        }
        *call = "c-7".into();
        Ok(call.clone())
    }

    fn end_call(&self) {
        self.0.lock().unwrap().clear();
    }

    #[zbus(property)]
    fn state(&self) -> String {
        if self.0.lock().unwrap().is_empty() { "idle" } else { "waiting" }.into()
    }

    #[zbus(property)]
    fn call_id(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    #[zbus(property)]
    fn faults(&self) -> Vec<(String, String)> {
        vec![("camera-unavailable".into(), "/dev/video0: no such device".into())]
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn figures(&self) -> String {
        let figures = CallFigures { call_id: self.0.lock().unwrap().clone(), elapsed_ms: 1500, ..Default::default() };
        serde_json::to_string(&figures).unwrap()
    }

    #[zbus(property)]
    fn version(&self) -> String {
        "0.1.0".into()
    }
}

/// Puts the daemon's interface on the bus while `body` runs.
fn with_daemon(bus: &Bus, body: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let connection = runtime.block_on(async {
        zbus::connection::Builder::address(bus.address().as_str())
            .name("org.branchkiosk.Kiosk1")
            .serve_at("/org/branchkiosk/Kiosk1", Daemon::default())
            .build()
            .await
    });
    let connection = connection.unwrap();
    body();
    drop(connection);
}

/// The user and the group that the test runs as.
fn me() -> (String, String) {
    let name = |option| done(Command::new("id").arg(option)).trim().to_owned();
    (name("-un"), name("-gn"))
}

#[test]
fn a_call_is_started_watched_and_ended() {
    let (user, _) = me();
    let bus = Bus::start(&[
        (r#"user="kiosk""#, &format!(r#"user="{user}""#)),
        (r#"user="root""#, &format!(r#"user="{user}""#)),
    ]);
    with_daemon(&bus, || {
        assert_eq!(done(&mut bus.call(&["start"])), "c-7\n");
        let again = refused(&mut bus.call(&["start"]));
        assert!(again.contains("a call is running already: c-7\nEnd it first: kioskctl call end."), "{again}");
        let page = done(&mut bus.call(&["status"]));
        assert!(page.contains("state       waiting\nFAULT       camera-unavailable: /dev/video0"), "{page}");
        assert!(page.contains("call        c-7, 1.5 s"), "{page}");
        let status: Value = serde_json::from_str(&done(&mut bus.call(&["status", "--json"]))).unwrap();
        assert_eq!(status["call_id"], "c-7");
        assert_eq!(status["faults"][0]["code"], "camera-unavailable");
        assert_eq!(status["figures"]["elapsed_ms"], 1500);
        done(&mut bus.call(&["end"]));
        done(&mut bus.call(&["end"]));
        let status: Value = serde_json::from_str(&done(&mut bus.call(&["status", "--json"]))).unwrap();
        assert_eq!((&status["state"], &status["call_id"]), (&Value::from("idle"), &Value::from("")));
        assert_eq!(done(&mut bus.call(&["start", "--json"])), "{\"call_id\":\"c-7\"}\n");
    });
}

#[test]
fn a_missing_daemon_and_a_missing_bus_are_told_apart() {
    let (user, _) = me();
    let bus = Bus::start(&[(r#"user="root""#, &format!(r#"user="{user}""#))]);
    let message = refused(&mut bus.call(&["status"]));
    assert!(message.contains("kioskd is not on the unix:path="), "{message}");
    assert!(message.contains("Start it: systemctl start kioskd."), "{message}");
    let message = refused(kioskctl().args(["call", "status", "--bus", "unix:path=/nowhere"]));
    assert!(message.contains("cannot connect to the unix:path=/nowhere bus"), "{message}");
    let message = refused(kioskctl().args(["call", "status", "--bus", "sytem"]));
    assert!(message.contains("cannot connect to the sytem bus"), "{message}");
}

#[test]
fn only_root_and_the_screen_s_group_may_call() {
    let (user, group) = me();
    let daemon = format!(r#"user="{user}""#);
    let nobody = r#"user="nobody""#;
    // Whoever runs the test owns the name, and is neither root nor in the group.
    let stranger = Bus::start(&[(r#"user="root""#, nobody), (r#"user="kiosk""#, &daemon)]);
    with_daemon(&stranger, || {
        for arguments in [["start"], ["end"], ["status"]] {
            let message = refused(&mut stranger.call(&arguments));
            assert!(message.contains("the bus does not let this user talk to kioskd"), "{message}");
            assert!(message.contains("usermod -aG kiosk-screen USER"), "{message}");
        }
    });
    // The same, now in the group.
    let member = Bus::start(&[
        (r#"user="root""#, nobody),
        (r#"user="kiosk""#, &daemon),
        (r#"group="kiosk-screen""#, &format!(r#"group="{group}""#)),
    ]);
    with_daemon(&member, || {
        assert_eq!(done(&mut member.call(&["start"])), "c-7\n");
        done(&mut member.call(&["status"]));
        done(&mut member.call(&["end"]));
    });
}

#[test]
fn only_the_daemon_s_user_may_be_the_kiosk() {
    let bus = Bus::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let impostor = runtime.block_on(async {
        zbus::connection::Builder::address(bus.address().as_str()).name("org.branchkiosk.Kiosk1").build().await
    });
    let error = impostor.expect_err("the policy gives the name to the user kiosk only").to_string();
    assert!(error.contains("is not allowed to own the service"), "{error}");
}
