//! What is installed, tried on the real programs: Janus, nftables, systemd, D-Bus. Each test that touches a network has
//! one of its own, so that they run side by side and without privileges.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod call;
mod check;
mod firewall;
mod installed;
mod janus;
mod place;
mod server;
