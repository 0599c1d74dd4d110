//! A power cut at a chosen step: the daemon is killed as it begins a system call.

use crate::{
    Result,
    process::Process,
    world::{Host, World},
};
use nix::sys::signal::Signal;
use std::time::Duration;

/// How long strace gets to be there.
const ATTACHED: Duration = Duration::from_secs(45);
/// How long a daemon gets to start itself again.
const RESTARTS: Duration = Duration::from_secs(45);

/// From now on, the process on the kiosk's host is killed when one of its threads begins the `step`-th of these calls:
/// before it is done. Each thread counts for itself. Dropped, it lets the process go.
pub fn kill_at(world: &World, pid: u32, call: &str, step: u64) -> Result<Process> {
    inject(world, pid, call, &format!("signal=KILL:when={step}"))
}

/// From now on, the process stands still as it becomes another program, or itself anew.
pub fn stop_at_exec(world: &World, pid: u32) -> Result<Process> {
    inject(world, pid, "execve", "signal=STOP:when=1")
}

/// Waits for that, and lets it go on to be killed as by [`kill_at`].
pub fn kill_once_stopped(
    world: &World,
    mut stop: Process,
    process: &Process,
    call: &str,
    step: u64,
) -> Result<Process> {
    stop.wait_log("stopped by SIGSTOP", RESTARTS)?;
    // What stands still stays so when strace is gone.
    drop(stop);
    let strace = kill_at(world, process.pid(), call, step)?;
    process.signal(Signal::SIGCONT)?;
    Ok(strace)
}

fn inject(world: &World, pid: u32, call: &str, what: &str) -> Result<Process> {
    let mut command = world.at(Host::Kiosk)?.command("strace");
    command.args(["-f", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:{what}")]);
    command.args(["-p", &pid.to_string()]);
    let mut strace = world.at(Host::Kiosk)?.spawn(&format!("strace-{call}"), &mut command)?;
    strace.wait_log("attached", ATTACHED)?;
    Ok(strace)
}
