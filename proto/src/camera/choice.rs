//! Which of a camera's modes serves a call best.

use std::cmp::Reverse;
use std::fmt;

use super::mode::{Encoding, FourCc, FrameRate, Mode};

/// From here on a USB 2 camera can't deliver raw pictures at a full rate.
const HD_AREA: u64 = 1280 * 720;

/// What the configuration asks for, and what the camera hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub frame_rate: FrameRate,
    /// The camera hangs on USB, where raw pictures of 720 lines and more are slow or take the bus from others.
    pub over_usb: bool,
}

/// The mode to use and where it falls short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// What to open the camera with.
    pub mode: Mode,
    /// The size is the wanted one, so nothing has to be scaled.
    pub exact_size: bool,
    /// Both sides are at least the wanted ones.
    pub large_enough: bool,
    /// The rate is at least the wanted one.
    pub fast_enough: bool,
}

/// A camera has no mode that can be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no mode that can be used: MJPG, NV12, YU12, YUYV or UYVY is needed, and the camera has {}; use another camera",
    Listed(offered)
)]
pub struct NoMode {
    /// What it has.
    pub offered: Vec<Mode>,
}

/// Picks the mode for a call. In this order:
/// 1. large enough and fast enough: the smallest such size, and of its rates the lowest;
/// 2. large enough at half the wanted rate or more: the fastest, since an ID document needs pixels more than frames;
/// 3. too small but fast enough: the largest; then too small at half the rate or more, again the largest;
/// 4. what is left: the fastest.
///
/// Between equals, MJPEG from 1280x720 on over USB, else a raw format, NV12 first.
///
/// # Errors
/// No mode has a format that the pipeline reads; the error lists what there is.
pub fn choose_mode(modes: &[Mode], wanted: Wanted) -> Result<Choice, NoMode> {
    let usable = modes.iter().filter(|mode| mode.area() > 0 && !mode.frame_rate.is_zero());
    usable
        .filter_map(|mode| Some((mode, mode.fourcc.encoding()?)))
        .min_by_key(|(mode, encoding)| rank(mode, *encoding, &wanted))
        .map(|(mode, _)| Choice {
            mode: *mode,
            exact_size: (mode.width, mode.height) == (wanted.width, wanted.height),
            large_enough: is_large_enough(mode, &wanted),
            fast_enough: mode.frame_rate.reaches(wanted.frame_rate),
        })
        .ok_or_else(|| NoMode { offered: modes.to_vec() })
}

fn is_large_enough(mode: &Mode, wanted: &Wanted) -> bool {
    mode.width >= wanted.width && mode.height >= wanted.height
}

/// Less is better, in the order of the fields.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: u8,
    /// Where too slow is the matter.
    fastest: Option<Reverse<FrameRate>>,
    too_small: bool,
    smallest: Option<u64>,
    largest: Option<Reverse<u64>>,
    encoding: u8,
    /// What is fast enough need not be faster; what is not should be as fast as it can.
    rate: (Option<FrameRate>, Option<Reverse<FrameRate>>),
}

fn rank(mode: &Mode, encoding: Encoding, wanted: &Wanted) -> Rank {
    let rate = mode.frame_rate;
    let half = FrameRate { denominator: wanted.frame_rate.denominator.saturating_mul(2), ..wanted.frame_rate };
    let (large, fast, half_fast) = (is_large_enough(mode, wanted), rate.reaches(wanted.frame_rate), rate.reaches(half));
    let class = match (large, fast, half_fast) {
        (true, true, _) => 0,
        (true, false, true) => 1,
        (false, true, _) => 2,
        (false, false, true) => 3,
        (_, false, false) => 4,
    };
    Rank {
        class,
        fastest: matches!(class, 1 | 4).then_some(Reverse(rate)),
        too_small: !large,
        smallest: large.then_some(mode.area()),
        largest: (!large).then_some(Reverse(mode.area())),
        encoding: preference(encoding, wanted.over_usb && mode.area() >= HD_AREA),
        rate: if fast { (Some(rate), None) } else { (None, Some(Reverse(rate))) },
    }
}

fn preference(encoding: Encoding, compressed_first: bool) -> u8 {
    match encoding {
        Encoding::Jpeg if compressed_first => 0,
        Encoding::Nv12 => 1,
        Encoding::I420 => 2,
        Encoding::Yuyv => 3,
        Encoding::Uyvy => 4,
        Encoding::Jpeg => 5,
    }
}

