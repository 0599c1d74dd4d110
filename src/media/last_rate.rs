//! What the link carried last: the next connection begins with it, also when the daemon or the kiosk started anew between.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::runtime::Handle;
use tracing::warn;

use crate::host::kept::Kept;

/// The file in the daemon's state folder: bits per second in decimal, and a line end.
const FILE: &str = "last-rate";
/// More than this is damage: no media connection of a kiosk carries it. bit/s
const MOST: u64 = 1_000_000_000;
/// What differs by a smaller share from what is stored is not worth a write.
const WORTH: f64 = 0.1;

/// The rate, shared by who learns it and who begins with it.
#[derive(Debug, Clone, Default)]
pub struct LastRate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    file: Kept,
    now: AtomicU64,
    stored: AtomicU64,
}

impl LastRate {
    /// Kept in the daemon's state folder; without one it lasts as long as the daemon.
    pub fn of_this_kiosk() -> Self {
        Self::in_file(Kept::of_this_kiosk(FILE))
    }

    fn in_file(file: Kept) -> Self {
        let found = read(&file).unwrap_or_else(|reason| {
            warn!("{FILE} in the state folder is not used, and replaced after the next call: {reason}");
            None
        });
        let rate = found.unwrap_or_default();
        Self(Arc::new(Shared { file, now: AtomicU64::new(rate), stored: AtomicU64::new(rate) }))
    }

    /// bit/s of picture; none before the first call.
    pub fn get(&self) -> Option<u64> {
        Some(self.0.now.load(Relaxed)).filter(|rate| *rate > 0)
    }

    /// The link carries this, bit/s.
    pub fn set(&self, bits_per_second: u64) {
        self.0.now.store(bits_per_second, Relaxed);
    }

    /// Has it stored, on a thread that may wait for the disk.
    pub fn store_soon(&self) {
        let last = self.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || last.store());
        }
    }

    fn store(&self) {
        let (now, stored) = (self.0.now.load(Relaxed), self.0.stored.load(Relaxed));
        if now == 0 || now.abs_diff(stored) as f64 <= stored as f64 * WORTH {
            return;
        }
        match self.0.file.write(&format!("{now}\n")) {
            Ok(()) => self.0.stored.store(now, Relaxed),
            Err(reason) => warn!("what the link carried can't be stored: {reason}"),
        }
    }
}

fn read(file: &Kept) -> io::Result<Option<u64>> {
    let Some(text) = file.read()? else { return Ok(None) };
    let rate = text.strip_suffix('\n').and_then(|number| number.parse().ok()).filter(|rate| (1..=MOST).contains(rate));
    rate.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it holds no rate"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn at(folder: &Path) -> LastRate {
        LastRate::in_file(Kept::in_folder(folder, FILE))
    }

    #[test]
    fn what_was_stored_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let last = at(folder.path());
        assert_eq!(last.get(), None);
        last.store();
        assert!(!folder.path().join(FILE).exists(), "nothing is known yet");
        last.set(480_000);
        last.store();
        assert_eq!(at(folder.path()).get(), Some(480_000));
        last.set(500_000);
        last.store();
        assert_eq!(at(folder.path()).get(), Some(480_000), "not worth a write");
        last.set(900_000);
        last.store();
        assert_eq!(at(folder.path()).get(), Some(900_000));
    }

    #[test]
    fn damage_is_left_out_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for damage in ["", "48", "0\n", "-5\n", "4e5\n", "99999999999\n", "123456789012345678901\n", "\u{0}\u{0}\n"] {
            fs::write(folder.path().join(FILE), damage).unwrap();
            let last = at(folder.path());
            assert_eq!(last.get(), None, "{damage:?}");
            last.set(700_000);
            last.store();
            assert_eq!(at(folder.path()).get(), Some(700_000), "{damage:?}");
        }
    }

    #[test]
    fn without_a_folder_it_lasts_as_long_as_the_daemon() {
        for last in [LastRate::default(), at(Path::new("/nowhere/at/all"))] {
            last.set(700_000);
            last.store();
            assert_eq!(last.get(), Some(700_000));
        }
    }
}
