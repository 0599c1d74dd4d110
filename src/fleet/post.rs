//! The outbox on the disk: what is added is appended and synced, what is acknowledged is appended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kiosk_proto::fault::FaultCode;
use kiosk_proto::fleet::{EventKind, Holds, Limits, Now, Outbox, Subject};
use tracing::error;

/// File of the outbox.
const NAME: &str = "events";
/// Larger than its limits and slack ever let it become, bytes.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Events that wait, in memory and on the disk.
#[derive(Debug)]
pub struct Post {
    outbox: Outbox,
    dir: PathBuf,
    file: Option<File>,
    /// The file is not what the outbox is: written anew with the next event, or at the next [`Post::retry`].
    stale: bool,
}

impl Post {
    /// Reads what waited when the daemon ended; the flag says whether some of it was damaged.
    pub fn open(dir: &Path) -> (Self, bool) {
        let path = dir.join(NAME);
        let fits = fs::metadata(&path).map_or(true, |data| data.len() <= MAX_BYTES);
        let bytes = if fits { fs::read(&path) } else { Err(io::ErrorKind::FileTooLarge.into()) };
        let (bytes, readable) = match bytes {
            Ok(bytes) => (bytes, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), true),
            Err(error) => {
                error!(FAULT = FaultCode::FleetStateDamaged.as_str(), "{}: {error}", path.display());
                (Vec::new(), false)
            }
        };
        let (outbox, damaged) = Outbox::replay(&bytes, Limits::default());
        if damaged > 0 {
            error!(
                FAULT = FaultCode::FleetStateDamaged.as_str(),
                "{}: {damaged} bytes can't be read; the rest is kept",
                path.display()
            );
        }
        let damaged = damaged > 0 || !readable;
        (Self { outbox, dir: dir.to_owned(), file: None, stale: damaged }, damaged)
    }

    /// Adds an event. When this returns it survives a power cut; when it can't be stored, it waits in memory.
    pub fn push(&mut self, at: Option<u64>, kind: EventKind) {
        let bytes = self.outbox.push(at, kind);
        self.append(&bytes, true);
    }

    /// With the link up: says how many events were dropped since.
    pub fn tell_dropped(&mut self, at: Option<u64>) {
        let bytes = self.outbox.tell_dropped(at);
        self.append(&bytes, true);
    }

    /// The broker has an event. Not synced: after a power cut it is sent once more.
    pub fn acknowledged(&mut self, sequence: u64) {
        let bytes = self.outbox.acknowledged(sequence);
        self.append(&bytes, false);
    }

    /// The next event to send, if it is time for one: see [`Outbox::send`].
    pub fn send(&mut self, holds: &Holds, now: Now, fits: impl Fn(usize) -> bool) -> Option<(Subject, u64, Vec<u8>)> {
        self.outbox.send(holds, now, fits).map(|(subject, sequence, payload)| (subject, sequence, payload.to_vec()))
    }

    /// The broker has refused an event: it is in the way of no other from now on.
    pub fn refused(&mut self, sequence: u64) {
        self.outbox.refused(sequence);
    }

    /// The oldest event that does not fit, with its bytes, and how many there are.
    pub fn too_large(&self, fits: impl Fn(usize) -> bool) -> Option<(u64, usize, usize)> {
        self.outbox.too_large(fits)
    }

    /// What was on its way is sent again; `blamed` says that the broker has hung up because of an event.
    pub fn link_lost(&mut self, blamed: bool) {
        if let Some(sequence) = self.outbox.suspect().filter(|_| blamed) {
            self.outbox.refused(sequence);
        }
        self.outbox.link_lost();
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.outbox.len()
    }

    /// Writes the file anew, if it could not be written before.
    pub fn retry(&mut self) {
        if self.stale {
            self.rewrite();
        }
    }

    fn append(&mut self, bytes: &[u8], sync: bool) {
        if self.stale || self.outbox.wants_snapshot() {
            return self.rewrite();
        }
        if bytes.is_empty() {
            return;
        }
        let written = self.opened().and_then(|file| {
            file.write_all(bytes)?;
            if sync { file.sync_data() } else { Ok(()) }
        });
        if let Err(error) = written {
            self.failed(&error);
        }
    }

    fn opened(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                if !self.dir.is_dir() {
                    fs::create_dir(&self.dir)?;
                }
                let path = self.dir.join(NAME);
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
                // A file that is new has to be in its folder after a power cut.
                File::open(&self.dir)?.sync_all()?;
                file
            }
        };
        Ok(self.file.insert(file))
    }

    fn rewrite(&mut self) {
        let (path, fresh) = (self.dir.join(NAME), self.dir.join(format!("{NAME}.new")));
        let bytes = self.outbox.snapshot();
        self.file = None;
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        match write() {
            Ok(()) => self.stale = false,
            Err(error) => {
                let _ = fs::remove_file(&fresh);
                self.failed(&error);
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !self.stale {
            let path = self.dir.join(NAME);
            error!(
                FAULT = FaultCode::FleetStateNotStored.as_str(),
                "{}: {error}; events wait in memory",
                path.display()
            );
        }
        self.file = None;
        self.stale = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn fault(number: u64) -> EventKind {
        EventKind::FaultRaised { code: format!("code-{number}") }
    }

    /// What goes out next to a broker that has refused nothing.
    fn next(post: &mut Post) -> Option<(u64, Vec<u8>)> {
        post.send(&Holds::default(), Now::default(), |_| true).map(|(_, sequence, payload)| (sequence, payload))
    }

    /// What a broker gets from a post, in order.
    fn drain(post: &mut Post) -> Vec<String> {
        let mut out = Vec::new();
        while let Some((sequence, payload)) = next(post) {
            out.push(String::from_utf8(payload).unwrap());
            post.acknowledged(sequence);
        }
        out
    }

    #[test]
    fn events_survive_the_end_of_the_process_until_they_are_acknowledged() {
        let dir = TempDir::new().unwrap();
        let (mut post, damaged) = Post::open(dir.path());
        assert!(!damaged);
        (0..3).for_each(|number| post.push(None, fault(number)));
        let (first, _) = next(&mut post).unwrap();
        post.acknowledged(first);
        drop(post);
        let (mut post, damaged) = Post::open(dir.path());
        assert!(!damaged);
        let sent = drain(&mut post);
        assert_eq!(sent.len(), 2);
        assert!(sent[0].contains("code-1") && sent[1].contains("code-2"), "{sent:?}");
        drop(post);
        assert_eq!(Post::open(dir.path()).0.len(), 0);
    }

    #[test]
    fn no_more_than_the_window_is_on_its_way() {
        let dir = TempDir::new().unwrap();
        let (mut post, _) = Post::open(dir.path());
        (0..40).for_each(|number| post.push(None, fault(number)));
        let first = next(&mut post).unwrap().0;
        let mut sent = 1;
        while next(&mut post).is_some() {
            sent += 1;
        }
        assert!(sent < 40);
        post.acknowledged(first);
        assert!(next(&mut post).is_some() && next(&mut post).is_none());
        // The broker has hung up because of the oldest: the next one comes before it.
        post.link_lost(true);
        assert_eq!(next(&mut post).unwrap().0, first + 2);
        post.link_lost(false);
        assert_eq!(next(&mut post).unwrap().0, first + 2);
    }

    #[test]
    fn damage_costs_only_what_is_damaged_and_is_mended() {
        let dir = TempDir::new().unwrap();
        let (mut post, _) = Post::open(dir.path());
        (0..3).for_each(|number| post.push(None, fault(number)));
        drop(post);
        let path = dir.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (mut post, damaged) = Post::open(dir.path());
        assert!(damaged);
        assert_eq!(post.len(), 2);
        post.retry();
        drop(post);
        let (post, damaged) = Post::open(dir.path());
        assert_eq!((post.len(), damaged), (2, false));
    }

    #[test]
    fn what_can_not_be_stored_waits_in_memory() {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("fleet");
        fs::write(&folder, "in the way").unwrap();
        let (mut post, _) = Post::open(&folder);
        post.push(None, fault(0));
        assert_eq!(post.len(), 1);
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        post.retry();
        assert_eq!(Post::open(&folder).0.len(), 1);
    }
}
