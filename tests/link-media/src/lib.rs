//! Media of the link benchmark. The programs are `link-recording`, which prepares what all peers send, and
//! `link-receiver`, which writes a line of JSON for all that arrives.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod counter;
pub mod janus;
pub mod notes;
pub mod publish;
pub mod quality;
pub mod receive;
pub mod recording;
pub mod webrtcsink;
pub mod whole;
pub mod y4m;
