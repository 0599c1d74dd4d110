//! `kioskd doctor` on the kiosk's host, as a technician runs it.

use crate::{
    Error, Result,
    janus::built,
    kiosk::KioskConfig,
    world::{Host, World},
};
use std::fs;

/// A finding's name, its outcome and what was seen.
pub type Found = (String, String, String);

/// Runs it on the kiosk's host. Its exit code, and the findings.
pub fn doctor(world: &World, config: &KioskConfig, more: &[&str]) -> Result<(i32, Vec<Found>)> {
    doctor_in(world, config, more, &[])
}

/// The same, with variables in its environment.
pub fn doctor_in(
    world: &World,
    config: &KioskConfig,
    more: &[&str],
    environment: &[(&str, String)],
) -> Result<(i32, Vec<Found>)> {
    let place = world.at(Host::Kiosk)?;
    let file = place.dir().join("doctor.toml");
    fs::write(&file, config.text()).map_err(Error::io("doctor.toml"))?;
    let mut command = place.product_command(built("kioskd")?);
    let output = command
        .args(["doctor", "--json", "--config"])
        .arg(&file)
        .args(more)
        .envs(environment.iter().map(|(variable, value)| (variable, value)))
        .output()
        .map_err(Error::io("kioskd doctor"))?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Other(format!("{error}: {}", String::from_utf8_lossy(&output.stderr))))?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let list = report["checks"].as_array().cloned().unwrap_or_default();
    let findings = list.iter().map(|found| (text(&found["id"]), text(&found["outcome"]), text(&found["seen"]["en"])));
    Ok((output.status.code().unwrap_or(-1), findings.collect()))
}

/// What failed, and nothing but that.
pub fn failed(world: &World, config: &KioskConfig) -> Result<Vec<(String, String)>> {
    let (code, findings) = doctor(world, config, &["--no-call"])?;
    let failed: Vec<_> = findings.into_iter().filter(|(_, outcome, _)| outcome == "fail").collect();
    if (code == 1) == failed.is_empty() {
        return Err(Error::Other(format!("exit code {code} with {failed:?}")));
    }
    Ok(failed.into_iter().map(|(id, _, seen)| (id, seen)).collect())
}

/// Exactly one check fails, and what it saw holds a word.
pub fn names(world: &World, config: &KioskConfig, id: &str, word: &str) -> Result<()> {
    let found = failed(world, config)?;
    let [(failed, seen)] = found.as_slice() else { return Err(Error::Other(format!("wanted {id} alone: {found:?}"))) };
    if failed != id || !seen.contains(word) {
        return Err(Error::Other(format!("wanted {id} with {word:?}: {found:?}")));
    }
    Ok(())
}
