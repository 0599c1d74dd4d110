//! `link-recording OUT.y4m [FILM]`: prepares what all peers of the link benchmark send, and prints its number of frames.

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (to, film) = match arguments.as_slice() {
        [to] => (to, None),
        [to, film] => (to, Some(Path::new(film))),
        _ => bail!("usage: link-recording OUT.y4m [FILM]"),
    };
    println!("{}", kiosk_link_media::recording::make(film, Path::new(to))?);
    Ok(())
}
