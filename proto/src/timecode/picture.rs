//! The code in the picture: a strip of 40 cells along the lower edge, each a bit, dark or bright.
//!
//! From the left, most significant bit first: 20 bits of time in milliseconds, 5 bits that check them, 11 bits of the
//! recording's frame number, 4 bits that check those. A cell is a 40th of the picture's width and a 45th of its height:
//! in 1280x720 that is 32x16 pixels, two macroblocks, which an encoder keeps at any bitrate that keeps a face.

/// Time is given modulo this: 17 minutes and 28 seconds.
pub const TIME_WRAP_MS: u64 = 1 << TIME_BITS;
/// The frame number of a picture that is not from a recording; frame numbers are below it.
pub const NO_INDEX: u16 = (1 << INDEX_BITS) - 1;

const TIME_BITS: u32 = 20;
const TIME_CHECK_BITS: u32 = 5;
const INDEX_BITS: u32 = 11;
const INDEX_CHECK_BITS: u32 = 4;
const CELLS: usize = (TIME_BITS + TIME_CHECK_BITS + INDEX_BITS + INDEX_CHECK_BITS) as usize;

/// x^5 + x^2 + 1: finds every wrong pair of bits among 31.
const TIME_POLYNOMIAL: u32 = 0b10_0101;
/// x^4 + x + 1: the same among 15.
const INDEX_POLYNOMIAL: u32 = 0b1_0011;
/// Turned over in the checks, so that a strip all of one colour is no code.
const TIME_FLIP: u32 = 0b1_0101;
const INDEX_FLIP: u32 = 0b1010;

/// Luma of the bits 0 and 1, inside the range of video.
const LUMA: [u8; 2] = [32, 224];
const MIDDLE: i32 = 128;
/// A cell nearer to the middle than this is not read.
const MARGIN: i32 = 20;

/// What a picture's strip says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// When the picture was captured, milliseconds modulo [`TIME_WRAP_MS`].
    pub time_ms: u32,
    /// Number of the recording's frame; none for a camera or a test pattern.
    pub index: Option<u16>,
}

impl Code {
    /// For a picture captured now. A frame number that is too large is left out.
    #[must_use]
    pub fn new(monotonic_ms: u64, index: Option<u16>) -> Self {
        let index = index.filter(|index| *index < NO_INDEX);
        Self { time_ms: (monotonic_ms % TIME_WRAP_MS) as u32, index }
    }

    fn bits(self) -> u64 {
        let index = u32::from(self.index.unwrap_or(NO_INDEX));
        let time_check = check(self.time_ms, TIME_BITS, TIME_POLYNOMIAL) ^ TIME_FLIP;
        let index_check = check(index, INDEX_BITS, INDEX_POLYNOMIAL) ^ INDEX_FLIP;
        let mut bits = u64::from(self.time_ms);
        for (value, width) in [(time_check, TIME_CHECK_BITS), (index, INDEX_BITS), (index_check, INDEX_CHECK_BITS)] {
            bits = bits << width | u64::from(value);
        }
        bits
    }

    fn from_bits(mut bits: u64) -> Option<Self> {
        let mut take = |width: u32| {
            let value = (bits & ((1 << width) - 1)) as u32;
            bits >>= width;
            value
        };
        let (index_check, index) = (take(INDEX_CHECK_BITS), take(INDEX_BITS));
        let (time_check, time_ms) = (take(TIME_CHECK_BITS), take(TIME_BITS));
        if check(time_ms, TIME_BITS, TIME_POLYNOMIAL) ^ TIME_FLIP != time_check {
            return None;
        }
        let index_holds = check(index, INDEX_BITS, INDEX_POLYNOMIAL) ^ INDEX_FLIP == index_check;
        let index = u16::try_from(index).ok().filter(|index| index_holds && *index < NO_INDEX);
        Some(Self { time_ms, index })
    }
}

/// Remainder of a division of polynomials over two elements.
fn check(value: u32, width: u32, polynomial: u32) -> u32 {
    let degree = polynomial.ilog2();
    let mut rest = value << degree;
    for bit in (degree..width + degree).rev() {
        if rest >> bit & 1 == 1 {
            rest ^= polynomial << (bit - degree);
        }
    }
    rest
}

/// Rows of the strip in a picture of this height.
#[must_use]
pub fn strip_height(height: usize) -> usize {
    (height / 45).max(2).min(height)
}

/// Writes the code into a luma plane of `height` rows, `stride` bytes apart, of which `width` are pixels. A plane that
/// is smaller than that, or narrower than a pixel for each cell, stays as it is.
pub fn stamp(luma: &mut [u8], stride: usize, width: usize, height: usize, code: Code) {
    if width < CELLS || stride < width || luma.len() < (height.max(1) - 1) * stride + width {
        return;
    }
    let bits = code.bits();
    for row in luma.chunks_mut(stride).take(height).skip(height - strip_height(height)) {
        for cell in 0..CELLS {
            let bit = (bits >> (CELLS - 1 - cell) & 1) as usize;
            if let Some(pixels) = row.get_mut(cell * width / CELLS..(cell + 1) * width / CELLS) {
                pixels.fill(LUMA[bit]);
            }
        }
    }
}

