//! `kioskd`: the daemon of a kiosk for video identification, TCP only.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod audit;
mod call;
mod config;
mod control;
mod daemon;
mod dial;
mod doctor;
mod events;
mod host;
mod janus;
mod list;
mod media;
mod tcp_only;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The daemon of a kiosk for video identification, TCP only.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon; calls are started over D-Bus (`kioskctl call start`).
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
        config: PathBuf,
    },
    /// Checks a configuration and lists every error in it.
    CheckConfig {
        /// The configuration.
        file: PathBuf,
    },
    /// Checks this kiosk, the way to the server, and the server: one line a check, with what to do about it.
    Doctor(doctor::Arguments),
    /// Tries every H.264 encoder that is installed and says which one a call would use.
    Encoders,
    /// Lists the cameras, their modes, and the mode that a call would use.
    Cameras {
        /// The configuration that says what is wanted; without it the defaults.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config } => daemon::run(&config),
        Command::Doctor(arguments) => return finish(doctor::run(&arguments)),
        Command::CheckConfig { file } => match config::load(&file) {
            Ok(_) => {
                println!("{}: no errors", file.display());
                Ok(())
            }
            Err(error) => Err(error.into()),
        },
        Command::Encoders => list::encoders(),
        Command::Cameras { config } => list::cameras(config.as_deref()),
    };
    finish(outcome.map(|()| ExitCode::SUCCESS))
}

fn finish(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
