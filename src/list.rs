//! What a technician asks the machine: which encoders, which cameras.

use std::path::Path;

use kiosk_proto::encoder::ENCODERS;

use crate::config;
use crate::media::encoder::try_one;
use crate::media::{self, v4l2};

/// `kioskd encoders`
///
/// # Errors
/// When none works.
pub fn encoders() -> anyhow::Result<()> {
    media::init()?;
    let mut chosen = None;
    for spec in ENCODERS {
        let trial = try_one(spec);
        let text = match (&trial, chosen) {
            (Ok(working), before) => {
                let why_not = before.map(|element| format!("; {element} comes first")).unwrap_or_default();
                chosen = chosen.or(Some(spec.element));
                format!("works: {}, {} ms for the trial{why_not}", working.profile, working.took.as_millis())
            }
            (Err(reason), _) => format!("not used: {reason}"),
        };
        println!("{:<14} {:<40} {text}", spec.element, spec.platform);
    }
    match chosen {
        Some(element) => println!("\nchosen: {element}"),
        None => anyhow::bail!("no H.264 encoder works on this machine"),
    }
    Ok(())
}

/// `kioskd cameras`
///
/// # Errors
/// When the configuration is wrong.
pub fn cameras(config: Option<&Path>) -> anyhow::Result<()> {
    let wanted = match config {
        Some(path) => config::load(path)?.camera,
        None => kiosk_proto::config::Camera::default(),
    };
    print!("{}", v4l2::Report(&wanted));
    Ok(())
}
