//! `kioskctl`: the command line of fleet admins and field techs. It needs no GStreamer.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[macro_use]
mod output;

mod ca;
mod call;
mod check;
mod command;
mod config;
mod events;
mod files;
mod fleet;
mod key;
mod profile;
mod server;
mod session;
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
    /// Configure and check Janus, mosquitto and coturn, and sign tokens.
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
    /// What kiosks are configured with.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Which kiosks there are, and how they are.
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// Let kiosks do something, once.
    Run(command::Run),
    /// What happens on the kiosks.
    #[command(subcommand)]
    Events(events::EventsCommand),
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
    let success = |outcome: anyhow::Result<()>| outcome.map(|()| ExitCode::SUCCESS);
    let outcome = match Arguments::parse().command {
        Command::Server(command) => server::run(command),
        Command::Call(command) => success(call::run(command)),
        Command::Ca(command) => success(ca::run(command)),
        Command::Key(command) => success(key::run(command)),
        Command::Config(command) => config::run(command),
        Command::Fleet(command) => success(fleet::run(command)),
        Command::Run(command) => command::run(command),
        Command::Events(command) => success(events::run(command)),
        Command::Completions { shell } => success(shell::completions::<Arguments>(shell)),
        Command::Man { dir } => success(shell::man::<Arguments>(&dir)),
    };
    // Each error names its cause itself.
    output::exit_code(outcome.unwrap_or_else(|error| {
        errln!("{error}");
        ExitCode::FAILURE
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_fit_together() {
        Arguments::command().debug_assert();
    }

    /// Every command that stands for itself, by its words.
    fn leaves(command: &clap::Command, words: &str, found: &mut Vec<(String, bool)>) {
        let mut below = command.get_subcommands().peekable();
        if below.peek().is_none() {
            found.push((words.trim().to_owned(), command.get_arguments().any(|a| a.get_long() == Some("json"))));
        }
        below.for_each(|command| leaves(command, &format!("{words} {}", command.get_name()), found));
    }

    #[test]
    fn every_command_prints_json_but_those_that_write_for_a_shell_and_for_man() {
        let mut found = Vec::new();
        leaves(&Arguments::command(), "", &mut found);
        assert!(found.len() > 20, "{found:?}");
        let without: Vec<&str> = found.iter().filter(|(_, json)| !json).map(|(words, _)| words.as_str()).collect();
        assert_eq!(without, ["completions", "man"]);
    }

    #[test]
    fn a_check_of_a_server_is_named_after_all_that_it_checks() {
        let mut command = Arguments::command();
        let check = command.find_subcommand_mut("server").unwrap().find_subcommand_mut("check").unwrap();
        let about = check.get_about().unwrap().to_string();
        let named = check.get_arguments().filter_map(|argument| argument.get_long());
        for server in named.filter(|long| ["mosquitto", "coturn"].contains(long)).chain(["Janus"]) {
            assert!(about.contains(server), "{server}: {about}");
        }
    }
}
