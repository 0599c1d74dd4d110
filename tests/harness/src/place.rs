//! Where a program runs: on this machine as it is, or on a host of a test's world.

use crate::{Error, Result, process::Process};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl::set_pdeathsig,
        signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    },
    unistd::{chdir, chroot},
};
use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The namespaces that make a host.
#[derive(Debug)]
pub(crate) struct Namespaces {
    pub user: File,
    pub mount: File,
    pub net: File,
}

/// A place to start programs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
    namespaces: Option<Arc<Namespaces>>,
    root: Option<PathBuf>,
    started: Arc<AtomicUsize>,
}

impl Place {
    /// This machine as it is; logs and files go to `dir`.
    pub fn here(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), namespaces: None, root: None, started: Arc::default() }
    }

    pub(crate) fn on_host(
        dir: &Path,
        namespaces: Namespaces,
        root: Option<PathBuf>,
        started: Arc<AtomicUsize>,
    ) -> Self {
        Self { dir: dir.to_owned(), namespaces: Some(Arc::new(namespaces)), root, started }
    }

    /// Where logs and temporary files go.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether programs here run as root of a user namespace of their own.
    pub fn is_world(&self) -> bool {
        self.namespaces.is_some()
    }

    /// A tool of this machine, to be run here.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.enter(Command::new(program), None)
    }

    /// A program of the product's system (Janus, the daemon): inside `KIOSK_ROOTFS` when a test runs with one.
    pub fn product_command(&self, program: impl AsRef<OsStr>) -> Command {
        self.enter(Command::new(program), self.root.clone())
    }

    /// Starts a command made by this place; what it prints goes to a log file, standard output too unless piped.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        self.spawn_with(name, command, false)
    }

    /// The same, with standard input and output as pipes.
    pub fn spawn_piped(&self, name: &str, command: &mut Command) -> Result<Process> {
        self.spawn_with(name, command, true)
    }

    fn spawn_with(&self, name: &str, command: &mut Command, piped: bool) -> Result<Process> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.dir.join(format!("{number:02}-{name}.log"));
        // Appending, because more than one writer may hold it.
        let file =
            File::options().create(true).append(true).open(&log).map_err(Error::io(log.display().to_string()))?;
        if piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            let copy = file.try_clone().map_err(Error::io(log.display().to_string()))?;
            command.stdin(Stdio::null()).stdout(copy);
        }
        let child = command.stderr(file).process_group(0).spawn();
        let child = child.map_err(Error::io(format!("start {name} ({})", command.get_program().display())))?;
        Ok(Process::new(name, child, log))
    }

    fn enter(&self, mut command: Command, root: Option<PathBuf>) -> Command {
        let namespaces = self.namespaces.clone();
        let step_in = move || {
            if let Some(namespaces) = &namespaces {
                setns(&namespaces.user, CloneFlags::CLONE_NEWUSER)?;
                setns(&namespaces.net, CloneFlags::CLONE_NEWNET)?;
                setns(&namespaces.mount, CloneFlags::CLONE_NEWNS)?;
                if let Some(root) = &root {
                    chroot(root)?;
                }
                chdir("/")?;
            }
            // The last step, because a change of credentials clears it: no program outlives a test that was killed.
            set_pdeathsig(Signal::SIGKILL)?;
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            io::Result::Ok(())
        };
        // SAFETY: between fork and exec only system calls are made, on values that were allocated before the fork.
        unsafe { command.pre_exec(step_in) };
        command
    }
}
