//! What the command lines of the benchmarks have in common.

use crate::{Error, Result};
use std::{fs, path::PathBuf};

/// The file or folder that an argument names, as a path that stays right in another working directory.
///
/// # Errors
/// When it does not exist.
pub fn absolute(path: &str) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(Error::io(path))
}
