//! The recording: raw I420 pictures in a YUV4MPEG2 file, so that playing it costs no decoding.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const MAGIC: &str = "YUV4MPEG2";
const FRAME: &[u8] = b"FRAME\n";
/// Headers are shorter.
const MOST_HEADER: u64 = 256;

/// Writes a recording.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<File>,
    bytes: usize,
}

impl Writer {
    /// Begins a file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn create(path: &Path, width: usize, height: usize, frames_per_second: u32) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut file = BufWriter::new(file);
        writeln!(file, "{MAGIC} W{width} H{height} F{frames_per_second}:1 Ip A1:1 C420jpeg")?;
        Ok(Self { file, bytes: width * height * 3 / 2 })
    }

    /// Adds a picture: its three planes one after the other, without padding.
    ///
    /// # Errors
    /// When it has another size, or the disk is full.
    pub fn write(&mut self, picture: &[u8]) -> Result<()> {
        ensure!(picture.len() == self.bytes, "a picture of {} bytes in a file of {}", picture.len(), self.bytes);
        self.file.write_all(FRAME)?;
        Ok(self.file.write_all(picture)?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }
}

/// Reads a recording frame by frame.
#[derive(Debug)]
pub struct Reader {
    file: BufReader<File>,
    header: u64,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Pictures.
    pub frames: usize,
}

impl Reader {
    /// Opens a file that [`Writer`] wrote.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Self> {
        let what = || format!("the recording {}", path.display());
        let file = File::open(path).with_context(what)?;
        let length = file.metadata().with_context(what)?.len();
        let mut file = BufReader::new(file);
        let mut line = String::new();
        let header = (&mut file).take(MOST_HEADER).read_line(&mut line).with_context(what)? as u64;
        let field = |letter| line.split_whitespace().skip(1).find_map(|word| word.strip_prefix(letter)?.parse().ok());
        let (Some(width), Some(height)) = (field('W'), field('H')) else {
            bail!("{} has no size in its header", what());
        };
        ensure!(line.starts_with(MAGIC) && width > 0 && height > 0, "{} is no YUV4MPEG2 file", what());
        let frames = (length - header) as usize / (width * height * 3 / 2 + FRAME.len());
        ensure!(frames > 0, "{} is empty", what());
        Ok(Self { file, header, width, height, frames })
    }

    /// Reads one picture into `picture`.
    ///
    /// # Errors
    /// When there is no such picture.
    pub fn read(&mut self, number: usize, picture: &mut Vec<u8>) -> Result<()> {
        let bytes = self.width * self.height * 3 / 2;
        self.file.seek(SeekFrom::Start(self.header + (number * (bytes + FRAME.len()) + FRAME.len()) as u64))?;
        picture.resize(bytes, 0);
        self.file.read_exact(picture).with_context(|| format!("frame {number} of the recording"))
    }
}