/// `MJPG 1280x720 at 30, 15; YUYV 640x480 at 30`: one entry for each format and size.
struct Listed<'a>(&'a [Mode]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More would not be read.
        const MOST: usize = 12;
        let mut sizes: Vec<(FourCc, u32, u32, Vec<FrameRate>)> = Vec::new();
        for Mode { fourcc, width, height, frame_rate } in self.0 {
            let same = sizes.iter_mut().find(|(f, w, h, _)| (f, w, h) == (fourcc, width, height));
            match same {
                Some((.., rates)) => rates.push(*frame_rate),
                None => sizes.push((*fourcc, *width, *height, vec![*frame_rate])),
            }
        }
        if sizes.is_empty() {
            return f.write_str("none");
        }
        for (index, (fourcc, width, height, rates)) in sizes.iter().take(MOST).enumerate() {
            let rates: Vec<String> = rates.iter().map(FrameRate::to_string).collect();
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fourcc} {width}x{height} at {}", rates.join(", "))?;
        }
        match sizes.len().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mode(fourcc: &[u8; 4], width: u32, height: u32, rate: u32) -> Mode {
        Mode { fourcc: FourCc(*fourcc), width, height, frame_rate: FrameRate::per_second(rate) }
    }

    fn wanted(width: u32, height: u32, rate: u32) -> Wanted {
        Wanted { width, height, frame_rate: FrameRate::per_second(rate), over_usb: true }
    }

    /// A common USB 2 camera.
    fn usb_camera() -> Vec<Mode> {
        let mut modes = Vec::new();
        for (width, height, raw) in [(1920, 1080, 5), (1280, 720, 10), (640, 480, 30), (320, 240, 30)] {
            modes.extend([30, 15].map(|rate| mode(b"MJPG", width, height, rate)));
            modes.push(mode(b"YUYV", width, height, raw));
            modes.push(mode(b"H264", width, height, 30));
        }
        modes
    }

    fn chosen(modes: &[Mode], wanted: Wanted) -> String {
        choose_mode(modes, wanted).unwrap().mode.to_string()
    }

    #[test]
    fn hd_over_usb_is_compressed_and_vga_is_raw() {
        let camera = usb_camera();
        assert_eq!(chosen(&camera, wanted(1280, 720, 30)), "MJPG 1280x720 at 30 frames/s");
        assert_eq!(chosen(&camera, wanted(1280, 720, 10)), "MJPG 1280x720 at 15 frames/s");
        assert_eq!(chosen(&camera, wanted(640, 480, 30)), "YUYV 640x480 at 30 frames/s");
        assert_eq!(chosen(&camera, wanted(640, 480, 15)), "YUYV 640x480 at 30 frames/s");
    }

    #[test]
    fn a_camera_on_another_bus_is_raw_at_any_size() {
        let modes = [mode(b"MJPG", 1280, 720, 30), mode(b"YUYV", 1280, 720, 30), mode(b"NV12", 1280, 720, 30)];
        let other_bus = Wanted { over_usb: false, ..wanted(1280, 720, 30) };
        assert_eq!(chosen(&modes, other_bus), "NV12 1280x720 at 30 frames/s");
        assert_eq!(chosen(&modes, wanted(1280, 720, 30)), "MJPG 1280x720 at 30 frames/s");
    }

    #[test]
    fn the_rate_decides_before_the_format() {
        let modes = [mode(b"YUYV", 640, 480, 15), mode(b"MJPG", 640, 480, 30)];
        assert_eq!(chosen(&modes, wanted(640, 480, 30)), "MJPG 640x480 at 30 frames/s");
        assert_eq!(chosen(&modes, wanted(640, 480, 15)), "YUYV 640x480 at 15 frames/s");
    }

    #[test]
    fn the_nearest_larger_size_comes_before_a_smaller_one() {
        let modes = [mode(b"MJPG", 640, 480, 30), mode(b"MJPG", 1920, 1080, 30), mode(b"MJPG", 1600, 900, 30)];
        let choice = choose_mode(&modes, wanted(1280, 720, 30)).unwrap();
        assert_eq!((choice.mode.width, choice.exact_size, choice.large_enough), (1600, false, true));
        let choice = choose_mode(&modes[..1], wanted(1280, 720, 30)).unwrap();
        assert_eq!((choice.mode.width, choice.large_enough, choice.fast_enough), (640, false, true));
    }

    #[test]
    fn pixels_matter_more_than_frames_down_to_half_the_rate() {
        let small = mode(b"YUYV", 640, 480, 30);
        let beside = |rate| chosen(&[small, mode(b"YUYV", 1280, 720, rate)], wanted(1280, 720, 30));
        assert_eq!(beside(15), "YUYV 1280x720 at 15 frames/s");
        assert_eq!(beside(10), "YUYV 640x480 at 30 frames/s");
    }

    #[test]
    fn a_camera_that_is_slow_at_every_size_gives_its_fastest_and_then_the_one_that_is_large_enough() {
        let slow = [mode(b"YUYV", 640, 480, 5), mode(b"YUYV", 1280, 720, 5), mode(b"YUYV", 1920, 1080, 4)];
        assert_eq!(chosen(&slow, wanted(1280, 720, 30)), "YUYV 1280x720 at 5 frames/s");
    }

    #[test]
    fn a_television_rate_is_the_wanted_rate() {
        let frame_rate = FrameRate { numerator: 30_000, denominator: 1001 };
        let ntsc = Mode { frame_rate, ..mode(b"MJPG", 1280, 720, 0) };
        let choice = choose_mode(&[ntsc, mode(b"MJPG", 1280, 720, 60)], wanted(1280, 720, 30)).unwrap();
        assert_eq!(choice.mode.to_string(), "MJPG 1280x720 at 29.97 frames/s");
        assert!(choice.fast_enough);
    }

    #[test]
    fn a_camera_without_a_usable_mode_is_told_with_what_it_has() {
        let mut modes = vec![mode(b"H264", 1280, 720, 30), mode(b"H264", 1280, 720, 15), mode(b"Y16 ", 160, 120, 9)];
        modes.push(mode(b"MJPG", 640, 480, 0));
        insta::assert_snapshot!(choose_mode(&modes, wanted(1280, 720, 30)).unwrap_err());
        assert!(choose_mode(&[], wanted(1280, 720, 30)).unwrap_err().to_string().contains("has none"));
    }

    prop_compose! {
        fn any_mode()(
            fourcc in prop::sample::select(vec![*b"MJPG", *b"YUYV", *b"NV12", *b"H264", *b"BA81"]),
            (width, height) in (0..2000_u32, 0..2000_u32),
            (numerator, denominator) in (any::<u32>(), any::<u32>()),
            plain in any::<bool>(),
        ) -> Mode {
            let odd = FrameRate { numerator, denominator };
            let frame_rate = if plain { FrameRate::per_second(numerator % 61) } else { odd };
            Mode { fourcc: FourCc(fourcc), width, height, frame_rate }
        }
    }

    proptest! {
        #[test]
        fn the_choice_is_one_of_the_modes_and_no_other_beats_it(
            modes in prop::collection::vec(any_mode(), 0..12),
            (width, height, rate) in (2..2000_u32, 2..2000_u32, 1..60_u32),
        ) {
            let wanted = wanted(width, height, rate);
            let usable = |mode: &&Mode| {
                mode.fourcc.encoding().is_some() && mode.area() > 0 && !mode.frame_rate.is_zero()
            };
            match choose_mode(&modes, wanted) {
                Ok(choice) => {
                    prop_assert!(modes.contains(&choice.mode));
                    let fast = |mode: &Mode| mode.frame_rate.reaches(wanted.frame_rate);
                    let serves = |mode: &&Mode| is_large_enough(mode, &wanted) && fast(mode);
                    for better in modes.iter().filter(usable).filter(serves) {
                        prop_assert!(choice.large_enough && choice.fast_enough);
                        prop_assert!(better.area() >= choice.mode.area());
                    }
                }
                Err(no_mode) => {
                    prop_assert!(!modes.iter().any(|mode| usable(&mode)));
                    prop_assert!(no_mode.to_string().len() < 1000);
                }
            }
        }

        #[test]
        fn the_order_of_the_list_does_not_matter_for_size_and_rate(
            modes in prop::collection::vec(any_mode(), 1..8),
        ) {
            let shape = |modes: &[Mode]| {
                let choice = choose_mode(modes, wanted(1280, 720, 30)).ok()?;
                Some((choice.mode.area(), choice.mode.frame_rate))
            };
            let reversed: Vec<Mode> = modes.iter().rev().copied().collect();
            prop_assert_eq!(shape(&modes), shape(&reversed));
        }
    }
}
