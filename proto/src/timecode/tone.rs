//! The code in the sound: eight short tones a second, each of two frequencies that say which of 144 it is.
//!
//! A tone begins at every multiple of [`PERIOD_US`] of the monotonic clock and lasts 50 ms, inside the band that Opus
//! keeps at the lowest bitrates for speech.

use std::collections::VecDeque;
use std::f64::consts::TAU;

/// From one tone to the next, microseconds.
pub const PERIOD_US: u64 = 125_000;
/// Samples per second, one channel.
pub const SAMPLE_RATE: u32 = 48_000;
/// Tones repeat after this, 18 s: sound that is older is taken for younger.
pub const TONE_WRAP_US: u64 = PERIOD_US * TONES;

const GROUP: u64 = 12;
const TONES: u64 = GROUP * GROUP;
const TONE_US: u64 = 50_000;
/// Rise and fall, against clicks.
const RAMP_US: f64 = 2_000.0;
/// Of each of the two frequencies, of 32767.
const AMPLITUDE: f64 = 7_000.0;

/// The step in which loudness is followed: 2 ms.
const HOP: usize = 96;
/// An onset is found to this.
const TOLERANCE_US: u64 = 5_000;
/// What is looked at to tell the frequencies: 40 ms from 4 ms after the onset.
const SKIP: usize = 2 * HOP;
const WINDOW: usize = 20 * HOP;
/// Mean square of a hop below which all is silence.
const FLOOR: f64 = 300.0 * 300.0;
/// Share of the loudest hop of the last seconds from which a tone begins.
const ONSET: f64 = 0.12;
/// The loudest hop is forgotten by this factor each hop: half of it in 1.4 s.
const FORGET: f64 = 0.999;
/// Silent hops between two tones.
const SILENT_HOPS: u32 = 6;
/// A frequency must be this much stronger than every other of its group.
const CLEAR: f64 = 4.0;
/// Share of the window's energy that the two frequencies must have.
const SHARE: f64 = 0.4;

/// Frequencies of a tone, Hz.
fn frequencies(number: u64) -> (f64, f64) {
    (low(number / GROUP % GROUP), high(number % GROUP))
}

fn low(step: u64) -> f64 {
    500.0 + 75.0 * step as f64
}

fn high(step: u64) -> f64 {
    1700.0 + 110.0 * step as f64
}

/// Makes the tones. What it gives depends on the time alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToneSource;

impl ToneSource {
    /// Fills `samples`, of which the first is to be heard at `first_us` of the monotonic clock.
    pub fn fill(self, first_us: u64, samples: &mut [i16]) {
        for (position, sample) in samples.iter_mut().enumerate() {
            let since_first = position as u64 * 1_000_000 / u64::from(SAMPLE_RATE);
            let at = first_us + since_first;
            // The part of a microsecond that the division left out.
            let rest = position as f64 * 1e6 / f64::from(SAMPLE_RATE) - since_first as f64;
            *sample = value(at / PERIOD_US, (at % PERIOD_US) as f64 + rest);
        }
    }
}

fn value(number: u64, since_onset_us: f64) -> i16 {
    let left = TONE_US as f64 - since_onset_us;
    if left <= 0.0 {
        return 0;
    }
    let envelope = (since_onset_us / RAMP_US).min(left / RAMP_US).min(1.0);
    let (low, high) = frequencies(number);
    let seconds = since_onset_us / 1e6;
    let wave = (TAU * low * seconds).sin() + (TAU * high * seconds).sin();
    (AMPLITUDE * envelope * wave) as i16
}

/// A tone that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tone {
    /// When its onset was heard.
    pub heard_us: u64,
    /// When it was to begin at the microphone: the latest possible time before `heard_us`.
    pub sent_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// So many silent hops.
    Silence(u32),
    /// A tone began at this sample of the stream.
    Began(u64),
    /// It was read, or could not be; its end is awaited.
    Rings(u32),
}

/// Finds tones in a stream of sound and tells when each was heard, to about 5 ms.
#[derive(Debug, Clone)]
pub struct ToneReader {
    /// The latest samples: a window and what is not yet a hop.
    recent: VecDeque<i16>,
    /// Number of the first sample in `recent`.
    first: u64,
    /// Number of the first sample that was not looked at.
    next: u64,
    /// Pieces of the stream: number of the first sample, when it was heard.
    pieces: VecDeque<(u64, u64)>,
    loudest: f64,
    state: State,
}

