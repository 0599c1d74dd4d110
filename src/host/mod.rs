//! The machine around the daemon: systemd, the journal, what the process uses, and what it keeps.

pub mod clock;
pub mod journal;
pub mod kept;
pub mod machine;
pub mod process;
pub mod sysctl;
pub mod systemd;
