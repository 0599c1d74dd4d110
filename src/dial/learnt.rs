//! What was learnt of the way to the media server, for the next connection: also after a restart of daemon or kiosk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiosk_proto::turn::{Choice, Needed, Way};
use tokio::runtime::Handle;
use tracing::warn;

use crate::host::kept::Kept;

/// The file in the daemon's state folder.
const FILE: &str = "relay-needed";

/// Where the relay had to be used, shared by all connections.
#[derive(Debug, Clone, Default)]
pub struct Learnt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    file: Kept,
    needed: Mutex<Needed>,
    stored: Mutex<Needed>,
}

impl Learnt {
    /// Kept in the daemon's state folder; without one it lasts as long as the daemon.
    pub fn of_this_kiosk() -> Self {
        Self::in_file(Kept::of_this_kiosk(FILE))
    }

    fn in_file(file: Kept) -> Self {
        let found = file.read().map(|text| text.map(|text| Needed::read(&text)));
        let needed = match found {
            Ok(None) => Needed::default(),
            Ok(Some(Some(needed))) => needed,
            Ok(Some(None)) | Err(_) => {
                warn!("{FILE} in the state folder is damaged and not used: media servers are tried anew");
                Needed::default()
            }
        };
        Self(Arc::new(Shared { file, needed: Mutex::new(needed.clone()), stored: Mutex::new(needed) }))
    }

    pub(super) fn choose(&self, way: &Way) -> Choice {
        self.change(|needed| needed.choose(way, now()))
    }

    pub(super) fn keep(&self, way: Way) {
        self.change(|needed| needed.keep(way, now()));
    }

    pub(super) fn drop(&self, way: &Way) {
        self.change(|needed| needed.drop(way));
    }

    /// Changes it and has the change stored, on a thread that may wait for the disk.
    fn change<T>(&self, change: impl FnOnce(&mut Needed) -> T) -> T {
        let (before, after, outcome) = {
            let mut needed = lock(&self.0.needed);
            let before = needed.clone();
            let outcome = change(&mut needed);
            (before, needed.clone(), outcome)
        };
        if before != after
            && let Ok(runtime) = Handle::try_current()
        {
            let learnt = self.clone();
            runtime.spawn_blocking(move || learnt.store());
        }
        outcome
    }

    /// Stores what is known now: of several at once the last one finds nothing to do.
    fn store(&self) {
        let mut stored = lock(&self.0.stored);
        let now = lock(&self.0.needed).clone();
        if *stored == now {
            return;
        }
        match self.0.file.write(&now.written()) {
            Ok(()) => *stored = now,
            Err(reason) => warn!("what was learnt of the way to the media server can't be stored: {reason}"),
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        Way {
            server: "203.0.113.9".parse().unwrap(),
            relay: "turns:turn.bank.example:443".into(),
            proxy: None,
            from: None,
        }
    }

    #[test]
    fn it_is_known_after_a_restart_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let at = || Learnt::in_file(Kept::in_folder(folder.path(), FILE));
        let learnt = at();
        assert_eq!(learnt.choose(&way()), Choice::ServerFirst);
        learnt.store();
        assert!(!folder.path().join(FILE).exists(), "nothing was learnt");
        learnt.keep(way());
        learnt.store();
        assert_eq!(at().choose(&way()), Choice::Relay);
        learnt.drop(&way());
        learnt.store();
        assert_eq!(at().choose(&way()), Choice::ServerFirst);
    }

    #[test]
    fn damage_is_left_out_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = || Learnt::in_file(Kept::in_folder(folder.path(), FILE));
        std::fs::write(folder.path().join(FILE), "[{").unwrap();
        let learnt = at();
        assert_eq!(learnt.choose(&way()), Choice::ServerFirst);
        learnt.keep(way());
        learnt.store();
        assert_eq!(at().choose(&way()), Choice::Relay);
    }
}
