//! A started program: its log, its signals, its end.

use crate::{Error, Result, wait::until};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus},
    time::Duration,
};

/// How long a program gets to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How long the kernel gets to take a killed one away on a busy machine.
const KILLED: Duration = Duration::from_secs(45);
/// Lines of a log that an error shows.
const TAIL: usize = 40;

/// A running program, the head of its own process group. Dropped: SIGTERM to the group, then SIGKILL.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Takes over a child that was started with `process_group(0)` and whose output goes to `log`.
    pub(crate) fn new(name: impl Into<String>, child: Child, log: PathBuf) -> Self {
        Self { name: name.into(), child, log, ended: None }
    }

    /// What it is called in logs and errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process identifier, as seen by the test.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All that it has printed so far.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines that it has printed.
    pub fn log_tail(&self) -> String {
        tail(&self.log_text(), TAIL)
    }

    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().map_err(Error::io(format!("wait for {}", self.name)))?;
        }
        Ok(self.ended)
    }

    /// An error if it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(Error::Ended { name: self.name.clone(), status, log: self.log_tail() }),
        }
    }

    /// Waits until `probe` gives a value; fails at once when the program ends, and shows its last lines.
    pub fn until<T>(
        &mut self,
        timeout: Duration,
        what: &str,
        mut probe: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let result = until(timeout, what, || {
            self.must_run()?;
            probe()
        });
        result.map_err(|error| self.explain(error))
    }

    /// Waits for a line that contains `text`.
    pub fn wait_log(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let log = self.log.clone();
        self.until(timeout, &format!("\"{text}\" in the log"), || {
            let bytes = fs::read(&log).map_err(Error::io(log.display().to_string()))?;
            Ok(String::from_utf8_lossy(&bytes).contains(text).then_some(()))
        })
    }

    /// Adds the end of this program's log to a timeout.
    pub fn explain(&self, error: Error) -> Error {
        match error {
            Error::Timeout { what, after, log } => {
                Error::Timeout { what, after, log: format!("{log}last lines of {}:\n{}", self.name, self.log_tail()) }
            }
            other => other,
        }
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.nix_pid(), signal).map_err(|errno| self.signal_error(signal, errno))
    }

    /// Ends it at once, with all its children, as a crash or a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.signal_group(Signal::SIGKILL)?;
        self.wait(KILLED).map(drop)
    }

    /// Asks it to end and waits; an error if it takes longer than `timeout`.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::SIGTERM)?;
        }
        self.wait(timeout)
    }

    /// Waits for its end.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        until(timeout, &what, || self.ended()).map_err(|error| self.explain(error))
    }

    /// Whether it has ended; its number stays taken until it is waited for.
    fn is_zombie(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.nix_pid()), flags), Ok(WaitStatus::StillAlive))
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn signal_group(&self, signal: Signal) -> Result<()> {
        match killpg(self.nix_pid(), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(self.signal_error(signal, errno)),
        }
    }

    fn signal_error(&self, signal: Signal, errno: Errno) -> Error {
        Error::io(format!("{signal} to {}", self.name))(errno.into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let _ = self.signal_group(Signal::SIGTERM);
        let _ = until(GRACE, &self.name, || Ok(self.is_zombie().then_some(())));
        // The head is not reaped before the whole group is dead: until then its number can belong to nobody else.
        let _ = self.signal_group(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The last `count` lines.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Runs a program to its end and gives what it printed; an error when it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let what = format!("{command:?}");
    let output = command.output().map_err(Error::io(what.clone()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(Error::Command { what, status: output.status, output: String::from_utf8_lossy(&text).into_owned() })
}

/// Whether a status says that the program was ended by a signal.
pub fn by_signal(status: ExitStatus) -> bool {
    status.signal().is_some()
}
