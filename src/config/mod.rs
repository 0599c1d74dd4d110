//! Finding and loading the configuration, and the secrets that it names.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kiosk_proto::config::{Config, ConfigErrors, SecretFile, Site};
use kiosk_proto::secret::Secret;
use thiserror::Error;

/// Where a kiosk's configuration is, unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/kiosk/kiosk.toml";
/// A configuration has a few KiB; a larger file is not one.
const MAX_CONFIG_BYTES: u64 = 256 * 1024;
/// A token has about 200 bytes.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("{path}: {reason}; give the file with --config, or make it from the commented example config/kiosk.toml")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says; not `source`, which would be printed again as the cause.
        reason: io::Error,
    },
    /// The file is no configuration.
    #[error(transparent)]
    Invalid(ConfigErrors),
    /// A file that holds a secret could not be read.
    #[error("{path}: {reason}; this file is named by {key} and must be readable by the daemon's user")]
    Secret {
        /// The key that names the file.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = fs::File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if read as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
    }
    Ok(text)
}

/// Reads and checks a configuration.
///
/// # Errors
/// With every error in the file, not only the first.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    load_site(path).map(|site| site.config().clone())
}

/// The same, as the file over which layers of the fleet are merged.
///
/// # Errors
/// With every error in the file, not only the first.
pub fn load_site(path: &Path) -> Result<Site, LoadError> {
    let text = read_bounded(path, MAX_CONFIG_BYTES)
        .map_err(|reason| LoadError::Unreadable { path: path.to_owned(), reason })?;
    Site::parse(&text).map_err(|errors| LoadError::Invalid(errors.in_file(path.display().to_string())))
}

/// Reads a secret, without the line's end.
///
/// # Errors
/// When the file can't be read; its content is never part of the message.
pub fn secret(key: &'static str, file: Option<&SecretFile>) -> Result<Option<Secret>, LoadError> {
    let Some(file) = file else { return Ok(None) };
    match read_bounded(file.path(), MAX_SECRET_BYTES) {
        Ok(text) => Ok(Some(Secret::new(text.trim()))),
        Err(reason) => Err(LoadError::Secret { key, path: file.path().to_owned(), reason }),
    }
}