/// Reads the code of a luma plane; none when a cell is not clear or a check does not hold. A picture whose time can be
/// read and whose frame number can't has no frame number.
#[must_use]
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<Code> {
    if width < CELLS || stride < width || luma.len() < (height.max(1) - 1) * stride + width {
        return None;
    }
    let strip = strip_height(height);
    // The inner half of each cell: its edges are blurred.
    let (first, rows) = (height - strip + strip / 4, (strip / 2).max(1));
    let mut bits = 0;
    for cell in 0..CELLS {
        let (left, right) = (cell * width / CELLS, (cell + 1) * width / CELLS);
        let margin = (right - left) / 4;
        let (left, right) = (left + margin, right - margin);
        let mut sum = 0;
        for row in first..first + rows {
            let pixels = luma.get(row * stride + left..row * stride + right)?;
            sum += pixels.iter().map(|luma| i32::from(*luma)).sum::<i32>();
        }
        let mean = sum / i32::try_from((right - left) * rows).ok()?;
        if (mean - MIDDLE).abs() < MARGIN {
            return None;
        }
        bits = bits << 1 | u64::from(mean > MIDDLE);
    }
    Code::from_bits(bits)
}

/// The full time, in milliseconds, of a picture that was captured before `now_ms` and less than [`TIME_WRAP_MS`] ago.
#[must_use]
pub fn capture_time_ms(code: Code, now_ms: u64) -> u64 {
    let age = (now_ms % TIME_WRAP_MS + TIME_WRAP_MS - u64::from(code.time_ms)) % TIME_WRAP_MS;
    now_ms.saturating_sub(age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_code() -> impl Strategy<Value = Code> {
        (any::<u64>(), proptest::option::of(0..NO_INDEX)).prop_map(|(ms, index)| Code::new(ms, index))
    }

    /// A picture with something in it, and the code.
    fn picture(width: usize, height: usize, code: Code) -> Vec<u8> {
        let mut luma: Vec<u8> = (0..width * height).map(|i| ((i % width) * 7 + (i / width) * 3) as u8).collect();
        stamp(&mut luma, width, width, height, code);
        luma
    }

    /// Each pixel of the result is the mean of what it covers.
    fn scaled(luma: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
        let mut out = Vec::new();
        for y in 0..to.1 {
            for x in 0..to.0 {
                let (x0, x1) = (x * from.0 / to.0, ((x + 1) * from.0).div_ceil(to.0));
                let (y0, y1) = (y * from.1 / to.1, ((y + 1) * from.1).div_ceil(to.1));
                let (mut sum, mut count) = (0, 0);
                for row in y0..y1 {
                    for column in x0..x1 {
                        sum += u32::from(luma[row * from.0 + column]);
                        count += 1;
                    }
                }
                out.push((sum / count) as u8);
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn is_read_after_scaling_noise_and_coarse_quantisation(
            code in any_code(),
            size in proptest::sample::select(vec![(1280, 720), (960, 540), (854, 480), (640, 480), (640, 360), (320, 180)]),
            noise in proptest::collection::vec(-60_i16..=60, 997),
            step in 1_i16..48,
        ) {
            let sent = picture(1280, 720, code);
            let mut got = scaled(&sent, (1280, 720), size);
            for (pixel, noise) in got.iter_mut().zip(noise.iter().cycle()) {
                let value = (i16::from(*pixel) + noise).clamp(0, 255);
                *pixel = (value / step * step) as u8;
            }
            prop_assert_eq!(read(&got, size.0, size.0, size.1), Some(code));
        }

        #[test]
        fn two_wrong_cells_are_never_read_as_another_time(code in any_code(), a in 0..25_usize, b in 0..25_usize) {
            let bits = code.bits() ^ 1 << (CELLS - 1 - a) ^ 1 << (CELLS - 1 - b);
            let read = Code::from_bits(bits);
            prop_assert_eq!(read, (a == b).then_some(code));
        }

        #[test]
        fn two_wrong_cells_are_never_read_as_another_frame(code in any_code(), a in 25..40_usize, b in 25..40_usize) {
            let read = Code::from_bits(code.bits() ^ 1 << (CELLS - 1 - a) ^ 1 << (CELLS - 1 - b)).unwrap();
            prop_assert!(a == b || read.index.is_none() || read.index == code.index);
            prop_assert_eq!(read.time_ms, code.time_ms);
        }

        #[test]
        fn the_full_time_comes_back(now in TIME_WRAP_MS..u64::MAX, age in 0..TIME_WRAP_MS) {
            prop_assert_eq!(capture_time_ms(Code::new(now - age, None), now), now - age);
        }

        #[test]
        fn no_plane_makes_it_panic(
            mut luma in proptest::collection::vec(any::<u8>(), 0..4000),
            stride in 0..200_usize, width in 0..200_usize, height in 0..60_usize,
        ) {
            let _ = read(&luma, stride, width, height);
            stamp(&mut luma, stride, width, height, Code::new(0, None));
        }
    }

    #[test]
    fn a_picture_without_a_strip_has_no_code() {
        for shade in [0, 16, 32, 100, 224, 235, 255] {
            assert_eq!(read(&[shade; 640 * 360], 640, 640, 360), None, "{shade}");
        }
    }

    #[test]
    fn only_the_strip_is_written() {
        let (width, height, stride) = (1280, 720, 1344);
        let mut luma = vec![99; stride * height];
        stamp(&mut luma, stride, width, height, Code::new(123_456_789, Some(17)));
        assert!(luma[..stride * (height - 16)].iter().all(|pixel| *pixel == 99));
        assert!(luma.chunks(stride).all(|row| row[width..].iter().all(|pixel| *pixel == 99)), "padding");
        assert_eq!(read(&luma, stride, width, height).unwrap().index, Some(17));
    }
}