impl Default for ToneReader {
    fn default() -> Self {
        // A tone may be under way.
        let state = State::Rings(0);
        Self { recent: VecDeque::new(), first: 0, next: 0, pieces: VecDeque::new(), loudest: 0.0, state }
    }
}

impl ToneReader {
    /// Takes the next samples, of which the first was heard at `first_us`; gives the tones that are known now.
    pub fn push(&mut self, first_us: u64, samples: &[i16]) -> Vec<Tone> {
        self.pieces.push_back((self.first + self.recent.len() as u64, first_us));
        self.recent.extend(samples);
        let end = self.first + self.recent.len() as u64;
        let mut tones = Vec::new();
        while self.next + HOP as u64 <= end {
            if let State::Began(onset) = self.state
                && self.next >= onset + (SKIP + WINDOW) as u64
            {
                tones.extend(self.number(onset).and_then(|number| self.tone(onset, number)));
                self.state = State::Rings(0);
            }
            self.hop();
        }
        self.forget();
        tones
    }

    fn samples(&self, from: u64, count: usize) -> impl Iterator<Item = f64> + '_ {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.recent.iter().skip(skip).take(count).map(|sample| f64::from(*sample))
    }

    fn hop(&mut self) {
        let loudness = self.samples(self.next, HOP).map(|sample| sample * sample).sum::<f64>() / HOP as f64;
        self.loudest = (self.loudest * FORGET).max(loudness);
        let silent = loudness < FLOOR || loudness < self.loudest * ONSET;
        self.state = match (self.state, silent) {
            (State::Silence(hops), true) => State::Silence((hops + 1).min(SILENT_HOPS)),
            (State::Silence(SILENT_HOPS), false) => State::Began(self.next),
            // Too soon after something: it is no onset.
            (State::Silence(_), false) => State::Rings(0),
            (State::Rings(hops), true) if hops + 1 >= SILENT_HOPS => State::Silence(SILENT_HOPS),
            (State::Rings(hops), true) => State::Rings(hops + 1),
            (State::Rings(_), false) => State::Rings(0),
            (began @ State::Began(_), _) => began,
        };
        self.next += HOP as u64;
    }

    /// Which tone begins at a sample.
    fn number(&self, onset: u64) -> Option<u64> {
        let window: Vec<f64> = self.samples(onset + SKIP as u64, WINDOW).collect();
        let energy = window.iter().map(|sample| sample * sample).sum::<f64>();
        let (low, low_power) = strongest(&window, low)?;
        let (high, high_power) = strongest(&window, high)?;
        // A sine of amplitude a has the energy a²n/2 and the power (an/2)² in its filter.
        let explained = (low_power + high_power) * 2.0 / window.len() as f64;
        let balanced = low_power < high_power * 16.0 && high_power < low_power * 16.0;
        (balanced && explained > energy * SHARE).then_some(low * GROUP + high)
    }

    fn tone(&self, onset: u64, number: u64) -> Option<Tone> {
        let (piece, at) = self.pieces.iter().rev().find(|(piece, _)| *piece <= onset)?;
        let heard_us = at + (onset - piece) * 1_000_000 / u64::from(SAMPLE_RATE);
        // The onset lies somewhere in its hop: a tone without any delay must not seem to come before it was sent.
        let latest = (heard_us + TOLERANCE_US) / PERIOD_US;
        let age = (latest % TONES + TONES - number) % TONES;
        let sent_us = latest.checked_sub(age)? * PERIOD_US;
        Some(Tone { heard_us: heard_us.max(sent_us), sent_us })
    }

    /// Keeps what the reading of a tone may need.
    fn forget(&mut self) {
        let keep_from = match self.state {
            State::Began(onset) => onset,
            _ => self.next,
        };
        let drop = usize::try_from(keep_from - self.first).unwrap_or(usize::MAX);
        self.recent.drain(..drop.min(self.recent.len()));
        self.first = keep_from;
        while self.pieces.get(1).is_some_and(|(piece, _)| *piece <= keep_from) {
            self.pieces.pop_front();
        }
    }
}

