//! The machine around the daemon: systemd, the journal, and what the process uses.

pub mod clock;
pub mod journal;
pub mod machine;
pub mod process;
pub mod sysctl;
pub mod systemd;
