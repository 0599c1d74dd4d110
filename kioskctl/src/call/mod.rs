//! `kioskctl call`: starts, ends and watches the call of the kiosk on this machine, over D-Bus.

#[cfg(target_os = "linux")]
mod bus;
#[cfg(target_os = "linux")]
mod page;

/// `kioskctl call ...`
#[derive(clap::Subcommand)]
pub enum CallCommand {
    /// Start a call; prints its identifier.
    Start(Options),
    /// End the call, if there is one.
    End(Options),
    /// Show the state of the call and its figures.
    Status(Options),
}

#[derive(clap::Args)]
pub struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The bus that the daemon is on, its control.bus: system, session, or a D-Bus address.
    #[arg(long, default_value = "system")]
    bus: String,
}

#[cfg(target_os = "linux")]
pub fn run(command: CallCommand) -> anyhow::Result<()> {
    Ok(bus::run(command)?)
}

/// The daemon runs on Linux only, and so does its D-Bus.
#[cfg(not(target_os = "linux"))]
pub fn run(_: CallCommand) -> anyhow::Result<()> {
    anyhow::bail!("the kiosk's daemon runs on Linux: run `kioskctl call` there")
}
