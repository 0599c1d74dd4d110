//! `./dev bench link`: how late picture and sound are on a link that is shaped, beside other ways to send them.

pub mod analysis;
pub mod bulk;
pub mod check;
pub mod cli;
pub mod emulator;
pub mod load;
pub mod path;
pub mod peers;
pub mod plot;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod targets;
