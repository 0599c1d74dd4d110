//! What was executed is remembered for as long as it could be taken again, and what is forgotten leaves its `created`
//! behind as the floor: nothing that old is taken any more.
//! - With a synchronised clock, it is forgotten once that clock shows its end. So the floor is never ahead of the clock,
//!   and what is forgotten is both over and below the floor. What was made more than [`MAX_AHEAD_S`] ahead of the clock
//!   is refused, so that one admin's fast clock does not fill the memory with what ends in years.
//! - Without one, nobody knows which `created` is wrong. Nothing is forgotten before there is no room left, and then
//!   only what was made first: what a fast clock signed stays, and the floor does not rise to it.
//! - A floor that is ahead all the same (stored by an older version, or more commands than there is room for were made
//!   with a clock that is ahead) would shut everybody out until that time comes. Once the clock is synchronised, it is
//!   lowered to the latest time that is taken now, [`MAX_AHEAD_S`] ahead: what was forgotten is below it, or is refused
//!   as made ahead of the clock. Such a command could be taken again only on the day for which it was signed. A floor
//!   that a synchronised clock has reached once is never lowered: a clock that goes back brings nothing back.

use super::entry::{Entry, LedgerFile, State};
use super::{Ledger, MAX_AHEAD_S, Now};

impl Ledger {
    /// Forgets what is finished and over, while the clock says so. Nothing that was made before it is taken any more, so
    /// that it can't come again either when the clock is lost.
    pub(super) fn forget(&mut self, now: Now) {
        let Some(wall) = now.wall else { return };
        let mut floor = self.file.floor;
        self.file.entries.retain(|entry| {
            let keep = !matches!(entry.state, State::Done { .. }) || wall < entry.expires;
            if !keep {
                floor = floor.max(entry.created);
            }
            keep
        });
        self.file.floor = floor;
    }

    /// Without a clock, forgets what was made first of what is finished and over by its age. Whether that made room.
    pub(super) fn make_room(&mut self, now: Now) -> bool {
        let since = self.since;
        let finished = |entry: &Entry| matches!(entry.state, State::Done { .. }) && entry.is_over(since, now);
        let entries = self.file.entries.iter().enumerate().filter(|(_, entry)| now.wall.is_none() && finished(entry));
        let Some(first) = entries.min_by_key(|(_, entry)| entry.created).map(|(index, _)| index) else { return false };
        let entry = self.file.entries.remove(first);
        self.file.floor = self.file.floor.max(entry.created);
        true
    }

    /// Lowers a floor that is ahead of the clock, and that no clock has reached yet. Whether it did.
    pub(super) fn check_floor(&mut self, now: Now) -> bool {
        let Some(wall) = now.wall else { return false };
        let LedgerFile { floor, reached, .. } = &mut self.file;
        let most = wall.saturating_add(MAX_AHEAD_S).max(*reached);
        let ahead = *floor > most;
        *floor = (*floor).min(most);
        *reached = *floor;
        ahead
    }
}
