//! `./dev bench connect`: call after call out of a branch, by each way that there is.

pub mod branch;
pub mod cli;
pub mod report;
pub mod run;
