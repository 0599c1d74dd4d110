//! The agent: the real console page in headless Chromium, played by agent-console/driver.

use crate::{Error, Result, janus::Janus, place::Place, process::Process, wait::until, world::repository};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdin, ChildStdout},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// How long Chromium gets to start.
const START: Duration = Duration::from_secs(60);
/// How long it gets to close.
const STOP: Duration = Duration::from_secs(45);

/// Whose part the browser plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The bank agent, in the console that agents use.
    Agent,
    /// A kiosk that sends and does not receive: what the daemon's figures are compared with.
    PublishingKiosk,
}

/// What the driver is told.
#[derive(Debug, Clone)]
pub struct BrowserOptions {
    /// Whose part it plays.
    pub part: Part,
    /// Address of Janus's signalling.
    pub server: String,
    /// Name of the agent, or identifier of the kiosk.
    pub name: String,
    /// Janus API token.
    pub token: String,
    /// Token for the room.
    pub room_token: String,
    /// The room.
    pub room: u64,
    /// More arguments for Chromium.
    pub chromium: Vec<String>,
    /// The camera's picture, instead of Chromium's own: a Y4M or MJPEG file.
    pub video: Option<String>,
    /// More arguments for the driver.
    pub driver: Vec<String>,
}

impl BrowserOptions {
    /// A browser on a host of a world. Janus's certificate comes from an authority that Chromium does not know.
    pub fn new(part: Part, name: &str, janus: &Janus, room: u64) -> Result<Self> {
        let tokens = janus.agent_tokens(room)?;
        Ok(Self {
            part,
            server: janus.wss_url(),
            name: name.to_owned(),
            token: tokens.token,
            room_token: tokens.room_token,
            room,
            chromium: vec!["--ignore-certificate-errors".into()],
            video: None,
            driver: Vec::new(),
        })
    }
}

/// Statistics of the page's connections, read by the browser once a second.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct BrowserStats {
    /// Milliseconds since 1970.
    pub at_ms: f64,
    /// Frames of the other side, decoded.
    pub frames_decoded: u64,
    /// Pixels.
    pub frame_width: u32,
    /// Pixels.
    pub frame_height: u32,
    /// Frames per second.
    pub frames_per_second: f64,
    /// Bytes of the other side's picture.
    pub video_bytes: u64,
    /// The other side's sound.
    pub audio: BrowserAudio,
    /// What this side sends.
    pub sent: BrowserSent,
    /// Selected candidate pairs.
    pub pairs: Vec<BrowserPair>,
}

/// Sound that the page receives.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct BrowserAudio {
    /// RTP packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Loudness now, linear, 0 to 1.
    pub level: f64,
    /// Energy since the start, as WebRTC statistics define it; grows only while something is heard.
    pub energy: f64,
}

/// Media that the page sends.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct BrowserSent {
    /// Frames.
    pub frames: u64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub frames_per_second: f64,
    /// Bytes of the picture.
    pub video_bytes: u64,
    /// Bytes of the sound.
    pub audio_bytes: u64,
}

/// A selected candidate pair of the browser.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrowserPair {
    /// `publish` or `subscribe`.
    pub leg: String,
    /// The browser's end.
    pub local: BrowserEnd,
    /// The server's end.
    pub remote: BrowserEnd,
}

/// One end of a pair.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrowserEnd {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `active`, `passive` or `so`.
    pub tcptype: Option<String>,
    /// Address, if the browser tells it.
    pub address: Option<String>,
    /// Port.
    pub port: u16,
}

/// A running browser.
#[derive(Debug)]
pub struct Browser {
    process: Process,
    stdin: Option<ChildStdin>,
    events: Arc<Mutex<Vec<Value>>>,
    read: usize,
}

impl Browser {
    /// Starts the driver; it signs in and joins as soon as it can. Returns when Chromium runs.
    pub fn start(place: &Place, options: &BrowserOptions) -> Result<Self> {
        let console = repository().join("agent-console");
        let script = match options.part {
            Part::Agent => "driver/agent.mjs",
            Part::PublishingKiosk => "driver/kiosk.mjs",
        };
        // In a process namespace of its own, so that no process of Chromium is left when the driver is killed.
        let mut command = place.command(if place.is_world() { "unshare" } else { "node" });
        if place.is_world() {
            command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--", "node"]);
        }
        command.arg(console.join(script));
        match options.part {
            Part::Agent => command.arg("--console").arg(console.join("dist")).args(["--name", &options.name]),
            Part::PublishingKiosk => command.args(["--publish-only", "--id", &options.name]),
        };
        command.args(["--server", &options.server, "--token", &options.token, "--room-token", &options.room_token]);
        command.args(["--room", &options.room.to_string()]);
        command.args(options.chromium.iter().map(|argument| format!("--chromium-arg={argument}")));
        if let Some(video) = &options.video {
            command.args(["--video", video]);
        }
        command.args(&options.driver);
        let mut process = place.spawn_piped(&options.name, &mut command)?;
        let stdin = process.take_stdin();
        let events = Arc::<Mutex<Vec<Value>>>::default();
        if let Some(stdout) = process.take_stdout() {
            follow(stdout, process.log(), Arc::clone(&events))?;
        }
        let mut browser = Self { process, stdin, events, read: 0 };
        browser.wait_event("ready", START)?;
        Ok(browser)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Sends a command: `leave`, `join`, `mute`, `end` or `quit`.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        writeln!(stdin, "{command}").map_err(Error::io(format!("\"{command}\" to {}", self.process.name())))
    }

    /// Waits for the next event of a kind, after the last one that was waited for.
    pub fn wait_event(&mut self, kind: &str, timeout: Duration) -> Result<Value> {
        let what = format!("\"{kind}\" of {}", self.process.name());
        let (events, from) = (Arc::clone(&self.events), self.read);
        let (index, event) = self.process.until(timeout, &what, || {
            let events = events.lock().unwrap_or_else(PoisonError::into_inner);
            let found = events.iter().enumerate().skip(from).find(|(_, event)| event["event"] == kind);
            Ok(found.map(|(index, event)| (index, event.clone())))
        })?;
        self.read = index + 1;
        Ok(event)
    }

    /// All events so far of a kind.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|event| event["event"] == kind).cloned().collect()
    }

    /// The last statistics.
    pub fn stats(&self) -> Result<BrowserStats> {
        match self.events("stats").pop() {
            Some(event) => serde_json::from_value(event).map_err(Error::json("statistics of the browser")),
            None => Ok(BrowserStats::default()),
        }
    }

    /// Waits until the statistics are as wanted.
    pub fn wait_stats(
        &mut self,
        timeout: Duration,
        what: &str,
        wanted: impl Fn(&BrowserStats) -> bool,
    ) -> Result<BrowserStats> {
        let result = until(timeout, what, || {
            self.process.must_run()?;
            Ok(Some(self.stats()?).filter(|stats| wanted(stats)))
        });
        result.map_err(|error| self.process.explain(error))
    }

    /// Leaves the call, closes the browser.
    pub fn end(mut self) -> Result<()> {
        self.tell("end")?;
        self.process.wait(STOP).map(drop)
    }
}

/// Reads the driver's lines until it closes its output; copies them to the log.
fn follow(stdout: ChildStdout, log: &Path, events: Arc<Mutex<Vec<Value>>>) -> Result<()> {
    let mut log = OpenOptions::new().append(true).open(log).map_err(Error::io(log.display().to_string()))?;
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = writeln!(log, "{line}");
            if let Ok(event) = serde_json::from_str(&line) {
                events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        }
    });
    Ok(())
}
