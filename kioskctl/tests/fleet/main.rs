//! The admin's side of the fleet, against the real mosquitto over TLS: kiosks are simulated, with the state machines and
//! the messages of the daemon.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod commands;
mod offline;
mod place;
mod pushes;
mod rollouts;
mod terminal;
