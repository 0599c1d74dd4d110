//! What must survive a power cut: small files with a checksum, written whole, the one before kept.
//!
//! A file is written under another name, synced, and takes the place of the old one, which keeps a name of its own;
//! then the folder is synced. So at every moment one whole file is there. What can't be stored is an error and never
//! silent.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kiosk_proto::fleet::{seal, unseal};
use thiserror::Error;

/// The largest file that is read or written, bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Why something is not on the disk.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The folder can't be made.
    #[error("{path}: {reason}; the folder of fleet.state_dir must be one that the daemon's user may write to")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What the system says; not `source`, which would be printed again as the cause.
        reason: io::Error,
    },
    /// A file could not be written.
    #[error("{path}: {reason}; what the fleet asks of this kiosk is refused until there is room and the disk works")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
}

/// What was found of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest content that is whole.
    pub content: Option<Vec<u8>>,
    /// What is wrong with files that are not whole, for the log and the fleet. When this is not empty, the content is
    /// not the newest that was stored.
    pub damage: Vec<String>,
}

/// A folder of such files.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// This folder, which is made when something is stored, if it is missing. Another place is never taken instead.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Reads a file, or the one before it when it is damaged.
    pub fn load(&self, name: &str) -> Loaded {
        let mut loaded = Loaded::default();
        for path in [self.path(name), self.previous(name)] {
            match read(&path) {
                Ok(content) => {
                    loaded.content = Some(content);
                    break;
                }
                // Before the first file there is none; that alone is no damage.
                Err(reason) if reason.kind() == io::ErrorKind::NotFound => {}
                Err(reason) => loaded.damage.push(format!("{}: {reason}", path.display())),
            }
        }
        loaded
    }

    /// Stores a file; when this returns, it survives a power cut.
    ///
    /// # Errors
    /// When it can't be stored; what was stored before is still there.
    pub fn save(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        if !self.dir.is_dir() {
            let made = DirBuilder::new().mode(0o700).create(&self.dir);
            made.map_err(|reason| StoreError::Folder { path: self.dir.clone(), reason })?;
        }
        let (path, fresh, previous) = (self.path(name), self.path(&format!("{name}.new")), self.previous(name));
        let write = || {
            if content.len() as u64 > MAX_BYTES {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {MAX_BYTES} bytes")));
            }
            let mut file = create(&fresh)?;
            file.write_all(&seal(content))?;
            file.sync_all()?;
            // A damaged file never takes the place of the one before it.
            if read(&path).is_ok() {
                absent(fs::remove_file(&previous))?;
                fs::hard_link(&path, &previous)?;
            }
            fs::rename(&fresh, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|reason| {
            // A disk that is full should not be fuller for it.
            let _ = fs::remove_file(&fresh);
            StoreError::Write { path: path.clone(), reason }
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn previous(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.previous"))
    }
}

/// A file of the daemon alone, empty.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1024).read_to_end(&mut bytes)?;
    match unseal(&bytes) {
        Ok(content) => Ok(content.to_vec()),
        Err(damage) => Err(io::Error::new(io::ErrorKind::InvalidData, damage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn store() -> (TempDir, Store) {
        let dir = TempDir::new().unwrap();
        let store = Store::new(&dir.path().join("fleet"));
        (dir, store)
    }

    #[test]
    fn gives_back_what_was_stored_last() {
        let (_dir, store) = store();
        assert_eq!(store.load("state"), Loaded::default());
        for text in ["", "one", "two", "three"] {
            store.save("state", text.as_bytes()).unwrap();
            assert_eq!(store.load("state"), Loaded { content: Some(text.into()), damage: vec![] });
        }
    }

    #[test]
    fn a_file_that_is_cut_or_has_a_wrong_bit_anywhere_gives_way_to_the_one_before() {
        let (_dir, store) = store();
        store.save("state", b"before").unwrap();
        store.save("state", b"now").unwrap();
        let path = store.path("state");
        let whole = fs::read(&path).unwrap();
        let damages = (0..whole.len()).map(|length| whole[..length].to_vec()).chain((0..whole.len() * 8).map(|bit| {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        }));
        for bytes in damages {
            fs::write(&path, &bytes).unwrap();
            let loaded = store.load("state");
            assert_eq!(loaded.content.as_deref(), Some(b"before".as_slice()), "{bytes:?}");
            assert_eq!(loaded.damage.len(), 1, "{bytes:?}");
        }
    }

    #[test]
    fn after_damage_the_next_save_keeps_the_file_that_was_whole() {
        let (_dir, store) = store();
        store.save("state", b"one").unwrap();
        store.save("state", b"two").unwrap();
        fs::write(store.path("state"), "rubbish").unwrap();
        store.save("state", b"three").unwrap();
        assert_eq!(store.load("state"), Loaded { content: Some(b"three".into()), damage: vec![] });
        fs::write(store.path("state"), "rubbish").unwrap();
        assert_eq!(store.load("state").content.as_deref(), Some(b"one".as_slice()));
    }

    #[test]
    fn when_both_are_damaged_it_says_so_and_gives_nothing() {
        let (_dir, store) = store();
        store.save("state", b"one").unwrap();
        store.save("state", b"two").unwrap();
        fs::write(store.path("state"), "").unwrap();
        fs::write(store.previous("state"), "rubbish").unwrap();
        let loaded = store.load("state");
        assert_eq!((loaded.content, loaded.damage.len()), (None, 2));
    }

    #[test]
    fn a_folder_that_can_not_be_used_is_an_error_and_not_replaced_by_another() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("a-file");
        fs::write(&file, "").unwrap();
        for folder in [file, dir.path().join("absent/fleet")] {
            let store = Store::new(&folder);
            let error = store.save("state", b"one").unwrap_err().to_string();
            assert!(error.contains(&folder.display().to_string()), "{error}");
            assert_eq!(store.load("state").content, None);
        }
    }

    #[test]
    fn a_content_that_is_too_large_leaves_what_was_there() {
        let (_dir, store) = store();
        store.save("state", b"one").unwrap();
        assert!(store.save("state", &vec![0; MAX_BYTES as usize + 1]).is_err());
        assert_eq!(store.load("state"), Loaded { content: Some(b"one".into()), damage: vec![] });
        assert_eq!(fs::read_dir(&store.dir).unwrap().count(), 1);
    }
}
