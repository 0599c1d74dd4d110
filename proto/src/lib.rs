//! Every decision of the kiosk, pure: no I/O, no thread, no clock.
//!
//! The shells around these modules live in `src/` of the daemon; each rule stands here and only here.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod audit;
pub mod backoff;
pub mod call;
pub mod camera;
pub mod check;
pub mod config;
pub mod encoder;
pub mod fault;
pub mod figures;
pub mod fleet;
pub mod gate;
pub mod ice;
pub mod janus;
pub mod keyframe;
pub mod packet;
pub mod proxy;
pub mod rate;
pub mod secret;
pub mod sound;
pub mod sysctl;
pub mod timecode;
pub mod turn;
pub mod via;
pub mod watchdog;