/// The strongest frequency of a group and its power, if it is clearly stronger than all others.
fn strongest(window: &[f64], frequency: impl Fn(u64) -> f64) -> Option<(u64, f64)> {
    let mut powers: Vec<(u64, f64)> = (0..GROUP).map(|step| (step, goertzel(window, frequency(step)))).collect();
    powers.sort_by(|a, b| b.1.total_cmp(&a.1));
    match powers.as_slice() {
        [best, second, ..] if best.1 > second.1 * CLEAR => Some(*best),
        _ => None,
    }
}

/// Power of one frequency in a window (Goertzel's filter).
fn goertzel(window: &[f64], frequency: f64) -> f64 {
    let factor = 2.0 * (TAU * frequency / f64::from(SAMPLE_RATE)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in window {
        (last, before) = (sample + factor * last - before, last);
    }
    last * last + before * before - factor * last * before
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sound(first_us: u64, milliseconds: usize) -> Vec<i16> {
        let mut samples = vec![0; milliseconds * 48];
        ToneSource.fill(first_us, &mut samples);
        samples
    }

    /// Reads in pieces of 20 ms, as a decoder gives them.
    fn read(samples: &[i16], first_us: u64) -> Vec<Tone> {
        let mut reader = ToneReader::default();
        let pieces = samples.chunks(960).enumerate();
        pieces.flat_map(|(number, piece)| reader.push(first_us + number as u64 * 20_000, piece)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn every_tone_is_found_and_timed(
            first_us in 0..1_000_000_000_000_u64,
            delay_us in 0..TONE_WRAP_US - 2 * PERIOD_US,
            gain in 0.2..1.8_f64,
            noise in proptest::collection::vec(-400_i16..=400, 1009),
        ) {
            let mut samples = sound(first_us, 1500);
            for (sample, noise) in samples.iter_mut().zip(noise.iter().cycle()) {
                *sample = (f64::from(*sample) * gain) as i16 + noise;
            }
            let tones = read(&samples, first_us + delay_us);
            // 12 begin in that time; the one that is under way at the start and the one that is cut off are none.
            prop_assert!(tones.len() >= 10, "{} tones", tones.len());
            for tone in tones {
                let found = tone.heard_us - tone.sent_us;
                prop_assert!(found.abs_diff(delay_us) <= 5_000, "{found} instead of {delay_us}");
            }
        }

        #[test]
        fn no_sound_makes_it_panic(pieces in proptest::collection::vec(
            (any::<u32>(), proptest::collection::vec(any::<i16>(), 0..3000)), 0..8
        )) {
            let mut reader = ToneReader::default();
            for (at, piece) in pieces {
                let _ = reader.push(u64::from(at), &piece);
            }
        }
    }

    #[test]
    fn all_numbers_are_told_apart() {
        let tones = read(&sound(PERIOD_US * 144 * 1000 - 1000, 18_100), PERIOD_US * 144 * 1000 - 1000);
        assert!(tones.len() >= 144, "{}", tones.len());
        for tone in tones {
            assert!(tone.heard_us.abs_diff(tone.sent_us) <= 4_000, "{tone:?}");
        }
    }

    #[test]
    fn noise_and_steady_tones_are_no_tones() {
        let mut random = 1_u32;
        let noise: Vec<i16> = (0..96_000)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 16) as i16 / 4
            })
            .collect();
        assert_eq!(read(&noise, 0), []);
        let steady: Vec<i16> = (0..96_000).map(|i| ((f64::from(i) * 0.1).sin() * 8000.0) as i16).collect();
        assert_eq!(read(&steady, 0), []);
    }

    #[test]
    fn pieces_that_come_late_are_timed_by_their_own_arrival() {
        let samples = sound(0, 1000);
        let mut reader = ToneReader::default();
        let mut tones = Vec::new();
        for (number, piece) in samples.chunks(960).enumerate() {
            // The second half of a second comes 300 ms later than the first.
            let late = if number < 25 { 40_000 } else { 340_000 };
            tones.extend(reader.push(number as u64 * 20_000 + late, piece));
        }
        let delays: Vec<u64> = tones.iter().map(|tone| (tone.heard_us - tone.sent_us) / 10_000 * 10).collect();
        assert_eq!(delays, [40, 40, 40, 340, 340, 340, 340], "{tones:?}");
    }
}
