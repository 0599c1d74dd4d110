//! Somebody at a terminal: questions, bars that move, Ctrl-C, and pipes that close early.

use super::place::{Kind, Trial};
use kiosk_harness::local::simulated::Order;
use kiosk_proto::fleet::EventKind;
use std::io::{Read, Write, pipe};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PUSH: [&str; 6] = ["config", "push", "--reason", "a test", "--group", "seoul"];
const SOON: Duration = Duration::from_secs(60);

/// A terminal with `kioskctl` in it.
struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// `script` gives the program a terminal and is its keyboard and screen.
    fn start(trial: &Trial, arguments: &[&str]) -> Self {
        let words = arguments.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let line = format!("stty cols 120; {} {words}", trial.broker.ctl_words().unwrap());
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.env("SHELL", "/bin/sh").env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().unwrap();
        let (keyboard, mut output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let screen = Arc::<Mutex<String>>::default();
        let shown = screen.clone();
        let reader = thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(number @ 1..) = output.read(&mut some) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&some[..number]));
            }
        });
        Self { script, keyboard, screen, reader }
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    fn shows(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// The end of it, for messages: bars are drawn again and again.
    fn last(&self) -> String {
        let shown = self.shows();
        shown.chars().skip(shown.chars().count().saturating_sub(800)).collect()
    }

    fn wait(&self, what: &str) {
        let begin = Instant::now();
        while !self.shows().contains(what) {
            assert!(begin.elapsed() < SOON, "waited for {what:?}, and saw: {}", self.last());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end: the exit code, and all that was shown.
    fn end(mut self) -> (i32, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.script.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < SOON, "it does not end: {}", self.last());
            thread::sleep(Duration::from_millis(20));
        };
        self.reader.join().unwrap();
        let shown = self.screen.lock().unwrap().clone();
        (status.code().unwrap(), shown)
    }
}

#[test]
fn a_push_asks_shows_how_far_it_is_and_goes_on_after_ctrl_c() {
    let trial = Trial::start(4, |_| Kind { trial: Duration::from_secs(5), ..Kind::default() });
    let push = [&PUSH[..], &["--canary", "25%", "--set", "video.bitrate_kbps=800"]].concat();

    let mut no = Terminal::start(&trial, &push);
    no.wait("Push it? [y/N] ");
    no.type_in("\r");
    let (code, shown) = no.end();
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("nothing was sent") && shown.contains("steps: 25 % (1 kiosks), 100 %"), "{shown}");
    assert_eq!(trial.json(&["config", "status"]), serde_json::json!([]));

    let mut yes = Terminal::start(&trial, &push);
    yes.wait("Push it? [y/N] ");
    yes.type_in("y\r");
    yes.wait("0/1  1 trying");
    yes.type_in("\x03");
    let (code, shown) = yes.end();
    assert_eq!(code, 130, "{shown}");
    assert!(shown.contains("   100 % [") && shown.contains("] 0/4"), "a bar for each step: {shown}");
    let (_, resume) = shown.split_once("to go on: kioskctl ").unwrap();
    let resume: Vec<&str> = resume.lines().next().unwrap().trim().split(' ').collect();

    let mut on = Terminal::start(&trial, &resume);
    on.wait("Go on with it? [y/N] ");
    on.type_in("yes\r");
    let (code, shown) = on.end();
    assert_eq!(code, 0, "{shown}");
    // The second bar was empty, moved, and is full.
    for there in ["1/4  3 trying", "[================================] 4/4", "confirmed by all 4 kiosks"] {
        assert!(shown.contains(there), "{there}");
    }
}

#[test]
fn an_answer_that_comes_late_finds_the_broker_again() {
    let mut trial = Trial::start(1, |_| Kind::default());
    let mut push = Terminal::start(&trial, &[&PUSH[..], &["--set", "video.bitrate_kbps=800"]].concat());
    push.wait("Push it? [y/N] ");
    // It gives up on who gives no sign of life; a restart ends the connection sooner.
    trial.broker.restart().unwrap();
    push.type_in("y\r");
    let (code, shown) = push.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("confirmed by all 1 kiosks"), "{shown}");
}

/// Runs it with standard output and standard error that nobody reads any more.
fn unread(trial: &Trial, arguments: &[&str]) -> Child {
    let [output, errors] = [pipe().unwrap(), pipe().unwrap()].map(|(reader, writer)| {
        drop(reader);
        writer
    });
    trial.command(arguments).stdout(output).stderr(errors).spawn().unwrap()
}

#[test]
fn a_pipe_that_closes_early_ends_it_quietly() {
    let trial = Trial::start(2, |number| Kind { fails: number == 1, ..Kind::default() });
    for arguments in [
        &["completions", "bash"][..],
        &["key", "list"],
        &["fleet", "list"],
        &["config", "status", "--json"],
        &["run", "ping", "--group", "seoul", "--yes"],
    ] {
        assert_eq!(unread(&trial, arguments).wait().unwrap().code(), Some(0), "{arguments:?}");
    }
    // What a rollout came to is told by the exit code all the same.
    let push = [&PUSH[..], &["--yes", "--timeout", "20s", "--set", "video.bitrate_kbps=800"]].concat();
    assert_eq!(unread(&trial, &push).wait().unwrap().code(), Some(3));
    assert_eq!(trial.value("k-0", "video.bitrate_kbps"), 800);

    // What runs until Ctrl-C ends when nobody reads.
    let mut follow = unread(&trial, &["events", "follow"]);
    let begin = Instant::now();
    let status = loop {
        trial.order("k-0", Order::Happens(EventKind::FaultRaised { code: "camera-unavailable".into() }));
        thread::sleep(Duration::from_millis(100));
        if let Some(status) = follow.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < SOON, "it goes on for nobody");
    };
    assert_eq!(status.code(), Some(0));

    // A full disk is none of that.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = trial.command(&["fleet", "list"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.trim()), (Some(1), "cannot write to standard output: no storage space"));
}
