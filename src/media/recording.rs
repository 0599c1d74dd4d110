//! An uncompressed recording in the place of the camera: read picture by picture when its time has come, as a camera
//! gives them, without a demuxer and its queues.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use kiosk_proto::config::Camera as Config;

use super::port;

/// Pictures between the file and the encoder at most: one in the encoder, one behind it, one that is being read. What would
/// be one more is left out. Each that was ever needed stays in memory until the call's end.
const PICTURES: u32 = 3;
/// Pictures that come at once after a halt.
const MADE_UP: u32 = 2;
/// A longer header is none.
const HEADER_BYTES: u64 = 256;

/// A YUV4MPEG2 file (`*.y4m`) that is played in a loop. Size and rate are those of the call.
#[derive(Debug)]
pub struct Recording {
    file: BufReader<File>,
    /// Where the first picture begins.
    first: u64,
    pool: gst::BufferPool,
    due: Instant,
    interval: Duration,
}

impl Recording {
    /// Opens a recording. `None` when it is not of this kind, or has not the call's size and rate: GStreamer's own
    /// elements may know what to do with it.
    ///
    /// # Errors
    /// When it can't be read, or there is no memory for its pictures.
    pub fn open(path: &Path, config: &Config) -> io::Result<Option<Self>> {
        let mut file = BufReader::new(File::open(path)?);
        let mut header = Vec::new();
        (&mut file).take(HEADER_BYTES).read_until(b'\n', &mut header)?;
        if !fits(&String::from_utf8_lossy(&header), config) {
            return Ok(None);
        }
        let pool = gst::BufferPool::new();
        let mut settings = pool.config();
        let caps = port::video_caps(config.width, config.height, config.frames_per_second);
        settings.set_params(Some(&caps), config.width * config.height * 3 / 2, 0, PICTURES);
        pool.set_config(settings).and_then(|()| pool.set_active(true)).map_err(io::Error::other)?;
        let interval = Duration::from_secs(1) / config.frames_per_second.max(1);
        Ok(Some(Self { file, first: header.len() as u64, pool, due: Instant::now(), interval }))
    }

    /// The next picture when it is due; `None` if it is not after `wait`, or all pictures are still on their way.
    ///
    /// # Errors
    /// The file can't be read any more, or has no picture.
    pub fn next(&mut self, wait: Duration) -> io::Result<Option<gst::Buffer>> {
        let early = self.due.saturating_duration_since(Instant::now());
        thread::sleep(early.min(wait));
        if early > wait {
            return Ok(None);
        }
        // The pace is the clock's; after a halt of the machine only a little is made up for.
        let now = Instant::now();
        self.due = (self.due + self.interval).max(now.checked_sub(self.interval * MADE_UP).unwrap_or(now));
        let at_once = gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT);
        let Ok(mut picture) = self.pool.acquire_buffer(Some(&at_once)) else { return Ok(None) };
        let read = self.read(&mut picture);
        if !matches!(&read, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof) {
            return read.map(|()| Some(picture));
        }
        self.file.seek(SeekFrom::Start(self.first))?;
        self.read(&mut picture).map(|()| Some(picture))
    }

    fn read(&mut self, picture: &mut gst::Buffer) -> io::Result<()> {
        let mut line = Vec::new();
        (&mut self.file).take(HEADER_BYTES).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !line.starts_with(b"FRAME") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a picture of the recording does not begin with FRAME",
            ));
        }
        let mut pixels = picture.make_mut().map_writable().map_err(io::Error::other)?;
        self.file.read_exact(&mut pixels)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Pictures that are still on their way are freed when they arrive.
        let _ = self.pool.set_active(false);
    }
}

/// Whether what the header describes lies in memory as the call's pictures do.
fn fits(header: &str, config: &Config) -> bool {
    let Some(fields) = header.trim_end().strip_prefix("YUV4MPEG2 ") else { return false };
    // GStreamer lets lines of other widths begin at multiples of eight bytes.
    let mut fitting = config.width.is_multiple_of(8) && config.height.is_multiple_of(2);
    let (mut size, mut rate) = ((0, 0), None);
    for field in fields.split_ascii_whitespace() {
        let Some((tag, value)) = field.split_at_checked(1) else { continue };
        match tag {
            "W" => size.0 = value.parse().unwrap_or(0),
            "H" => size.1 = value.parse().unwrap_or(0),
            "F" => {
                rate = value.split_once(':').and_then(|(n, d)| Some((n.parse::<u64>().ok()?, d.parse::<u64>().ok()?)))
            }
            "I" => fitting &= matches!(value, "p" | "?"),
            "A" => fitting &= matches!(value, "1:1" | "0:0"),
            "C" => fitting &= matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv"),
            _ => {}
        }
    }
    let same_rate = rate.is_some_and(|(n, d)| d > 0 && n == d * u64::from(config.frames_per_second));
    fitting && size == (config.width, config.height) && same_rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn config() -> Config {
        Config { width: 16, height: 8, frames_per_second: 100, ..Config::default() }
    }

    #[test]
    fn only_what_is_as_the_calls_pictures_is_taken() {
        let takes = |header: &str| fits(header, &config());
        assert!(takes("YUV4MPEG2 W16 H8 F100:1 Ip A1:1 C420jpeg XCOMMENT\n"));
        assert!(takes("YUV4MPEG2 W16 H8 F200:2\n"));
        for other in
            ["W32 H8 F100:1", "W16 H8 F30:1", "W16 H8", "W16 H8 F1:0", "W16 H8 F100:1 C444", "W16 H8 F100:1 It"]
        {
            assert!(!takes(&format!("YUV4MPEG2 {other}\n")), "{other}");
        }
        assert!(!takes("RIFF"));
    }

    #[test]
    fn it_is_played_again_and_again_in_its_own_pace() {
        gst::init().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"YUV4MPEG2 W16 H8 F100:1 C420\n").unwrap();
        for picture in 1..=3_u8 {
            file.write_all(b"FRAME\n").unwrap();
            file.write_all(&[picture; 16 * 8 * 3 / 2]).unwrap();
        }
        // The last one is cut.
        file.write_all(b"FRAME\n44").unwrap();
        let begin = Instant::now();
        let mut recording = Recording::open(file.path(), &config()).unwrap().unwrap();
        let mut seen = Vec::new();
        while seen.len() < 8 {
            if let Some(picture) = recording.next(Duration::from_millis(50)).unwrap() {
                let pixels = picture.map_readable().unwrap();
                assert!(pixels.len() == 192 && pixels.iter().all(|pixel| *pixel == pixels[0]));
                seen.push(pixels[0]);
            }
        }
        assert_eq!(seen, [1, 2, 3, 1, 2, 3, 1, 2]);
        assert!(begin.elapsed() >= Duration::from_millis(70), "8 pictures of 10 ms in {:?}", begin.elapsed());
    }

    #[test]
    fn one_without_a_picture_says_so_and_pictures_on_their_way_are_not_overtaken() {
        gst::init().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"YUV4MPEG2 W16 H8 F100:1\n").unwrap();
        let mut recording = Recording::open(file.path(), &config()).unwrap().unwrap();
        assert_eq!(recording.next(Duration::ZERO).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        file.write_all(b"FRAME\n").unwrap();
        file.write_all(&[7; 192]).unwrap();
        let mut held = Vec::new();
        for _ in 0..2 * PICTURES {
            held.extend(recording.next(Duration::from_millis(50)).unwrap());
        }
        assert_eq!(held.len(), PICTURES as usize);
    }
}
