//! `./dev bench link`: how late picture and sound are on a link that is shaped, beside other ways to send them.

pub mod record;
