//! What a camera offers as modes, and a mode as the front of a pipeline.

use kiosk_proto::camera::{Encoding, FourCc, FrameRate, Mode, Wanted};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::{FrameSizeEnum, Stepwise};
use v4l::video::Capture;
use v4l::{FourCC, Fraction};

use super::CameraError;
use super::device::Opened;

/// Sizes and rates that are tried where a camera says "anything from here to there".
const SIZES: [(u32, u32); 5] = [(320, 240), (640, 480), (1280, 720), (1920, 1080), (3840, 2160)];
const RATES: [u32; 8] = [5, 10, 15, 20, 25, 30, 50, 60];

impl Opened {
    /// All modes that the camera says it has. Of a range: those of `SIZES` and `RATES` in it, and the wanted one.
    pub(super) fn modes(&self, wanted: &Wanted) -> Result<Vec<Mode>, CameraError> {
        let formats = self.handle.enum_formats().map_err(|source| self.refused("asking for its formats", source))?;
        let mut modes = Vec::new();
        for format in formats.iter().map(|format| format.fourcc) {
            for (width, height) in self.sizes(format, wanted) {
                let fourcc = FourCc(format.repr);
                let rates = self.rates(format, (width, height), wanted);
                modes.extend(rates.into_iter().map(|frame_rate| Mode { fourcc, width, height, frame_rate }));
            }
        }
        Ok(modes)
    }

    fn sizes(&self, format: FourCC, wanted: &Wanted) -> Vec<(u32, u32)> {
        let Ok(sizes) = self.handle.enum_framesizes(format) else {
            // A source with one size, such as a receiver of television signals, need not list it.
            return self.handle.format().map(|now| vec![(now.width, now.height)]).unwrap_or_default();
        };
        let mut all = Vec::new();
        for size in sizes {
            match size.size {
                FrameSizeEnum::Discrete(size) => all.push((size.width, size.height)),
                FrameSizeEnum::Stepwise(range) => all.extend(sizes_within(&range, (wanted.width, wanted.height))),
            }
        }
        all
    }

    fn rates(&self, format: FourCC, (width, height): (u32, u32), wanted: &Wanted) -> Vec<FrameRate> {
        let Ok(intervals) = self.handle.enum_frameintervals(format, width, height) else {
            return self.handle.params().map(|now| vec![rate(&now.interval)]).unwrap_or_default();
        };
        let mut all = Vec::new();
        for interval in intervals {
            match interval.interval {
                FrameIntervalEnum::Discrete(interval) => all.push(rate(&interval)),
                FrameIntervalEnum::Stepwise(range) => {
                    all.extend(rates_within(rate(&range.max), rate(&range.min), wanted.frame_rate));
                }
            }
        }
        all
    }
}

/// The longest interval is the lowest rate.
fn rate(interval: &Fraction) -> FrameRate {
    FrameRate { numerator: interval.denominator, denominator: interval.numerator }
}

fn sizes_within(range: &Stepwise, wanted: (u32, u32)) -> Vec<(u32, u32)> {
    let fits = |value: u32, least: u32, most: u32, step: u32| {
        (least..=most).contains(&value) && (value - least).checked_rem(step).unwrap_or(0) == 0
    };
    let mut sizes: Vec<(u32, u32)> = SIZES.into_iter().chain([wanted, (range.max_width, range.max_height)]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.retain(|(width, height)| {
        fits(*width, range.min_width, range.max_width, range.step_width)
            && fits(*height, range.min_height, range.max_height, range.step_height)
    });
    sizes
}

fn rates_within(least: FrameRate, most: FrameRate, wanted: FrameRate) -> Vec<FrameRate> {
    let mut rates: Vec<FrameRate> = RATES.map(FrameRate::per_second).into_iter().chain([wanted, most]).collect();
    rates.sort_unstable();
    rates.dedup();
    rates.retain(|rate| (least..=most).contains(rate));
    rates
}

/// The front of a GStreamer pipeline, as `gst_parse_launch` reads it: an `appsrc` named `camera` that takes pictures of
/// this mode, and what makes them raw.
pub(super) fn entrance_description(mode: &Mode) -> String {
    let Mode { fourcc, width, height, frame_rate: FrameRate { numerator, denominator } } = mode;
    let (caps, decoder) = match fourcc.encoding() {
        Some(Encoding::Jpeg) => ("image/jpeg", "! jpegdec "),
        Some(Encoding::Nv12) => ("video/x-raw,format=NV12", ""),
        Some(Encoding::I420) => ("video/x-raw,format=I420", ""),
        Some(Encoding::Yuyv) => ("video/x-raw,format=YUY2", ""),
        Some(Encoding::Uyvy) => ("video/x-raw,format=UYVY", ""),
        // `choose_mode` never chooses one.
        None => ("video/x-raw", ""),
    };
    format!(
        "appsrc name=camera format=time is-live=true do-timestamp=true max-buffers=2 leaky-type=downstream \
         caps=\"{caps},width={width},height={height},framerate={numerator}/{denominator}\" {decoder}! videoconvert"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(fourcc: &[u8; 4], frame_rate: FrameRate) -> Mode {
        Mode { fourcc: FourCc(*fourcc), width: 1280, height: 720, frame_rate }
    }

    #[test]
    fn compressed_pictures_are_decoded_and_raw_ones_are_not() {
        gstreamer::init().unwrap();
        let ntsc = FrameRate { numerator: 30_000, denominator: 1001 };
        let jpeg = entrance_description(&mode(b"MJPG", ntsc));
        assert!(jpeg.contains("\"image/jpeg,width=1280,height=720,framerate=30000/1001\" ! jpegdec !"), "{jpeg}");
        let raw = entrance_description(&mode(b"YUYV", FrameRate::per_second(10)));
        assert!(
            raw.contains("\"video/x-raw,format=YUY2,width=1280,height=720,framerate=10/1\" ! videoconvert"),
            "{raw}"
        );
        for fourcc in [b"MJPG", b"NV12", b"YU12", b"YUYV", b"UYVY"] {
            gstreamer::parse::launch(&entrance_description(&mode(fourcc, ntsc))).unwrap();
        }
    }

    #[test]
    fn of_a_range_of_sizes_the_usual_ones_the_wanted_one_and_the_largest_are_taken() {
        let range = Stepwise {
            min_width: 320,
            max_width: 1920,
            step_width: 2,
            min_height: 240,
            max_height: 1200,
            step_height: 2,
        };
        let sizes = sizes_within(&range, (800, 600));
        assert_eq!(sizes, [(320, 240), (640, 480), (800, 600), (1280, 720), (1920, 1080), (1920, 1200)]);
        let coarse = Stepwise { step_width: 64, ..range };
        assert_eq!(
            sizes_within(&coarse, (800, 600)),
            [(320, 240), (640, 480), (1280, 720), (1920, 1080), (1920, 1200)]
        );
        let broken =
            Stepwise { min_width: 9, max_width: 3, step_width: 0, min_height: 0, max_height: 0, step_height: 0 };
        assert_eq!(sizes_within(&broken, (800, 600)), []);
    }

    #[test]
    fn of_a_range_of_rates_the_usual_ones_the_wanted_one_and_the_highest_are_taken() {
        let per_second = FrameRate::per_second;
        let rates = rates_within(per_second(8), per_second(40), per_second(12));
        assert_eq!(rates, [10, 12, 15, 20, 25, 30, 40].map(per_second));
    }
}
