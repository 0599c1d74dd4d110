//! A small file in the daemon's state folder: what a kiosk has learnt and can learn again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// More than this is damage. Bytes.
const MOST_BYTES: u64 = 4096;

/// The file. Without a state folder there is nothing in it, and what is written is gone.
#[derive(Debug, Clone, Default)]
pub struct Kept(Option<PathBuf>);

impl Kept {
    /// In the first of the folders that systemd names in `STATE_DIRECTORY` (/var/lib/kiosk).
    pub fn of_this_kiosk(name: &str) -> Self {
        let folders = std::env::var_os("STATE_DIRECTORY");
        Self(folders.and_then(|folders| std::env::split_paths(&folders).next()).map(|folder| folder.join(name)))
    }

    /// In this folder.
    #[cfg(test)]
    pub fn in_folder(folder: &std::path::Path, name: &str) -> Self {
        Self(Some(folder.join(name)))
    }

    /// What was written last; none before that.
    ///
    /// # Errors
    /// When it can't be read, is no text or is too long.
    pub fn read(&self) -> io::Result<Option<String>> {
        let Some(path) = &self.0 else { return Ok(None) };
        let file = match File::open(path) {
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = String::new();
        file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
        let fits = text.len() as u64 <= MOST_BYTES;
        fits.then_some(Some(text)).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is too long"))
    }

    /// Writes it whole or not at all, whenever the power goes. Waits for the disk.
    ///
    /// # Errors
    /// Naming the file.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let write = || {
            let fresh = path.with_extension("new");
            let mut file = File::create(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().map_err(|reason: io::Error| io::Error::new(reason.kind(), format!("{}: {reason}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_was_half_written_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::in_folder(folder.path(), "it");
        assert_eq!(kept.read().unwrap(), None);
        kept.write("one\n").unwrap();
        kept.write("two\n").unwrap();
        fs::write(folder.path().join("it.new"), "thr").unwrap();
        assert_eq!(kept.read().unwrap().as_deref(), Some("two\n"));
    }

    #[test]
    fn damage_is_an_error_and_so_is_a_folder_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::in_folder(folder.path(), "it");
        for damage in [vec![0xff, 0xfe], vec![b'x'; 4097]] {
            fs::write(folder.path().join("it"), damage).unwrap();
            assert!(kept.read().is_err());
        }
        let error = Kept::in_folder(std::path::Path::new("/nowhere/at/all"), "it").write("x").unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/at/all/it: "), "{error}");
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        Kept::default().write("x").unwrap();
        assert_eq!(Kept::default().read().unwrap(), None);
    }
}
