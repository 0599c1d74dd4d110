//! What the benchmarks put in front of every camera: a film, or a generated picture, in the size and rate of a call.

use crate::{Error, Result, janus::built, process, world::repository};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The film as Y4M: 1280x720, 30 frames/s, with a camera's noise; without one a generated picture. It is made once.
///
/// # Errors
/// When it can't be decoded or written.
pub fn recording(film: Option<&Path>) -> Result<PathBuf> {
    let dir = repository().join("target/bench-link");
    fs::create_dir_all(&dir).map_err(Error::io(dir.display().to_string()))?;
    let name = film.and_then(Path::file_stem).map_or("generated".into(), |stem| stem.to_string_lossy().into_owned());
    let file = dir.join(format!("{name}.y4m"));
    if !file.is_file() {
        // Not under its name before it is complete.
        let unfinished = dir.join(format!("{name}.unfinished"));
        process::run(Command::new(built("link-recording")?).arg(&unfinished).args(film))?;
        fs::rename(&unfinished, &file).map_err(Error::io(file.display().to_string()))?;
    }
    Ok(file)
}
