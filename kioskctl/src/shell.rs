//! `kioskctl completions` and `kioskctl man`: made from the very definition of the commands.

use crate::files::FileError;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

/// Prints the completions for a shell.
pub fn completions<C: CommandFactory>(shell: Shell) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut C::command(), "kioskctl", &mut text);
    out!("{}", String::from_utf8_lossy(&text));
    Ok(())
}

/// Writes a man page for each command into a folder.
pub fn man<C: CommandFactory>(dir: &Path) -> anyhow::Result<()> {
    let failed = |source| FileError::Write { path: dir.to_owned(), source };
    clap_mangen::generate_to(C::command().disable_help_subcommand(true), dir).map_err(failed)?;
    Ok(())
}
