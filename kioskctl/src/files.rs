//! Files: read with a name in the error, secrets only when closed, written as a whole.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused to read it.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A secret that is none.
    #[error("{} can be read by every user of this machine; close it with chmod 600", .0.display())]
    Open(PathBuf),
    /// Not in PEM form.
    #[error("{} holds no {what} in PEM form", path.display())]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The system refused to write it.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It would replace something that may be missed.
    #[error("{} is there already; {remedy}", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
}

/// The text of a file.
pub fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// One line from a file that not everyone can read.
pub fn read_secret(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o004 != 0 {
        return Err(FileError::Open(path.to_owned()));
    }
    let text = read(path)?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// Refuses a file without a PEM section of this label.
pub fn check_pem(path: &Path, label: &str, what: &'static str) -> Result<(), FileError> {
    let has_label = |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{label}-----"));
    if read(path)?.lines().any(has_label) {
        return Ok(());
    }
    Err(FileError::NotPem { path: path.to_owned(), what })
}

/// Replaces a file as a whole: whoever reads it sees the old content or the new one, also after a power cut.
pub fn write(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    put(path, content, mode, true)
}

/// The same for a file that must not be there yet.
pub fn write_new(path: &Path, content: &str, mode: u32, remedy: &'static str) -> Result<(), FileError> {
    match put(path, content, mode, false) {
        Err(FileError::Write { path, source }) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(FileError::Exists { path, remedy })
        }
        other => other,
    }
}

/// Makes a folder that only its owner can enter, if it is not there.
pub fn make_private_folder(path: &Path) -> Result<(), FileError> {
    let attempt = || -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
    };
    attempt().map_err(|source| FileError::Write { path: path.to_owned(), source })
}

fn put(path: &Path, content: &str, mode: u32, replace: bool) -> Result<(), FileError> {
    let attempt = || -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".kioskctl-").tempfile_in(folder)?;
        file.write_all(content.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        let placed = if replace { file.persist(path) } else { file.persist_noclobber(path) };
        placed.map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| FileError::Write { path: path.to_owned(), source })
}
