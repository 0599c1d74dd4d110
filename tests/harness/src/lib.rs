//! The real Janus, the daemon and the agent's browser, each on a host of its own in a private network.
//!
//! A scenario test starts with [`world::scenario`]; everything that it starts ends with it, whatever happens.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod agent;
pub mod arguments;
pub mod broker;
pub mod bus;
pub mod capture;
pub mod clock;
pub mod connect;
pub mod doctor;
pub mod error;
pub mod film;
pub mod firewall;
pub mod fleet;
pub mod janus;
pub mod kiosk;
pub mod link;
pub mod local;
pub mod login;
pub mod machine;
pub mod middlebox;
pub mod mosquitto;
pub mod place;
pub mod power;
pub mod process;
pub mod procfs;
pub mod proxy;
pub mod relay;
pub mod scene;
pub mod socket;
pub mod tls;
pub mod wait;
pub mod world;

pub use error::{Error, Result};
