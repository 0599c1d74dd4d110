//! `kioskctl`: the command line of fleet admins and field techs. It needs no GStreamer.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod ca;
mod call;
mod files;
mod key;
mod output;
mod profile;
mod server;
mod shell;
mod site;
mod token;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Configure the Janus server and sign its tokens.
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Start, end and watch the call of the kiosk on this machine.
    #[command(subcommand)]
    Call(call::CallCommand),
    /// A small certification authority for a trial.
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// The keys that admins sign with.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Print the completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages.
    Man {
        /// The folder; it must exist.
        dir: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Server(command) => server::run(command),
        Command::Call(command) => call::run(command),
        Command::Ca(command) => ca::run(command),
        Command::Key(command) => key::run(command),
        Command::Completions { shell } => shell::completions::<Arguments>(shell),
        Command::Man { dir } => shell::man::<Arguments>(&dir),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Each error names its cause itself.
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
