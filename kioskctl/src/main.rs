//! `kioskctl`: the command line of fleet admins and field techs. It needs no GStreamer.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod call;
mod check;
mod server;
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
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Server(command) => server::run(command),
        Command::Call(command) => call::run(command).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        // Each error names its cause itself.
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
